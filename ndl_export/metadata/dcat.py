"""`dcat.jsonld`: the release as a dataset with its distributions, in DCAT-AP 3.0 (SEMIC, European Commission).

Controlled terms are those of the EU Publications Office, as DCAT-AP requires; areas have the identifiers of the Office
for National Statistics. Every resource has the class that the DCAT-AP shapes require.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ndl_export.facts.description import KEYWORDS, OGL_ADDRESS, OGL_NAME, DataFile, Description
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE
from ndl_export.files.archive import ARCHIVES

AUTHORITY = "http://publications.europa.eu/resource/authority"
_AREA = "http://statistics.data.gov.uk/id/statistical-geography"
_ORGANISATION = "https://www.gov.uk/government/organisations"
_MEDIA_TYPE = "http://www.iana.org/assignments/media-types"
_FORMATS = {"csv": "CSV", "ods": "ODS", "parquet": "PARQUET", "zip": "ZIP", "tar": "TAR"}
CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "dcat_context.json").read_text(encoding="utf-8"))
PAGES = (
    "README.md",
    "methodology.md",
    "data_dictionary.md",
    "quality.md",
    "privacy_statement.md",
    "five_safes.md",
    "code_of_practice.md",
    "ai_readiness.md",
    "changelog.md",
)
"""Documents about the data."""


def build_dcat_record(described: Description, previous: str | None) -> dict[str, Any]:
    """Return the record, JSON-ready; `previous` is the version that this one replaces, or None."""
    facts = described.facts
    compared = f"compared with release {previous}" if previous else "the first release of this cohort"
    noisy_counts = NOISY_COUNTS_FILE, *facts.on_request.files & {FURTHER_COUNTS_FILE}
    record: dict[str, Any] = {
        "@context": CONTEXT,
        "@id": facts.folder_address,
        "@type": "dcat:Dataset",
        "dct:title": build_text(described.title),
        "dct:description": build_text(described.description),
        "dct:identifier": facts.folder_address,
        "dct:issued": build_date(facts.published_on),
        "dct:modified": build_date(facts.published_on),
        "dcat:version": facts.version,
        "adms:versionNotes": build_text(f"Release {facts.version}, {compared}; see changelog.md"),
        "dct:publisher": {
            "@id": f"{_ORGANISATION}/{facts.organisation}",
            "@type": ["foaf:Agent", "foaf:Organization"],
            "foaf:name": build_text(facts.publisher),
        },
        "dcat:contactPoint": {
            "@type": ["vcard:Kind", "vcard:Organization"],
            "vcard:fn": facts.publisher,
            "vcard:hasEmail": {"@id": f"mailto:{facts.contact}"},
        },
        "dct:accessRights": {
            "@id": f"{AUTHORITY}/access-right/PUBLIC",
            "@type": "dct:RightsStatement",
        },
        "dct:accrualPeriodicity": {"@id": f"{AUTHORITY}/frequency/ANNUAL", "@type": "dct:Frequency"},
        "dct:language": {"@id": f"{AUTHORITY}/language/ENG", "@type": "dct:LinguisticSystem"},
        "dct:spatial": [
            {"@id": f"{_AREA}/{area.code}", "@type": "dct:Location", "skos:prefLabel": build_text(area.name)}
            for area in described.places
        ],
        "dct:temporal": {
            "@type": "dct:PeriodOfTime",
            "dcat:startDate": build_date(described.first_day),
            "dcat:endDate": build_date(described.last_day),
        },
        "dct:provenance": {
            "@type": "dct:ProvenanceStatement",
            "dct:description": build_text(
                "Made from councils' extracts, linked under pseudonyms; published from noisy counts alone, which are in"
                f" the release ({' and '.join(noisy_counts)})."
            ),
        },
        "dcat:theme": build_concept("data-theme/EDUC", "Education, culture and sport"),
        "dct:type": build_concept("dataset-type/STATISTICAL", "Statistical data"),
        "dcat:keyword": [build_text(keyword) for keyword in KEYWORDS],
        "dcat:landingPage": {"@id": facts.address, "@type": "foaf:Document"},
        "foaf:page": [
            {"@id": described.get_address(name), "@type": "foaf:Document", "dct:title": build_text(name)}
            for name in PAGES
        ],
        "dcat:distribution": [_build_distribution(described, entry) for entry in described.data_files],
    }
    if previous:
        record["dcat:previousVersion"] = {"@id": f"{facts.address}/{previous}"}
    return record


def _build_distribution(described: Description, entry: DataFile) -> dict[str, Any]:
    """Return the properties of every distribution; its identifier is a fragment of the dataset's address."""
    published = build_date(described.facts.published_on)
    media_type = {"@id": f"{_MEDIA_TYPE}/{entry.media_type}", "@type": "dct:MediaType"}
    own: dict[str, Any] = {"dcat:packageFormat": media_type} if entry.format in ARCHIVES else {}
    # An archive holds this record, which therefore cannot state its size and hash.
    if entry.sha256:
        own["dcat:byteSize"] = {"@value": str(entry.size), "@type": "xsd:nonNegativeInteger"}
        own["spdx:checksum"] = {
            "@type": "spdx:Checksum",
            "spdx:algorithm": {"@id": "spdx:checksumAlgorithm_sha256", "@type": "spdx:ChecksumAlgorithm"},
            "spdx:checksumValue": {"@value": entry.sha256, "@type": "xsd:hexBinary"},
        }
    return own | {
        "@id": f"{described.facts.folder_address}#{entry.name}",
        "@type": "dcat:Distribution",
        "dct:title": build_text(entry.title),
        "dct:description": build_text(entry.about),
        "dct:issued": published,
        "dct:modified": published,
        "dcat:accessURL": {"@id": entry.address, "@type": "rdfs:Resource"},
        "dcat:downloadURL": {"@id": entry.address, "@type": "rdfs:Resource"},
        "dct:format": {"@id": f"{AUTHORITY}/file-type/{_FORMATS[entry.format]}", "@type": "dct:MediaTypeOrExtent"},
        "dcat:mediaType": media_type,
        "dct:license": {
            "@id": OGL_ADDRESS,
            "@type": "dct:LicenseDocument",
            "dct:title": build_text(OGL_NAME),
            "dct:type": {
                "@id": "http://purl.org/adms/licencetype/Attribution",
                "@type": "skos:Concept",
                "skos:prefLabel": build_text("Attribution"),
            },
        },
        "dcatap:availability": build_concept("planned-availability/STABLE", "stable"),
        "dct:language": {"@id": f"{AUTHORITY}/language/ENG", "@type": "dct:LinguisticSystem"},
    }


def build_concept(path: str, label: str) -> dict[str, Any]:
    """Return a term of the Publications Office, given its path below the authority tables."""
    return {"@id": f"{AUTHORITY}/{path}", "@type": "skos:Concept", "skos:prefLabel": build_text(label)}


def build_text(words: str) -> dict[str, str]:
    """Return a literal in English."""
    return {"@value": words, "@language": "en"}


def build_date(day: str) -> dict[str, str]:
    """Return a date literal; `day` is written 2026-11-01."""
    return {"@value": day, "@type": "xsd:date"}

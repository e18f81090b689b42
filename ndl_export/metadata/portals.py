"""Records of a release for data portals and reference managers.

`ckan_package.json`: the argument of CKAN's `package_create`, with the fields that data.gov.uk uses. `owner_org` is the
publisher's name on GOV.UK, which data.gov.uk uses too.

`ukgov_dataset.json` and `ukgov_distributions.json`: the UK Cross-Government Metadata Exchange Model (Central Digital
and Data Office), which refers to distributions by address and has a separate record for each.

`CITATION.cff`: the citation of the release, in the Citation File Format 1.2.0 that reference managers read.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from ndl_export.facts.description import KEYWORDS, NAME, OGL_ADDRESS, OGL_NAME, Description, format_file_title
from ndl_export.files.media_types import MEDIA_TYPES
from ndl_export.pages.number_format import join_parts

_CKAN_THEME = "education"
_CKAN_LICENCE = "uk-ogl"
"""The licence's identifier in CKAN."""

_DOCUMENTS = ("methodology.md", "data_dictionary.csv", "quality.md", "privacy_statement.md", "changelog.md")


def build_ckan_package(described: Description) -> dict[str, Any]:
    """Return the CKAN package, JSON-ready."""
    facts = described.facts
    extras = {
        "temporal_coverage-from": described.first_day,
        "temporal_coverage-to": described.last_day,
        "geographic_coverage": "; ".join(area.name for area in described.places),
        "update_frequency": "annual",
        "language": "eng",
    }
    return {
        # A name in CKAN is a part of its address and has no dots.
        "name": f"{NAME}-{re.sub('[^0-9]', '-', facts.version)}",
        "title": described.title,
        "notes": described.description,
        "owner_org": facts.organisation,
        "author": facts.publisher,
        "author_email": facts.contact,
        "maintainer": facts.publisher,
        "maintainer_email": facts.contact,
        "license_id": _CKAN_LICENCE,
        "license_title": OGL_NAME,
        "theme-primary": _CKAN_THEME,
        "version": facts.version,
        "url": facts.folder_address,
        "private": False,
        "tags": [{"name": keyword} for keyword in sorted(KEYWORDS)],
        "extras": [{"key": key, "value": value} for key, value in sorted(extras.items())],
        "resources": [
            *(
                {
                    "name": entry.title,
                    "description": entry.about,
                    "url": entry.address,
                    "format": entry.format.capitalize() if entry.format == "parquet" else entry.format.upper(),
                    "mimetype": entry.media_type,
                }
                | ({"size": entry.size, "hash": f"sha256:{entry.sha256}"} if entry.sha256 else {})
                for entry in described.data_files
            ),
            *(
                {
                    "name": format_file_title(name),
                    "description": f"{format_file_title(name)} of the release",
                    "url": described.get_address(name),
                    "format": "CSV" if name.endswith(".csv") else "Markdown",
                    "mimetype": MEDIA_TYPES[name.rpartition(".")[2]],
                    "resource_type": "documentation",
                }
                for name in _DOCUMENTS
            ),
        ],
    }


_THEME = "http://publications.europa.eu/resource/authority/data-theme/EDUC"


def build_ukgov_dataset(described: Description, previous: str | None) -> dict[str, Any]:
    """Return the Dataset record; `previous` is the version that this one replaces, or None."""
    facts = described.facts
    related = [described.get_address(name) for name in ("methodology.md", "privacy_statement.md", "quality.md")]
    return {
        "identifier": facts.folder_address,
        "type": "dcat:Dataset",
        "title": described.title,
        "alternativeTitle": ["School readiness statistics"],
        "summary": described.summary,
        "description": described.description,
        "keyword": sorted(KEYWORDS),
        "theme": [_THEME],
        "licence": OGL_ADDRESS,
        "version": facts.version,
        "accessRights": "OPEN",
        "securityClassification": "OFFICIAL",
        "contactPoint": {"contactName": facts.publisher, "email": facts.contact},
        "created": facts.published_on,
        "issued": facts.published_on,
        "modified": facts.published_on,
        "creator": [facts.organisation],
        "publisher": facts.organisation,
        "updateFrequency": "freq:annual",
        "relatedResource": [*related, *([f"{facts.address}/{previous}"] if previous else [])],
        "distribution": [entry.address for entry in described.data_files],
    }


def build_ukgov_distributions(described: Description) -> list[dict[str, Any]]:
    """Return the Distribution records, in the order in which the dataset refers to them."""
    day = described.facts.published_on
    return [
        {
            "identifier": entry.address,
            "type": "dcat:Distribution",
            "title": entry.title,
            "description": entry.about,
            "licence": OGL_ADDRESS,
            "accessRights": "OPEN",
            "issued": day,
            "modified": day,
            "downloadURL": entry.address,
            "mediaType": entry.media_type,
        }
        | ({"byteSize": entry.size} if entry.sha256 else {})
        for entry in described.data_files
    ]


CITATION_FILE = "CITATION.cff"
_SPDX_LICENCE = "OGL-UK-3.0"
"""The licence's identifier in SPDX."""


def build_citation(described: Description) -> str:
    """Return the citation file; its `doi` identifies all releases together, if the publisher has one."""
    facts = described.facts
    entity = {"name": facts.publisher, "email": facts.contact, "website": facts.address}
    record: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": join_parts(facts.notice, "If you use these statistics, please cite them as below."),
        "type": "dataset",
        "title": described.title,
        "abstract": described.summary,
        "authors": [entity],
        # A copy, because YAML would write the same dictionary as an alias of the author.
        "contact": [dict(entity)],
        "version": facts.version,
        "date-released": facts.published_on,
        **({"doi": facts.doi} if facts.doi else {}),
        "url": facts.folder_address,
        "license": _SPDX_LICENCE,
        "license-url": OGL_ADDRESS,
        "keywords": list(KEYWORDS),
    }
    # The format has no field for a notice, so it is a comment in the first line.
    first = f"# {facts.notice}\n" if facts.notice else ""
    return first + yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=120)

"""`croissant.json`: the release in Croissant 1.1 (MLCommons), with which a program can load the rows of every table.

Its sources are the Parquet files, by name, so it loads from a downloaded bundle as well as from the web. What version
1.1 recommends is stated in the vocabularies that it names: the provenance of tables in PROV-O, the licence terms in
ODRL, and the subject of a row in the dimensions of SDMX, as an observation of a data cube.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ndl_export.facts.description import KEYWORDS, LANGUAGE, OGL_ADDRESS, OGL_NAME, DataFile, Description
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE
from ndl_export.files.media_types import CROISSANT
from ndl_export.tables import Table
from ndl_export.tables.schema import OWN_AREA, list_columns

CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "croissant_context.json").read_text(encoding="utf-8"))
"""The context prescribed by Croissant 1.1, with prefixes for the other vocabularies."""
RESPONSIBLE_USE: dict[str, dict[str, str]] = yaml.safe_load(
    (Path(__file__).parent / "responsible_use.yaml").read_text(encoding="utf-8")
)
"""Properties of Croissant RAI 1.0, of a release and of synthetic children."""

_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}
_DIMENSIONS = {
    "time_period": "dimension:refPeriod",
    OWN_AREA[0]: "dimension:refArea",
    "sex": "dimension:sex",
}
"""SDMX dimensions, by column name."""


def build_croissant(described: Description, files: Mapping[str, bytes], previous: str | None) -> dict[str, Any]:
    """Return the record, JSON-ready.

    `files` are the files it describes (content by name); `previous` is the version that this one replaces, or None.
    """
    facts = described.facts
    tables = [(entry, entry.table) for entry in described.data_files if entry.table and entry.format == "parquet"]
    return build_dataset(
        described.title,
        described.description,
        (facts.publisher, facts.contact),
        facts.folder_address,
        facts.version,
        facts.published_on,
    ) | {
        "temporalCoverage": f"{described.first_day}/{described.last_day}",
        "spatialCoverage": [area.name for area in described.places],
        "keywords": list(KEYWORDS),
        "usageInfo": _build_terms(facts.folder_address),
        **({"identifier": f"https://doi.org/{facts.doi}"} if facts.doi else {}),
        **_build_provenance(described, previous, _build_count_references(files)),
        **RESPONSIBLE_USE["release"],
        "distribution": [
            *(
                build_file_object(name, about, files[name])
                | {"prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": _MEASUREMENT}}
                for name, about in _MEASURED.items()
                if name in files
            ),
            *(
                build_file_object(entry.name, entry.title, files[entry.name])
                | {"prov:wasDerivedFrom": _build_count_references(files)}
                for entry, _ in tables
            ),
        ],
        "recordSet": [_build_table_records(entry, table) for entry, table in tables],
    }


def build_dataset(
    title: str, description: str, publisher: tuple[str, str], url: str, version: str, day: str, suffix: str = ""
) -> dict[str, Any]:
    """Return the properties of every dataset.

    `publisher` is name and e-mail address, `day` the day of publication, and `suffix` the end of the citation.
    """
    name, email = publisher
    organisation = {"@type": "Organization", "name": name, "email": email}
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CROISSANT,
        "name": title,
        "description": description,
        "license": OGL_ADDRESS,
        "sdLicense": OGL_ADDRESS,
        "url": url,
        "version": version,
        # A release never changes, so its three dates are one day.
        **dict.fromkeys(("datePublished", "dateCreated", "dateModified"), day),
        "inLanguage": LANGUAGE,
        "publisher": organisation,
        "creator": organisation,
        "citeAs": f"{name} ({day[:4]}). {title}, release {version}{suffix}.",
        "isLiveDataset": False,
    }


def build_file_object(name: str, description: str, content: bytes) -> dict[str, Any]:
    """Return the description of a Parquet file."""
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": description,
        # The name alone, so that a downloaded bundle loads without the web.
        "contentUrl": name,
        "contentSize": f"{len(content)} B",
        "encodingFormat": "application/x-parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def build_record_set(
    name: str, description: str, file: str, key: Iterable[str], columns: Iterable[tuple[str, str, str]]
) -> dict[str, Any]:
    """Return the description of the rows of a file; `columns` are name, description and type."""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": description,
        "key": [{"@id": f"{name}/{column}"} for column in key],
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": meaning,
                "dataType": kind,
                "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
            }
            for column, meaning, kind in columns
        ],
    }


def _build_terms(address: str) -> dict[str, Any]:
    """Return the permissions of the Open Government Licence and its one duty."""
    return {
        "@type": ["CreativeWork", "odrl:Offer"],
        "@id": f"{address}#terms",
        "name": OGL_NAME,
        "url": OGL_ADDRESS,
        "odrl:permission": {
            "@type": "odrl:Permission",
            "odrl:action": [{"@id": f"odrl:{action}"} for action in ("use", "reproduce", "distribute", "derive")],
            "odrl:duty": {"@type": "odrl:Duty", "odrl:action": {"@id": "odrl:attribute"}},
        },
    }


_MEASURED = {
    NOISY_COUNTS_FILE: "Noisy counts behind every figure, as they were drawn",
    FURTHER_COUNTS_FILE: "Noisy counts that were drawn for tables on request, and make other figures sharper too",
}
"""Files of noisy counts, with their descriptions."""
_MEASUREMENT = "Differentially private measurement of the linked records (privacy_statement.md)"


def _build_count_references(files: Mapping[str, bytes]) -> Any:
    """Return references to the files of noisy counts among `files`: one, or a list."""
    there = [{"@id": name} for name in _MEASURED if name in files]
    return there if len(there) > 1 else there[0]


def _build_provenance(described: Description, previous: str | None, measured: Any) -> dict[str, Any]:
    """Return who is responsible for the dataset, the files it was derived from, and the release it replaces."""
    facts = described.facts
    revised = {"prov:wasRevisionOf": {"@id": f"{facts.address}/{previous}"}} if previous else {}
    return revised | {
        "prov:wasAttributedTo": {"@type": ["prov:Agent", "prov:Organization"], "prov:label": facts.publisher},
        "prov:wasDerivedFrom": measured,
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": "Estimation of every figure and its interval from noisy counts (methodology.md)",
            "prov:used": measured,
        },
    }


def _build_table_records(entry: DataFile, table: Table) -> dict[str, Any]:
    described = list_columns(table)
    found = build_record_set(
        table.name,
        f"{table.title}. {entry.about}",
        entry.name,
        [column.name for column in described if column.is_key],
        [(column.name, column.meaning, _TYPES[str(column.type)]) for column in described],
    )
    for field in found["field"]:
        if field["name"] in _DIMENSIONS:
            field["equivalentProperty"] = _DIMENSIONS[field["name"]]
    return found | {"dataType": "qb:Observation"}

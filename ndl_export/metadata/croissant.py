"""`croissant.json`: the release in Croissant (MLCommons), from which a program can load the rows of every table.

The Parquet files are its source, by name, so that it loads from a downloaded bundle as well as from where it is served.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ndl_export.facts.description import KEYWORDS, LANGUAGE, OGL_ADDRESS, DataFile, Description
from ndl_export.tables import Table
from ndl_export.tables.schema import PublishedColumn, columns

_CONTEXT: dict[str, Any] = json.loads((Path(__file__).parent / "croissant_context.json").read_text(encoding="utf-8"))
"""The context that Croissant 1.0 prescribes."""

_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}


def croissant(described: Description) -> dict[str, Any]:
    """The record, JSON-ready."""
    facts = described.facts
    files = [(entry, entry.table) for entry in described.data_files if entry.table and entry.format == "parquet"]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": described.title,
        "description": described.description,
        "license": OGL_ADDRESS,
        "url": facts.folder_address,
        "version": facts.version,
        "datePublished": facts.published_on,
        "inLanguage": LANGUAGE,
        "keywords": list(KEYWORDS),
        "publisher": {"@type": "Organization", "name": facts.publisher, "email": facts.contact},
        "creator": {"@type": "Organization", "name": facts.publisher, "email": facts.contact},
        "citeAs": f"{facts.publisher} ({facts.published_on[:4]}). {described.title}, release {facts.version}.",
        "isLiveDataset": False,
        "rai:personalSensitiveInformation": (
            "None: aggregates with noise added to protect each child (privacy_statement.md)"
        ),
        "distribution": [_file(entry) for entry, _ in files],
        "recordSet": [_records(entry, table) for entry, table in files],
    }


def _file(entry: DataFile) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": entry.name,
        "name": entry.name,
        "description": entry.title,
        "contentUrl": entry.name,
        "contentSize": f"{entry.size} B",
        "encodingFormat": "application/x-parquet",
        "sha256": entry.sha256,
    }


def _records(entry: DataFile, table: Table) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": table.name,
        "name": table.name,
        "description": f"{table.title}. {table.about}",
        "key": [{"@id": f"{table.name}/{column.name}"} for column in columns(table) if column.is_key],
        "field": [_field(entry, table, column) for column in columns(table)],
    }


def _field(entry: DataFile, table: Table, column: PublishedColumn) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{table.name}/{column.name}",
        "name": column.name,
        "description": f"{column.label}. {column.description}",
        "dataType": _TYPES[str(column.type)],
        "source": {"fileObject": {"@id": entry.name}, "extract": {"column": column.name}},
    }

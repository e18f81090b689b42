"""`datapackage.json`: the bundle as a Frictionless Data Package (specs.frictionlessdata.io, version 1).

CSV files are tabular resources with a schema for validation; every other file is a plain resource with size and hash.
Columns of symbols define their own missing values, as in version 2: only `none` is missing there, no symbol is. Five
properties are not part of the standard. `cohorts`, `councils` and `missing` (by cohort and source, the councils that
have not sent it) determine the rows of the tables and which of them are not available. `schemaVersion` is that of the
tables. `notice`, if present, begins everything about the release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from ndl_export.facts.description import FORMS, KEYWORDS, NAME, OGL_ADDRESS, OGL_NAME, TOGETHER, file_title
from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE
from ndl_export.facts.on_request import FURTHER_COUNTS_FILE, ON_REQUEST_FILE
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.media_types import MEDIA_TYPES
from ndl_export.pages.number_format import said
from ndl_export.tables import Table
from ndl_export.tables.ees import INSTEAD, NOTHING, CsvColumn, csv_columns, csv_key
from ndl_export.tables.plain_csv import ALL_ROWS, PlainColumn, plain_columns, row_key, table_of_all_rows
from ndl_export.tables.schema import SCHEMA_VERSION, ColumnRole

_TYPES = {"string": "string", "int64": "integer", "double": "number"}


def datapackage(facts: ReleaseFacts, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the descriptor of `files` (content by name), JSON-ready, in order of name."""
    return {
        "profile": "data-package",
        "name": NAME,
        "id": f"{NAME}-{facts.version}",
        "title": TITLE,
        "description": said(
            facts.notice, "Differentially private statistics on school readiness, from linked early-years records"
        ),
        "version": facts.version,
        "schemaVersion": SCHEMA_VERSION,
        "created": f"{facts.published_on}T00:00:00Z",
        "licenses": [{"name": "OGL-UK-3.0", "title": OGL_NAME, "path": OGL_ADDRESS}],
        "contributors": [{"title": facts.publisher, "email": facts.contact, "role": "publisher"}],
        "homepage": facts.folder_address,
        "keywords": list(KEYWORDS),
        "cohorts": sorted(facts.cohorts),
        "councils": sorted(facts.councils),
        "missing": {
            cohort: {source: sorted(councils) for source, councils in sorted(absent.items()) if councils}
            for cohort, absent in facts.missing.items()
        },
        "resources": [_resource(name, files[name], facts) for name in sorted(files)],
    } | ({"notice": facts.notice} if facts.notice else {})


def _resource(name: str, content: bytes, facts: ReleaseFacts) -> dict[str, Any]:
    path = PurePath(name)
    if every := table_of_all_rows(name, facts.tables):
        described = _tabular(every, FORMS[ALL_ROWS], _all_rows(every), facts)
    elif table := facts.tables.get(path.stem) if path.suffix == ".csv" else None:
        described = _tabular(table, FORMS[".csv"], _official_rows(table), facts)
    else:
        described = {"title": _title(path, facts.tables), "profile": "data-resource", "type": "file"}
    return described | {
        "name": name.lower().replace(".", "-").replace("_", "-"),
        "path": name,
        "format": path.suffix.lstrip("."),
        "mediatype": MEDIA_TYPES[path.suffix.lstrip(".")],
        "encoding": "utf-8",
        "bytes": len(content),
        "hash": f"sha256:{hashlib.sha256(content).hexdigest()}",
    }


def _title(path: PurePath, defined: Mapping[str, Table]) -> str:
    if path.name in TOGETHER:
        return TOGETHER[path.name][0]
    if path.name == NOISY_COUNTS_FILE:
        return "Noisy counts behind every figure, as they were drawn"
    if path.name == FURTHER_COUNTS_FILE:
        return "Noisy counts that were drawn for tables on request"
    if path.name == ON_REQUEST_FILE:
        return "Tables on request: their definitions, who asked and what for"
    table = defined.get(path.name.partition(".")[0]) if path.suffix in (".csv", ".parquet") else None
    if table is None:
        return file_title(path.name)
    return f"{table.title} ({FORMS.get(path.suffix, 'EES metadata')})"


def _tabular(table: Table, form: str, schema: dict[str, Any], facts: ReleaseFacts) -> dict[str, Any]:
    return {
        "title": f"{table.title} ({form})",
        "description": facts.about(table),
        "profile": "tabular-data-resource",
        "type": "table",
        "dialect": {"delimiter": ",", "lineTerminator": "\n", "quoteChar": '"', "doubleQuote": True, "header": True},
        "schema": schema,
    }


def _all_rows(table: Table) -> dict[str, Any]:
    """Return the schema of a CSV file with all rows of the Parquet file."""
    return {
        "fields": [_plain_field(column) for column in plain_columns(table)],
        "missingValues": [""],
        "primaryKey": list(row_key(table)),
    }


def _plain_field(column: PlainColumn) -> dict[str, Any]:
    """Return a field of a file with all rows."""
    constraints: dict[str, Any] = column.limits | ({"required": True} if column.required else {})
    return {
        "name": column.source.name,
        "title": column.source.label,
        "description": column.source.description,
        "type": _TYPES[str(column.source.type)],
        "constraints": constraints | ({"enum": list(column.words)} if column.words else {}),
    }


def _official_rows(table: Table) -> dict[str, Any]:
    """Return the schema of a CSV file for Explore Education Statistics."""
    return {
        "fields": [_field(column) for column in csv_columns(table)],
        "missingValues": ["", *INSTEAD],
        "primaryKey": list(csv_key(table)),
    }


def _field(column: CsvColumn) -> dict[str, Any]:
    """Return a field of a file for Explore Education Statistics."""
    described = {"name": column.name, "title": column.label, "description": column.description}
    if column.is_number:
        return described | {"type": "integer" if column.is_whole else "number", "constraints": column.limits}
    if column.source.symbols:
        return described | {"type": "string", "missingValues": [NOTHING], "constraints": {"enum": list(column.words)}}
    named = column.name in ("geographic_level", "country_code", "country_name")
    constraints: dict[str, Any] = {"required": True} if named or column.source.role is not ColumnRole.PLACE else {}
    if column.words:
        constraints["enum"] = list(column.words)
    return described | {"type": "string", "constraints": constraints}

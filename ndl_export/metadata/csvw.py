"""`csv-metadata.json`: every CSV file of the bundle in CSV on the Web (W3C), under the file name that CSVW defines.

Table files have typed columns. In files with all rows, an empty cell is null. In those for Explore Education
Statistics, null is a symbol in place of a figure, or `none` in columns of symbols. Other CSV files have only column
names.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ndl_export.facts.description import FORMS, LANGUAGE, OGL_ADDRESS, Description, file_title
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables import Table
from ndl_export.tables.ees import INSTEAD, NOTHING, CsvColumn, csv_columns, csv_key
from ndl_export.tables.plain_csv import ALL_ROWS, PlainColumn, plain_columns, row_key, table_of_all_rows
from ndl_export.tables.schema import ColumnRole

_DIALECT = {"encoding": "utf-8", "delimiter": ",", "quoteChar": '"', "doubleQuote": True, "header": True}
_FORMS = {
    "time_period": "[0-9]{6}",
    "country_code": "E92[0-9]{6}",
    "region_code": "E12[0-9]{6}",
    "old_la_code": "[0-9]{3}",
    "new_la_code": "E0[6-9][0-9]{6}",
    "english_devolved_area_code": "E47[0-9]{6}",
}
"""Regular expressions for time and place columns."""
_BASES = {"string": "string", "int64": "integer", "double": "double"}


def csvw_metadata(described: Description, files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the table group of the CSV files among `files` (content by name), JSON-ready."""
    facts = described.facts
    return {
        "@context": ["http://www.w3.org/ns/csvw", {"@language": LANGUAGE}],
        "dc:title": described.title,
        "dc:description": described.description,
        "dc:publisher": facts.publisher,
        "dc:issued": facts.published_on,
        "dc:license": {"@id": OGL_ADDRESS},
        "dialect": _DIALECT,
        "tables": [_file(name, files[name], facts) for name in sorted(files) if name.endswith(".csv")],
    }


def _file(name: str, content: bytes, facts: ReleaseFacts) -> dict[str, Any]:
    if every := table_of_all_rows(name, facts.tables):
        described = [_plain_column(column) for column in plain_columns(every)]
        titles = _titles(every, FORMS[ALL_ROWS], facts)
        return _table(name, titles, described, row_key(every))
    if table := facts.tables.get(name.removesuffix(".csv")):
        described = [_column(column) for column in csv_columns(table)]
        return _table(name, _titles(table, FORMS[".csv"], facts), described, csv_key(table))
    return _plain(name, content)


def _table(name: str, titles: dict[str, str], described: list[dict[str, Any]], key: tuple[str, ...]) -> dict[str, Any]:
    return {"url": name} | titles | {"tableSchema": {"columns": described, "primaryKey": list(key)}}


def _titles(table: Table, form: str, facts: ReleaseFacts) -> dict[str, str]:
    return {"dc:title": f"{table.title} ({form})", "dc:description": facts.about(table)}


def _plain_column(column: PlainColumn) -> dict[str, Any]:
    """Return a column of a file with all rows."""
    name, base = column.source.name, _BASES[str(column.source.type)]
    form = {"format": _FORMS[name]} if name in _FORMS else {}
    return {
        "name": name,
        "titles": name,
        "dc:title": column.source.label,
        "dc:description": column.source.description,
        "required": column.required,
        "datatype": _one_of(column.words) if column.words else {"base": base} | form | column.limits,
    }


def _plain(name: str, content: bytes) -> dict[str, Any]:
    header = next(csv.reader(io.StringIO(content.decode())))
    title = f"Metadata of {name.partition('.')[0]}.csv" if name.endswith(".meta.csv") else file_title(name)
    columns = [{"name": column, "titles": column} for column in header]
    return {"url": name, "dc:title": title, "tableSchema": {"columns": columns}}


def _column(column: CsvColumn) -> dict[str, Any]:
    """Return a column of a file for Explore Education Statistics."""
    source = column.source
    described = {
        "name": column.name,
        "titles": column.name,
        "dc:title": column.label,
        "dc:description": column.description,
    }
    if column.is_number:
        number = {"base": "integer" if column.is_whole else "decimal"} | column.limits
        return described | {"null": list(INSTEAD), "datatype": number}
    if source.symbols:
        return described | {"null": [NOTHING], "datatype": _one_of(column.words)}
    if column.words:
        return described | {"required": True, "datatype": _one_of(column.words)}
    form = {"datatype": {"base": "string", "format": _FORMS[source.name]}} if source.name in _FORMS else {}
    return described | form | {"required": source.role is ColumnRole.TIME or source.name == "geographic_level"}


def _one_of(values: Iterable[str]) -> dict[str, str]:
    return {"base": "string", "format": "|".join(re.escape(value).replace("\\ ", " ") for value in values)}

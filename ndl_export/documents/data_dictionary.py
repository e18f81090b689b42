"""The data dictionary: every column of every table with its type, meaning and, for filters and symbols, its levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ndl_export.documents.markdown import csv_text, grid, page
from ndl_export.facts.on_request import RequestedTable
from ndl_export.tables import TABLES, Table
from ndl_export.tables.ees import NOTHING
from ndl_export.tables.rows import levels
from ndl_export.tables.schema import SYMBOLS, ColumnRole, PublishedColumn, columns

_FIELDS = ("table", "column", "role", "type", "unit", "decimals", "label", "description", "levels")
_TYPES = {"string": "text", "int64": "whole number", "double": "number"}


def data_dictionary_csv(defined: Mapping[str, Table] = TABLES) -> str:
    """Return one line per column of the tables in `defined`, in order; levels are separated by ' | '."""
    lines = (
        (
            table.name,
            column.name,
            column.role.value,
            column_type(column),
            _unit(column),
            str(column.measure.decimals) if column.measure and column.role is ColumnRole.FIGURE else "",
            column.label,
            column.description,
            " | ".join(_levels(table, column)),
        )
        for table in defined.values()
        for column in columns(table)
    )
    return csv_text(_FIELDS, lines)


def data_dictionary_page(requested: Sequence[RequestedTable] = ()) -> str:
    """Return the data dictionary of the standard tables and those `requested` as a page.

    Time and place columns, which all tables share, are listed once.
    """
    shared = [
        column for column in columns(next(iter(TABLES.values()))) if column.role in (ColumnRole.TIME, ColumnRole.PLACE)
    ]
    return page(
        "# Data dictionary",
        "Columns of the Parquet files, of the CSV files with all rows, where an empty cell is NULL, and of the analyst "
        "database. The CSV files for Explore Education Statistics have the same columns with the same symbols, but for "
        "flags of counts, `area_code` and `area_name`. There, the symbol stands in the place of a figure that is not "
        f"shown, and `{NOTHING}` where there is no flag or no break.",
        "## Symbols",
        "They mean the same wherever they stand: in Parquet, CSV, database, pages and documents.",
        symbols_grid(),
        "## Columns of time and place, in every table",
        _columns_grid(shared),
        *(part for table in TABLES.values() for part in _table_parts(table)),
        *(["## Tables on request"] if requested else []),
        *(part for each in requested for part in _table_parts(each.table, "###", each.origin)),
    )


def symbols_grid() -> str:
    """Return a table of all symbols and their meanings."""
    return grid(("symbol", "meaning"), ((f"`{symbol}`", meaning) for symbol, meaning in SYMBOLS.items()))


def column_type(column: PublishedColumn) -> str:
    """Return the type of a column in words."""
    return _TYPES[str(column.type)]


def _table_parts(table: Table, level: str = "##", told: str = "") -> tuple[str, ...]:
    own = [column for column in columns(table) if column.role not in (ColumnRole.TIME, ColumnRole.PLACE)]
    filters = ((f"`{entry.name}`", "; ".join(levels(table, entry.name))) for entry in table.filters)
    return (
        f"{level} `{table.name}`: {table.title}",
        f"{table.about}.{f' {told}.' if told else ''}",
        _columns_grid(own),
        grid(("filter", "levels"), filters),
    )


def _levels(table: Table, column: PublishedColumn) -> tuple[str, ...]:
    return levels(table, column.name) if column.role is ColumnRole.FILTER else column.symbols


def _columns_grid(entries: list[PublishedColumn]) -> str:
    return grid(
        ("column", "type", "unit", "meaning"),
        ((f"`{c.name}`", column_type(c), _unit(c), c.meaning) for c in entries),
    )


def _unit(column: PublishedColumn) -> str:
    if column.measure is None or column.role is ColumnRole.FLAG:
        return ""
    return column.measure.unit_in_words

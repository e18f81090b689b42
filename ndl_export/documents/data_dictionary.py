"""The data dictionary: every column of every table with its type, meaning and, for filters and symbols, its levels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ndl_export.facts.on_request import RequestedTable
from ndl_export.files.whole_files import format_csv
from ndl_export.pages import kit
from ndl_export.tables import TABLES, Table
from ndl_export.tables.csv_files import NOTHING
from ndl_export.tables.rows import list_levels
from ndl_export.tables.schema import SYMBOLS, ColumnRole, PublishedColumn, list_columns

_FIELDS = ("table", "column", "role", "type", "unit", "decimals", "label", "description", "levels")
_TEMPLATES = Path(__file__).parent / "templates"
_SHARED = (ColumnRole.TIME, ColumnRole.PLACE)
_TYPES = {"string": "text", "int64": "whole number", "double": "number"}


def build_data_dictionary_csv(defined: Mapping[str, Table] = TABLES) -> str:
    """Return one line per column of the tables in `defined`, in order; levels are separated by ' | '."""
    lines = (
        (
            table.name,
            column.name,
            column.role.value,
            describe_column_type(column),
            _describe_unit(column),
            str(column.measure.decimals) if column.measure and column.role is ColumnRole.FIGURE else "",
            column.label,
            column.description,
            " | ".join(_list_levels(table, column)),
        )
        for table in defined.values()
        for column in list_columns(table)
    )
    return format_csv(_FIELDS, lines)


def render_data_dictionary_page(requested: Sequence[RequestedTable] = ()) -> str:
    """Return the data dictionary as a page; columns that all tables share are listed once."""
    tables = [("##", table, "") for table in TABLES.values()]
    on_request = [("###", each.table, each.origin) for each in requested]
    return kit.render(
        _TEMPLATES,
        "data_dictionary.md",
        nothing=NOTHING,
        symbols=build_symbols_grid(),
        # Time and place columns are the same in every table, so the first table has them all.
        shared=[column for column in list_columns(next(iter(TABLES.values()))) if column.role in _SHARED],
        parts=[tables, *([on_request] if requested else [])],
        own_columns=lambda table: [column for column in list_columns(table) if column.role not in _SHARED],
        levels=list_levels,
        column_type=describe_column_type,
        unit=_describe_unit,
    )


def build_symbols_grid() -> str:
    """Return a table of all symbols and their meanings."""
    return kit.format_grid(("symbol", "meaning"), ((f"`{symbol}`", meaning) for symbol, meaning in SYMBOLS.items()))


def describe_column_type(column: PublishedColumn) -> str:
    """Return the type of a column in words."""
    return _TYPES[str(column.type)]


def _list_levels(table: Table, column: PublishedColumn) -> tuple[str, ...]:
    return list_levels(table, column.name) if column.role is ColumnRole.FILTER else column.symbols


def _describe_unit(column: PublishedColumn) -> str:
    if column.measure is None or column.role is ColumnRole.FLAG:
        return ""
    return column.measure.unit_in_words

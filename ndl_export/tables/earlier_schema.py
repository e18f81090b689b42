"""Tables of releases whose schema is older than 2.0.0, read as those of today: the one place that knows them.

A withheld figure was flagged `low`, which means elsewhere that a figure rounds to zero, and where there was nothing to
say stood empty text. Neither can stand in a table of today. A row's own area had no columns of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.tables.geography import CODE_COLUMNS, NAME_COLUMNS
from ndl_export.tables.schema import BREAK_COLUMN, LEVEL, OWN_AREA, SCHEMA_VERSION, Flag, is_flag

EMPTY, WITHHELD = "", "low"

CHANGED = (
    f"symbols changed: `{WITHHELD}` (withheld) -> `{Flag.WITHHELD}`, empty text (nothing to say) -> NULL; in the CSV"
    f" files `{Flag.UNRELIABLE}` in the place of a figure -> `{Flag.WITHHELD}`, `<measure>_reliability` and"
    " `series_break` in words -> `<measure>_flag` and `series_break` in the symbols of the tables"
)
"""What a reader of both must know."""


def other_schema(package: Mapping[str, Any]) -> str | None:
    """The schema that `datapackage.json` says the tables of a bundle are of, if it is not one of today's: of another
    major version."""
    said = str(package.get("schemaVersion", ""))
    return said if said.partition(".")[0] != SCHEMA_VERSION.partition(".")[0] else None


def in_todays_symbols(data: pa.Table) -> pa.Table:
    """The rows of a published table, of whatever schema, with the symbols of today."""
    for position, name in enumerate(data.column_names):
        if is_flag(name) or name == BREAK_COLUMN.name:
            data = data.set_column(position, data.field(name).with_nullable(True), _translated(data[name]))
    return data


def with_own_area(data: pa.Table) -> pa.Table:
    """The rows of a published table with the code and name of their own area, where they have a level and no such
    columns yet."""
    if LEVEL not in data.column_names or OWN_AREA[0] in data.column_names:
        return data
    level, after = data[LEVEL], data.column_names.index(LEVEL) + 1
    for position, (name, sources) in enumerate(zip(OWN_AREA, (CODE_COLUMNS, NAME_COLUMNS), strict=True), after):
        own = level
        for of_level, source in sources.items():
            own = pc.if_else(pc.equal(level, of_level), data[source], own)
        data = data.add_column(position, pa.field(name, pa.string(), nullable=False), own)
    return data


def _translated(symbols: pa.ChunkedArray) -> pa.ChunkedArray:
    withheld = pc.if_else(pc.equal(symbols, WITHHELD), Flag.WITHHELD.value, symbols)
    return pc.if_else(pc.equal(withheld, EMPTY), pa.scalar(None, pa.string()), withheld)

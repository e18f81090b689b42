"""`<table>_all_rows.csv`: every row of a table as plain CSV, for whoever has a spreadsheet or a program of their own.

The columns, rows and values of the Parquet file, numbers in full and an empty cell for NULL. The CSV files for Explore
Education Statistics cannot be that: they leave out areas without an official code, and have symbols among figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ndl_export.tables import Table
from ndl_export.tables.rows import levels
from ndl_export.tables.schema import LEVEL, OWN_AREA, ColumnRole, PublishedColumn, arrow_schema, columns
from privacy.doors.database import in_memory

ALL_ROWS = "_all_rows.csv"
"""How the names of these files end."""


@dataclass(frozen=True)
class PlainColumn:
    """A column of such a file: that of the table, all the words that it may hold where these are few, and whether every
    cell of it is filled."""

    source: PublishedColumn
    words: tuple[str, ...]
    required: bool

    @property
    def limits(self) -> dict[str, int]:
        """The least and the most that a figure can be."""
        measure = self.source.measure
        return measure.limits if measure and self.source.role is ColumnRole.FIGURE else {}


def plain_columns(table: Table) -> tuple[PlainColumn, ...]:
    """Return the columns of the file with every row of `table`: those of the table."""
    given = {field.name for field in arrow_schema(table) if not field.nullable}
    return tuple(
        PlainColumn(
            column,
            levels(table, column.name) if column.role is ColumnRole.FILTER else column.symbols,
            column.name in given,
        )
        for column in columns(table)
    )


def write_plain_csvs(tables: Mapping[str, pa.Table], folder: Path) -> None:
    """Write the rows of each table, in their order, to `<name>_all_rows.csv` in `folder`."""
    with in_memory() as connection:
        for name, data in tables.items():
            connection.register("every", data)
            file = str(folder / f"{name}{ALL_ROWS}")
            connection.execute("COPY (FROM every) TO ? (FORMAT csv, HEADER, DELIMITER ',', NULL '')", [file])


def table_of_all_rows(file: str, defined: Mapping[str, Table]) -> Table | None:
    """Return which of the tables `defined` a file of that name has every row of, if any."""
    return defined.get(file.removesuffix(ALL_ROWS)) if file.endswith(ALL_ROWS) else None


def row_key(table: Table) -> tuple[str, ...]:
    """Return columns in which no two rows of a table agree, none of which is ever empty."""
    return ("time_period", LEVEL, OWN_AREA[0], *(entry.name for entry in table.filters))

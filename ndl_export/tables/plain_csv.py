"""Plain CSV files `<table>_all_rows.csv`: every row of a table, for use in spreadsheets and other programs.

They have the columns, rows and values of the Parquet file, with unrounded numbers and an empty cell for NULL. The CSV
files for Explore Education Statistics cannot serve this purpose: they leave out areas without an official code and mix
symbols with figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from ndl_export.tables import Table
from ndl_export.tables.ees import CsvColumn
from ndl_export.tables.rows import list_levels
from ndl_export.tables.schema import LEVEL, OWN_AREA, ColumnRole, list_columns
from privacy.doors.database import open_in_memory

ALL_ROWS = "_all_rows.csv"
"""Ending of the names of these files."""


def list_plain_columns(table: Table) -> tuple[CsvColumn, ...]:
    """Return the columns of the plain CSV file of `table`."""
    return tuple(
        CsvColumn(
            each, list_levels(table, each.name) if each.role is ColumnRole.FILTER else each.symbols, official=False
        )
        for each in list_columns(table)
    )


def write_plain_csvs(tables: Mapping[str, pa.Table], folder: Path) -> None:
    """Write the rows of each table, in their order, to `<name>_all_rows.csv` in `folder`."""
    with open_in_memory() as connection:
        for name, data in tables.items():
            connection.register("every", data)
            file = str(folder / f"{name}{ALL_ROWS}")
            connection.execute("COPY (FROM every) TO ? (FORMAT csv, HEADER, DELIMITER ',', NULL '')", [file])


def find_table(file: str, defined: Mapping[str, Table]) -> Table | None:
    """Return the table in `defined` whose plain CSV file has this name, or None."""
    return defined.get(file.removesuffix(ALL_ROWS)) if file.endswith(ALL_ROWS) else None


def list_row_key(table: Table) -> tuple[str, ...]:
    """Return the columns that identify a row; none of them is ever empty."""
    return ("time_period", LEVEL, OWN_AREA[0], *(entry.name for entry in table.filters))

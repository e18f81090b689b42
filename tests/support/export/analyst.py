"""Questions to the analyst database, and what the published tables say about them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from ndl_export.facts.description import DATABASE_FILE

Row = dict[str, Any]
FSM = "Free school meal eligibility"
ELIGIBLE, OTHERS = "Eligible for free school meals", "Not eligible for free school meals"
TOTAL = {"breakdown": "Total", "sex": "Total"}
COUNCILS, TOGETHER = {"geographic_level": "Local authority"}, {"geographic_level": "Pilot councils"}


def answer(reader: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    return reader.sql(query).to_arrow_table().to_pylist()


def read_from(directory: str) -> Any:
    """Return a fixture: a connection to the database in the release directory of this fixture."""

    @pytest.fixture(scope="module")
    def reader(request: pytest.FixtureRequest) -> Iterator[duckdb.DuckDBPyConnection]:
        database = request.getfixturevalue(directory) / DATABASE_FILE
        with duckdb.connect(str(database), read_only=True) as connection:
            yield connection

    return reader


@contextmanager
def open_changed(directory: Path, scratch: Path, *statements: str) -> Iterator[duckdb.DuckDBPyConnection]:
    copy = scratch / "copy.duckdb"
    copy.write_bytes((directory / DATABASE_FILE).read_bytes())
    with duckdb.connect(str(copy)) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection


def list_published(tables: dict[str, pa.Table], table: str, **where: str) -> list[Row]:
    return [row for row in tables[table].to_pylist() if all(row[name] == value for name, value in where.items())]


def compute_ends(row: Row, measure: str = "gld_children_percent") -> tuple[float, float, float]:
    return row[measure], row[f"{measure}_lower_ci"], row[f"{measure}_upper_ci"]


def compute_chance(row: Row) -> float:
    """Return the binomial variance of a row's rate, in squared percentage points."""
    percent = 50 if row["gld_children_percent"] is None else row["gld_children_percent"]
    return max(percent * (100 - percent), 0.0) / max(row["children_count_estimate"], 1.0)


def combine_correlated(one: float, other: float, correlation: float) -> float:
    """Return one side of the interval of a difference, from sides whose noise is correlated."""
    return math.sqrt(one**2 + other**2 + 2 * correlation * one * other)

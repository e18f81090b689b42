"""The short views of the analyst database: what a person sees first, in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.analyst_db.short_views import SHORT
from ndl_export.tables import TABLES

QUESTIONS = ("councils_compared", "distance_to_target", "free_school_meal_gap")
TERMINAL = 120


@pytest.fixture(scope="module")
def reader(two_cohorts: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(two_cohorts / DATABASE_FILE), read_only=True) as connection:
        yield connection


def test_show_tables_lists_every_published_table_and_the_questions(reader: duckdb.DuckDBPyConnection) -> None:
    assert {name for (name,) in reader.execute("SHOW TABLES").fetchall()} == {*TABLES, *QUESTIONS, "requests"}


@pytest.mark.parametrize("view", [*SHORT, *QUESTIONS])
def test_every_row_fits_a_terminal(view: str, reader: duckdb.DuckDBPyConnection) -> None:
    """Measured on all rows at once, the widest of each column together: none is shortened, no column left out. Which
    flags occur depends on the noise, so the longest that could occur counts."""
    found = reader.sql(f"FROM {view}")
    columns, rows = found.columns, found.fetchall()
    assert rows
    flags = [flag for (flag,) in reader.execute("SELECT in_short FROM dimension.flag WHERE flag <> 'z'").fetchall()]
    assert {"area", "cohort"} <= set(columns)
    widths = [
        max(len(column), len(str(kind).lower()), *(len("NULL" if value is None else str(value)) for value in values))
        for column, kind, values in zip(columns, found.types, zip(*rows, strict=True), strict=True)
    ]
    if "flag" in columns:
        widths[columns.index("flag")] = max(map(len, flags))
    assert sum(widths) + 3 * len(widths) + 1 <= TERMINAL, dict(zip(columns, widths, strict=True))


@pytest.mark.parametrize("view", SHORT)
def test_figures_are_those_of_the_wide_table_rounded_and_within_their_intervals(
    view: str, reader: duckdb.DuckDBPyConnection
) -> None:
    shown = "percent" if "percent" in reader.sql(f"FROM {view}").columns else "points"
    figure = SHORT[view].figure
    narrow = reader.execute(f"SELECT {shown}, count(*) FROM {view} GROUP BY ALL ORDER BY ALL").fetchall()
    at_total = "".join(f" AND {name} = 'Total'" for name in SHORT[view].at_total)
    wide = reader.execute(
        f"SELECT {figure}, count(*) FROM latest.{view} WHERE {figure}_flag IS DISTINCT FROM 'z'{at_total}"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert narrow == wide
    outside = f"SELECT count(*) FROM {view} WHERE NOT ({shown} BETWEEN lower AND upper)"
    assert reader.execute(outside).fetchall() == [(0,)]
    decimals = f"SELECT count(*) FROM {view} WHERE round(lower, 1) <> lower OR round(upper, 1) <> upper"
    assert reader.execute(decimals).fetchall() == [(0,)]


@pytest.mark.parametrize("view", SHORT)
def test_words_tell_every_row_from_every_other(view: str, reader: duckdb.DuckDBPyConnection) -> None:
    """Two categories with one short name would make two rows that look the same."""
    keys = ", ".join(("area", "cohort", *SHORT[view].words))
    assert reader.execute(f"SELECT {keys} FROM {view} GROUP BY ALL HAVING count(*) > 1").fetchall() == []


def test_a_group_as_shown_is_a_name_that_the_macros_take(reader: duckdb.DuckDBPyConnection) -> None:
    groups = "SELECT DISTINCT child_group FROM gld_headline WHERE NOT contains(child_group, ',')"
    known = "SELECT called FROM dimension.name WHERE kind = 'group'"
    assert reader.execute(f"{groups} EXCEPT {known}").fetchall() == []
    assert len(reader.execute(groups).fetchall()) > 15


def test_flags_are_in_words(reader: duckdb.DuckDBPyConnection) -> None:
    said = {flag for view in SHORT for (flag,) in reader.execute(f"SELECT DISTINCT flag FROM {view}").fetchall()}
    assert {None, "unreliable", "withheld"} <= said <= {None, "unreliable", "withheld", "not sent", "linkage"}
    shown = reader.execute(
        "SELECT count(*) FROM gld_headline WHERE (percent IS NULL) <> (flag = 'withheld')"
    ).fetchall()
    assert shown == [(0,)]


def test_questions_answer_as_the_macros_do(reader: duckdb.DuckDBPyConnection) -> None:
    ranked = reader.execute("SELECT area, percent, rank FROM councils_compared").fetchall()
    macro = "SELECT area_name, gld_percent, concat(best_rank, ' to ', worst_rank) FROM gld_rank('Total')"
    assert ranked == reader.execute(macro).fetchall()
    far = reader.execute("SELECT area, points, children FROM distance_to_target").fetchall()
    macro = "SELECT area_name, points_to_go, children_to_go FROM gld_to_target('Total')"
    assert far == reader.execute(macro).fetchall()
    target = reader.execute("SELECT DISTINCT target FROM distance_to_target").fetchall()
    assert ("75% by 2028",) in target
    assert all(re.fullmatch(r"\d+(\.\d+)?% by \d{4}", said) for (said,) in target)


def test_views_answer_in_a_database_that_is_attached_beside_others(two_cohorts: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{two_cohorts / DATABASE_FILE}' AS readiness (READ_ONLY)")
        for view in (*SHORT, *QUESTIONS):
            assert connection.execute(f"SELECT count(*) > 0 FROM readiness.{view}").fetchall() == [(True,)]

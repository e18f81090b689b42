"""The analyst database: what is in the file, what a person sees first, how it replaces the one before, its queries."""

import math
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ndl_export.analyst_db import build
from ndl_export.analyst_db.words import WORDS
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.official import read_official_figures, read_official_reviews
from ndl_export.facts.release_facts import Withdrawal, record_withdrawals
from ndl_export.tables import TABLES
from ndl_export.tables.schema import list_columns
from tests.support import PROJECT
from tests.support.export import analyst
from tests.support.release.comparisons import Z, compute_certain_from

connection = analyst.read_from("two_releases")


@pytest.mark.parametrize("what", ["tables", "views", "columns", "functions", "types"])
def test_everything_has_a_comment(what: str, connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute(f"SELECT comment FROM duckdb_{what}() WHERE NOT internal").fetchall()
    assert len(found) >= {"tables": 30, "views": 11, "columns": 300, "functions": 10, "types": 10}[what]
    assert all(comment for (comment,) in found)
    described = "SELECT comment FROM duckdb_columns() WHERE schema_name = 'latest' AND table_name = 'gld_headline'"
    comments = {comment for (comment,) in connection.execute(described).fetchall()}
    assert {column.description for column in list_columns(TABLES["gld_headline"])} <= comments


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_all_releases_and_views_the_newest(
    name: str, connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]
) -> None:
    stacked = connection.execute(f"SELECT release_version, count(*) FROM releases.{name} GROUP BY ALL").fetchall()
    assert dict(stacked) == dict.fromkeys(("2026.11.0", "2027.02.0"), tables[name].num_rows)
    listed = ", ".join(tables[name].column_names)
    latest = connection.sql(f"SELECT {listed} FROM latest.{name}").to_arrow_table()
    assert sorted(map(str, latest.to_pylist())) == sorted(map(str, tables[name].to_pylist()))


def test_dimensions_explain_every_category_of_the_facts(connection: duckdb.DuckDBPyConnection) -> None:
    for name, table in TABLES.items():
        filters = [f.name for f in table.filters]
        for column in filters:
            keys = {
                "breakdown": ("breakdown", "breakdown_topic, breakdown"),
                "breakdown_topic": ("breakdown", "breakdown_topic"),
                "answer": ("answer", "question, answer"),
            }
            dimension, joined = keys.get(column, (column, column))
            unexplained = connection.execute(
                f"SELECT DISTINCT {joined} FROM releases.{name} EXCEPT SELECT {joined} FROM dimension.{dimension}"
            ).fetchall()
            if name != "gld_differences" or column == "comparison":
                assert unexplained == [], (name, column)
        for key, dimension in (("area_code", "area"), ("time_period", "cohort")):
            query = f"SELECT {key} FROM releases.{name} EXCEPT SELECT {key} FROM dimension.{dimension}"
            assert connection.execute(query).fetchall() == []


def _left_behind(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_rebuild_replaces_the_file_under_open_readers(two: Path, tmp_path: Path) -> None:
    shutil.copytree(two / "2026.11.0", tmp_path / "2026.11.0")
    place = build.build_database(tmp_path)
    count = "SELECT count(*) FROM releases.release"
    new_reader = (
        "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchall())"
    )
    with duckdb.connect(str(place), read_only=True) as reader:
        shutil.copytree(two / "2026.12.0", tmp_path / "2026.12.0")
        build.build_database(tmp_path)
        assert reader.execute(count).fetchall() == [(1,)]
        assert reader.execute("SELECT count(*) FROM latest.parent_experience").fetchall()[0][0] > 0
        command = [sys.executable, "-c", new_reader, place, count]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[(2,)]"
    assert _left_behind(tmp_path) == []


@pytest.mark.slow
def test_it_is_built_again_when_what_it_is_made_of_changes_and_only_then(two: Path, tmp_path: Path) -> None:
    """A build that is killed changes nothing, and the next one cleans up after it."""
    with pytest.raises(build.NothingReleased):
        build.build_database(tmp_path)
    subprocess.run(["cp", "-r", *two.glob("20*.0"), tmp_path], check=True)
    place = build.build_database(tmp_path)
    before, inode = place.read_bytes(), place.stat().st_ino
    assert (build.build_database(tmp_path).read_bytes(), place.stat().st_ino) == (before, inode)
    record_withdrawals(tmp_path, {}, Withdrawal("2026.11.0", "2026-11-25", "An extract was of another year"))
    killed = (
        "import os, pathlib, signal, sys, ndl_export.analyst_db.build as build\n"
        "build.add_help = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build.build_database(pathlib.Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", killed, tmp_path], check=False).returncode < 0
    assert place.read_bytes() == before
    assert len(_left_behind(tmp_path)) == 1
    build.build_database(tmp_path)
    assert _left_behind(tmp_path) == []
    assert place.stat().st_ino != inode
    place.write_bytes(before[:5000])
    build.build_database(tmp_path)
    assert place.stat().st_size > 5000


def test_the_page_is_that_of_the_code() -> None:
    page = PROJECT / "docs" / "analyst-database.md"
    assert page.read_text(encoding="utf-8") == build.render_analyst_database_page(), "make docs"


QUESTIONS = ("councils_compared", "distance_to_target", "free_school_meal_gap")
TERMINAL = 120
reader = analyst.read_from("two_cohorts")


@pytest.mark.parametrize("view", [*WORDS.views, *QUESTIONS])
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


@pytest.mark.parametrize("view", WORDS.views)
def test_rows_are_those_of_the_wide_table_rounded_within_their_intervals_and_told_apart(
    view: str, reader: duckdb.DuckDBPyConnection
) -> None:
    shown = "percent" if "percent" in reader.sql(f"FROM {view}").columns else "points"
    figure = WORDS.views[view].figure
    narrow = reader.execute(f"SELECT {shown}, count(*) FROM {view} GROUP BY ALL ORDER BY ALL").fetchall()
    at_total = "".join(f" AND {name} = 'Total'" for name in WORDS.views[view].at_total)
    wide = reader.execute(
        f"SELECT {figure}, count(*) FROM latest.{view} WHERE {figure}_flag IS DISTINCT FROM 'z'{at_total}"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert narrow == wide
    outside = f"SELECT count(*) FROM {view} WHERE NOT ({shown} BETWEEN lower AND upper)"
    assert reader.execute(outside).fetchall() == [(0,)]
    decimals = f"SELECT count(*) FROM {view} WHERE round(lower, 1) <> lower OR round(upper, 1) <> upper"
    assert reader.execute(decimals).fetchall() == [(0,)]
    keys = ", ".join(
        ("area", "cohort", *WORDS.views[view].columns)
    )  # two categories with one short name would look the same
    assert reader.execute(f"SELECT {keys} FROM {view} GROUP BY ALL HAVING count(*) > 1").fetchall() == []


def run(directory: Path, title: str) -> list[analyst.Row]:
    """The answer of the query as it stands in the file."""
    with duckdb.connect(str(directory / DATABASE_FILE), read_only=True) as reader:
        [(sql,)] = reader.execute("SELECT sql FROM help.worked_queries WHERE title = ?", [title]).fetchall()
        return analyst.answer(reader, sql)


@pytest.mark.parametrize("query", build.WORKED_QUERIES, ids=lambda query: query.title)
def test_each_answers_is_explained_and_mixes_no_cohorts(
    query: build.WorkedQuery, two_releases: Path, two_cohorts: Path
) -> None:
    """The newest cohort is the same in both; queries that are about several cohorts name each."""
    one, two = run(two_releases, query.title), run(two_cohorts, query.title)
    assert any(value is not None for row in one for value in row.values())
    assert query.question.endswith((".", "?"))
    assert query.meaning.endswith(".")
    if "time_period" in two[0]:
        two = [row for row in two if row["time_period"] == "202425"]
    if "change_points" not in one[0]:
        assert sorted(map(str, two)) == sorted(map(str, one))


def test_every_group_stands_beside_englands_figure_and_the_councils_own(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    figures = {
        (f.area_name, f.breakdown_topic, f.breakdown): f for f in read_official_figures("202425") if f.sex == "Total"
    }
    rows = analyst.list_published(tables, "gld_headline", **analyst.COUNCILS, sex="Total")
    ours = {(row["la_name"], row["breakdown_topic"], row["breakdown"]): row for row in rows}
    found = run(two_releases, "By characteristic, beside official figures")
    assert {row["breakdown_topic"] for row in found} >= {
        "Free school meal eligibility",
        "SEN provision",
        "Ethnic group",
    }
    assert all(row["source"].startswith("DfE, ") for row in found)
    told = 0
    for row in found:
        key = (row["area_name"], row["breakdown_topic"], row["breakdown"])
        own, england = figures.get(key), figures["England", *key[1:]].percent
        assert row["official"] == (own and round(own.percent, 2))
        percent, low, high = analyst.compute_ends(ours[key])
        if percent is not None:
            for sign, arm, verdict in ((1, percent - low, "ahead"), (-1, high - percent, "behind")):
                spread = ((arm / Z) ** 2 + analyst.compute_chance(ours[key])) ** 0.5
                # a figure near 0 or 100 may reach no further, and chance play no part in it
                distance = (
                    sign * (percent - england) / spread
                    if spread
                    else math.copysign(math.inf, sign * (percent - england))
                )
                assert (row["beside_england"] == verdict) <= (distance > Z)
                assert row["beside_england"] == verdict or distance < 4.2  # at most 200 rows
            told += own is not None
    assert told > 20


def test_the_review_stands_beside_what_is_published_of_its_year(two_releases: Path) -> None:
    """Children of 2024/25 turned 2½ in 2022/23."""
    found = {
        (row["area_name"], row["asq3_domain"]): row
        for row in run(two_releases, "The two-year review, beside official figures")
    }
    assert {row["financial_year"] for row in found.values()} == {"202223"}
    assert {row["england_reviews_that_used_asq3"] for row in found.values()} == {92.5}
    leeds, together = found["Leeds", "All five domains"], found["Pilot councils", "Communication"]
    assert (leeds["england_expected_level"], leeds["reviews_that_used_asq3"]) == (79.2, 79.9)
    assert (together["england_expected_level"], together["reviews_that_used_asq3"]) == (85.3, None)
    assert not any("is_" in column for column in leeds)
    assert len({figure.measure for figure in read_official_reviews("202425")}) == 2


def test_who_is_surely_ahead_of_all_is_so_by_more_than_noise_and_chance(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    headline = analyst.list_published(tables, "gld_headline", **analyst.TOTAL)
    of = {row["la_name"] or row["english_devolved_area_name"] or "together": row for row in headline}
    distances, councils = {}, set()
    for row in analyst.list_published(
        tables, "gld_differences", comparison="All children: area less all councils together"
    ):
        name, (points, low, high) = (
            row["la_name"] or row["english_devolved_area_name"],
            analyst.compute_ends(row, "gld_difference_points"),
        )
        if name and points is not None:
            share = of[name]["children_count_estimate"] / of["together"]["children_count_estimate"]
            variance = analyst.compute_chance(of[name]) * (1 - 2 * share) + analyst.compute_chance(of["together"])
            noise = (points - (low if points > 0 else high)) / Z
            distances[name] = abs(points) / (noise**2 + variance) ** 0.5
            councils |= {row["la_name"]}
    (needed,) = compute_certain_from(np.array([list(distances.values())]), 0.025)
    expected = {name for name in councils & set(distances) if distances[name] > needed}
    found = run(two_releases, "Which councils differ from all together")
    assert {row["area_name"] for row in found} == expected

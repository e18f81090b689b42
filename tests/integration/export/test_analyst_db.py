"""The analyst database: what is in the file, what a person sees first, and how it replaces the one before."""

import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.analyst_db.build import NothingReleased, build_database, render_analyst_database_page
from ndl_export.analyst_db.short_views import SHORT
from ndl_export.bundle.make import write_bundle
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.release_facts import WITHDRAWN_FILE, Withdrawal, record_withdrawals
from ndl_export.tables import TABLES
from ndl_export.tables.schema import list_columns
from tests.support import PROJECT
from tests.support.export.analyst import read_from
from tests.support.export.fake_release import fake_facts

connection = read_from("two_releases")


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
def test_a_rebuild_replaces_the_file_under_open_readers(
    tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    write_bundle(tmp_path, fake_facts(), tables, signing_key)
    place = build_database(tmp_path)
    count = "SELECT count(*) FROM releases.release"
    new_reader = (
        "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchall())"
    )
    with duckdb.connect(str(place), read_only=True) as reader:
        write_bundle(tmp_path, fake_facts("2027.02.0"), tables, signing_key)
        build_database(tmp_path)
        assert reader.execute(count).fetchall() == [(1,)]
        assert reader.execute("SELECT count(*) FROM latest.parent_experience").fetchall()[0][0] > 0
        command = [sys.executable, "-c", new_reader, place, count]
        assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "[(2,)]"
    assert _left_behind(tmp_path) == []


@pytest.mark.slow
def test_a_build_that_is_killed_changes_nothing_and_is_cleaned_up_after(two_releases: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", *two_releases.glob("20*.0"), tmp_path], check=True)
    before = build_database(tmp_path).read_bytes()
    (tmp_path / WITHDRAWN_FILE).unlink(missing_ok=True)
    record_withdrawals(tmp_path, {}, Withdrawal("2026.11.0", "2026-11-25", "An extract was of another year"))
    killed = (
        "import os, pathlib, signal, sys, ndl_export.analyst_db.build as build\n"
        "build.add_help = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build.build_database(pathlib.Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", killed, tmp_path], check=False).returncode < 0
    assert (tmp_path / DATABASE_FILE).read_bytes() == before
    assert len(_left_behind(tmp_path)) == 1
    build_database(tmp_path)
    assert _left_behind(tmp_path) == []


@pytest.mark.slow
def test_it_is_built_again_when_what_it_is_made_of_changes_and_only_then(two_releases: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingReleased):
        build_database(tmp_path)
    subprocess.run(["cp", "-r", *two_releases.glob("20*.0"), tmp_path], check=True)
    first = build_database(tmp_path)
    before, inode = first.read_bytes(), first.stat().st_ino
    assert (build_database(tmp_path).read_bytes(), first.stat().st_ino) == (before, inode)
    record_withdrawals(tmp_path, {}, Withdrawal("2026.11.0", "2026-11-25", "An extract was of another year"))
    build_database(tmp_path)
    assert first.stat().st_ino != inode
    first.write_bytes(before[:5000])
    build_database(tmp_path)
    assert first.stat().st_size > 5000


def test_the_page_is_that_of_the_code() -> None:
    page = PROJECT / "docs" / "analyst-database.md"
    assert page.read_text(encoding="utf-8") == render_analyst_database_page(), "make docs"


QUESTIONS = ("councils_compared", "distance_to_target", "free_school_meal_gap")
TERMINAL = 120


reader = read_from("two_cohorts")


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

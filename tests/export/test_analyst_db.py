"""The analyst database."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fake_release import fake_facts, fake_tables

from ndl_export.analyst_db import NothingReleased, build_database
from ndl_export.bundle import write_bundle
from ndl_export.schema import columns
from ndl_export.tables import TABLES
from ndl_export.worked_queries import WORKED_QUERIES, WorkedQuery


@pytest.fixture(scope="module")
def database(
    tmp_path_factory: pytest.TempPathFactory, tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey
) -> Path:
    """A database of two releases, the older one written last."""
    directory = tmp_path_factory.mktemp("releases")
    write_bundle(directory, fake_facts("2027.02.0"), tables, signing_key)
    write_bundle(directory, fake_facts("2026.11.0"), fake_tables(seed=2), signing_key)
    return build_database(directory)


@pytest.fixture
def connection(database: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(database), read_only=True)


def test_every_table_view_and_column_has_a_comment(connection: duckdb.DuckDBPyConnection) -> None:
    for what in ("tables", "views", "columns"):
        uncommented = connection.execute(
            f"SELECT * FROM duckdb_{what}() WHERE NOT internal AND coalesce(comment, '') = ''"
        ).fetchall()
        assert uncommented == []
    found = dict(
        connection.execute(
            "SELECT column_name, comment FROM duckdb_columns()"
            " WHERE schema_name = 'latest' AND table_name = 'gld_headline'"
        ).fetchall()
    )
    assert all(found[column.name] == column.description for column in columns(TABLES["gld_headline"]))


def test_schemas_hold_what_they_should(connection: duckdb.DuckDBPyConnection) -> None:
    tables = connection.execute("SELECT schema_name || '.' || table_name FROM duckdb_tables()").fetchall()
    views = connection.execute(
        "SELECT schema_name || '.' || view_name FROM duckdb_views() WHERE NOT internal"
    ).fetchall()
    assert {name for (name,) in tables} == {
        "releases.release",
        "help.worked_queries",
        *(f"releases.{name}" for name in TABLES),
    }
    assert {name for (name,) in views} == {f"latest.{name}" for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_tables_hold_all_releases_and_views_the_newest(
    name: str, connection: duckdb.DuckDBPyConnection, tables: dict[str, pa.Table]
) -> None:
    stacked = connection.execute(f"SELECT release_version, count(*) FROM releases.{name} GROUP BY ALL").fetchall()
    assert dict(stacked) == dict.fromkeys(("2026.11.0", "2027.02.0"), tables[name].num_rows)
    listed = ", ".join(tables[name].column_names)
    latest = connection.sql(f"SELECT {listed} FROM latest.{name}").to_arrow_table()
    assert sorted(map(str, latest.to_pylist())) == sorted(map(str, tables[name].to_pylist()))


def test_rows_name_their_own_area(connection: duckdb.DuckDBPyConnection) -> None:
    areas = connection.execute(
        "SELECT DISTINCT geographic_level, area_code, area_name FROM latest.joined_dots"
        " WHERE la_name IS NULL ORDER BY geographic_level"
    ).fetchall()
    assert areas == [
        ("English devolved area", "E47000004", "Liverpool City Region"),
        ("Pilot councils", "Pilot councils", "Pilot councils"),
    ]


def test_every_table_has_a_primary_key(connection: duckdb.DuckDBPyConnection) -> None:
    keyed = connection.execute(
        "SELECT table_name FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
    ).fetchall()
    assert {name for (name,) in keyed} == {*TABLES, "release", "worked_queries"}


def test_release_facts_are_there(connection: duckdb.DuckDBPyConnection) -> None:
    found = connection.execute("SELECT release_version, cohorts, len(councils), rho FROM releases.release").fetchall()
    assert found == [("2026.11.0", ["202425"], 8, 0.245), ("2027.02.0", ["202425"], 8, 0.245)]


@pytest.mark.parametrize("query", WORKED_QUERIES, ids=lambda query: query.title)
def test_worked_queries_run_and_answer(query: WorkedQuery, connection: duckdb.DuckDBPyConnection) -> None:
    [(sql,)] = connection.execute("SELECT sql FROM help.worked_queries WHERE title = ?", [query.title]).fetchall()
    answer = connection.execute(sql).fetchall()
    assert answer
    assert any(value is not None for row in answer for value in row)


def test_older_duckdb_can_open_it(database: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH '{database}' AS db (READ_ONLY)")
        tags = connection.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'db'").fetchall()[0][0]
    assert tags["storage_version"].startswith("v1.2.0")


def test_a_rebuild_replaces_the_file_under_open_readers(
    tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey, tmp_path: Path
) -> None:
    write_bundle(tmp_path, fake_facts(), tables, signing_key)
    place = build_database(tmp_path)
    before = place.stat().st_ino
    with place.open("rb") as reader:
        build_database(tmp_path)
        assert reader.read(1)
    assert place.stat().st_ino != before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_nothing_released_is_said(tmp_path: Path) -> None:
    with pytest.raises(NothingReleased, match="holds no release bundle"):
        build_database(tmp_path)

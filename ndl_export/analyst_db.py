"""The analyst database `readiness.duckdb`: every release in one DuckDB file, described, with worked queries.

Rebuilt as a whole from the Parquet files of the bundles, beside the old file, and renamed over it: an open reader keeps
the old one. Written in the storage format of DuckDB 1.2, which every later version reads. Schemas:

- `releases`: one table for each published table, the rows of all versions stacked, and `release`, one row a version;
- `latest`: views of the same names with the newest version that is not withdrawn; empty where there is none;
- `help`: `worked_queries`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from ndl_export import missing
from ndl_export.bundle import DATAPACKAGE_FILE, PRIVACY_RECORD_FILE
from ndl_export.geography import ALL_TOGETHER, CODE_COLUMNS, NAME_COLUMNS, NATIONAL
from ndl_export.release_directory import current, versions
from ndl_export.release_facts import Version
from ndl_export.schema import columns
from ndl_export.tables import TABLES, Table
from ndl_export.whole_files import alone, sync
from ndl_export.withdrawals import Withdrawal, withdrawals
from ndl_export.worked_queries import WORKED_QUERIES

DATABASE_FILE = "readiness.duckdb"
STORAGE_VERSION = "v1.2.0"

RELEASE_COLUMNS = {
    "release_version": "Version of the release: year, month, number within the month",
    "published_on": "First day of the month of publication",
    "cohorts": "Academic years that the release is about",
    "councils": "Councils that take part, by folder name",
    "missing": "Sources that councils which take part had not sent when the release was measured",
    "rho": "Privacy loss of the release, zero-concentrated differential privacy",
    "epsilon": "Privacy loss of the release, epsilon at delta",
    "delta": "Delta at which epsilon is stated",
    "withdrawn_on": "Day on which the release was withdrawn; empty where it stands",
    "withdrawn_because": "Why it was withdrawn",
}
ADDED_COLUMNS = {
    "release_version": "Version of the release that the row is from; see releases.release",
    "area_code": f"Official code of the row's own area, at any level; {ALL_TOGETHER!r} where it has none",
    "area_name": "Name of the row's own area, at any level",
    "is_all_together": f"Whether the row is about all councils together: level {NATIONAL!r} or {ALL_TOGETHER!r}",
}
"""Columns that the tables of the database have besides those of the Parquet files; views lack the version."""

QUERY_COLUMNS = {"title": "Short name", "question": "What the query answers", "sql": "The query, ready to run"}


class NothingReleased(Exception):
    """There is no bundle to build the database from."""


def build_database(release_dir: Path) -> Path:
    """Rebuild the database from every bundle in `release_dir`; returns its path.

    Raises `NothingReleased` and `UnreadableWithdrawals`.
    """
    found, newest = versions(release_dir), current(release_dir)
    if not found:
        raise NothingReleased(f"{release_dir} holds no release bundle")
    with alone(release_dir):
        return _build(release_dir, found, newest)


def _build(release_dir: Path, found: list[Version], newest: Version | None) -> Path:
    place = release_dir / DATABASE_FILE
    with tempfile.TemporaryDirectory(prefix=f".{DATABASE_FILE}.", dir=release_dir) as scratch:
        building = Path(scratch) / DATABASE_FILE
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH '{_quoted(str(building))}' AS building (STORAGE_VERSION '{STORAGE_VERSION}')")
            connection.execute("USE building; CREATE SCHEMA releases; CREATE SCHEMA latest; CREATE SCHEMA help")
            _add_releases(connection, release_dir, found)
            for table in TABLES.values():
                _add_table(connection, table, release_dir, found, newest)
            _add_worked_queries(connection)
            connection.execute("USE memory; DETACH building")
        sync(building)
        building.replace(place)
    return place


def _add_releases(connection: duckdb.DuckDBPyConnection, release_dir: Path, found: list[Version]) -> None:
    withdrawn = withdrawals(release_dir)
    connection.execute(
        "CREATE TABLE releases.release (release_version VARCHAR PRIMARY KEY, published_on DATE, cohorts VARCHAR[],"
        " councils VARCHAR[], missing VARCHAR[], rho DOUBLE, epsilon DOUBLE, delta DOUBLE,"
        " withdrawn_on DATE, withdrawn_because VARCHAR)"
    )
    rows = [_facts(release_dir / str(version), withdrawn.get(str(version))) for version in found]
    connection.executemany("INSERT INTO releases.release VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    _comment(connection, "TABLE", "releases.release", "The releases in this database, oldest first", RELEASE_COLUMNS)


def _facts(bundle: Path, withdrawal: Withdrawal | None) -> tuple[Any, ...]:
    package = json.loads((bundle / DATAPACKAGE_FILE).read_text(encoding="utf-8"))
    parameters = json.loads((bundle / PRIVACY_RECORD_FILE).read_text(encoding="utf-8"))["privacy_parameters"]
    return (
        package["version"],
        package["created"][:10],
        package["cohorts"],
        package["councils"],
        missing.short(package.get("missing", {})),
        *(parameters[name] for name in ("rho", "epsilon", "delta")),
        withdrawal.date if withdrawal else None,
        withdrawal.reason if withdrawal else None,
    )


def _add_table(
    connection: duckdb.DuckDBPyConnection, table: Table, release_dir: Path, found: list[Version], newest: Version | None
) -> None:
    """The table of all versions that have it, and the view of the newest version that is not withdrawn."""
    stacked, view = f"releases.{table.name}", f"latest.{table.name}"
    key = ("release_version", "time_period", "geographic_level", "area_code", *(f.name for f in table.filters))
    connection.execute(
        f"CREATE TABLE {stacked} ({', '.join(_column_definitions(table))}, PRIMARY KEY ({', '.join(key)}))"
    )
    for version in found:
        path = release_dir / str(version) / f"{table.name}.parquet"
        if path.exists():
            connection.register("incoming", pq.read_table(path))
            connection.execute(f"INSERT INTO {stacked} BY NAME {_with_added_columns(version)}")
            connection.unregister("incoming")
    connection.execute(
        f"CREATE VIEW {view} AS SELECT * EXCLUDE (release_version) FROM {stacked} WHERE release_version = '{newest}'"
    )
    described = ADDED_COLUMNS | {column.name: column.description for column in columns(table)}
    about = f"{table.title}. {table.description}. Population: {table.population}"
    _comment(connection, "TABLE", stacked, f"{about}. All releases", described)
    del described["release_version"]
    _comment(connection, "VIEW", view, f"{about}. {_shown(connection, newest)}", described)


def _shown(connection: duckdb.DuckDBPyConnection, version: Version | None) -> str:
    """What the views show and what that release lacks, for the comment on them."""
    if version is None:
        return "Nothing: every release is withdrawn"
    ((not_sent,),) = connection.execute(
        "SELECT array_to_string(missing, '; ') FROM releases.release WHERE release_version = ?", [str(version)]
    ).fetchall()
    return f"Release {version}" + (f". Not sent: {not_sent}" if not_sent else "")


def _column_definitions(table: Table) -> Iterator[str]:
    types = {"string": "VARCHAR", "int64": "BIGINT", "double": "DOUBLE"}
    for name in ADDED_COLUMNS:
        yield f"{name} {'BOOLEAN' if name.startswith('is_') else 'VARCHAR'}"
    for column in columns(table):
        yield f"{column.name} {types[str(column.type)]}"


def _with_added_columns(version: Version) -> str:
    codes = " ".join(f"WHEN '{level}' THEN {column}" for level, column in CODE_COLUMNS.items())
    names = " ".join(f"WHEN '{level}' THEN {column}" for level, column in NAME_COLUMNS.items())
    return (
        f"SELECT '{version}' AS release_version, CASE geographic_level {codes} ELSE geographic_level END AS area_code,"
        f" CASE geographic_level {names} ELSE geographic_level END AS area_name,"
        f" geographic_level IN ('{NATIONAL}', '{ALL_TOGETHER}') AS is_all_together, * FROM incoming"
    )


def _add_worked_queries(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE help.worked_queries (title VARCHAR PRIMARY KEY, question VARCHAR, sql VARCHAR)")
    connection.executemany(
        "INSERT INTO help.worked_queries VALUES (?, ?, ?)",
        [(query.title, query.question, query.sql.strip()) for query in WORKED_QUERIES],
    )
    _comment(connection, "TABLE", "help.worked_queries", "Questions and the queries that answer them", QUERY_COLUMNS)


def _comment(
    connection: duckdb.DuckDBPyConnection, kind: str, name: str, about: str, described: dict[str, str]
) -> None:
    connection.execute(f"COMMENT ON {kind} {name} IS '{_quoted(about)}'")
    for column, text in described.items():
        connection.execute(f"COMMENT ON COLUMN {name}.{column} IS '{_quoted(text)}'")


def _quoted(text: str) -> str:
    return text.replace("'", "''")

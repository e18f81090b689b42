"""Tables on request in the analyst database: of releases that have different ones, or none, or are withdrawn."""

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from ndl_export.analyst_db.build import SCRIPT_FILE, build_analyst_files, build_database, open_analyst_database
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.on_request import TAKEN, RequestedTable
from ndl_export.facts.release_facts import WITHDRAWN_FILE, Withdrawal, record_withdrawals
from ndl_export.tables.definition import InvalidDefinition
from ndl_export.tables.schema import list_columns
from tests.support.export.analyst import read_from
from tests.support.export.fake_release import fake_tables
from tests.support.export.requested import REVIEWED, REVIEWS, SEN, SEN_BY_MEALS, build_facts_with, build_requested


def with_requests(bundle: Path, directory: Path, version: str, requests: Sequence[RequestedTable], seed: int) -> Path:
    """A bundle's folder as the database reads it: that of another release, with these tables besides."""
    folder = Path(shutil.copytree(bundle, directory / version))
    facts, tables = build_facts_with(requests, version), fake_tables(seed=seed, requested=requests)
    for name, content in facts.on_request.build_files(version).items():
        (folder / name).write_bytes(content)
    (folder / "privacy_statement.json").write_text(json.dumps(facts.privacy_record))
    package = json.loads((folder / "datapackage.json").read_bytes()) | {"version": version}
    (folder / "datapackage.json").write_text(json.dumps(package))
    for each in requests:
        pq.write_table(tables[each.name], folder / f"{each.name}.parquet")
    with open_analyst_database(facts, tables) as (_, script):
        files = build_analyst_files(facts, script)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def three(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release without requests, one with two, and one with one of these two."""
    directory = tmp_path_factory.mktemp("requested")
    shutil.copytree(bundle, directory / bundle.name)
    with_requests(bundle, directory, "2026.12.0", (SEN, REVIEWS), 2)
    with_requests(bundle, directory, "2027.01.0", (SEN,), 3)
    build_database(directory)
    return directory


reader = read_from("three")


def versions(connection: duckdb.DuckDBPyConnection, name: str) -> list[str]:
    rows = connection.execute(f"SELECT DISTINCT release_version FROM releases.{name} ORDER BY ALL").fetchall()
    return [version for (version,) in rows]


def test_wide_tables_hold_every_release_and_views_the_newest_that_has_them(
    reader: duckdb.DuckDBPyConnection, three: Path
) -> None:
    assert versions(reader, SEN.name) == ["2026.12.0", "2027.01.0"]
    assert versions(reader, REVIEWS.name) == ["2026.12.0"]
    for request, version in ((SEN, "2027.01.0"), (REVIEWS, "2026.12.0")):
        file = pq.read_table(three / version / f"{request.name}.parquet")
        listed = ", ".join(f'"{column.name}"' for column in list_columns(request.table))
        latest = reader.sql(f"SELECT {listed} FROM latest.{request.name}").to_arrow_table()
        assert sorted(map(str, latest.to_pylist())) == sorted(map(str, file.to_pylist()))


def test_requests_say_who_asked_what_for_and_what_was_charged(reader: duckdb.DuckDBPyConnection) -> None:
    found = reader.sql("SELECT * REPLACE (asked_on::VARCHAR AS asked_on) FROM requests").to_arrow_table().to_pylist()
    assert [row["name"] for row in found] == [REVIEWS.name, SEN.name]
    assert found[1] == {
        "name": SEN.name,
        "asked_by": SEN.asked_by,
        "asked_on": SEN.asked_on,
        "first_release": "2026.12.0",
        "cohorts": "2024/25",
        "rho": "0.02 (2024/25 for 2026.12.0)",
        "title": SEN.table.title,
        "purpose": SEN.purpose,
        "family": "pupil",
    }
    assert found[0]["rho"] is None
    assert reader.execute("SELECT release_versions FROM releases.requests ORDER BY table_name").fetchall() == [
        (["2026.12.0"],),
        (["2026.12.0", "2027.01.0"],),
    ]
    listed = "SELECT family, filters FROM dimension.published_table WHERE table_name = 'sen_by_meals'"
    assert reader.execute(listed).fetchall() == [("pupil", ["order", "meals", "sex"])]
    measures = reader.execute("SELECT measure FROM dimension.measure WHERE table_name = 'sen_by_meals'").fetchall()
    assert [name for (name,) in measures] == [measure.name for measure in SEN.table.measures]


OWN = "WHERE NOT internal AND database_name = current_database()"
NAMED = (
    f"SELECT schema_name, table_name FROM duckdb_tables() {OWN}"
    f" UNION ALL SELECT schema_name, view_name FROM duckdb_views() {OWN} ORDER BY ALL"
)
COLUMNS = f"SELECT schema_name, table_name, column_name, data_type, comment FROM duckdb_columns() {OWN} ORDER BY ALL"
MACROS = "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"


def test_the_script_of_a_bundle_builds_the_database_of_its_directory(three: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(three / "2026.12.0", tmp_path / "2026.12.0"))
    with duckdb.connect() as own, duckdb.connect(str(build_database(tmp_path)), read_only=True) as built:
        own.execute(f"SET file_search_path = '{bundle}'")
        own.execute((bundle / SCRIPT_FILE).read_text(encoding="utf-8"))
        names = [
            f"{schema}.{name}" for schema, name in own.execute(NAMED).fetchall() if name not in ("made_from", "release")
        ]
        for query in (
            *(NAMED, COLUMNS, MACROS, "SELECT * EXCLUDE (published_on) FROM releases.release"),
            *(f"FROM {name}" for name in names),
        ):
            here, there = (sorted(map(str, each.execute(query).fetchall())) for each in (own, built))
            assert here == there, query


@pytest.mark.slow
def test_withdrawn_releases_show_nothing(three: Path, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(three, tmp_path / "release", ignore=shutil.ignore_patterns(DATABASE_FILE)))
    record_withdrawals(directory, {}, Withdrawal("2027.01.0", "2027-02-01", "An extract was of another year"))
    with duckdb.connect(str(build_database(directory)), read_only=True) as con:
        [(now,)] = con.execute("SELECT comment FROM duckdb_views() WHERE view_name = 'sen_by_meals' LIMIT 1").fetchall()
        assert "Release 2026.12.0" in now
        of_latest = pq.read_table(directory / "2026.12.0" / "sen_by_meals.parquet")["children_count_estimate"]
        summed = con.execute("SELECT sum(children_count_estimate) FROM latest.sen_by_meals").fetchall()
        assert summed[0][0] == pytest.approx(sum(of_latest.to_pylist()))
    (directory / WITHDRAWN_FILE).unlink()
    each = [Withdrawal(version, "2027-02-01", "An error") for version in ("2026.12.0", "2027.01.0")]
    record_withdrawals(directory, {}, *each)
    with duckdb.connect(str(build_database(directory)), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM sen_by_meals").fetchall() == [(0,)]
        assert con.execute("SELECT count(*) FROM requests").fetchall() == [(2,)]
        assert con.execute("SELECT count(*) > 0 FROM gld_headline").fetchall() == [(True,)]


ODD = "O'Brien's ? \"x\"; -- FROM incoming"
ODD_WORDS = {
    "name": "select",
    "title": 'It\'s "odd"; DROP TABLE x; -- ? $1 FROM incoming',
    "description": "Children who're ?; 'quoted' -- FROM incoming",
    "columns": [
        {"attribute": "fsm", "name": "group", "levels": {ODD: ["Eligible for free school meals"]}},
        {"attribute": "sex", "name": "order", "label": "Who's; -- ?"},
    ],
}


def test_words_and_names_that_sql_has_a_use_for_stay_words(bundle: Path, tmp_path: Path) -> None:
    asked = dataclasses.replace(build_requested(ODD_WORDS), asked_by="Robert'); DROP TABLE requests;-- ?")
    folder = with_requests(bundle, tmp_path, "2026.12.0", (asked,), 2)
    with duckdb.connect() as own, duckdb.connect(str(build_database(tmp_path)), read_only=True) as built:
        own.execute(f"SET file_search_path = '{folder}'")
        own.execute((folder / SCRIPT_FILE).read_text(encoding="utf-8"))
        for con in (own, built):
            assert con.execute("SELECT asked_by, title FROM requests").fetchall() == [
                (asked.asked_by, ODD_WORDS["title"])
            ]
            levels = con.execute('SELECT DISTINCT "group" FROM "select" ORDER BY ALL').fetchall()
            assert levels == [(ODD,), ("Total",)]


def test_every_name_in_the_database_of_a_table_s_file_or_of_its_columns_is_taken(two_releases: Path) -> None:
    with duckdb.connect(str(two_releases / DATABASE_FILE), read_only=True) as con:
        found = con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name IN ('releases', 'latest', 'main')"
            " UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
        ).fetchall()
    ends = (".parquet", ".csv")
    files = {
        path.stem for path in (two_releases / "2026.11.0").iterdir() if path.suffix in ends and "." not in path.stem
    }
    names = {name for (name,) in found} | {name for name in files if not name.endswith("_all_rows")}
    assert names <= TAKEN
    for name in ("requests", "gld_headline_all_rows"):
        with pytest.raises(InvalidDefinition, match=f"{name} is already the name of something else in a release"):
            build_requested({**REVIEWED, "name": name}, "health")
    for name in ("flag", "area", "release_version", "gld_children_percent_flag"):
        column = {"attribute": "sex", "name": name}
        with pytest.raises(InvalidDefinition, match=name):
            _ = build_requested({**SEN_BY_MEALS, "columns": [column]}).table

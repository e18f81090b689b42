"""`database.sql` of a bundle: it makes, of its own files, the database that the release directory has."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ndl_export.analyst_db import build_database
from ndl_export.analyst_db.build import NOTEBOOK_FILE, SCRIPT_FILE, build_analyst_files, open_analyst_database
from ndl_export.bundle.make import write_bundle
from tests.support.export.fake_release import fake_facts

NAMED = (
    "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()"
    " UNION ALL SELECT schema_name, view_name FROM duckdb_views()"
    " WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
)
COMMENTS = (
    "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns()"
    " WHERE NOT internal AND database_name = current_database() ORDER BY ALL"
)
MACROS = "SELECT function_name, comment FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"


def test_it_makes_the_same_database(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / bundle.name)
    with duckdb.connect() as own, duckdb.connect(str(build_database(tmp_path)), read_only=True) as built:
        own.execute(f"SET file_search_path = '{bundle}'")
        own.execute((bundle / SCRIPT_FILE).read_text(encoding="utf-8"))
        for query in (NAMED, COMMENTS, MACROS):
            assert own.execute(query).fetchall() == built.execute(query).fetchall()
        for schema, name in own.execute(NAMED).fetchall():
            if name != "made_from":  # tells when the file of the release directory is to be built anew
                here, there = (con.execute(f"FROM {schema}.{name}").fetchall() for con in (own, built))
                assert sorted(map(str, here)) == sorted(map(str, there))


def test_a_notice_leads_both(tables: dict[str, pa.Table]) -> None:
    facts = dataclasses.replace(fake_facts(), notice="These data are synthetic.")
    with open_analyst_database(facts, tables) as (_, script):
        files = build_analyst_files(facts, script)
    assert files[NOTEBOOK_FILE].startswith(b"# These data are synthetic.\n# /// script\n")
    assert files[SCRIPT_FILE].startswith(b"-- These data are synthetic. ")
    assert not build_analyst_files(fake_facts(), script)[NOTEBOOK_FILE].startswith(b"# These")


@pytest.mark.slow
def test_both_are_the_same_for_the_same_release(
    tables: dict[str, pa.Table], signing_key: Ed25519PrivateKey, bundle: Path, tmp_path: Path
) -> None:
    again = write_bundle(tmp_path, fake_facts(), tables, signing_key)
    for name in (NOTEBOOK_FILE, SCRIPT_FILE):
        assert (again / name).read_bytes() == (bundle / name).read_bytes()
        assert f"`{name}`" in (bundle / "README.md").read_text(encoding="utf-8")

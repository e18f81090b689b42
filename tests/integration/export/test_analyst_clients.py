"""The releases in other hands: the oldest DuckDB that the database promises to work with, the newest 1.x, a notebook.

The snippets of docs/reading-over-https.md run unchanged against a local web server that has the release directory.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from ndl_export.analyst_db.build import MACROS, NOTEBOOK_FILE, WORKED_QUERIES
from ndl_export.facts.description import DATABASE_FILE
from tests.support import PROJECT
from tests.support.areas import describe_missing
from tests.support.export.standard_validators import find_program
from tests.support.export.store_servers import run_web_server

pytestmark = pytest.mark.slow

CLIENT = PROJECT / "tests" / "support" / "export" / "standard_validators" / "duckdb_client.py"
NOTEBOOK = PROJECT / "ndl_export" / "analyst_db" / "templates" / NOTEBOOK_FILE
EMPTY_WITHOUT_REQUESTS = {
    *("dimension.requested_category", "main.requests", "releases.request_charges", "releases.requests")
}


def finds(python: Path, database: Path) -> Any:
    return json.loads(subprocess.run([python, CLIENT, database], check=True, capture_output=True).stdout)


@pytest.mark.parametrize(("environment", "version"), [("duckdb-oldest", "1.2.0"), ("notebook", "1.")])
def test_an_older_client_finds_the_same(environment: str, version: str, two_cohorts: Path) -> None:
    database = two_cohorts / DATABASE_FILE
    theirs, ours = finds(find_program(environment, "python"), database), finds(Path(sys.executable), database)
    assert theirs.pop("version").startswith(version)
    assert ours.pop("version") == duckdb.__version__
    assert theirs == ours
    assert {name for name, rows in ours["rows"].items() if not rows} == EMPTY_WITHOUT_REQUESTS
    assert len(ours["answers"]) >= len(MACROS) + len(WORKED_QUERIES)
    assert all(ours["answers"].values())


def test_the_notebook_answers_from_a_database_and_in_an_unpacked_archive(
    two_cohorts: Path, release_dir: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(release_dir / "2026.11.0.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    pages = tmp_path / "database.html", tmp_path / "archive.html"
    _export(pages[0], two_cohorts / DATABASE_FILE)
    _export(pages[1], None, tmp_path / "2026.11.0" / NOTEBOOK_FILE, tmp_path / "elsewhere")
    assert [page.read_text(encoding="utf-8").count("data:image/png") for page in pages] == [5, 5]


def _export(page: Path, database: Path | None, notebook: Path | None = None, folder: Path | None = None) -> None:
    notebook = notebook or Path(shutil.copy(NOTEBOOK, page.parent))  # marimo keeps notes of a session beside it
    command = [find_program("notebook", "marimo"), "export", "html", notebook, "-o", page]
    surroundings = {name: value for name, value in os.environ.items() if name != "READINESS_DATABASE"}
    if database:
        surroundings["READINESS_DATABASE"] = str(database)
    ran = subprocess.run(command, env=surroundings, cwd=folder or page.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


PAGE = PROJECT / "docs" / "reading-over-https.md"
ADDRESS = "https://data.example.org/readiness"
SNIPPETS = re.findall(r"^## (.+?)$.*?^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PREPARED = """
import glob, pathlib, duckdb, duckdb_extension_httpfs
found, = glob.glob(f"{pathlib.Path(duckdb_extension_httpfs.__file__).parent}/extensions/*/*.duckdb_extension")
duckdb.execute(f"INSTALL '{found}'")
"""
"""DuckDB takes its extension from its own server; here it comes with a package."""
OF_SQL = """
import duckdb, sys
for each in duckdb.extract_statements(sys.stdin.read()):
    print(*duckdb.execute(each).fetchall(), sep="\\n")
"""


@pytest.fixture(scope="module")
def server(two_releases: Path) -> Iterator[str]:
    with run_web_server(two_releases) as address:
        yield address


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A Python with the libraries of the page and their surroundings, DuckDB's extension in place."""
    python = find_program("remote")
    surroundings = os.environ | {"HOME": str(tmp_path_factory.mktemp("home"))}
    subprocess.run([python, "-c", PREPARED], env=surroundings, check=True)
    return python, surroundings


@pytest.fixture(scope="module")
def of_leeds(two_releases: Path) -> set[float]:
    """What the releases say of all its children, and of those eligible for free school meals."""
    files = two_releases.glob("20*/gld_headline.parquet")
    rows = [row for file in files for row in pq.read_table(file).to_pylist() if row["la_name"] == "Leeds"]
    groups = ("Total", "Eligible for free school meals")
    asked = [row for row in rows if row["sex"] == "Total" and row["breakdown"] in groups]
    return {row["gld_children_percent"] for row in asked if row["gld_children_percent"] is not None}


@pytest.mark.parametrize(("title", "language", "snippet"), SNIPPETS, ids=[title for title, *_ in SNIPPETS])
def test_a_snippet_finds_the_council(
    title: str, language: str, snippet: str, server: str, python: tuple[Path, dict[str, str]], of_leeds: set[float]
) -> None:
    client, surroundings = python
    run = snippet.replace(ADDRESS, server)
    command = [str(client), "-c", OF_SQL] if language == "sql" else [str(client), "-"]
    if language == "r":
        rscript = shutil.which("Rscript")
        if rscript is None:
            pytest.skip(describe_missing("r"))
        command = [rscript, "-"]
    ran = subprocess.run(command, input=run, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (title, ran.stderr)
    assert any(f"{percent}" in line for line in ran.stdout.splitlines() if "Leeds" in line for percent in of_leeds)

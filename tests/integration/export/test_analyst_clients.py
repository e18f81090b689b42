"""The analyst database in other hands: the oldest DuckDB that it promises to work with, the newest 1.x, a notebook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.analyst_db.build import NOTEBOOK_FILE
from ndl_export.analyst_db.help import MACROS, WORKED_QUERIES
from tests.support import PROJECT
from tests.support.export.standard_validators import program

pytestmark = pytest.mark.slow

CLIENT = PROJECT / "tests" / "support" / "export" / "standard_validators" / "duckdb_client.py"
NOTEBOOK = PROJECT / "ndl_export" / "analyst_db" / "templates" / NOTEBOOK_FILE
EMPTY_WITHOUT_REQUESTS = {
    *("dimension.requested_category", "main.requests", "releases.request_charges", "releases.requests"),
}


def finds(python: Path, database: Path) -> Any:
    return json.loads(subprocess.run([python, CLIENT, database], check=True, capture_output=True).stdout)


@pytest.mark.parametrize(("environment", "version"), [("duckdb-oldest", "1.2.0"), ("notebook", "1.")])
def test_an_older_client_finds_the_same(environment: str, version: str, two_cohorts: Path) -> None:
    database = two_cohorts / DATABASE_FILE
    theirs, ours = finds(program(environment, "python"), database), finds(Path(sys.executable), database)
    assert theirs.pop("version").startswith(version)
    assert ours.pop("version") == duckdb.__version__
    assert theirs == ours
    assert {name for name, rows in ours["rows"].items() if not rows} == EMPTY_WITHOUT_REQUESTS
    assert len(ours["answers"]) >= len(MACROS) + len(WORKED_QUERIES)
    assert all(ours["answers"].values())


@pytest.mark.parametrize("directory", ["two_releases", "two_cohorts"])
def test_the_notebook_answers_from_the_file_alone(
    directory: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    database, page = request.getfixturevalue(directory) / DATABASE_FILE, tmp_path / "questions.html"
    _export(page, database)
    assert page.read_text(encoding="utf-8").count("data:image/png") == 5


def test_the_notebook_of_an_unpacked_archive_answers_from_the_files_beside_it(
    release_dir: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(release_dir / "2026.11.0.zip") as archive:
        archive.extractall(tmp_path)
    page = tmp_path / "questions.html"
    (tmp_path / "elsewhere").mkdir()
    _export(page, None, tmp_path / "2026.11.0" / NOTEBOOK_FILE, tmp_path / "elsewhere")
    assert page.read_text(encoding="utf-8").count("data:image/png") == 5


def _export(page: Path, database: Path | None, notebook: Path | None = None, folder: Path | None = None) -> None:
    notebook = notebook or Path(shutil.copy(NOTEBOOK, page.parent))  # marimo keeps notes of a session beside it
    command = [program("notebook", "marimo"), "export", "html", notebook, "-o", page]
    surroundings = {name: value for name, value in os.environ.items() if name != "READINESS_DATABASE"}
    if database:
        surroundings["READINESS_DATABASE"] = str(database)
    ran = subprocess.run(command, env=surroundings, cwd=folder or page.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

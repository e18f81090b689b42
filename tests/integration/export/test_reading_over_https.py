"""The snippets of docs/reading-over-https.md, run as they stand against a web server that has the release directory.

The server is one of this machine, which speaks http: only the address is put in place of the page's.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support import PROJECT
from tests.support.areas import lacking
from tests.support.export.standard_validators import program
from tests.support.export.store_servers import web_server

pytestmark = pytest.mark.slow

PAGE = PROJECT / "docs" / "reading-over-https.md"
ADDRESS, VERSION = "https://data.example.org/readiness", "2026.11.0"
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
    with web_server(two_releases) as address:
        yield address


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A Python with the libraries of the page and their surroundings, DuckDB's extension in place."""
    python = program("remote")
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


def test_every_snippet_is_run() -> None:
    assert [language for _, language, _ in SNIPPETS] == ["sql", "sql", "python", "python", "python", "r"]
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * len(SNIPPETS)
    assert all(ADDRESS in snippet for *_, snippet in SNIPPETS)


@pytest.mark.parametrize(("title", "language", "snippet"), SNIPPETS, ids=[title for title, *_ in SNIPPETS])
def test_a_snippet_finds_the_council(
    title: str, language: str, snippet: str, server: str, python: tuple[Path, dict[str, str]], of_leeds: set[float]
) -> None:
    client, surroundings = python
    run = snippet.replace(ADDRESS, server)
    if language == "r":
        rscript = shutil.which("Rscript")
        if rscript is None:
            pytest.skip(lacking("r"))
        command, given = [rscript, "-"], run
    elif language == "sql":
        command, given = [str(client), "-c", OF_SQL], run
    else:
        command, given = [str(client), "-"], run
    ran = subprocess.run(command, input=given, env=surroundings, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (title, ran.stderr)
    assert any(f"{percent}" in line for line in ran.stdout.splitlines() if "Leeds" in line for percent in of_leeds)

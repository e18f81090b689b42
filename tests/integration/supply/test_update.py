"""Updates by one command: every pin is asked for, and what changed is told with what to look at."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.supply.copies import copied, tracked
from tests.support.supply.scripts import script

pinned, update = script("pinned"), script("update")

UV = r"""#!/bin/sh
# A uv that finds a newer OpenDP, a newer hatchling and a newer uv, and writes down what it was asked.
echo "$@" >> "$(dirname "$0")/asked.txt"
case "$*" in
    "lock --upgrade --quiet") sed -i '/^name = "opendp"$/{n;s/^version = .*/version = "99.1.0"/}' uv.lock ;;
    *build-tools.in*) sed -i 's/^hatchling==[0-9.]*/hatchling==99.2.0/' build-tools.txt ;;
    *--no-header*) echo uv==99.3.0 ;;
esac
exit "${FAILS:-0}"
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    wanted = ("packaging/", "tests/support/export/standard_validators/", "pyproject.toml", "uv.lock", "Makefile")
    copied(tmp_path / "copy", [name for name in tracked() if name.startswith(wanted)])
    (tmp_path / "uv").write_text(UV, encoding="ascii")
    (tmp_path / "uv").chmod(0o755)
    return tmp_path / "copy"


def run(copy: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, copy / "packaging" / "supply" / "update.py", "--uv", copy.parent / "uv"]
    env = {"PATH": "/usr/bin:/bin", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_it_asks_for_all_and_tells_what_changed(copy: Path) -> None:
    done = run(copy)
    assert done.returncode == 0, done.stderr
    versions = dict(line.split() for line in ("opendp 99.1.0", "hatchling 99.2.0", "uv 99.3.0"))
    table, advice = done.stdout.split("\n\n")
    assert {line.split()[1]: line.split()[-1] for line in table.splitlines()} == versions
    assert "opendp: the noise: `make audit`" in advice
    assert advice.splitlines()[-1].startswith("Then: make setup licences supply-chain lint test-all")
    asked = (copy.parent / "asked.txt").read_text("ascii")
    for path in pinned.lists():
        assert (f"-o {path.name} --upgrade" in asked) == (path.name != "duckdb-oldest.txt")
    assert asked.splitlines()[-2] == "lock --upgrade --quiet"  # after the build tools, which it is told of


def test_whatever_names_a_version_gets_the_new_one(copy: Path) -> None:
    run(copy)
    project = tomllib.loads((copy / "pyproject.toml").read_text("utf-8"))
    tools = project["tool"]["uv"]["build-constraint-dependencies"]
    assert "hatchling==99.2.0" in tools
    assert len(tools) == len(list(pinned.of_list(pinned.BUILD_TOOLS)))
    assert "UV_VERSION := 99.3.0\n" in (copy / "Makefile").read_text("utf-8")
    assert "ARG UV_VERSION=99.3.0\n" in (copy / "packaging" / "containers" / "Containerfile").read_text("utf-8")
    changed = subprocess.run(["git", "diff", "--stat"], cwd=copy, capture_output=True, text=True, check=True).stdout
    assert len(changed.splitlines()) == 6  # pyproject, lock, Makefile, Containerfile, build tools, and the sum


def test_where_uv_fails_it_says_so(copy: Path) -> None:
    done = run(copy, FAILS="2")
    assert done.returncode == 2
    assert done.stderr.startswith("Not everything was updated")
    assert done.stdout == ""


def test_nothing_newer_is_told() -> None:
    before = update.now()
    assert list(update.told(update.changes(before, before))) == ["Everything is as new as it may be."]

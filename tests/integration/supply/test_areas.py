"""Tests whose program is missing are counted by reason, and fail where their area is required; `.ci/run` says which."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import PROJECT, environment_without_settings
from tests.support.areas import AREAS, REQUIRE, lacking, required

SCRIPT = PROJECT / ".ci" / "run"
TESTS = f"""
import pytest
absent = pytest.mark.skipif(True, reason={lacking("browser")!r})
@absent
def test_page(): ...
@absent
def test_other_page(): ...
def test_chart(): pytest.skip({lacking("validators")!r})
def test_slowly(): pytest.skip("takes minutes: make audit")
@pytest.mark.xfail
def test_expected(): assert False
def test_sound(): ...
"""


def ran(folder: Path, required: str, workers: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_them.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.areas", *workers.split(), "test_them.py"]
    environment = environment_without_settings() | {"PYTHONPATH": str(PROJECT), REQUIRE: required}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_skips_are_counted_by_reason(tmp_path: Path) -> None:
    done = ran(tmp_path, "", "-n0")
    assert done.returncode == 0, done.stdout
    *_, first, second, third, closing = done.stdout.splitlines()
    assert first == f"    2 {lacking('browser')}"
    assert {second, third} == {f"    1 {lacking('validators')}", "    1 takes minutes: make audit"}
    assert re.match(r"1 passed, 4 skipped, 1 xfailed in", closing)


@pytest.mark.parametrize("workers", ["-n0", "-n1"])
def test_those_of_a_required_area_fail(tmp_path: Path, workers: str) -> None:
    done = ran(tmp_path, "browser postgresql", workers)
    assert done.returncode == 1, done.stdout
    assert f"skipped, though {REQUIRE} asks for it: {lacking('browser')}" in done.stdout
    assert re.search(r"1 passed, 2 skipped, 1 xfailed, 2 errors in", done.stdout.splitlines()[-1])


def test_an_area_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE, "browsers")
    with pytest.raises(pytest.UsageError, match="names browsers; the areas are postgresql, browser,"):
        required()


def test_continuous_integration_installs_all_areas_and_requires_those_that_count() -> None:
    text = SCRIPT.read_text()
    assert set(re.findall(r"^install (\w+) ", text, re.MULTILINE)) == set(AREAS) - {"r"}
    (required,) = re.findall(r"\$\{READINESS_TEST_REQUIRE-([^}]*)\}", text)
    assert required.split() == ["postgresql", "browser", "validators", "deployment"]
    last = [line for line in text.splitlines() if line.startswith(("install ", "make "))]
    assert [line.split()[0] for line in last] == ["install"] * (len(AREAS) - 1) + ["make"] * 4


def installing(folder: Path, failures: int) -> subprocess.CompletedProcess[str]:
    """The script with `apt-get` that fails so often, and nothing else done, or waited for."""
    doubles = {
        "apt-get": f'echo x >> tries; [ "$(wc -l < tries)" -gt {failures} ]',
        **dict.fromkeys(("make", "npm", "sleep"), "true"),
        "id": "echo 0",
    }
    text = re.sub(r"^install (?!age ).*?[^\\]\n(?=\w)", "", SCRIPT.read_text(), flags=re.MULTILINE | re.DOTALL)
    (folder / "ci").mkdir()
    (folder / "ci" / "run").write_text(text.replace("'type age'", "false"))
    for name, does in doubles.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["bash", "ci/run"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("failures", "named"), [(3, False), (9, True)])
def test_an_installation_is_tried_again_and_named_where_it_fails(tmp_path: Path, failures: int, named: bool) -> None:
    done = installing(tmp_path, failures)
    assert done.returncode == 0, done.stderr
    assert ("could not be installed, so these areas were not tested: age" in done.stderr) is named

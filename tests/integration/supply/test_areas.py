"""Tests whose program is missing are counted by reason, and fail where their area is required; `.ci/run` says which."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support import PROJECT, get_environment_without_settings
from tests.support.areas import AREAS, REQUIRE, describe_missing

SCRIPT = PROJECT / ".ci" / "run"
TESTS = f"""
import pytest
absent = pytest.mark.skipif(True, reason={describe_missing("browser")!r})
@absent
def test_page(): ...
@absent
def test_other_page(): ...
def test_chart(): pytest.skip({describe_missing("validators")!r})
def test_slowly(): pytest.skip("takes minutes: make audit")
@pytest.mark.xfail
def test_expected(): assert False
def test_sound(): ...
"""


def ran(folder: Path, required: str, workers: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_them.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.areas", *workers.split(), "test_them.py"]
    environment = get_environment_without_settings() | {"PYTHONPATH": str(PROJECT), REQUIRE: required}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_those_of_a_required_area_fail(tmp_path: Path) -> None:
    done = ran(tmp_path, "browser postgresql", "-n1")
    assert done.returncode == 1, done.stdout
    assert f"skipped, though {REQUIRE} asks for it: {describe_missing('browser')}" in done.stdout
    assert re.search(r"1 passed, 2 skipped, 1 xfailed, 2 errors in", done.stdout.splitlines()[-1])


def test_continuous_integration_installs_all_areas_and_requires_those_that_count() -> None:
    text = SCRIPT.read_text()
    assert set(re.findall(r"^install (\w+) ", text, re.MULTILINE)) == set(AREAS) - {"r"}
    (required,) = re.findall(r"\$\{READINESS_TEST_REQUIRE-([^}]*)\}", text)
    assert required.split() == ["postgresql", "browser", "validators", "deployment"]
    last = [line for line in text.splitlines() if line.startswith(("install ", "make "))]
    assert [line.split()[0] for line in last] == ["install"] * (len(AREAS) - 1) + ["make"] * 3

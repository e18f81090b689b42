"""Returns and releases know nothing of each other: no byte of a release changes whether returns are made or not."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.returns.assets import RETURNS
from pipelines.definitions import build_definitions
from tests.support.independent import write_extracts
from tests.support.returns.agreements import Recipients, write

COUNCILS = ("leeds", "wirral")


def readiness(root: Path, *arguments: str, **environment: str) -> None:
    command = [str(Path(sys.executable).with_name("readiness")), *arguments]
    variables = os.environ | {"READINESS_KEYS": str(root / "keys"), "READINESS_HOME": str(root / "home")} | environment
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "readiness.duckdb"
    }


@pytest.mark.slow
def test_the_releases_bytes_do_not_change(tmp_path: Path) -> None:
    write_extracts(tmp_path / "landing", children=200, councils=COUNCILS)
    run = ["run", "--landing", str(tmp_path / "landing"), "--cohort", "202425", "--release", "2026.11.0"]
    readiness(tmp_path, *run, "--create-keys")
    home, keys, agreements = Home(tmp_path / "home"), Recipients(tmp_path / "recipients"), tmp_path / "agreements"
    assert not home.returns.exists()
    before, linked = digests(home.release), digests(home.linked("202425"))
    for council in COUNCILS:
        write(agreements, council, keys)
    readiness(tmp_path, "returns", "make", "--cohort", "202425", "--agreements", str(agreements))
    assert len(list(home.returns.glob("*/*/*.age"))) == 4 * len(COUNCILS)
    assert digests(home.release) == before
    assert digests(home.linked("202425")) == linked
    shutil.rmtree(home.release)
    readiness(tmp_path, *run, READINESS_AGREEMENTS=str(agreements))
    assert digests(home.release) == before


def test_returns_are_made_by_their_own_job_alone() -> None:
    definitions = build_definitions()
    graph = definitions.resolve_asset_graph()
    jobs = {
        job.name
        for job in definitions.jobs or ()
        if RETURNS in definitions.resolve_job_def(job.name).asset_layer.executable_asset_keys
    }
    assert jobs == {"returns"}
    assert graph.get(RETURNS).automation_condition is None
    assert not graph.get(RETURNS).child_keys
    assert not {schedule.job_name for schedule in definitions.schedules or ()} & {"returns"}

"""Returns and releases know nothing of each other: no byte of a release changes whether returns are made or not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from assets.home.paths import Home
from tests.support.independent import write_extracts
from tests.support.installation.commands import readiness
from tests.support.installation.traces import hashes
from tests.support.returns.agreements import Recipients, write

COUNCILS = ("leeds", "wirral")


def succeeds(root: Path, *words: object, **settings: object) -> None:
    done = readiness(root, *words, **settings)
    assert done.returncode == 0, done.stdout + done.stderr


def digests(folder: Path) -> dict[str, str]:
    return {name: of for name, of in hashes(folder).items() if not name.endswith("readiness.duckdb")}


@pytest.mark.slow
def test_the_releases_bytes_do_not_change(tmp_path: Path) -> None:
    write_extracts(tmp_path / "landing", children=200, councils=COUNCILS)
    run = ["run", "--cohort", "202425", "--release", "2026.11.0"]
    succeeds(tmp_path, *run, "--create-keys")
    home, keys, agreements = Home(tmp_path / "home"), Recipients(tmp_path / "recipients"), tmp_path / "agreements"
    assert not home.returns.exists()
    before, linked = digests(home.release), digests(home.cohort("202425").linked)
    for council in COUNCILS:
        write(agreements, council, keys)
    succeeds(tmp_path, "returns", "make", "--cohort", "202425", "--agreements", agreements)
    assert len(list(home.returns.glob("*/*/*.age"))) == 4 * len(COUNCILS)
    assert digests(home.release) == before
    assert digests(home.cohort("202425").linked) == linked
    shutil.rmtree(home.release)
    succeeds(tmp_path, *run, agreements=agreements)
    assert digests(home.release) == before

"""The demonstration as created by `make demo`."""

from pathlib import Path

import pytest

from tests.support import PROJECT
from tests.support.installation.commands import run_readiness
from tests.support.once import make_once

COHORT, VERSION = "202425", "2026.11.0"


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project folder with `demo/` and `keys/`, created once; tests copy it."""

    def make(folder: Path) -> None:
        for name in (".venv", "docs", "ndl_export", "privacy"):
            (folder / name).symlink_to(PROJECT / name)
        for words in (
            "synth --landing demo/landing",
            f"run --landing demo/landing --home demo/home --create-keys --keys keys --release {VERSION}",
        ):
            done = run_readiness(folder, *words.split(), "--cohort", COHORT)
            assert done.returncode == 0, done.stderr

    return make_once(tmp_path_factory, "demonstration", make)

"""One installation with a finished release, made once; every test does its fault to a copy."""

from pathlib import Path

import pytest

from tests.support.installation.rig import Ended, Site, copy_finished_site


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, Ended]:
    return copy_finished_site(tmp_path_factory)


@pytest.fixture
def site(finished: tuple[Site, Ended], tmp_path: Path) -> Site:
    return finished[0].copy(tmp_path / "site")

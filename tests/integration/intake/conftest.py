"""A desk that ingests extracts, and a landing folder for the readers alone."""

from pathlib import Path

import pytest

from tests.support.intake.desk import _temporary, desk, read_here
from tests.support.intake.files import Landing


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)

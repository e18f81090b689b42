"""Extracts made once for all tests of the generator."""

from pathlib import Path

import pytest

from sources.synthetic import generate
from tests.support.once import made_once

COHORT = "202425"


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folder of the whole pilot in the councils' own dialects."""
    return made_once(tmp_path_factory, "pilot", lambda folder: generate(folder / "landing", COHORT)) / "landing"


@pytest.fixture(scope="session")
def pilot_in_contract_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same children and rows as `pilot`, under contract names."""

    def make(folder: Path) -> None:
        generate(folder / "landing", COHORT, contract_names=True)

    return made_once(tmp_path_factory, "contract", make) / "landing"

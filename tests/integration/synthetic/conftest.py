"""Extracts made once for all tests of the generator."""

from pathlib import Path

import pytest

from sources.synthetic import generate
from tests.support.once import make_once

COHORT, SCALE = "202425", 0.2


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folder of a fifth of the pilot in the councils' own dialects."""

    def make(folder: Path) -> None:
        generate(folder / "landing", COHORT, scale=SCALE)

    return make_once(tmp_path_factory, "pilot", make) / "landing"


@pytest.fixture(scope="session")
def pilot_in_contract_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same children and rows as `pilot`, under contract names."""

    def make(folder: Path) -> None:
        generate(folder / "landing", COHORT, scale=SCALE, contract_names=True)

    return make_once(tmp_path_factory, "contract", make) / "landing"

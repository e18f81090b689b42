"""Extracts made once for all tests of the generator."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.synthetic import generate

COHORT = "202425"


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing folder of the whole pilot in the councils' own dialects."""
    landing = tmp_path_factory.mktemp("pilot") / "landing"
    generate(landing, COHORT)
    return landing


@pytest.fixture(scope="session")
def pilot_in_contract_form(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same children and rows as `pilot`, under contract names."""
    landing = tmp_path_factory.mktemp("contract") / "landing"
    generate(landing, COHORT, contract_names=True)
    return landing

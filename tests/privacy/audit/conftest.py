"""Sizes of the audit, and its parts, ready to run on the product or on a mutant."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.privacy.audit.accountants import check_charge
from tests.privacy.audit.black_box import Small, check_black_box
from tests.privacy.audit.extracts import WORST, Neighbours, neighbours
from tests.privacy.audit.once import check_once
from tests.privacy.audit.residuals import check_residuals
from tests.privacy.audit.sensitivity import check_sensitivity
from tests.privacy.audit.shape import check_shape
from tests.support.once import made_once
from tests.support.release.examples import small_plan

IS_FULL = os.environ.get("READINESS_AUDIT") == "full"
"""Set by `make audit`."""


@dataclass(frozen=True)
class Size:
    """Sizes of the checks."""

    releases_of_residuals: int
    releases_on_request: int
    releases_told_apart: int
    bundles_told_apart: int
    rows: int
    draws_under_load: int
    lines_between_interrupts: int


SIZE = Size(4000, 200, 3000, 100, 3000, 20_000, 3) if IS_FULL else Size(200, 20, 300, 0, 300, 400, 41)


@pytest.fixture(scope="session")
def worst_neighbours(tmp_path_factory: pytest.TempPathFactory) -> Neighbours:
    """Return neighbours that differ by a child with duplicate rows, three reviews and two councils; ingested and linked
    once for all tests."""
    folder = made_once(tmp_path_factory, "neighbours", lambda folder: neighbours(folder, WORST))
    return Neighbours.in_folder(folder)


Part = Callable[[], object]


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, worst_neighbours: Neighbours) -> Mapping[str, Part]:
    """Return the parts of the audit that take seconds, which run on every mutant."""

    def folder() -> Path:
        return tmp_path_factory.mktemp("part")

    return {
        "residuals": lambda: check_residuals(small_plan(), 200),
        "sensitivity": lambda: check_sensitivity(worst_neighbours, ("pupil", "health")),
        "black box": lambda: check_black_box(Small(0.5), 0, 300),
        "shape": lambda: check_shape(folder(), 300, ["leeds"]),
        "accountants": lambda: check_charge(folder()),
        "once": lambda: check_once(folder()),
    }

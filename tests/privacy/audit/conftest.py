"""Sizes of the audit, and its parts, ready to run on the product or on a mutant."""

import os
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from tests.privacy.audit.accountants import check_charge, check_once
from tests.privacy.audit.black_box import Small, check_black_box
from tests.privacy.audit.residuals import check_residuals
from tests.privacy.audit.sensitivity import WORST, Neighbours, check_sensitivity, neighbours
from tests.privacy.audit.shape import check_shape
from tests.support.once import make_once
from tests.support.release.examples import make_small_plan

IS_FULL = os.environ.get("READINESS_AUDIT") == "full"
"""Set by `make audit`."""


SIZES = {
    "releases of residuals": (200, 4000),
    "releases on request": (20, 200),
    "releases distinguished": (300, 3000),
    "bundles distinguished": (0, 100),
    "rows": (300, 3000),
    "draws under load": (400, 20_000),
    "lines between interrupts": (41, 3),
}
"""Sizes of the checks, in `make test-privacy` and in `make audit`."""
SIZE = {name: sizes[IS_FULL] for name, sizes in SIZES.items()}


@pytest.fixture(scope="session")
def worst_neighbours(tmp_path_factory: pytest.TempPathFactory) -> Neighbours:
    """Return neighbours, linked once, that differ by a child with repeated rows, three reviews and two councils."""
    folder = make_once(tmp_path_factory, "neighbours", lambda folder: neighbours(folder, WORST))
    return Neighbours.in_folder(folder)


Part = Callable[[], object]


@pytest.fixture
def parts(tmp_path_factory: pytest.TempPathFactory, worst_neighbours: Neighbours) -> Mapping[str, Part]:
    """Return the parts of the audit that take seconds, which run on every mutant."""

    folder = partial(tmp_path_factory.mktemp, "part")
    return {
        "residuals": lambda: check_residuals(make_small_plan(), 200),
        "sensitivity": lambda: check_sensitivity(worst_neighbours, ("pupil", "health")),
        "black box": lambda: check_black_box(Small(0.5), 0, 300),
        "shape": lambda: check_shape(folder(), 300, ["leeds"]),
        "accountants": lambda: check_charge(folder()),
        "once": lambda: check_once(folder()),
    }

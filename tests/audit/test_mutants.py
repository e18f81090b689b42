"""Every planted mistake is caught by the part named here; `make audit` also says which other parts see it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from .conftest import IS_FULL, Part
from .mutants import MUTANTS

CAUGHT_BY = {
    "halved noise": "residuals",
    "noise reused across tables": "residuals",
    "float noise": "residuals",
    "seeded noise": "residuals",
    "one child counted twice": "sensitivity",
    "sensitivity 3 from a long table": "sensitivity",
    "true count in a manifest": "shape",
    "suppression on a true count": "shape",
    "a draw on retry": "once",
    "a charge smaller than the map": "accountants",
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_it_is_caught(mutant: str, parts: Mapping[str, Part]) -> None:
    with MUTANTS[mutant](), pytest.raises(AssertionError):
        parts[CAUGHT_BY[mutant]]()


@pytest.mark.skipif(not IS_FULL, reason="takes minutes: make audit")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_which_parts_catch_it(mutant: str, parts: Mapping[str, Part]) -> None:
    caught = {}
    for name, part in parts.items():
        try:
            with MUTANTS[mutant]():
                part()
        except Exception as error:
            caught[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    print(f"\n{mutant}:", *(f"\n    {name}: {why}" for name, why in caught.items()))
    assert CAUGHT_BY[mutant] in caught

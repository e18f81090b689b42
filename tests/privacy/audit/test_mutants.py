"""Every planted mistake is detected by its part of the audit; `make audit` also reports which other parts detect it."""

from collections.abc import Mapping

import pytest

from tests.privacy.audit.conftest import IS_FULL, Part
from tests.privacy.audit.mutants import MUTANTS
from tests.support.daily import mark_slow_after


@pytest.mark.parametrize("mutant", mark_slow_after(8, MUTANTS))
def test_it_is_caught(mutant: str, parts: Mapping[str, Part]) -> None:
    plant, part, says = MUTANTS[mutant]
    with plant(), pytest.raises(AssertionError, match=says):
        parts[part]()


@pytest.mark.skipif(not IS_FULL, reason="takes minutes: make audit")
@pytest.mark.parametrize("mutant", MUTANTS)
def test_which_parts_catch_it(mutant: str, parts: Mapping[str, Part]) -> None:
    plant, wanted, _ = MUTANTS[mutant]
    caught = {}
    for name, part in parts.items():
        try:
            with plant():
                part()
        except Exception as error:
            caught[name] = f"{type(error).__name__}: {error}".partition("\n")[0]
    print(f"\n{mutant}:", *(f"\n    {name}: {why}" for name, why in caught.items()))
    assert wanted in caught

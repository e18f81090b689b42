"""Every planted mistake is detected by the part named here; `make audit` also reports which other parts detect it."""

from collections.abc import Mapping

import pytest

from tests.privacy.audit.conftest import IS_FULL, Part
from tests.privacy.audit.mutants import MUTANTS
from tests.support.daily import mark_slow_after

CAUGHT_BY = {
    "halved noise": ("residuals", "variance"),
    "noise reused across tables": ("residuals", "related|variance"),
    "float noise": ("residuals", "not of whole numbers"),
    "seeded noise": ("residuals", "two releases have the same noise|variance"),
    "one child counted twice": ("sensitivity", "pupil .* moves by"),
    "sensitivity 3 from a long table": ("sensitivity", "moves by"),
    "true count in a manifest": ("shape", "privacy_statement.json depend on the data"),
    "suppression on a true count": ("shape", "gld_headline.parquet.* depend on the data"),
    "a draw on retry": ("once", "two processes drew for one charge"),
    "a charge smaller than the map": ("accountants", "charged rho .* for noise that costs"),
}
"""Part of the audit, and its message."""
_LONGEST = ("suppression on a true count", "true count in a manifest")


@pytest.mark.parametrize("mutant", mark_slow_after(8, sorted(MUTANTS, key=_LONGEST.__contains__)))
def test_it_is_caught(mutant: str, parts: Mapping[str, Part]) -> None:
    part, says = CAUGHT_BY[mutant]
    with MUTANTS[mutant](), pytest.raises(AssertionError, match=says):
        parts[part]()


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
    assert CAUGHT_BY[mutant][0] in caught

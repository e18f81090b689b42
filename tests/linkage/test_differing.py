"""How many children moved is read off the sure pairs, and only in doublings."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.linkage import model
from privacy.linkage.differing import Differing, differing

CHILDREN = 10_000
SAME, OUTWARD, DIFFERENT = (
    model.weight("postcode", level, CHILDREN) for level in ("same", "same outward part", "different")
)


def of(pairs: int, different: float, *, without: float = 15.0, missing: int = 0) -> Differing:
    """Pairs of one unit with one, of which a share differ in the postcode, and more with a postcode missing."""
    units = np.arange(pairs + missing)
    postcode = np.where(units < round(pairs * different), DIFFERENT, SAME)
    postcode[pairs:] = np.nan
    weight = without + np.nan_to_num(postcode)
    return differing("postcode", units, units, weight, postcode, CHILDREN)


@pytest.mark.parametrize(
    ("different", "doublings"), [(0.0, 0), (0.08, 0), (0.11, 0), (0.12, 1), (0.2, 1), (0.3, 2), (0.5, 2), (1.0, 2)]
)
def test_the_share_is_raised_by_doublings(different: float, doublings: int) -> None:
    assert of(1_000, different).doublings == doublings


def test_a_postcode_that_differs_counts_less_and_one_that_agrees_a_little_less() -> None:
    found = of(1_000, 0.5, missing=10)
    assert set(found.bits[:500]) == {2.0}
    assert found.bits[500] == pytest.approx(np.log2((1 - 0.32) / (1 - 0.08)))
    assert set(found.bits[1_000:]) == {0.0}


def test_an_outward_part_that_agrees_is_not_a_different_postcode() -> None:
    units = np.arange(400)
    postcode = np.full(400, OUTWARD)
    assert differing("postcode", units, units, 15 + postcode, postcode, CHILDREN).doublings == 0


def test_pairs_that_need_the_postcode_do_not_say_who_moved() -> None:
    assert of(1_000, 0.5, without=3.0).doublings == 0


def test_few_pairs_say_nothing() -> None:
    assert of(99, 0.5).doublings == 0


def test_one_record_more_changes_nothing() -> None:
    assert of(1_001, 0.3).doublings == of(1_000, 0.3).doublings

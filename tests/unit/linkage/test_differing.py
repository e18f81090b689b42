"""How many postcodes and dates of birth differ is read off the sure pairs, and only in doublings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from privacy.linkage import model
from privacy.linkage.corrections import COMPARISONS, Differing, as_differing, differing

CHILDREN = 10_000
NEARLY_THE_SAME = {"postcode": "same outward part", "date_of_birth": "same month"}


def scored(comparison: str, levels: np.ndarray, without: float = 15.0) -> pa.Table:
    """Pairs of one unit with one, at these levels of a comparison ("" for none), the others missing."""
    weights = {level: model.weight(comparison, level, CHILDREN) for level in set(levels) - {""}} | {"": np.nan}
    units, part = np.arange(len(levels)), np.array([weights[level] for level in levels])
    none = {other: np.full(len(levels), np.nan) for other in COMPARISONS}
    weight = without + np.nan_to_num(part)
    return pa.table({"unit_l": units, "unit_r": units, "weight": weight} | none | {comparison: part})


def of(comparison: str, pairs: int, different: float, *, without: float = 15.0, missing: int = 0) -> Differing:
    """Pairs of which a share differ, and more with a value missing."""
    levels = np.where(np.arange(pairs) < round(pairs * different), "different", "same")
    return differing(scored(comparison, np.r_[levels, [""] * missing], without), CHILDREN)


@pytest.mark.parametrize(
    ("comparison", "different", "doublings"),
    [
        *(("postcode", share, n) for share, n in ((0, 0), (0.08, 0), (0.11, 0), (0.12, 1), (0.2, 1), (0.3, 2), (1, 2))),
        *(("date_of_birth", share, n) for share, n in ((0, 0), (0.02, 0), (0.03, 1), (0.05, 1), (0.06, 2), (0.9, 2))),
    ],
)
def test_the_share_is_raised_by_doublings(comparison: str, different: float, doublings: int) -> None:
    found = of(comparison, 1_000, different).doublings
    assert found == dict.fromkeys(COMPARISONS, 0) | {comparison: doublings}


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_what_differs_counts_less_and_what_agrees_a_little_less(comparison: str) -> None:
    found = of(comparison, 1_000, 0.5, missing=10)
    usual = model.parameters()["comparisons"][comparison]["different"][0]
    assert set(found.bits[:500]) == {2.0}
    assert found.bits[500] == pytest.approx(np.log2((1 - 4 * usual) / (1 - usual)))
    assert set(found.bits[1_000:]) == {0.0}


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_what_agrees_in_part_does_not_differ(comparison: str) -> None:
    pairs = scored(comparison, np.full(400, NEARLY_THE_SAME[comparison]))
    assert differing(pairs, CHILDREN).doublings[comparison] == 0


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_pairs_that_need_the_comparison_do_not_say_how_many_differ(comparison: str) -> None:
    assert of(comparison, 1_000, 0.5, without=3.0).doublings[comparison] == 0


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_few_pairs_say_nothing(comparison: str) -> None:
    assert of(comparison, 99, 0.5).doublings[comparison] == 0


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_one_record_more_changes_nothing(comparison: str) -> None:
    assert of(comparison, 1_001, 0.3).doublings == of(comparison, 1_000, 0.3).doublings


def test_a_part_of_the_pairs_can_be_told_how_many_differ() -> None:
    pairs = scored("date_of_birth", np.array(["different", "same"]))
    assert as_differing(pairs, CHILDREN, {"postcode": 0, "date_of_birth": 1}).bits[0] == 1

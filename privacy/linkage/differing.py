"""How many children have another postcode, or another date of birth, in one service than in the other, and what that
does to weights.

The model has it that one postcode in twelve differs, and one date in fifty wholly. Where two records are years apart,
half of the children may have moved; where a service types its dates from paper, one in ten may be wrong: what differs
then says little against a pair. How many do can be seen among pairs that are sure without a look at it. It is rounded
to a doubling, so that one record more or less changes no link, and only ever raised: where few differ, the model stands
as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.linkage import assignment, model

COMPARISONS = ("postcode", "date_of_birth")
_SURE = 0.99
_ENOUGH = 100
"""Sure pairs with a value on both sides from which the share that differs is believed."""
_MOST_DOUBLINGS = 2
_NEAR = 0.01


@dataclass(frozen=True)
class Differing:
    """`doublings` of the model's share of children of whom one comparison is at "different", and `bits` that they add
    to each pair."""

    doublings: int
    bits: np.ndarray


def differing(
    comparison: str, left: np.ndarray, right: np.ndarray, weight: np.ndarray, part: np.ndarray, records: int
) -> Differing:
    """Of pairs of units with these weights, of which `part` (log2 Bayes factor of the comparison, 0 or NaN where there
    is nothing to compare) is one, between services of so many children."""
    part = np.nan_to_num(part)
    known, different = _compared(comparison, part, records)
    sure = known & (assignment.least_posterior(left, right, weight - part) >= _SURE)
    doublings = 0
    if sure.sum() >= _ENOUGH:
        share = max(different[sure].mean(), _usual(comparison))
        doublings = min(round(np.log2(share / _usual(comparison))), _MOST_DOUBLINGS)
    return as_differing(comparison, doublings, part, records)


def as_differing(comparison: str, doublings: int, part: np.ndarray, records: int) -> Differing:
    """What so many `doublings`, known from elsewhere, add to pairs; the rest as in `differing`."""
    known, different = _compared(comparison, np.nan_to_num(part), records)
    usual = _usual(comparison)
    near = np.log2((1 - usual * 2**doublings) / (1 - usual))
    return Differing(doublings, np.where(different, float(doublings), known * near))


def _compared(comparison: str, part: np.ndarray, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the pairs that can be compared, and of those among them that differ."""
    known = part != 0
    return known, known & (np.abs(part - model.weight(comparison, "different", records)) < _NEAR)


def _usual(comparison: str) -> float:
    """Share of children of whom the comparison is at "different", as the model has it."""
    share: float = model.parameters()["comparisons"][comparison]["different"][0]
    return share

"""How many children have another postcode, or another date of birth, in one service than in the other, and what that
does to weights.

The model has it that one postcode in twelve differs, and one date in fifty wholly. Where two records are years apart,
half of the children may have moved; where a service types its dates from paper, one in ten may be wrong: what differs
then says little against a pair. How many do can be seen among pairs that are sure without a look at it. It is rounded
to a doubling, so that one record more or less changes no link, and only ever raised: where few differ, the model stands
as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from privacy.linkage import assignment, model

COMPARISONS = ("postcode", "date_of_birth")
_SURE = 0.99
_ENOUGH = 100
"""Sure pairs with a value on both sides from which the share that differs is believed."""
_MOST_DOUBLINGS = 2
_NEAR = 0.01


@dataclass(frozen=True)
class Differing:
    """For each of COMPARISONS, `doublings` of the model's share of children of whom it is at "different"; and the
    `bits` that these add to each pair."""

    doublings: Mapping[str, int]
    bits: np.ndarray


def differing(pairs: pa.Table, records: int) -> Differing:
    """Of `pairs` as `candidates` scores them, between services of so many children."""
    doublings = {comparison: _doublings(pairs, comparison, records) for comparison in COMPARISONS}
    return as_differing(pairs, records, doublings)


def as_differing(pairs: pa.Table, records: int, doublings: Mapping[str, int]) -> Differing:
    """What so many `doublings`, known from elsewhere, add to pairs; the rest as in `differing`."""
    bits = np.zeros(len(pairs))
    for comparison, doubled in doublings.items():
        known, different = _compared(pairs, comparison, records)
        usual = _usual(comparison)
        near = np.log2((1 - usual * 2**doubled) / (1 - usual))
        bits += np.where(different, float(doubled), known * near)
    return Differing(doublings, bits)


def _doublings(pairs: pa.Table, comparison: str, records: int) -> int:
    left, right, weight = (pairs.column(name).to_numpy() for name in ("unit_l", "unit_r", "weight"))
    known, different = _compared(pairs, comparison, records)
    sure = known & (assignment.least_posterior(left, right, weight - _part(pairs, comparison)) >= _SURE)
    if sure.sum() < _ENOUGH:
        return 0
    usual = _usual(comparison)
    return min(round(np.log2(max(different[sure].mean(), usual) / usual)), _MOST_DOUBLINGS)


def _compared(pairs: pa.Table, comparison: str, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the pairs that can be compared, and of those among them that differ."""
    part = _part(pairs, comparison)
    known = part != 0
    return known, known & (np.abs(part - model.weight(comparison, "different", records)) < _NEAR)


def _part(pairs: pa.Table, comparison: str) -> np.ndarray:
    """Log2 Bayes factor of the comparison, 0 where there is nothing to compare."""
    return np.nan_to_num(pairs.column(comparison).to_numpy())


def _usual(comparison: str) -> float:
    """Share of children of whom the comparison is at "different", as the model has it."""
    share: float = model.parameters()["comparisons"][comparison]["different"][0]
    return share

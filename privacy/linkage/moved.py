"""How many children have another postcode in one service than in the other, and what that does to weights.

The model has it that one child in twelve does. Where two records are years apart, half may: a postcode that differs
then says little against a pair. How many it is can be seen among pairs that are sure without a look at the postcode. It
is rounded to a doubling, so that one record more or less changes no link, and only ever raised: where few moved, the
model stands as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.linkage import assignment, model

_SURE = 0.99
_ENOUGH = 100
"""Sure pairs with a postcode on both sides from which their share is believed."""
_MOST_DOUBLINGS = 2
_NEAR = 0.01


@dataclass(frozen=True)
class Moved:
    """`doublings` of the model's share of children whose postcode differs, and `bits` that they add to each pair."""

    doublings: int
    bits: np.ndarray


def moved(left: np.ndarray, right: np.ndarray, weight: np.ndarray, postcode: np.ndarray, records: int) -> Moved:
    """Of pairs of units with these weights, of which `postcode` (log2 Bayes factor, 0 or NaN where one is missing) is a
    part, between services of so many children."""
    postcode = np.nan_to_num(postcode)
    known, different = _compared(postcode, records)
    sure = known & (assignment.least_posterior(left, right, weight - postcode) >= _SURE)
    doublings = 0
    if sure.sum() >= _ENOUGH:
        share = max(different[sure].mean(), _usual())
        doublings = min(round(np.log2(share / _usual())), _MOST_DOUBLINGS)
    return as_moved(doublings, postcode, records)


def as_moved(doublings: int, postcode: np.ndarray, records: int) -> Moved:
    """What so many `doublings`, known from elsewhere, add to pairs; the rest as in `moved`."""
    known, different = _compared(np.nan_to_num(postcode), records)
    near = np.log2((1 - _usual() * 2**doublings) / (1 - _usual()))
    return Moved(doublings, np.where(different, float(doublings), known * near))


def _compared(postcode: np.ndarray, records: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the pairs whose postcodes are both known, and of those among them whose postcodes differ."""
    known = postcode != 0
    return known, known & (np.abs(postcode - model.weight("postcode", "different", records)) < _NEAR)


def _usual() -> float:
    """Share of children whose postcode differs, as the model has it."""
    share: float = model.parameters()["comparisons"]["postcode"]["different"][0]
    return share

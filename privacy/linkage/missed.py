"""How often a link is missed, from how well found links agree (`agreement`): rates with their covariance.

The model. Each field of a child's three records (pupil, health visitor, setting) differs or not, whichever record it
is in, independently of the other fields, and of how much a pair weighs where everything agrees. How often each field
differs, and in whose record, is read off children in whom it alone differs, over those in whom at most it differs: such
links are missed next to never, so nothing is cut off. A pair weighs what it would where everything agrees, less what
each difference costs (`COST_BITS`), and is found as the linkage finds it: where that weighs enough for records without
another partner, or where date of birth, postcode and surname agree. Of three records, settings are linked to pupils
first, and a review then to whichever it fits better. Adding up over every combination of differences gives the five
`RATES`. A bad record of a pupil is missed by both services at once: that is one of the combinations.

The counts may be noisy. A rate is linear in the share of each field, and the noise of different cells is independent,
so rates of noisy counts are unbiased but for the noise of the denominators, which are large; they may be negative.

Three numbers are fixed beforehand, from populations of which the truth is known (`python -m bench.missed_links`; none
of them is of the cohort): what a difference costs; by how much the model falls short of each rate (`SHORTFALL`: records
without a date or a name, rivals, two differences in one field), and what it cannot see at all (`UNSEEN`: a second
record of a pupil under another number, beside the one that was linked); and how far off both are, from one population
to another (`RELATIVE_SD`, `UNSEEN_SD`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.linkage.blocks import FREE_BITS
from privacy.linkage.cells import (
    ALL_AGREE,
    CELLS,
    DIFFERS,
    FIELDS,
    LEAST_WEIGHT,
    ONE_DIFFERS,
    PAIRS,
    WEIGHT_STEP,
    Differs,
)

Array = NDArray[np.float64]

RATES = (
    "both missed, of children seen by both",
    "review missed, of children seen by both",
    "setting missed, of children seen by both",
    "review missed, of children seen by the health visitor only",
    "setting missed, of children seen in a setting only",
)
COST_BITS = {
    ("date_of_birth", "near"): 7.6,
    ("date_of_birth", "far"): 11.6,
    ("postcode", ""): 15.4,
    ("surname", "near"): 4.0,
    ("surname", "far"): 13.9,
    ("forename", "near"): 5.2,
    ("forename", "far"): 15.8,
}
SHORTFALL = np.array([1.3, 1.6, 1.6, 1.6, 1.5])
RELATIVE_SD = np.array([1.0, 0.35, 0.35, 0.35, 0.5])
"""Of both missed at once, twice that of the others: one fault in how pupils' records are joined moves it most."""
UNSEEN = np.array([0.00005, 0.0, 0.0, 0.0, 0.0])
UNSEEN_SD = np.array([0.0002, 0.0, 0.0, 0.0, 0.0])
USUAL = np.array([0.0003, 0.003, 0.003, 0.003, 0.004])
"""Rates of the populations that `SHORTFALL` comes from, on average."""
_DECIMALS = 9
"""Rates are rounded, so that they are the same on every machine, however it adds up."""
_POINTS = 4
"""Weights by which a step of `ALL_AGREE` is represented."""


@dataclass(frozen=True, eq=False)
class Missed:
    """`rates` (5,), of `RATES`; their `covariance` (5, 5), of noise, of the number of children that they are read off,
    and of how far off the model was elsewhere."""

    rates: Array
    covariance: Array


def missed(counts: Array, variances: Array) -> Missed:
    """The rates from how many children are in each of `CELLS`, in their order, and the variance of the noise in each.

    Where hardly a child was linked to both services, the rates are `USUAL`, with a deviation as large.
    """
    if not enough_linked(counts, variances):
        return Missed(USUAL, np.diag(USUAL**2))
    weights, shares = counts[_ALL_AGREE].sum(), _shares(counts)
    found = _tensor()
    rates = _contracted(found, shares)
    spread = variances + np.maximum(counts, 0.0)
    covariance = np.zeros((len(RATES), len(RATES)))
    for number, field in enumerate(FIELDS):
        without = _contracted(found, shares, but=number)
        slope = (without[1:] - without[:1]) / (weights + counts[_cells_of(field)].sum())
        covariance += slope.T @ (spread[_cells_of(field)][:, None] * slope)
    rates, covariance = SHORTFALL * rates, np.outer(SHORTFALL, SHORTFALL) * covariance
    off = RELATIVE_SD * rates
    covariance += (np.diag(off**2) + np.outer(off, off)) / 2 + np.diag(UNSEEN_SD**2)
    return Missed(np.round(rates + UNSEEN, _DECIMALS), np.round(covariance, 2 * _DECIMALS))


def enough_linked(counts: Array, variances: Array) -> bool:
    """Whether enough children were linked to both services to say how often records differ."""
    return bool(counts[_ALL_AGREE].sum() > 5 * np.sqrt(variances[_ALL_AGREE].sum()))


def rates_where(counts: Array, times: Array) -> Array:
    """The rates (places, rates), of `RATES`, in places where each of `CELLS` is so many `times` as common as over all,
    (places, cells), but for `UNSEEN`."""
    found = np.einsum("abcdwr,w->abcdr", _tensor(), _shares(counts)[-1])
    rates = np.empty((len(times), len(RATES)))
    for place, there in enumerate(times):
        left = found
        for of_field in _shares(counts * there)[:-1]:
            left = np.tensordot(of_field, left, axes=1)
        rates[place] = SHORTFALL * left
    return rates


def _shares(counts: Array) -> list[Array]:
    """What differs in each field, and what pairs weigh, as shares."""
    agree = counts[_ALL_AGREE]
    shares = []
    for field in FIELDS:
        differing = counts[_cells_of(field)]
        shares.append(np.concatenate([[agree.sum()], differing]) / (agree.sum() + differing.sum()))
    return [*shares, agree / agree.sum()]


def _contracted(found: Array, shares: list[Array], but: int | None = None) -> Array:
    """The rates under these shares of what differs in each field, and of weights; by what differs in the field `but`,
    whose shares are left out, (differences, rates)."""
    letters = "abcdw"
    named = [(shares[place], letter) for place, letter in enumerate(letters) if place != but]
    kept = "" if but is None else letters[but]
    result: Array = np.einsum(
        f"{letters}r,{','.join(letter for _, letter in named)}->{kept}r", found, *(share for share, _ in named)
    )
    return result


@cache
def _tensor() -> Array:
    """For each combination of what differs in each of `FIELDS` (nothing, or a cell of it) and step of `ALL_AGREE`,
    whether the links of each of `RATES` are missed; a share where some weights of the step do and some do not."""
    options: list[list[Differs | None]] = [[None, *(each for each in ONE_DIFFERS if each.field == f)] for f in FIELDS]
    combinations = list(product(*options))
    cost = np.array([[[_cost(each, pair) for each in one] for pair in range(len(PAIRS))] for one in combinations])
    points = (np.arange(len(ALL_AGREE) * _POINTS) + 0.5) * WEIGHT_STEP / _POINTS + LEAST_WEIGHT
    lost = cost.sum(axis=2)
    at_home = (cost[:, :, :3] == 0).all(axis=2)
    found = (points[:, None, None] - lost + FREE_BITS >= 0) | at_home
    review, setting, bridged = (found[:, :, pair] for pair in range(len(PAIRS)))
    fits_better = lost[:, 0] <= lost[:, 2]
    seen = np.where(setting, review | bridged, review & (fits_better | ~bridged))
    missed_links = np.stack([~seen & ~setting, ~seen & setting, seen & ~setting, ~review, ~setting])
    by_step = missed_links.reshape(len(RATES), len(ALL_AGREE), _POINTS, -1).mean(axis=2)
    shape = [len(of_field) for of_field in options]
    return np.moveaxis(by_step.reshape(len(RATES), len(ALL_AGREE), *shape), (0, 1), (-1, -2))


def _cost(difference: Differs | None, pair: int) -> float:
    if difference is None or not DIFFERS[difference.record][pair]:
        return 0.0
    return COST_BITS[difference.field, difference.size]


_ALL_AGREE = np.array([CELLS.index(cell) for cell in ALL_AGREE])


@cache
def _cells_of(field: str) -> NDArray[np.int64]:
    return np.array([CELLS.index(str(each)) for each in ONE_DIFFERS if each.field == field])

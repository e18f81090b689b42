"""How often a link is missed, from how well found links agree (`agreement`): rates with their covariance.

The model. Each field of a child's three records (pupil, health visitor, setting) differs or not, whichever record it is
in, independently of the other fields, and of how much a pair weighs where everything agrees. How often each field
differs, and in whose record, is read off children in whom it alone differs, over those in whom at most it differs: such
links are missed next to never, so nothing is cut off but names that are far from each other. A pair weighs what it
would where everything agrees, less what each difference costs (`COST_BITS`), and is found as the linkage finds it:
where that weighs enough for records without another partner, or where date of birth, postcode and surname agree. Of
three records, settings are linked to pupils first, and a review then to whichever it fits better. Adding up over every
combination of differences gives the five `RATES`. A bad record of a pupil is missed by both services at once: that is
one of the combinations.

The counts may be noisy. A rate is linear in the share of each field, and the noise of different cells is independent,
so rates of noisy counts are unbiased but for the noise of the denominators, which are large; they may be negative.

Three numbers are fixed beforehand, from populations of which the truth is known (`python -m bench.missed_links`; none
of them is of the cohort): what a difference costs; by how much the model falls short of each rate (`SHORTFALL`: records
without a date or a name, rivals, two differences in one field), and how many names are too far from each other to be
found (`CUT_OFF`); and how far off both are, from one population to another (`RELATIVE_SD`, `CUT_OFF_SD`, `UNSEEN_SD`).
A second record of a pupil under another number is no part of it, see `unjoined`.
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
    NAMES,
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
    ("names", "near"): 6.9,
    ("names", "middle"): 14.0,
    ("names", "far"): 23.0,
}
_MEAN_BITS = 25.3
"""What pairs weigh in which everything agrees, on average: what is left of one whose names both differ does not depend
on how common they are."""
_AT_HOME = ("date_of_birth", "postcode", "surname", NAMES)
"""A pair is found where none of these differs."""
CUT_OFF, CUT_OFF_SD = 0.6, 0.25
"""Of children whose names in a service's record are far from those in the others, and nothing else is: how many are not
found for that alone, as a share of those who are, and its deviation. Only here does a cell not hold all children that
it is about. Of a pupil's record too few are known, and the noise would be multiplied by it."""
_OF_SERVICES = ("the health visitor's record", "the setting's record")
_LOST_BITS = 33.0
"""What names cost that are so far from each other that their pair is not found."""
SHORTFALL = np.array([1.1, 1.15, 1.15, 1.15, 1.15])
RELATIVE_SD = np.array([0.6, 0.25, 0.25, 0.25, 0.4])
"""Of both missed at once, twice that of the others: one fault in how pupils' records are joined moves it most."""
UNSEEN_SD = np.array([0.0001, 0.0, 0.0, 0.0, 0.0])
"""What the model cannot see at all."""
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
    cut_off = SHORTFALL * CUT_OFF_SD * _contracted(_cut_off(), shares)
    covariance += (np.diag(off**2) + np.outer(off, off)) / 2 + np.outer(cut_off, cut_off) + np.diag(UNSEEN_SD**2)
    return Missed(np.round(rates, _DECIMALS), np.round(covariance, 2 * _DECIMALS))


def enough_linked(counts: Array, variances: Array) -> bool:
    """Whether enough children were linked to both services to say how often records differ."""
    return bool(counts[_ALL_AGREE].sum() > 5 * np.sqrt(variances[_ALL_AGREE].sum()))


def rates_where(counts: Array, times: Array) -> Array:
    """The rates (places, rates), of `RATES`, in places where each of `CELLS` is so many `times` as common as over all,
    (places, cells)."""
    found = np.tensordot(_shares(counts)[-1], _tensor(), axes=1)
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
    left = np.tensordot(shares[-1], found, axes=1)
    for place in range(len(FIELDS)):
        left = np.moveaxis(left, 0, -1) if place == but else np.tensordot(shares[place], left, axes=1)
    return left.T


_OPTIONS: list[list[Differs | None]] = [[None, *(each for each in ONE_DIFFERS if each.field == f)] for f in FIELDS]
"""What can differ in each of `FIELDS`: nothing, or a cell of it."""


@cache
def _tensor() -> Array:
    """For each step of `ALL_AGREE` and combination of what differs in each of `FIELDS`, whether the links of each of
    `RATES` are missed; a share where some weights of the step do and some do not."""
    return _missed_at(COST_BITS["names", "far"]) + CUT_OFF * _cut_off()


@cache
def _cut_off() -> Array:
    """The same, more where names that are far from each other are not found for that alone, all else being the same."""
    return _missed_at(_LOST_BITS) - _missed_at(COST_BITS["names", "far"])


def _missed_at(far_names: float) -> Array:
    """As `_tensor`, where names of a service's record that are far from the others' cost so many bits."""
    by_field = [[[_cost(each, pair, far_names) for pair in range(len(PAIRS))] for each in of] for of in _OPTIONS]
    cost = np.array([list(one) for one in product(*by_field)])  # (combinations, fields, pairs)
    lost = cost.sum(axis=1)
    weights = (np.arange(len(ALL_AGREE) * _POINTS) + 0.5) * WEIGHT_STEP / _POINTS + LEAST_WEIGHT
    names = cost[:, FIELDS.index(NAMES)].any(axis=1)
    points = np.where(names, _MEAN_BITS, weights[:, None])[:, :, None]
    at_home = (cost[:, [FIELDS.index(field) for field in _AT_HOME]] == 0).all(axis=1)
    found = (points - lost + FREE_BITS >= 0) | at_home
    review, setting, bridged = (found[:, :, pair] for pair in range(len(PAIRS)))
    fits_better = lost[:, 0] <= lost[:, 2]
    seen = np.where(setting, review | bridged, review & (fits_better | ~bridged))
    missed_links = np.stack([~seen & ~setting, ~seen & setting, seen & ~setting, ~review, ~setting])
    by_step = missed_links.reshape(len(RATES), len(ALL_AGREE), _POINTS, -1).mean(axis=2)
    shape = [len(of_field) for of_field in _OPTIONS]
    return np.ascontiguousarray(np.moveaxis(by_step.reshape(len(RATES), len(ALL_AGREE), *shape), 0, -1))


def _cost(difference: Differs | None, pair: int, far_names: float) -> float:
    if difference is None or not DIFFERS[difference.record][pair]:
        return 0.0
    if (difference.field, difference.size) == (NAMES, "far") and difference.record in _OF_SERVICES:
        return far_names
    return COST_BITS[difference.field, difference.size]


_ALL_AGREE = np.array([CELLS.index(cell) for cell in ALL_AGREE])


@cache
def _cells_of(field: str) -> NDArray[np.int64]:
    return np.array([CELLS.index(str(each)) for each in ONE_DIFFERS if each.field == field])

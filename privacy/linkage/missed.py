"""How often links are missed: over all, for pupils whose school census row was not found, and by council or group.

`missed` reads the rates, with their covariance, off how well found links agree (`agreement`).

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
A second record of a pupil under another number is not covered: see `unjoined`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privacy.linkage.blocks import FREE_BITS
from privacy.linkage.cells import (
    AGREE,
    ALL_AGREE,
    CELLS,
    DIFFERS,
    FIELDS,
    JOINS,
    KIND_OF,
    KINDS,
    LEAST_WEIGHT,
    NAMES,
    NOT_JOINED,
    ONE_DIFFERS,
    ONE_SORT,
    ONE_UPN_DIFFERS,
    ONE_UPN_SAME,
    PAIRS,
    SORTS,
    WEIGHT_STEP,
    WITHOUT_UPN,
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
    """Estimate the rates from how many children are in each of `CELLS`, and the variance of the noise in each.

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
    """Return whether enough children were linked to both services to show how often records differ."""
    return bool(counts[_ALL_AGREE].sum() > 5 * np.sqrt(variances[_ALL_AGREE].sum()))


def rates_where(counts: Array, times: Array) -> Array:
    """Return the rates (places, rates) in places where each of `CELLS` is so many `times` as common as over all.

    `times` is (places, cells).
    """
    found = np.tensordot(_shares(counts)[-1], _tensor(), axes=1)
    rates = np.empty((len(times), len(RATES)))
    for place, there in enumerate(times):
        left = found
        for of_field in _shares(counts * there)[:-1]:
            left = np.tensordot(of_field, left, axes=1)
        rates[place] = SHORTFALL * left
    return rates


def _shares(counts: Array) -> list[Array]:
    """Return, as shares, what differs in each field, and what pairs weigh."""
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
    """Return what `_tensor` gains where names that are far apart are not found for that alone."""
    return _missed_at(_LOST_BITS) - _missed_at(COST_BITS["names", "far"])


def _missed_at(far_names: float) -> Array:
    """Return `_tensor` where names of a service's record that are far from the others' cost so many bits."""
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


NOT_FOUND, NOT_FOUND_SD = 0.22, 0.1
"""Of children without a UPN in common whose records differ, the share whose rows are not joined, and its deviation."""
USUAL_UNJOINED = 0.0004
"""The share of census rows that is not found in the populations that `NOT_FOUND` comes from, on average."""
SPLIT = np.array([0.4, 0.09, 0.09, 0.6, 0.25])
"""The chance, by place in `RATES`, that a child is missed whose census row was not found."""
SPLIT_SD = 0.5
"""How far off these chances are from one population to another, as a share of them."""


@dataclass(frozen=True)
class Unjoined:
    """The share of pupils with a census row for whom it was not found, and its standard deviation."""

    share: float
    deviation: float

    @property
    def rates(self) -> Array:
        """Return, by `RATES`, how many links are missed because the child has two records among the pupils."""
        return self.share * SPLIT

    @property
    def covariance(self) -> Array:
        variance = self.deviation**2 + (SPLIT_SD * self.share) ** 2
        return variance * np.outer(SPLIT, SPLIT)


def unjoined(counts: Array, variances: Array) -> Unjoined:
    """Estimate the share of school census rows that were not found, from how the others were.

    `counts` are the children in each of `JOINS`, `variances` those of the noise in each. A Profile and a census row
    with one permanent UPN are joined whatever else they say. Without a common UPN (one is temporary, or two were
    given), they are joined where both say the same, or nearly. So with D children joined without a UPN, and a share s
    of those joined by UPN whose records agree, about (1 - s) / s times D more were there whose records differ. The
    share of these that was not found (`NOT_FOUND`) was measured where the truth is known
    (`python -m bench.missed_links`). Such a child has two records among the pupils, and a review or a setting may go
    to either, so services often miss it too (`SPLIT`).

    Where hardly a row was joined by UPN, the share is `USUAL_UNJOINED`, with a deviation as large.
    """
    place = {join: JOINS.index(join) for join in JOINS}
    same, differs, without = (counts[place[each]] for each in (ONE_UPN_SAME, ONE_UPN_DIFFERS, WITHOUT_UPN))
    if same <= 5 * np.sqrt(variances[place[ONE_UPN_SAME]]):
        return Unjoined(USUAL_UNJOINED, USUAL_UNJOINED)
    ratio, rows = max(differs, 0.0) / same, float(np.delete(counts, place[NOT_JOINED]).sum())
    missed = NOT_FOUND * ratio * max(without, 0.0)
    off = NOT_FOUND_SD * ratio * max(without, 0.0)
    noise = (NOT_FOUND * ratio) ** 2 * variances[place[WITHOUT_UPN]]
    return Unjoined(round(missed / rows, _DECIMALS), round(float(np.sqrt(off**2 + noise + missed)) / rows, _DECIMALS))


SERVICES = ("both at once", "review", "setting")
"""Whose links are missed."""
SERVICE_OF_RATE = (0, 1, 2, 1, 2)
"""By place in `RATES`."""
COUNCILS_SD = 0.5
"""How much more or less often records differ in one council than over all, and one record than the others there, as a
standard deviation, before anything is known of it. A place that differs by more than `_PLAINLY` standard deviations of
noise and chance is believed, by so much as it is beyond them."""
_PLAINLY = 4.0
FACTOR_SD = 0.25
"""How far off the model was in one council, as a share of its factor."""
GROUP_SD = 0.5
"""The same of an ethnic group, whose names differ from others' in ways that a council's mistakes do not."""
_STEP = 1e-3
_LEAST_SHARE = np.array([0.3, 0.1, 0.1])
"""A rate of a service under this share of the usual one is little but noise: more is missed against so much at
least."""


@dataclass(frozen=True, eq=False)
class Factors:
    """How many times as many links are missed in a council as over all: `values` (services, councils), and by council
    their `covariances` (councils, services, services)."""

    values: Array
    covariances: Array


def factors(
    counts: Array,
    variances: Array,
    kinds: Array,
    kind_variances: Array,
    seen_by: Array,
    factor_sd: float = FACTOR_SD,
) -> Factors:
    """Estimate in which councils, or ethnic groups, more links are missed, from how often linked records differ there.

    `counts` and `variances` are the cells of all councils together (see `missed`); `kinds` the children of each council
    in each of `KINDS` (councils, kinds), with the variance of the noise in each. `seen_by` (3,) are the children seen
    by both services, by the health visitor only, and in a setting only, by which rates weigh.

    Councils record more or less carefully, and families move more or less often. The number of children of a council
    in whom one field differs, by whose record, is held against the number expected if the council were like all
    together. Every difference of that kind is taken to be that many times as common there, and the rates are added up
    again (`rates_where`). What few children and the noise cannot show stays at the value over all: an empirical Bayes
    estimate, in two steps, of a difference in all records together, and of each record against that.

    Where too few were linked to both services to tell anything, no council differs from another.
    """
    councils, services = len(kinds), len(SERVICES)
    values, covariances = np.ones((services, councils)), np.zeros((councils, services, services))
    if not enough_linked(counts, variances):
        return Factors(values, covariances)
    weights = np.zeros((services, len(RATES)))
    weights[SERVICE_OF_RATE, range(len(RATES))] = np.maximum(seen_by, 1.0)[[0, 0, 0, 1, 2]]
    over_all = weights @ rates_where(counts, np.ones((1, len(CELLS))))[0]
    against = np.maximum(over_all, _LEAST_SHARE * (weights @ USUAL))
    for council, (times, slopes, spread) in enumerate(zip(*_differences(kinds, kind_variances), strict=True)):
        there = weights @ rates_where(counts, np.maximum([times, *(times + _STEP * slopes)], 0.0)).T
        values[:, council] = np.maximum(1.0 + (there[:, 0] - over_all) / against, 0.0)
        moved = (there[:, 1:] - there[:, :1]) / (_STEP * against[:, None])
        off = factor_sd * values[:, council]
        covariances[council] = (moved * spread) @ moved.T + (np.diag(off**2) + np.outer(off, off)) / 2
    return Factors(np.round(values, _DECIMALS), np.round(covariances, _DECIMALS))


def _differences(kinds: Array, variances: Array) -> tuple[Array, Array, Array]:
    """How many times as common each of `CELLS` is in each council (councils, cells); how much that moves with each
    number it is made of (councils, numbers, cells); and their variances (councils, numbers)."""
    counted, noise = (each[:, -len(ONE_SORT) :].reshape(-1, len(SORTS), len(DIFFERS)) for each in (kinds, variances))
    agree = np.maximum(kinds[:, KINDS.index(AGREE)], 0.0)
    over_all = np.maximum(counted.sum(axis=0), 0.0) / max(agree.sum(), 1.0)
    expected = np.maximum(agree[:, None, None] * over_all, _STEP)
    sort, of_sort = _drawn_to_one(counted.sum(axis=2), expected.sum(axis=2), noise.sum(axis=2))
    record, of_record = _drawn_to_one(counted, expected * np.maximum(sort, _STEP)[:, :, None], noise)
    by_sort, by_record = record[..., None] * _CELLS_OF, sort[:, :, None, None] * _CELLS_OF
    slopes = np.concatenate([by_sort.sum(axis=2), by_record.reshape(len(kinds), -1, len(CELLS))], axis=1)
    times = np.where(_CELLS_OF.any(axis=(0, 1)), (sort[:, :, None, None] * by_sort).sum(axis=(1, 2)), 1.0)
    return times, slopes, np.concatenate([of_sort, of_record.reshape(len(kinds), -1)], axis=1)


def _drawn_to_one(counted: Array, expected: Array, noise: Array) -> tuple[Array, Array]:
    """Return how many times as many were counted as expected, shrunk towards once by noise and chance, and
    variances."""
    error = (noise + expected) / expected**2
    beyond = np.maximum((counted / expected - 1.0) ** 2 - _PLAINLY**2 * error, COUNCILS_SD**2)
    trust = beyond / (beyond + error)
    return np.maximum(1.0 + trust * (counted / expected - 1.0), 0.0), trust * error


_CELLS_OF = np.array([[kind == each for each in KIND_OF] for kind in ONE_SORT]).reshape(len(SORTS), len(DIFFERS), -1)
"""By sort and whose record, whether each of `CELLS` is of it."""

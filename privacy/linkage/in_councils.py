"""In which councils, or ethnic groups, more links are missed, and of which service, from how often their linked records
differ.

Councils record more or less carefully, and their families move more or less often. In how many children of a council
the postcode alone differs (they moved), and in how many the date of birth, one name or both names do, by whose record
it is, is held against how many there would be were the council like all together. Every difference of that kind is
taken to be so many times as common there, and the rates are added up again (`missed.rates_where`). How many times as
many links are missed there as over all is its factor, one for each of `SERVICES`.

What few children and the noise cannot tell is left at what holds over all: an empirical Bayes estimate, in two steps,
of moves (or another sort) in all records together, and of each record against that. Two numbers are fixed beforehand:
how much councils differ (`COUNCILS_SD`), and how far off the factor of one is (`FACTOR_SD`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.linkage.cells import AGREE, CELLS, DIFFERS, KIND_OF, KINDS, ONE_SORT, SORTS
from privacy.linkage.missed import RATES, USUAL, Array, enough_linked, rates_where

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
_DECIMALS = 9


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
    """From the cells of all councils together (see `missed.missed`), and how many children of each council are of each
    of `KINDS`, (councils, kinds), with the variance of the noise in each. `seen_by` (3,) are the children seen by both
    services, by the health visitor only, and in a setting only, by which rates weigh.

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
    """How many times as many were counted as expected, drawn towards once by what noise and chance hide; variances."""
    error = (noise + expected) / expected**2
    beyond = np.maximum((counted / expected - 1.0) ** 2 - _PLAINLY**2 * error, COUNCILS_SD**2)
    told = beyond / (beyond + error)
    return np.maximum(1.0 + told * (counted / expected - 1.0), 0.0), told * error


_CELLS_OF = np.array([[kind == each for each in KIND_OF] for kind in ONE_SORT]).reshape(len(SORTS), len(DIFFERS), -1)
"""By sort and whose record, whether each of `CELLS` is of it."""

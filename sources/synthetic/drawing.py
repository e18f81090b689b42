"""Named random streams, and allocation of exact numbers of children to categories."""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sources.reference.cohorts import Cohort

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]
AnyArray = npt.NDArray[Any]
Streams = Callable[[str], np.random.Generator]
"""Named random streams: `streams("names")` is a new generator, whatever other streams have drawn."""


def build_streams(seed: int, cohort: Cohort) -> Streams:
    """Return streams that depend only on seed, cohort and name, so that no part of the data affects another."""
    # Not `hash`, which differs from one process to the next.
    return lambda name: np.random.default_rng((seed, int(cohort.code), zlib.crc32(name.encode())))


def round_to_totals(shares: Floats, totals: Ints) -> Ints:
    """Return integers in proportion to `shares` (row x category) that sum to `totals`, by largest remainders."""
    exact = shares / shares.sum(axis=1, keepdims=True) * totals[:, None]
    counts = np.floor(exact).astype(np.int64)
    # Stable sorts, so that equal remainders give the same numbers on every machine.
    order = np.argsort(np.argsort(counts - exact, axis=1, kind="stable"), axis=1, kind="stable")
    counts += order < (totals - counts.sum(axis=1))[:, None]
    return counts


def assign(
    rng: np.random.Generator, stratum: Ints, counts: Ints, log_weights: Mapping[int, Floats] | None = None
) -> Ints:
    """Draw a category for every child, with exactly `counts[stratum, category]` children in each.

    `log_weights[category]` makes a child more likely (log scale) to be drawn into that category; children with infinity
    are drawn first. Categories are filled in order; the last takes the rest.
    """
    category = np.full(len(stratum), counts.shape[1] - 1)
    free = np.arange(len(stratum))
    for index in range(counts.shape[1] - 1):
        # The largest sums of log weight and Gumbel noise are a draw without replacement in proportion to the weights.
        key = rng.gumbel(size=len(free))
        if log_weights and index in log_weights:
            key += log_weights[index][free]
        chosen = rank_within(stratum[free], -key) < counts[stratum[free], index]
        category[free[chosen]] = index
        free = free[~chosen]
    return category


def rank_within(group: Ints, key: AnyArray) -> Ints:
    """Return the 0-based rank of each element by `key` within its group."""
    order = np.lexsort((key, group))
    grouped = group[order]
    rank = np.empty(len(group), dtype=np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(grouped, grouped)
    return rank


def pick(rng: np.random.Generator, probabilities: Floats) -> Ints:
    """Draw one category for each row of `probabilities` (row x category, which need not sum to 1)."""
    cumulative = np.cumsum(probabilities, axis=1)
    return np.asarray((rng.random(len(cumulative)) * cumulative[:, -1])[:, None] >= cumulative).sum(axis=1)

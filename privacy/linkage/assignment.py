"""One to one: of all pairs at or above the threshold, those that together weigh most and use no unit twice.

The result is a maximum-weight matching. A pair at least as heavy as its heaviest rivals at both ends together is in
one; taking such pairs, and what they exclude away, settles nearly everything, and the exact sparse assignment
(Jonker-Volgenant) settles the rest. Equal weights are decided by a function of the records' content, never by their
order.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

SAME_WEIGHT = 1e-6
"""Bits. Weights nearer to each other than this are equal: sums of the same levels in another order."""


def one_to_one(left: np.ndarray, right: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the pairs that are kept; pairs are (left unit, right unit, weight >= 0 in bits,
    tie)."""
    weight = _distinct(weight, tie)
    open_ = np.arange(len(left))
    kept = [np.zeros(0, np.int64)]
    while len(open_):
        ends_l, ends_r, w = left[open_], right[open_], weight[open_]
        sure = w >= _heaviest_rival(ends_l, w) + _heaviest_rival(ends_r, w)
        if not sure.any():
            kept.append(open_[_matching(ends_l, ends_r, w)])
            break
        kept.append(open_[sure])
        open_ = open_[~np.isin(ends_l, ends_l[sure]) & ~np.isin(ends_r, ends_r[sure])]
    return np.sort(np.concatenate(kept))


def undecided(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mask of the pairs that have a rival of the same weight at either end."""
    mask = np.zeros(len(left), bool)
    for end in (left, right):
        order = np.lexsort((weight, end))
        equal = (np.diff(end[order]) == 0) & (np.abs(np.diff(weight[order])) < SAME_WEIGHT)
        mask[order[1:]] |= equal
        mask[order[:-1]] |= equal
    return mask


def _distinct(weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Weights rounded to SAME_WEIGHT, plus up to a quarter of it in the order of `tie`."""
    nudge = np.empty(len(weight))
    nudge[np.lexsort((tie,))] = np.arange(len(weight)) / max(len(weight), 1)
    return np.round(weight / SAME_WEIGHT) * SAME_WEIGHT + nudge * SAME_WEIGHT / 4


def _heaviest_rival(end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """For each pair, the weight of the heaviest other pair at the same end; 0 where there is none."""
    order = np.lexsort((-weight, end))
    ends, weights = end[order], weight[order]
    first = np.flatnonzero(np.r_[True, ends[1:] != ends[:-1]])
    group = np.cumsum(np.r_[True, ends[1:] != ends[:-1]]) - 1
    second = np.zeros(len(first))
    several = np.diff(np.r_[first, len(ends)]) > 1
    second[several] = weights[first[several] + 1]
    rival = np.empty(len(end))
    rival[order] = weights[first][group]
    rival[order[first]] = second
    return rival


def _matching(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Indices of the pairs of a maximum-weight matching; a left unit may also stay alone, at weight 0."""
    _, ends_l = np.unique(left, return_inverse=True)
    _, ends_r = np.unique(right, return_inverse=True)
    lefts, rights = int(ends_l.max()) + 1, int(ends_r.max()) + 1
    top = weight.max() + 1
    cost = np.r_[top - weight, np.full(lefts, top)]
    columns = np.r_[ends_r, rights + np.arange(lefts)]
    matrix = coo_array((cost, (np.r_[ends_l, np.arange(lefts)], columns)), shape=(lefts, rights + lefts)).tocsr()
    chosen = np.full(lefts, -1)
    row, column = min_weight_full_bipartite_matching(matrix)
    chosen[row] = column
    return np.flatnonzero(chosen[ends_l] == ends_r)

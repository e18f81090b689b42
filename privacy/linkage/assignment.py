"""One to one: of all pairs at or above the threshold, those that together weigh most and use no unit twice.

Most pairs have no rival. Where pairs compete, the maximum-weight matching of their component is found exactly (sparse
Jonker-Volgenant). Equal weights are settled by a function of the records' content, never by their order.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

_SAME_WEIGHT = 1e-6  # bits; Splink's sums of the same levels differ by less


def one_to_one(left: np.ndarray, right: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Which pairs are kept: a boolean mask over pairs (left unit, right unit, weight > 0 in bits, tie UBIGINT).

    A pair whose rival at either end has exactly its weight while nothing tells the two apart is still kept or dropped
    by `tie` alone; see `undecided` for the pairs that must not be settled so.
    """
    kept = np.zeros(len(left), bool)
    if not len(left):
        return kept
    _, l = np.unique(left, return_inverse=True)
    _, r = np.unique(right, return_inverse=True)
    rivals = (np.bincount(l)[l] > 1) | (np.bincount(r)[r] > 1)
    group = _group(l, r)
    contested = np.isin(group, np.unique(group[rivals]))
    kept[~contested] = True
    at = np.flatnonzero(contested)
    if len(at):
        kept[at[_matching(left[at], right[at], weight[at], tie[at])]] = True
    return kept


def undecided(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Pairs that have a rival of the same weight at either end: a mask."""
    mask = np.zeros(len(left), bool)
    for end in (left, right):
        order = np.lexsort((weight, end))
        equal = (np.diff(end[order]) == 0) & (np.abs(np.diff(weight[order])) < _SAME_WEIGHT)
        mask[order[1:]] |= equal
        mask[order[:-1]] |= equal
    return mask


def _group(l: np.ndarray, r: np.ndarray) -> np.ndarray:
    size = int(l.max()) + 1
    nodes = size + int(r.max()) + 1
    graph = coo_array((np.ones(len(l), np.int8), (l, r + size)), shape=(nodes, nodes))
    return np.asarray(connected_components(graph, directed=False)[1][l])


def _matching(left: np.ndarray, right: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Indices of the pairs of a maximum-weight matching; every left unit may also stay alone, at weight 0."""
    _, l = np.unique(left, return_inverse=True)
    _, r = np.unique(right, return_inverse=True)
    lefts, rights = int(l.max()) + 1, int(r.max()) + 1
    order = np.lexsort((r, l, tie))  # tie alone decides; l and r only make it total
    nudged = np.round(weight / _SAME_WEIGHT) * _SAME_WEIGHT
    nudged[order] += np.arange(len(order)) / len(order) * _SAME_WEIGHT / 4
    top = nudged.max() + 1
    cost = np.concatenate([top - nudged, np.full(lefts, top)])
    rows = np.concatenate([l, np.arange(lefts)])
    columns = np.concatenate([r, rights + np.arange(lefts)])
    matrix: csr_array = coo_array((cost, (rows, columns)), shape=(lefts, rights + lefts)).tocsr()
    row, column = min_weight_full_bipartite_matching(matrix)
    chosen = np.full(lefts, -1)
    chosen[row] = column
    return np.flatnonzero(chosen[l] == r)

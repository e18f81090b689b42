"""One-to-one assignment: the pairs above the threshold with the greatest total weight in which no unit appears twice.

The result is a maximum-weight matching. A pair whose weight is at least the sum of the heaviest rivals at its two ends
is always in such a matching. Taking these pairs and removing the ones they exclude settles nearly everything; an exact
sparse assignment (Jonker-Volgenant) settles the rest. Equal weights are decided by a hash of the records' content,
never by their order.
"""

import numpy as np
import scipy

_MOST_BITS, _SETTLED_CHANGE = 60.0, 1e-7
_ROUNDS, _ROUNDS_AT_ONCE = 100, 10
"""Maximum rounds of belief propagation, and how many are run before settled pairs are set aside."""
_SURE_BITS = 20.0
"""A pair this heavy, and this much heavier than its rivals, is taken as settled, to within a millionth."""
SAME_WEIGHT_BITS = 1e-6
"""Weights closer than this, in bits, are equal: the same levels summed in another order."""


def match_one_to_one(left: np.ndarray, right: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Return the indices, ascending, of the pairs kept, by `weight` (in bits, at least 0) and, if equal, by `tie`."""
    # The hash of a pair's content decides between equal weights: it adds at most a quarter of the tolerance.
    weight = np.round(weight / SAME_WEIGHT_BITS) * SAME_WEIGHT_BITS + tie / 2.0**64 * SAME_WEIGHT_BITS / 4
    open_ = np.arange(len(left))
    kept = [np.zeros(0, np.int64)]
    while len(open_):
        ends_l, ends_r, w = left[open_], right[open_], weight[open_]
        sure = w >= _find_rival_weight(ends_l, w) + _find_rival_weight(ends_r, w)
        if not sure.any():
            kept.append(open_[_find_matching(ends_l, ends_r, w)])
            break
        kept.append(open_[sure])
        open_ = open_[~_find_sharing(ends_l, sure) & ~_find_sharing(ends_r, sure)]
    return np.sort(np.concatenate(kept))


def compute_posterior(left: np.ndarray, right: np.ndarray, weight: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """Return each pair's probability when no unit is in two pairs: its odds, 2 ** weight, against those of its rivals.

    Belief propagation for matchings (Bayati and others, 2007; the monomer-dimer model): exact if the pairs form trees
    and approximate otherwise. The probabilities of one unit's pairs add up to less than 1. Each message is the chance
    that a unit is free for a pair, given the other pairs it could be in. Sure pairs, and the pairs they exclude, are
    settled first, which leaves few to iterate over.
    """
    spare = weight - _SURE_BITS
    sure = (spare >= 0) & (spare >= _find_rival_weight(left, weight)) & (spare >= _find_rival_weight(right, weight))
    probability = np.where(sure, 1 / (1 + np.exp2(-np.minimum(weight, _MOST_BITS))), 0.0)
    open_ = np.flatnonzero(~_find_sharing(left, sure) & ~_find_sharing(right, sure))
    # Sums of rounded numbers depend on their order, so the order comes from the content and not from the rows.
    order = open_[np.argsort(tie[open_], kind="stable")]
    odds = np.exp2(np.clip(weight[order], -_MOST_BITS, _MOST_BITS))
    free_l, free_r = _compute_free_chances(left[order], right[order], odds)
    own = odds * free_l * free_r
    probability[order] = own / (1 + own)
    return probability


def _compute_free_chances(left: np.ndarray, right: np.ndarray, odds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each pair, the chance that each of its units is free for it: the messages of `compute_posterior`.

    Connected components do not affect each other, so each is iterated only until it has converged.
    """
    free = [np.ones(len(odds)), np.ones(len(odds))]
    part = label_pairs(left, right)
    at_work = np.arange(len(odds))
    for _ in range(0, _ROUNDS, _ROUNDS_AT_ONCE):
        if not len(at_work):
            break
        ends = [_End(left[at_work]), _End(right[at_work])]
        now = [side[at_work] for side in free]
        for _ in range(_ROUNDS_AT_ONCE):
            before = now.copy()
            for near in (0, 1):
                # The square root halves the step on the log scale. Otherwise equal rivals oscillate.
                now[near] = np.sqrt(now[near] / (1 + ends[near].sum_others(odds[at_work] * now[1 - near])))
        for side, values in zip(free, now, strict=True):
            side[at_work] = values
        moved = np.maximum(*(np.abs(np.log(new / old)) for new, old in zip(now, before, strict=True)))
        at_work = at_work[_find_sharing(part[at_work], moved >= _SETTLED_CHANGE)]
    return free[0], free[1]


def label_pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the index, from 0, of each pair's connected component."""
    lefts, rights = int(left.max(initial=-1)) + 1, int(right.max(initial=-1)) + 1
    return label_components(left, lefts + right, lefts + rights)[left] if len(left) else np.zeros(0, np.int64)


def label_components(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """Return the component, from 0, of each of `count` nodes. `a` and `b` hold the two ends of each edge."""
    graph = scipy.sparse.coo_array((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64))


def _find_sharing(end: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return a mask of the pairs that share a unit at this end with one of the `chosen`."""
    taken = np.zeros(int(end.max(initial=-1)) + 1, bool)
    taken[end[chosen]] = True
    return taken[end]


class _End:
    """One side of the pairs; `sum_others` sums a quantity over the other pairs of each pair's unit."""

    def __init__(self, units: np.ndarray) -> None:
        self._order = np.argsort(units, kind="stable")
        self._starts = np.flatnonzero(np.diff(units[self._order], prepend=-1))
        self._group = np.repeat(np.arange(len(self._starts)), np.diff(self._starts, append=len(units)))

    def sum_others(self, values: np.ndarray) -> np.ndarray:
        """Return, for each pair, the sum of the values of the other pairs of its unit."""
        v = values[self._order]
        most = np.maximum.reduceat(v, self._starts)[self._group]
        at = np.flatnonzero(v == most)
        top = at[np.diff(self._group[at], prepend=-1) > 0]
        rest = v.copy()
        rest[top] = 0
        without_top = np.add.reduceat(rest, self._starts)
        others = without_top[self._group] - rest + most  # the largest is never subtracted from a sum that contains it
        others[top] = without_top
        result = np.empty(len(v))
        result[self._order] = others
        return result


def find_undecided(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return a mask of the pairs that have a rival of equal weight at either end."""
    mask = np.zeros(len(left), bool)
    for end in (left, right):
        order = np.lexsort((weight, end))
        equal = (np.diff(end[order]) == 0) & (np.abs(np.diff(weight[order])) < SAME_WEIGHT_BITS)
        mask[order[1:]] |= equal
        mask[order[:-1]] |= equal
    return mask


def _find_rival_weight(end: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return, for each pair, the weight of the heaviest other pair at the same end, or 0 if it is the only one."""
    units = int(end.max(initial=-1)) + 1
    heaviest, second = np.full(units, -np.inf), np.full(units, -np.inf)
    np.maximum.at(heaviest, end, weight)
    heavy = weight == heaviest[end]
    np.maximum.at(second, end[~heavy], weight[~heavy])
    alone = heavy & (np.bincount(end[heavy], minlength=units) == 1)[end]
    rival = np.where(alone, second[end], heaviest[end])
    return np.where(np.isfinite(rival), rival, 0.0)


def _find_matching(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the indices of a maximum-weight matching; a left unit may also stay unmatched, at weight 0."""
    _, ends_l = np.unique(left, return_inverse=True)
    _, ends_r = np.unique(right, return_inverse=True)
    lefts, rights = int(ends_l.max()) + 1, int(ends_r.max()) + 1
    # The solver minimises and takes a cost of 0 for a missing edge: starting above the heaviest keeps every cost
    # positive.
    top = weight.max() + 1
    # A column for each left unit lets it stay unmatched at weight 0, because the solver must match every row.
    cost = np.r_[top - weight, np.full(lefts, top)]
    columns = np.r_[ends_r, rights + np.arange(lefts)]
    matrix = scipy.sparse.coo_array(
        (cost, (np.r_[ends_l, np.arange(lefts)], columns)), shape=(lefts, rights + lefts)
    ).tocsr()
    chosen = np.full(lefts, -1)
    row, column = scipy.sparse.csgraph.min_weight_full_bipartite_matching(matrix)
    chosen[row] = column
    return np.flatnonzero(chosen[ends_l] == ends_r)

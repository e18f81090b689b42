"""Exact variances and covariances of every figure a plan can give; a function of the plan alone.

For two functionals f and g in product form, with v_i and w_i their vectors over attribute i, bars for means and
v_i - mean(v_i) for the centred vector,

    Cov(f, g) = sum over C of prod(<v_i - mean v_i, w_i - mean w_i>, i in C)
                              prod(mean v_i mean w_i, i not in C) / tau_C,

the sum running over subsets C of the attributes both name (a total's centred vector is zero, its mean one). Identities
take off, for every component D they act on, the same product over D times the inner product of the two functionals'
shares u in the whitened equalities (see `identities`).

All sums run category by category and component by component in one fixed order, elementwise over the cells. A figure
therefore has the very same variance, to the last bit, in whichever cube and next to whichever neighbours it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from privacy.release.identities import Constraint, constraints_of
from privacy.release.lattice import Lattice
from privacy.release.plan import Plan
from privacy.release.workload import Cube, Figures, Selector, WorkloadError, terms_of

Array = NDArray[np.float64]


class Covariances:
    """Variances and covariances, in squared rows of the child table, of the estimates a plan leads to."""

    def __init__(self, plan: Plan) -> None:
        self.lattice: Lattice = plan.lattice
        self._variances = 1.0 / plan.component_precisions
        self.constraints: tuple[Constraint, ...] = constraints_of(plan.lattice, plan.component_precisions)

    def variance(self, figures: Figures) -> Array:
        """Variance of every figure; shape of `figures`. Raises WorkloadError for a table outside the workload."""
        terms, total = terms_of(figures), np.zeros(figures.shape)
        for index, (coefficient, cube) in enumerate(terms):
            total = total + coefficient**2 * self._between(cube, cube)
            for other_coefficient, other in terms[:index]:
                total = total + 2 * coefficient * other_coefficient * self._between(cube, other)
        return np.maximum(total, 0.0)

    def covariance(self, left: Figures, right: Figures) -> Array:
        """Covariance of each figure of `left` with the figure in the same place of `right`; both have one shape."""
        if left.shape != right.shape:
            raise WorkloadError(f"figures of different shapes: {left.shape} and {right.shape}")
        total = np.zeros(left.shape)
        for coefficient, cube in terms_of(left):
            for other_coefficient, other in terms_of(right):
                total = total + coefficient * other_coefficient * self._between(cube, other)
        return total

    def _between(self, left: Cube, right: Cube) -> Array:
        pair = _Pair(self._placed(left), self._placed(right), self.lattice)
        total = np.zeros(left.shape)
        for component in pair.components():
            total = total + pair.product(component) * self._variances[self.lattice.index(component)]
        for constraint in self.constraints:
            if set(constraint.over) <= set(pair.shared):
                total = total - pair.known_from(constraint)
        return total

    def _placed(self, cube: Cube) -> dict[str, _Placed]:
        """The cube's selectors in family order, each knowing its axis. Raises WorkloadError outside the workload."""
        family = self.lattice.family
        axes = list(cube.selectors)
        selectors = {**cube.where, **cube.selectors}
        self.lattice.index(name for name, selector in selectors.items() if not selector.is_total.all())
        for name, selector in selectors.items():
            if family.attribute(name) != selector.attribute:
                raise WorkloadError(f"cube: attribute {name!r} has another domain than in family {family.name!r}")
        return {
            name: _Placed(selectors[name], axes.index(name) if name in axes else None, len(axes))
            for name in family.ordered(selectors)
        }


@dataclass(frozen=True, eq=False)
class _Placed:
    """A selector laid along one axis of an array of `ndim` axes, or along none."""

    selector: Selector
    axis: int | None
    ndim: int

    @cached_property
    def means(self) -> Array:
        return self._along(self.selector.means)

    @cached_property
    def centred(self) -> list[Array]:
        """Per category, the centred weights along the axis."""
        return [self._along(column) for column in self.selector.centred.T]

    def _along(self, per_row: Array) -> Array:
        shape = [1] * self.ndim
        if self.axis is not None:
            shape[self.axis] = len(per_row)
        return per_row.reshape(shape)


class _Pair:
    """Two cubes of one shape, and the products over attributes that their covariances are made of."""

    def __init__(self, left: dict[str, _Placed], right: dict[str, _Placed], lattice: Lattice) -> None:
        self._left, self._right = left, right
        self._named = lattice.family.ordered({*left, *right})
        self.shared = tuple(
            name for name in self._named if name in left and name in right and not left[name].selector.is_total.all()
        )
        self._means = {name: _mean(left.get(name)) * _mean(right.get(name)) for name in self._named}
        self._inner = {name: _inner(left[name], right[name]) for name in self.shared}

    def components(self) -> list[tuple[str, ...]]:
        """The subsets of the attributes both cubes vary along, in lattice order."""
        return [c for size in range(len(self.shared) + 1) for c in combinations(self.shared, size)]

    def product(self, component: tuple[str, ...], besides: frozenset[str] = frozenset()) -> Array:
        """Inner products over the component times means over every other attribute, those in `besides` left out."""
        result = np.ones(())
        for name in self._named:
            if name in component:
                result = result * self._inner[name]
            elif name not in besides:
                result = result * self._means[name]
        return result

    def known_from(self, constraint: Constraint) -> Array:
        """The covariance that the constraint takes off."""
        weighed = frozenset(name for block in constraint.gains for name in block)
        left, right = (
            _shares(self._left, constraint.gains, weighed),
            _shares(self._right, constraint.gains, weighed),
        )
        common = sum(one * other for one, other in zip(left, right, strict=True))
        return self.product(constraint.over, besides=weighed) * common


def _mean(placed: _Placed | None) -> Array:
    return np.ones(()) if placed is None else placed.means


def _inner(left: _Placed, right: _Placed) -> Array:
    total = np.zeros(())
    for one, other in zip(left.centred, right.centred, strict=True):
        total = total + one * other
    return total


def _shares(cube: dict[str, _Placed], gains: Mapping[tuple[str, ...], Array], weighed: frozenset[str]) -> list[Array]:
    """Per whitened equality, the share u of every figure of the cube in it, over the attributes identities weigh."""
    rank = len(next(iter(gains.values())))
    shares = [np.zeros(()) for _ in range(rank)]
    for block, gain in gains.items():
        if not set(block) <= set(cube):
            continue
        outside = np.ones(())
        for name, placed in cube.items():
            if name in weighed and name not in block:
                outside = outside * placed.means
        for equality in range(rank):
            shares[equality] = shares[equality] + outside * _contracted(gain[equality], [cube[name] for name in block])
    return shares


def _contracted(tensor: Array, placed: list[_Placed]) -> Array:
    """Inner product of a tensor over categories with the outer product of centred vectors, for every figure."""
    if not placed:
        return tensor
    total = np.zeros(())
    for weights, slab in zip(placed[0].centred, tensor, strict=True):
        total = total + weights * _contracted(slab, placed[1:])
    return total

"""From a noisy measurement to every published figure, with its exact variance; deterministic post-processing.

Each measured marginal is summed to the residual components it contains, and every component is the average of what the
marginals say about it, weighted by inverse variance. Because components are orthogonal this is exact weighted least
squares over all measurements at once: rebuilding a table from its components gives estimates that are unbiased, have
the least variance of all linear ones, and agree on every total they share. Estimates may be negative; rounding and
clipping belong to publication (see `intervals`), never to anything that is added up.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.release.covariance import Covariances
from privacy.release.identities import impose
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Cube, Figures, Selector, terms_of

Array = NDArray[np.float64]


class Estimates:
    """The figures of one measurement. Raises ValueError where the measurement was made under another plan.

    The same functional asked through any two tables is computed on the same smallest marginal in the same order, and
    gives the identical float. Figures equal by an identity agree to rounding error.
    """

    def __init__(self, plan: Plan, measurement: Measurement) -> None:
        if measurement.plan_sha256 != plan.sha256:
            raise ValueError("this measurement was made under another plan")
        self._plan = plan
        self._covariances = Covariances(plan)
        self._residuals = self._averaged(measurement)
        self._marginals: dict[tuple[str, ...], Array] = {}

    def values(self, figures: Figures) -> Array:
        """Estimates, in rows of the child table; shape of `figures`. Raises WorkloadError outside the workload."""
        total = np.zeros(figures.shape)
        for coefficient, cube in terms_of(figures):
            total = total + coefficient * self._cube(cube)
        return total

    def variance(self, figures: Figures) -> Array:
        """Exact variance of every estimate; shape of `figures`."""
        return self._covariances.variance(figures)

    def covariance(self, left: Figures, right: Figures) -> Array:
        """Exact covariance of the estimates in the same place of two arrays of figures of one shape."""
        return self._covariances.covariance(left, right)

    def marginal(self, attributes: tuple[str, ...]) -> Array:
        """Estimated counts over `attributes`, given and shaped in the family's attribute order."""
        if attributes not in self._marginals:
            self._marginals[attributes] = self._rebuilt(attributes)
        return self._marginals[attributes]

    def _averaged(self, measurement: Measurement) -> dict[Any, Array]:
        """Inverse-variance average of every residual component, obeying the identities: attributes -> array of their
        domain's shape."""
        (constraints,) = self._covariances.constraints
        return impose(constraints, _residuals(self._plan, measurement), self._plan.family)

    def _rebuilt(self, attributes: tuple[str, ...]) -> Array:
        """Sum over C of r_C spread evenly over the cells of the attributes outside C."""
        self._plan.lattice.index(attributes)
        shape = self._plan.family.shape(attributes)
        table = np.zeros(shape)
        for size in range(len(attributes) + 1):
            for component in combinations(attributes, size):
                spread = [n if name in component else 1 for name, n in zip(attributes, shape, strict=True)]
                outside = np.prod([n for name, n in zip(attributes, shape, strict=True) if name not in component])
                table = table + self._residuals[component].reshape(spread) / outside
        return table

    def _cube(self, cube: Cube) -> Array:
        """Values of a cube, block by block: rows that sum an attribute out are told apart from those that do not."""
        values = np.empty(cube.shape)
        splits = [_split(self._sums_out(selector)) for selector in cube.selectors.values()]
        restrictions = {name: self._weights(s) for name, s in cube.where.items() if not self._sums_out(s).all()}
        for block in product(*splits):
            rows = restrictions | {
                name: self._weights(selector)[index]
                for (name, selector), (index, total) in zip(cube.selectors.items(), block, strict=True)
                if not total
            }
            figures = self._block(rows)
            shape = [1 if total else len(index) for index, total in block]
            kept = [name for name in cube.selectors if name in rows]
            order = [self._plan.family.ordered(rows).index(name) for name in kept]
            restricted = [axis for axis in range(figures.ndim) if axis not in order]
            laid = figures.transpose(order + restricted).reshape(shape)
            values[np.ix_(*(index for index, _ in block))] = laid
        return values

    def _sums_out(self, selector: Selector) -> NDArray[np.bool_]:
        """Per row, whether the attribute need not be told apart."""
        return selector.is_total

    def _weights(self, selector: Selector) -> Array:
        """(rows x categories) weights, on the axis that `marginal` gives the attribute."""
        return selector.matrix

    def _block(self, rows: dict[str, Array]) -> Array:
        """The outer product of row matrices applied to the smallest marginal, axes in family order."""
        names = self._plan.family.ordered(rows)
        figures = self.marginal(names)
        for axis, name in enumerate(names):
            figures = _weighted(figures, axis, rows[name])
        return figures


def _residuals(plan: Plan, measurement: Measurement) -> dict[tuple[str, ...], Array]:
    sums = {subset: np.zeros(plan.family.shape(subset)) for subset in plan.lattice.subsets}
    for attributes, sigma in plan.sigmas.items():
        noisy = measurement.noisy[attributes]
        for size in range(len(attributes) + 1):
            for component in combinations(attributes, size):
                outside = tuple(axis for axis, name in enumerate(attributes) if name not in component)
                cells = np.prod([noisy.shape[axis] for axis in outside])
                sums[component] += noisy.sum(axis=outside) / (sigma**2 * cells)
    precisions = dict(zip(plan.lattice.subsets, plan.component_precisions, strict=True))
    return {component: centred(total / precisions[component], range(total.ndim)) for component, total in sums.items()}


def centred(table: Array, axes: Iterable[int]) -> Array:
    """The table with its mean taken off along these axes in turn, the projection P_C."""
    for axis in axes:
        table = table - table.mean(axis=axis, keepdims=True)
    return table


def _split(is_total: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], bool]]:
    """The rows that sum out and those that do not, each where there are any, with which of the two they are."""
    groups = ((np.flatnonzero(is_total), True), (np.flatnonzero(~is_total), False))
    return [(index, total) for index, total in groups if len(index)]


def _weighted(table: Array, axis: int, rows: Array) -> Array:
    """Replace an axis of categories by one of rows; adds category by category, so rows do not affect each other."""
    slabs = np.moveaxis(table, axis, 0)
    result = np.zeros((len(rows), *slabs.shape[1:]))
    single = (rows != 0).sum(axis=1) == 1
    only = (rows[single] != 0).argmax(axis=1)
    result[single] = slabs[only] * rows[single, only].reshape(-1, *[1] * (slabs.ndim - 1))
    for index in np.flatnonzero(~single):
        for category in np.flatnonzero(rows[index]):
            result[index] += rows[index, category] * slabs[category]
    return np.moveaxis(result, 0, axis)

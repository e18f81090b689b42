"""Figures of a family with a nesting: one independent problem for each group, added up.

Every marginal of such a family tells the councils of a region apart or counts the region as a whole, so noise and
estimates of different regions are independent. Within a region its own marginals are the totals of its councils', which
is the problem that `estimates` and `covariance` solve. A figure of several regions is the sum of its parts, and so is
its variance. The whole is not measured a third time: that would tie all regions together for a gain that nobody sees,
for the whole is the most accurate figure there is (docs/privacy-derivation.md).

The problems of all groups are solved at once. The first axis of an array is that of the members (councils), group by
group, where a component tells them apart, and that of the groups (regions) where it does not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.release.estimates import Estimates, centred
from privacy.release.identities import impose
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Cube, Family, Selector

Array = NDArray[np.float64]
Attributes = tuple[str, ...]
Component = tuple[bool, Attributes]
"""A residual component: whether it tells members apart, and the other attributes it varies along."""


def estimates_of(plan: Plan, measurement: Measurement) -> Estimates:
    """The figures of a measurement, of a plan with a nesting or without. Raises ValueError for another plan's."""
    return NestedEstimates(plan, measurement) if plan.parts else Estimates(plan, measurement)


class NestedEstimates(Estimates):
    """As `Estimates`, for a plan with a nesting. Raises ValueError where the measurement is of another plan."""

    def __init__(self, plan: Plan, measurement: Measurement) -> None:
        self._nest = _Nest(plan.family)
        self._parts = tuple(plan.parts.values())
        self._lattice = self._parts[0].lattice  # its sets of attributes are those of every part
        self._laid: dict[int, tuple[Selector, Array]] = {}
        super().__init__(plan, measurement)

    def _averaged(self, measurement: Measurement) -> dict[Any, Array]:
        """As of `Estimates`, by `Component`."""
        precisions, nest = np.array([part.component_precisions for part in self._parts]), self._nest
        components = {}
        for component, total in _told(self._plan, measurement, nest).items():
            known = precisions[:, self._lattice.index(self._names(component))]
            mean = total / _first(nest.each(known) if component[0] else known, total.ndim)
            if component[0]:
                mean = mean - nest.each(nest.total(mean) / _first(nest.sizes, mean.ndim))
            components[component] = centred(mean, range(1, mean.ndim))
        self._impose(components)
        return components

    def _impose(self, components: dict[Component, Array]) -> None:
        """Have the components obey the identities, group by group."""
        for group, (constraints, part) in enumerate(zip(self._covariances.constraints, self._parts, strict=True)):
            views = {}
            for component, values in components.items() if constraints else ():
                names = self._names(component)
                view = values[self._nest.slice(group)] if component[0] else values[group, ...]
                views[names] = np.moveaxis(view, 0, names.index(self._nest.inner)) if component[0] else view
            for names, values in impose(constraints, views, part.family).items():
                views[names][...] = values

    def _names(self, component: Component) -> Attributes:
        return self._parts[0].family.ordered((self._nest.inner, *component[1]) if component[0] else component[1])

    def _rebuilt(self, attributes: Attributes) -> Array:
        """As of `Estimates`; along the inner attribute stand its categories, not a number where the workload has no
        table of them, and after them the groups as a whole."""
        rest, nest = tuple(name for name in attributes if name != self._nest.inner), self._nest
        whole = self._spread(False, rest)
        members = np.full((len(nest.order), *whole.shape[1:]), np.nan)
        if self._plan.family.covers(attributes):
            members = self._spread(True, rest) + nest.each(whole / _first(nest.sizes, whole.ndim))
        table = np.concatenate([members, whole])
        table[nest.order] = members
        return np.moveaxis(table, 0, attributes.index(nest.inner))

    def _spread(self, told_apart: bool, rest: Attributes) -> Array:
        """Sum over the components within `rest`, each spread evenly over the cells of the attributes outside it."""
        shape = self._plan.family.shape(rest)
        table = np.zeros((len(self._nest.order if told_apart else self._nest.sizes), *shape))
        for component in _subsets(rest):
            sizes = [n if name in component else 1 for name, n in zip(rest, shape, strict=True)]
            outside = np.prod([n for name, n in zip(rest, shape, strict=True) if name not in component])
            table = table + self._residuals[told_apart, component].reshape(-1, *sizes) / outside
        return table

    def _cube(self, cube: Cube) -> Array:
        inner = self._nest.inner
        if inner not in (*cube.selectors, *cube.where):
            cube = replace(cube, where={**cube.where, inner: self._nest.everything})
        return super()._cube(cube)

    def _sums_out(self, selector: Selector) -> NDArray[np.bool_]:
        if selector.attribute.name == self._nest.inner:
            return np.zeros(len(selector.rows), dtype=np.bool_)
        return super()._sums_out(selector)

    def _weights(self, selector: Selector) -> Array:
        if selector.attribute.name != self._nest.inner:
            return super()._weights(selector)
        if id(selector) not in self._laid:
            self._laid[id(selector)] = selector, self._nest.weights(selector.matrix)
        return self._laid[id(selector)][1]

    def _block(self, rows: dict[str, Array]) -> Array:
        tells_apart = rows[self._nest.inner][:, : len(self._nest.order)].any()
        self._lattice.index(name for name in rows if tells_apart or name != self._nest.inner)
        return super()._block(rows)


class _Nest:
    """The members of the groups, group by group."""

    def __init__(self, family: Family) -> None:
        assert family.nesting is not None
        self.inner, self.outer = family.nesting.inner, family.nesting.outer
        self.everything = Selector.total(family.attribute(self.inner))
        inside = family.nesting.members
        groups = [inside[group] for group in family.attribute(self.outer).categories]
        position = {category: index for index, category in enumerate(family.attribute(self.inner).categories)}
        self.order = np.array([position[member] for members in groups for member in members])
        """(members,): position of each in the domain of the inner attribute."""
        self.sizes = np.array([len(members) for members in groups])
        """(groups,): number of members."""
        self._group = np.repeat(np.arange(len(groups)), self.sizes)
        self._starts = np.cumsum(self.sizes) - self.sizes

    def slice(self, group: int) -> slice:
        """The members of a group."""
        return slice(self._starts[group], self._starts[group] + self.sizes[group])

    def total(self, by_member: Array) -> Array:
        """Sums over the members of each group."""
        return np.asarray(np.add.reduceat(by_member, self._starts, axis=0))

    def each(self, by_group: Array) -> Array:
        """For each member what holds of its group."""
        return by_group[self._group]

    def weights(self, rows: Array) -> Array:
        """(rows x categories and groups): a group that weighs one throughout is weighed as a whole."""
        whole = np.array([(rows[:, self.order[self.slice(g)]] == 1.0).all(axis=1) for g in range(len(self.sizes))]).T
        members = rows.copy()
        members[:, self.order] = np.where(whole[:, self._group], 0.0, rows[:, self.order])
        return np.hstack([members, whole.astype(np.float64)])


def _told(plan: Plan, measurement: Measurement, nest: _Nest) -> dict[Component, Array]:
    """What all marginals say of each residual component, weighted by inverse variance and added up."""
    told: dict[Component, Any] = defaultdict(float)
    for names, sigma in plan.sigmas.items():
        place = nest.inner if nest.inner in names else nest.outer
        rest = tuple(name for name in names if name != place)
        noisy = np.moveaxis(measurement.noisy[names], names.index(place), 0)
        noisy = noisy[nest.order] if place == nest.inner else noisy
        for component in _subsets(rest):
            outside = tuple(axis for axis, name in enumerate(rest, start=1) if name not in component)
            says = noisy.sum(axis=outside) / (sigma**2 * np.prod([noisy.shape[axis] for axis in outside]))
            if place == nest.inner:
                told[True, component] += says
                says = nest.total(says) / _first(nest.sizes, says.ndim)
            told[False, component] += says
    return told


def _subsets(names: Attributes) -> Iterator[Attributes]:
    return (subset for size in range(len(names) + 1) for subset in combinations(names, size))


def _first(values: NDArray[Any], ndim: int) -> NDArray[Any]:
    """Values laid along the first of so many axes."""
    return values.reshape(-1, *[1] * (ndim - 1))

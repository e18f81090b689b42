"""Estimates of every published figure from a noisy measurement, with exact variances; deterministic post-processing.

Each measured marginal is summed to the residual components it contains, and every component is the average of its
values from the marginals, weighted by inverse variance. Components are orthogonal, so this is exact weighted least
squares over all measurements at once: rebuilt tables are unbiased, have the least variance of all linear estimates, and
agree on every total they share. Estimates may be negative; rounding and clipping belong to publication (`intervals`).

A family with a nesting splits into one independent problem per group, added up (`NestedEstimates`;
docs/privacy-derivation.md). The problems of all groups are solved at once. If a component separates members, the first
axis of its array is that of the members (councils), group by group; otherwise it is that of the groups (regions).

Some categories may be publicly known to hold no rows (`drop_categories`). The noise drawn for them carries no
information about the other cells, so the measurement without these cells is a measurement of the same tables over the
smaller domain, with the same noise scales.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.covariance import Covariances, CubeIdentity, Groups, cache_by_identity, identify_cube
from privacy.release.components import impose, iter_subsets
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Array, Cube, Figures, MeasuredFamily, Selector, list_terms

Attributes = tuple[str, ...]
Component = tuple[bool, Attributes]
"""A residual component: whether it separates members, and the other attributes it varies along."""


def build_estimates(plan: Plan, measurement: Measurement) -> "Estimates":
    """Return the estimates of a measurement, with or without a nesting. Raises ValueError if it has another plan."""
    return NestedEstimates(plan, measurement) if plan.parts else Estimates(plan, measurement)


class Estimates(Covariances):
    """Estimates from one measurement. Raises ValueError if the measurement was made under another plan.

    Variances and covariances are exact. A functional is always computed from the same smallest marginal, so it is the
    identical float in every table.
    """

    def __init__(self, plan: Plan, measurement: Measurement) -> None:
        if measurement.plan_sha256 != plan.sha256:
            raise ValueError("this measurement was made under another plan")
        super().__init__(plan)
        self._plan = plan
        self._residuals = self._average_components(measurement)
        # Of 2,619 cubes of the pilot's release 1,487 are different.
        self._values: dict[CubeIdentity, Array] = {}

    def compute_values(self, figures: Figures) -> Array:
        """Estimate rows of the child table; shape of `figures`. Raises WorkloadError outside the workload."""
        total = np.zeros(figures.shape)
        for coefficient, cube in list_terms(figures):
            identity = identify_cube(cube)
            if identity not in self._values:
                self._values[identity] = self._compute_cube(cube)
            total = total + coefficient * self._values[identity]
        return total

    @cache_by_identity
    def compute_marginal(self, attributes: Attributes) -> Array:
        """Return the estimated counts over `attributes`, given and shaped in the family's attribute order.

        They are the sum over C of r_C spread evenly over the cells of the attributes outside C.
        """
        # Raises WorkloadError for a table outside the workload.
        self._plan.lattice.find_position(attributes)
        return _spread_components(self._residuals, self._plan.family, attributes)

    def _average_components(self, measurement: Measurement) -> dict[Any, Array]:
        """Return residual components by attributes, averaged by inverse variance and obeying the identities."""
        (constraints,) = self.constraints
        return impose(constraints, _compute_residuals(self._plan, measurement), self._plan.family)

    def _compute_cube(self, cube: Cube) -> Array:
        """Return the values of a cube, in blocks: rows that sum an attribute out are computed apart from the others."""
        values = np.empty(cube.shape)
        # A total comes from the smallest marginal that has it, so that it is the same float in every cube.
        splits = [_split(self._is_summed_out(selector)) for selector in cube.selectors.values()]
        restrictions = {
            name: self._get_weights(s) for name, s in cube.where.items() if not self._is_summed_out(s).all()
        }
        for block in product(*splits):
            rows = restrictions | {
                name: self._get_weights(selector)[index]
                for (name, selector), (index, total) in zip(cube.selectors.items(), block, strict=True)
                if not total
            }
            figures = self._compute_block(rows)
            shape = [1 if total else len(index) for index, total in block]
            kept = [name for name in cube.selectors if name in rows]
            order = [self._plan.family.sort_names(rows).index(name) for name in kept]
            restricted = [axis for axis in range(figures.ndim) if axis not in order]
            laid = figures.transpose(order + restricted).reshape(shape)
            values[np.ix_(*(index for index, _ in block))] = laid
        return values

    def _is_summed_out(self, selector: Selector) -> NDArray[np.bool_]:
        """Return, per row, whether the attribute is summed out."""
        return selector.is_total

    def _get_weights(self, selector: Selector) -> Array:
        """Return (rows x categories) weights, on the axis that `compute_marginal` gives the attribute."""
        return selector.matrix

    def _compute_block(self, rows: dict[str, Array]) -> Array:
        """Return the outer product of row matrices applied to the smallest marginal, axes in family order."""
        names = self._plan.family.sort_names(rows)
        figures = self.compute_marginal(names)
        for axis, name in enumerate(names):
            figures = _weigh_axis(figures, axis, rows[name])
        return figures


def _compute_residuals(plan: Plan, measurement: Measurement) -> dict[tuple[str, ...], Array]:
    sums = {subset: np.zeros(plan.family.get_shape(subset)) for subset in plan.lattice.subsets}
    for attributes, sigma in plan.sigmas.items():
        noisy = measurement.noisy[attributes]
        for component in iter_subsets(attributes):
            outside = tuple(axis for axis, name in enumerate(attributes) if name not in component)
            cells = np.prod([noisy.shape[axis] for axis in outside])
            sums[component] += noisy.sum(axis=outside) / (sigma**2 * cells)
    precisions = dict(zip(plan.lattice.subsets, plan.component_precisions, strict=True))
    return {
        component: centre_axes(total / precisions[component], range(total.ndim)) for component, total in sums.items()
    }


def _spread_components(components: Mapping[Attributes, Array], family: MeasuredFamily, attributes: Attributes) -> Array:
    """Return the sum of the components within `attributes`, each spread evenly over the attributes outside it."""
    table: Array = np.zeros(())
    sizes = dict(zip(attributes, family.get_shape(attributes), strict=True))
    for component in iter_subsets(attributes):
        values, outside = components[component], np.prod([n for name, n in sizes.items() if name not in component])
        spread = [n if name in component else 1 for name, n in sizes.items()]
        table = table + np.reshape(values, (*values.shape[: values.ndim - len(component)], *spread)) / outside
    return table


def centre_axes(table: Array, axes: Iterable[int]) -> Array:
    """Return the table with its mean subtracted along each of these axes in turn, the projection P_C."""
    for axis in axes:
        table = table - table.mean(axis=axis, keepdims=True)
    return table


def _split(is_total: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], bool]]:
    """Return the rows that sum the attribute out (True) and those that do not (False), without empty groups."""
    groups = ((np.flatnonzero(is_total), True), (np.flatnonzero(~is_total), False))
    return [(index, total) for index, total in groups if len(index)]


def _weigh_axis(table: Array, axis: int, rows: Array) -> Array:
    """Return the table with an axis of categories replaced by one of rows."""
    # Not `moveaxis`, which takes as long as the sums.
    first = [axis, *range(axis), *range(axis + 1, table.ndim)]
    slabs = table.transpose(first)
    result = np.zeros((len(rows), *slabs.shape[1:]))
    chosen = rows != 0
    single = chosen.sum(axis=1) == 1
    only = chosen[single].argmax(axis=1)
    result[single] = slabs[only] * rows[single, only].reshape(-1, *[1] * (slabs.ndim - 1))
    # Categories are added one by one, so that rows do not affect each other.
    chosen[single] = False
    for category in chosen.any(axis=0).nonzero()[0]:
        (added,) = chosen[:, category].nonzero()
        result[added] += np.multiply.outer(rows[added, category], slabs[category])
    return result.transpose([*range(1, axis + 1), 0, *range(axis + 1, table.ndim)])


class NestedEstimates(Estimates):
    """Estimates for a plan with a nesting. Raises ValueError if the measurement was made under another plan."""

    @property
    def _nest(self) -> Groups:
        assert self._groups is not None
        return self._groups

    def _average_components(self, measurement: Measurement) -> dict[Any, Array]:
        """Return the residual components as `Estimates` does, keyed by `Component`."""
        precisions, nest = np.array([part.component_precisions for part in self._parts]), self._nest
        components = {}
        for component, total in _sum_residuals(self._plan, measurement, nest).items():
            known = precisions[:, self._lattice.find_position(self._list_names(component))]
            mean = total / _align_first_axis(nest.repeat_for_members(known) if component[0] else known, total.ndim)
            if component[0]:
                mean = mean - nest.repeat_for_members(nest.sum_members(mean) / _align_first_axis(nest.sizes, mean.ndim))
            components[component] = centre_axes(mean, range(1, mean.ndim))
        self._impose(components)
        return components

    def _impose(self, components: dict[Component, Array]) -> None:
        """Make the components obey the identities, group by group."""
        for group, (constraints, part) in enumerate(zip(self.constraints, self._parts, strict=True)):
            # Views, so that the corrected values are written into the components themselves.
            views = {}
            for component, values in components.items() if constraints else ():
                names = self._list_names(component)
                view = values[self._nest.get_slice(group)] if component[0] else values[group, ...]
                views[names] = np.moveaxis(view, 0, names.index(self._nest.inner)) if component[0] else view
            for names, values in impose(constraints, views, part.family).items():
                views[names][...] = values

    def _list_names(self, component: Component) -> Attributes:
        return self._parts[0].family.sort_names((self._nest.inner, *component[1]) if component[0] else component[1])

    @cache_by_identity
    def compute_marginal(self, attributes: Attributes) -> Array:
        """Return the table as `Estimates` does, inner categories (NaN if not in the workload) before groups."""
        rest, nest = tuple(name for name in attributes if name != self._nest.inner), self._nest
        by_member, by_group = (
            {names: values for (separates, names), values in self._residuals.items() if separates == which}
            for which in (True, False)
        )
        whole = _spread_components(by_group, self._plan.family, rest)
        members = np.full((len(nest.order), *whole.shape[1:]), np.nan)
        if self._plan.family.has_marginal_over(attributes):
            members = _spread_components(by_member, self._plan.family, rest) + nest.repeat_for_members(
                whole / _align_first_axis(nest.sizes, whole.ndim)
            )
        table = np.concatenate([members, whole])
        table[nest.order] = members
        return np.moveaxis(table, 0, attributes.index(nest.inner))

    def _compute_cube(self, cube: Cube) -> Array:
        inner = self._nest.inner
        if inner not in (*cube.selectors, *cube.where):
            # A figure that does not name the inner attribute is the sum over all groups.
            cube = replace(cube, where={**cube.where, inner: self._nest.everything})
        return super()._compute_cube(cube)

    def _is_summed_out(self, selector: Selector) -> NDArray[np.bool_]:
        if selector.attribute.name == self._nest.inner:
            return np.zeros(len(selector.rows), dtype=np.bool_)
        return super()._is_summed_out(selector)

    @cache_by_identity
    def _get_weights(self, selector: Selector) -> Array:
        if selector.attribute.name != self._nest.inner:
            return super()._get_weights(selector)
        return self._nest.weigh_groups(selector.matrix)

    def _compute_block(self, rows: dict[str, Array]) -> Array:
        # Whole groups need no table of members, which the workload may not have.
        tells_apart = rows[self._nest.inner][:, : len(self._nest.order)].any()
        self._lattice.find_position(name for name in rows if tells_apart or name != self._nest.inner)
        return super()._compute_block(rows)


def _sum_residuals(plan: Plan, measurement: Measurement, nest: Groups) -> dict[Component, Array]:
    """Return the sum of each residual component over all marginals, weighted by inverse variance."""
    sums: dict[Component, Any] = defaultdict(float)
    for names, sigma in plan.sigmas.items():
        place = nest.inner if nest.inner in names else nest.outer
        rest = tuple(name for name in names if name != place)
        noisy = np.moveaxis(measurement.noisy[names], names.index(place), 0)
        noisy = noisy[nest.order] if place == nest.inner else noisy
        for component in iter_subsets(rest):
            outside = tuple(axis for axis, name in enumerate(rest, start=1) if name not in component)
            summed = noisy.sum(axis=outside) / (sigma**2 * np.prod([noisy.shape[axis] for axis in outside]))
            if place == nest.inner:
                sums[True, component] += summed
                summed = nest.sum_members(summed) / _align_first_axis(nest.sizes, summed.ndim)
            sums[False, component] += summed
    return sums


def _align_first_axis(values: NDArray[Any], ndim: int) -> NDArray[Any]:
    """Return the values along the first of `ndim` axes."""
    return values.reshape(-1, *[1] * (ndim - 1))


def drop_categories(
    plan: Plan, measurement: Measurement, attribute: str, empty: Collection[str]
) -> tuple[Plan, Measurement]:
    """Return plan and measurement over the domain of `attribute` without the `empty` categories, which hold no row.

    A group of the nesting left without a category goes too. Raises ValueError, or WorkloadError if none is left.
    """
    if measurement.plan_sha256 != plan.sha256:
        raise ValueError("this measurement was made under another plan")
    family, nesting = plan.family, plan.family.nesting
    if not set(empty) & set(family.get_attribute(attribute).categories):
        return plan, measurement
    gone = {attribute: set(empty)}
    if nesting is not None and nesting.inner == attribute:
        left = {group: tuple(c for c in inside if c not in empty) for group, inside in nesting.members.items()}
        gone[nesting.outer] = {group for group, inside in left.items() if not inside}
        nesting = replace(nesting, members={group: inside for group, inside in left.items() if inside})
    kept = {
        each.name: [at for at, category in enumerate(each.categories) if category not in gone.get(each.name, ())]
        for each in family.attributes
    }
    attributes = tuple(
        replace(each, categories=tuple(each.categories[at] for at in kept[each.name])) for each in family.attributes
    )
    smaller = replace(plan, family=replace(family, attributes=attributes, nesting=nesting))
    noisy = {names: counts[np.ix_(*(kept[name] for name in names))] for names, counts in measurement.noisy.items()}
    return smaller, replace(measurement, plan_sha256=smaller.sha256, noisy=noisy)

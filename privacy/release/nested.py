"""Figures of a family with a nesting: one independent problem for each group, added up.

Every marginal of such a family tells the councils of a region apart or counts the region as a whole, so noise and
estimates of different regions are independent. Within a region its own marginals are the totals of its councils', which
is the problem that `estimates` and `covariance` solve. A figure of several regions is the sum of its parts, and so is
its variance. The whole is not measured a third time: that would tie all regions together for a gain that nobody sees,
for the whole is the most accurate figure there is (docs/privacy-derivation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from privacy.release.covariance import Covariances
from privacy.release.estimates import Estimates
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Attribute, Cube, Family, Figures, LinearCombination, Selector, terms_of

Array = NDArray[np.float64]
Part = TypeVar("Part", Covariances, Estimates)


def covariances_of(plan: Plan) -> Covariance:
    """Variances and covariances of every figure of a plan, with a nesting or without."""
    return NestedCovariances(plan) if plan.parts else Covariances(plan)


def estimates_of(plan: Plan, measurement: Measurement) -> Estimated:
    """The figures of a measurement, of a plan with a nesting or without. Raises ValueError for another plan's."""
    return NestedEstimates(plan, measurement) if plan.parts else Estimates(plan, measurement)


class _Nested(Generic[Part]):
    """Sums over the groups of a nesting. `part_of` makes what answers for one group."""

    def __init__(self, plan: Plan, part_of: Callable[[str, Plan], Part]) -> None:
        assert plan.family.nesting is not None
        self._inner = plan.family.attribute(plan.family.nesting.inner)
        self._parts: Mapping[str, Part] = {group: part_of(group, part) for group, part in plan.parts.items()}
        self._families = {group: part.family for group, part in plan.parts.items()}
        self._selectors: dict[str, _Selectors] = {group: {} for group in plan.parts}

    def variance(self, figures: Figures) -> Array:
        """Variance of every figure; shape of `figures`."""
        return self._added_up(lambda part, cut: part.variance(cut), figures)

    def covariance(self, left: Figures, right: Figures) -> Array:
        """Covariance of each figure of `left` with the figure in the same place of `right`; both have one shape."""
        return self._added_up(lambda part, *cut: part.covariance(*cut), left, right)

    def _added_up(self, ask: Callable[..., Array], *figures: Figures) -> Array:
        total = np.zeros(figures[0].shape)
        for group, part in self._parts.items():
            cut = _Cut(self._inner, self._families[group], figures, self._selectors[group])
            if not cut.is_empty:
                total[cut.kept] += ask(part, *(cut.figures(each) for each in figures))
        return total


class NestedCovariances(_Nested[Covariances]):
    """As `Covariances`, for a plan with a nesting."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, lambda _, part: Covariances(part))


class NestedEstimates(_Nested[Estimates]):
    """As `Estimates`, for a plan with a nesting. Raises ValueError where the measurement is of another plan."""

    def __init__(self, plan: Plan, measurement: Measurement) -> None:
        if measurement.plan_sha256 != plan.sha256:
            raise ValueError("this measurement was made under another plan")
        super().__init__(plan, lambda group, part: Estimates(part, _of_group(plan, measurement, group)))

    def values(self, figures: Figures) -> Array:
        """Estimates, in rows of the child table; shape of `figures`."""
        return self._added_up(lambda part, cut: part.values(cut), figures)


def _of_group(plan: Plan, measurement: Measurement, group: str) -> Measurement:
    """What the measurement says of one group: its own cells, and those of its members."""
    nesting = plan.family.nesting
    assert nesting is not None
    own = plan.family.attribute(nesting.outer).categories.index(group)
    members = [i for i, c in enumerate(plan.family.attribute(nesting.inner).categories) if c in nesting.members[group]]
    noisy = {}
    for names, counts in measurement.noisy.items():
        if nesting.outer in names:
            kept = tuple(name for name in names if name != nesting.outer)
            noisy[kept] = np.take(counts, own, axis=names.index(nesting.outer))
        else:
            noisy[names] = np.take(counts, members, axis=names.index(nesting.inner))
    return Measurement(
        plan.parts[group].sha256, measurement.noise_source, measurement.opendp_version, measurement.rho, noisy
    )


_Selectors = dict[tuple[int, bytes], tuple[Selector, Selector]]
"""Selectors on the inner attribute that were cut before, with what was made of them, by identity and rows kept."""


class _Cut:
    """Arrays of figures of one shape, cut to one group: its members' weights, and the rows to which they matter."""

    def __init__(self, inner: Attribute, family: Family, figures: tuple[Figures, ...], known: _Selectors) -> None:
        self._inner, self._family, self._known = inner, family, known
        members = family.attribute(inner.name)
        self._members = [inner.categories.index(category) for category in members.categories]
        cubes = [cube for each in figures for _, cube in terms_of(each)]
        self._rows = [self._active(cubes, axis) for axis in range(len(figures[0].shape))]
        self.is_empty = any(len(rows) == 0 for rows in self._rows)

    @property
    def kept(self) -> tuple[NDArray[np.int64], ...]:
        """Index of the figures that the group has a part in."""
        return np.ix_(*self._rows)

    def figures(self, figures: Figures) -> Figures:
        cut = tuple((coefficient, self._cube(cube)) for coefficient, cube in terms_of(figures))
        return LinearCombination(cut) if isinstance(figures, LinearCombination) else cut[0][1]

    def _active(self, cubes: list[Cube], axis: int) -> NDArray[np.int64]:
        selectors = [list(cube.selectors.values())[axis] for cube in cubes]
        if any(selector.attribute.name != self._inner.name for selector in selectors):
            return np.arange(len(selectors[0].rows))
        weighs = [selector.matrix[:, self._members].any(axis=1) for selector in selectors]
        return np.flatnonzero(np.any(weighs, axis=0))

    def _cube(self, cube: Cube) -> Cube:
        kept = dict(zip(cube.selectors, self._rows, strict=True))
        everything = np.arange(1)
        return Cube(
            {name: self._selector(selector, kept[name]) for name, selector in cube.selectors.items()},
            {name: self._selector(selector, everything) for name, selector in cube.where.items()},
        )

    def _selector(self, selector: Selector, rows: NDArray[np.int64]) -> Selector:
        if selector.attribute.name != self._inner.name:
            return selector
        key = (id(selector), rows.tobytes())
        if key not in self._known:
            weights = selector.matrix[np.ix_(rows, np.array(self._members))]
            labels = tuple(selector.labels[row] for row in rows)
            cut = Selector(self._family.attribute(self._inner.name), labels, tuple(map(tuple, weights.tolist())))
            self._known[key] = selector, cut
        return self._known[key][1]


Covariance = Covariances | NestedCovariances
"""The variances and covariances of one plan."""

Estimated = Estimates | NestedEstimates
"""The figures of one measurement."""

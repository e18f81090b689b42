"""What is known of a published cohort before a table on request is planned: the plans of what was measured, and the
sizes of groups as the release publishes them.

Noise does not shrink with a group, so how exact a table will be depends on how large its groups are. Sizes are taken
from the release itself, council by council, and not from national shares. A group by several attributes has the size
that follows if they are independent within a council.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ndl_export.facts.noisy_counts import NOISY_COUNTS_FILE, NoisyCounts
from ndl_export.tables.model import COUNCIL
from privacy.estimation.estimates import Estimates, estimates_of
from privacy.release.mechanism import Measurement, combined_plan
from privacy.release.plan import Plan
from privacy.release.workload import Array, Attribute, Cube, Family, Figures, Selector, terms_of


@dataclass(frozen=True, eq=False)
class Sizes:
    """How many rows each council has, (councils,), and by attribute which share of them has each category, (councils,
    categories)."""

    rows: Array
    shares: Mapping[str, Array]

    @classmethod
    def of(cls, plan: Plan, measurement: Measurement) -> Sizes:
        """As the measurement has them. An attribute that was not measured by council has the same shares in all."""
        family, estimates = plan.family, estimates_of(plan, measurement)
        rows = estimates.values(Cube({COUNCIL: Selector.each(family.attribute(COUNCIL))}))
        others = [family.attribute(name) for name in family.columns if name != COUNCIL]
        return cls(np.maximum(rows, 0.0), {each.name: _shares(family, estimates, each) for each in others})

    def values(self, figures: Figures) -> Array:
        """Rows that are expected of each figure; shape of `figures`."""
        return np.sum([coefficient * self._cube(cube) for coefficient, cube in terms_of(figures)], axis=0)

    def share(self, attribute: str, categories: list[int]) -> float:
        """Share of all rows that has one of the categories, which are given by their places in the domain."""
        return float(self.rows @ self.shares[attribute][:, categories].sum(axis=1) / max(self.rows.sum(), 1.0))

    def _cube(self, cube: Cube) -> Array:
        found = self.rows
        for name, selector in cube.where.items():
            found = found * (selector.matrix[0] if name == COUNCIL else self.shares[name] @ selector.matrix[0])
        for name, selector in cube.selectors.items():
            if name != COUNCIL:
                levels = self.shares[name] @ selector.matrix.T
                found = found[..., None] * levels.reshape(len(levels), *[1] * (found.ndim - 1), -1)
        if COUNCIL not in cube.selectors:
            return np.asarray(found.sum(axis=0))
        by_area = np.tensordot(cube.selectors[COUNCIL].matrix, found, axes=1)
        return np.moveaxis(by_area, 0, [*cube.selectors].index(COUNCIL))


def _shares(family: Family, estimates: Estimates, attribute: Attribute) -> Array:
    council, levels = family.attribute(COUNCIL), Selector.each(attribute)
    if family.covers((COUNCIL, attribute.name)):
        counts = estimates.values(Cube({COUNCIL: Selector.each(council), attribute.name: levels}))
    elif family.covers((attribute.name,)):
        counts = estimates.values(Cube({COUNCIL: Selector.total(council), attribute.name: levels}))
    else:
        counts = np.ones((1, attribute.size))
    counts = np.broadcast_to(np.maximum(counts, 0.0), (council.size, attribute.size))
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))


@dataclass(frozen=True, eq=False)
class Known:
    """The plans of what was measured of a cohort that is published, `base` by family and what came on request, and the
    published sizes of a family."""

    base: Mapping[str, Plan]
    further: tuple[Plan, ...]
    sizes_of: Callable[[str], Sizes]

    @classmethod
    def of(cls, bundle: Path, cohort: str, base: Mapping[str, Plan], further: tuple[Plan, ...]) -> Known:
        """With the sizes that the release in the folder `bundle` publishes, which measured the cohort under `base` or
        uses its noisy counts again."""
        return cls(base, further, cache(partial(_published_sizes, bundle, cohort, base)))

    def further_of(self, family: str) -> list[Plan]:
        return [each for each in self.further if each.family.name == family]

    def together(self, family: str) -> Plan:
        """All that was measured of a family, as one plan."""
        return combined_plan(self.base[family], self.further_of(family))


def _published_sizes(bundle: Path, cohort: str, base: Mapping[str, Plan], family: str) -> Sizes:
    plan = base[family]
    drawn = NoisyCounts.read(plan.to_json(), pq.read_table(bundle / NOISY_COUNTS_FILE), cohort, family)
    return Sizes.of(plan, Measurement(plan.sha256, "as published", "", plan.rho, drawn.counts))

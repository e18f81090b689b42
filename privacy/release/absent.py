"""A measurement given that some councils, or other categories, are publicly known to hold no row.

Noise is drawn over the whole public domain. Where it is known besides that the cells of a category are empty, what was
drawn for them is noise alone and says nothing of the other cells; a marginal without the attribute counts the others
only. So the measurement without these cells is a measurement of the same tables over the smaller domain, with the same
noise scales, and the best linear unbiased estimates are those made from it. This is post-processing with a public fact.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Attribute


def without_categories(
    plan: Plan, measurement: Measurement, attribute: str, empty: Collection[str]
) -> tuple[Plan, Measurement]:
    """Plan and measurement over the domain of `attribute` without the categories `empty`, which hold no row.

    A group of the nesting that is left without a category goes with it. Raises ValueError where the measurement is of
    another plan, WorkloadError where no category would be left.
    """
    if measurement.plan_sha256 != plan.sha256:
        raise ValueError("this measurement was made under another plan")
    family, nesting = plan.family, plan.family.nesting
    gone = {attribute: set(empty)}
    if nesting is not None and nesting.inner == attribute:
        left = {group: tuple(c for c in inside if c not in empty) for group, inside in nesting.members.items()}
        gone[nesting.outer] = {group for group, inside in left.items() if not inside}
        nesting = replace(nesting, members={group: inside for group, inside in left.items() if inside})
    attributes = tuple(_without(entry, gone.get(entry.name, set())) for entry in family.attributes)
    smaller = replace(plan, family=replace(family, attributes=attributes, nesting=nesting))
    noisy = {
        names: counts[np.ix_(*(_kept(family.attribute(name), gone.get(name, set())) for name in names))]
        for names, counts in measurement.noisy.items()
    }
    return smaller, replace(measurement, plan_sha256=smaller.sha256, noisy=noisy)


def _without(attribute: Attribute, gone: Collection[str]) -> Attribute:
    return replace(attribute, categories=tuple(category for category in attribute.categories if category not in gone))


def _kept(attribute: Attribute, gone: Collection[str]) -> list[int]:
    return [index for index, category in enumerate(attribute.categories) if category not in gone]

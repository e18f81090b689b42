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


def without_categories(
    plan: Plan, measurement: Measurement, attribute: str, empty: Collection[str]
) -> tuple[Plan, Measurement]:
    """Plan and measurement over the domain of `attribute` without the categories `empty`, which hold no row.

    Raises ValueError where the measurement is of another plan, WorkloadError where no category would be left.
    """
    if measurement.plan_sha256 != plan.sha256:
        raise ValueError("this measurement was made under another plan")
    kept = [index for index, name in enumerate(plan.family.attribute(attribute).categories) if name not in empty]
    attributes = tuple(
        replace(entry, categories=tuple(entry.categories[index] for index in kept))
        if entry.name == attribute
        else entry
        for entry in plan.family.attributes
    )
    smaller = replace(plan, family=replace(plan.family, attributes=attributes))
    noisy = {
        names: np.take(counts, kept, axis=names.index(attribute)) if attribute in names else counts
        for names, counts in measurement.noisy.items()
    }
    return smaller, replace(measurement, plan_sha256=smaller.sha256, noisy=noisy)

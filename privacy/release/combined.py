"""Several measurements of one child table, as one.

What was measured later, under a plan of its own, says more of the same table. Least squares over all measurements at
once is what `estimates` does for one, so they are put together: a marginal that was measured by several is their
average, weighted by inverse variance, with noise of precision sum of 1/sigma^2; any other stands as it was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.release.components import Lattice
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan

Names = tuple[str, ...]


def combined_plan(plan: Plan, further: Sequence[Plan]) -> Plan:
    """The plan of all measurements together: what `plan` measures and what each `further` one did.

    Nothing is measured under it: it says how exact the figures of `combined` are. Raises ValueError where they are not
    of one family with the same attributes.
    """
    if not further:
        return plan
    for each in further:
        if (each.family.attributes, each.family.nesting) != (plan.family.attributes, plan.family.nesting):
            raise ValueError(f"the plans are not of one child table of {plan.family.name!r}")
    marginals = {each.attributes: each for every in (plan, *further) for each in every.family.marginals}
    family = replace(plan.family, marginals=tuple(marginals.values()))
    precisions = _precisions([plan, *further])
    sigmas = {names: 1 / math.sqrt(precisions[names]) for names in Lattice.of(family).subsets if names in precisions}
    rho = math.fsum(each.rho for each in (plan, *further))
    return Plan(family, rho, plan.delta, sigmas, plan.detail)


def combined(
    plan: Plan, measurement: Measurement, further: Sequence[tuple[Plan, Measurement]]
) -> tuple[Plan, Measurement]:
    """Plan and measurement of all together; counts need no longer be whole numbers.

    Raises ValueError where a measurement is of another plan.
    """
    if not further:
        return plan, measurement
    measured = [(plan, measurement), *further]
    if any(counts.plan_sha256 != of.sha256 for of, counts in measured):
        raise ValueError("a measurement was made under another plan")
    whole = combined_plan(plan, [each for each, _ in further])
    noisy: dict[Names, NDArray[Any]] = {}
    for names, sigma in whole.sigmas.items():
        own = [(of.sigmas[names], counts.noisy[names]) for of, counts in measured if names in of.sigmas]
        if len(own) == 1:
            noisy[names] = own[0][1]
        else:
            noisy[names] = np.sum([counts / scale**2 for scale, counts in own], axis=0) * sigma**2
    return whole, replace(measurement, plan_sha256=whole.sha256, rho=whole.rho, noisy=noisy)


def _precisions(plans: Sequence[Plan]) -> dict[Names, float]:
    """1/sigma^2 of every measured marginal, added up over the plans."""
    found: dict[Names, float] = {}
    for plan in plans:
        for names, sigma in plan.sigmas.items():
            found[names] = found.get(names, 0.0) + sigma**-2.0
    return found

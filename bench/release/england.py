"""Measures the computing time of a release of England, and the gain from measuring regions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from ndl_export.tables import FAMILIES
from privacy.estimation.covariance import Covariances
from privacy.estimation.intervals import compute_count_half_widths
from privacy.release.mechanism import Measurement, OpenDPNoise, charge, measure
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, Selector

CHILDREN_IN_A_CELL = 40


def seconds(councils: Sequence[str]) -> dict[str, float]:
    """Return processor seconds of each stage from policy to tables, and numbers of cells and rows.

    Counting the children is not included.
    """
    found, policy = {}, load_policy()
    begun = time.process_time()
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    found["plan"] = time.process_time() - begun
    begun, measured, cells = time.process_time(), {}, 0
    for family, plan in plans.items():
        measured[family], cells = _measured(plan), cells + sum(np.prod(plan.family.shape(a)) for a in plan.sigmas)
    found["measure"] = time.process_time() - begun
    begun = time.process_time()
    cohort = MeasuredCohort("202425", "2026.11.0", plans, measured)
    tables = tabulate(MeasuredRelease([cohort], councils, policy.reliability, {}))
    found["estimate and tabulate"] = time.process_time() - begun
    return found | {"cells": float(cells), "rows": float(sum(table.num_rows for table in tables.values()))}


def half_widths(councils: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return, by level, the half-width of the 95% interval of a count of one ethnic group, with and without regions."""
    plan = plan_family("pupil", councils, load_policy())
    nesting = plan.family.nesting
    assert nesting is not None
    without = replace(
        plan.family,
        attributes=tuple(a for a in plan.family.attributes if a.name != nesting.outer),
        marginals=tuple(m for m in plan.family.marginals if nesting.outer not in m.attributes),
        nesting=None,
    )
    council = plan.family.attribute(nesting.inner)
    levels = {"council": council.categories[:1], "region (median)": (), "England": council.categories}
    middle = sorted(nesting.members.values(), key=len)[len(nesting.members) // 2]
    levels["region (median)"] = middle
    group = Selector.each(plan.family.attribute("ethnic_group"))
    cube = Cube({council.name: Selector.of(council, levels), "ethnic_group": group})
    found = [
        compute_count_half_widths(Covariances(each), cube)[:, 0]
        for each in (plan, make_plan(without, plan.rho, delta=plan.delta))
    ]
    return {level: (float(one), float(other)) for level, one, other in zip(levels, *found, strict=True)}


def _measured(plan: Plan) -> Measurement:
    counts = {a: np.full(plan.family.shape(a), CHILDREN_IN_A_CELL, dtype=np.int64) for a in plan.sigmas}
    return measure(plan, counts, OpenDPNoise(charge(plan)))

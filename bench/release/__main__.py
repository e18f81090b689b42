"""Writes docs/accuracy.md: accuracy, computing time for England, and the gain from measuring regions."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from assets.home.paths import Home
from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
from bench import pages
from bench.comparisons import measure_comparisons
from ndl_export.tables import FAMILIES, TABLES
from privacy.estimation.covariance import Covariances
from privacy.estimation.intervals import compute_count_half_widths
from privacy.release.mechanism import Measurement, OpenDPNoise, compute_charge, compute_epsilon, measure
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, Selector
from sources.reference.places import PILOT, load_places
from sources.reference.published_figures import PUBLISHED_COHORT
from tests.support.release.accuracy import (
    ADDITIVE,
    LARGE,
    Cells,
    Truth,
    count_queries,
    measure_correlation,
    measure_errors,
)
from tests.support.release.usable import count_usable_rates

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
RELEASES, ENGLISH_RELEASES = 40, 3
MADE_UP, RELEASES_OF_EACH, WITH_THE_ONE = 50, 4, 12
"""Synthetic tables for the model's column, and releases of each; more releases if one group is unlike the others."""
SMALLEST = 10
BANDS = (10, 50, 200, 1000)
WAYS = {
    "each": "one query a published table",
    "detailed": "one query a most detailed table, added up",
    "release": "this release",
    "model": "the model's column",
}
TRUTHS = {
    "additive": ADDITIVE,
    "3 points off": Truth(0.03),
    "heavy tails": Truth(0.03, heavy_tails=True),
    "one group below": Truth(0.03, 0.15),
}


def main(home: Home | None) -> None:
    """Measure everything and write the page.

    `home`, if given, holds linked synthetic extracts of the pilot, whose tables are released as well.
    """
    pilot, english, policy = sorted(PILOT), sorted(load_places()), load_policy()
    rates = [
        (rho, compute_epsilon(rho, 1e-6), measure_errors(pilot, RELEASES, rho=rho))
        for rho in (policy.get_rho("pupil"), 0.02436)
    ]
    linked = (
        {family: home.get_cohort(PUBLISHED_COHORT).get_confidential_path(family) for family in FAMILIES} if home else {}
    )
    usable = {
        "pilot": count_usable_rates(pilot, RELEASES),
        **({"pilot, synthetic extracts": count_usable_rates(pilot, RELEASES, linked)} if linked else {}),
        "England, with regions": count_usable_rates(english, ENGLISH_RELEASES),
    }
    models = {
        what: measure_errors(pilot, WITH_THE_ONE if truth.special else RELEASES_OF_EACH, truth=truth, tables=MADE_UP)
        for what, truth in TRUTHS.items()
    }
    page = pages.render(
        Path(__file__).with_name("page.md.j2"),
        releases=RELEASES,
        english_releases=ENGLISH_RELEASES,
        made_up=MADE_UP,
        releases_of_each=RELEASES_OF_EACH,
        with_the_one=WITH_THE_ONE,
        smallest=SMALLEST,
        large=LARGE,
        ways=WAYS,
        tables=TABLES,
        policy=policy,
        queries=count_queries(plan_family("pupil", pilot, policy)),
        rates=rates,
        usable=usable,
        models=models,
        masks=_mask_cells,
        correlation=measure_correlation(pilot),
        comparisons=measure_comparisons(),
        levels=_measure_half_widths(english),
        times={"pilot": _measure_seconds(pilot), "England, with regions": _measure_seconds(english)},
    )
    PAGE.write_text(page, encoding="utf-8")
    print(page)


def _mask_cells(cells: Cells) -> dict[str, pd.Series]:
    """Return the cells of each column of the model's table: all, by number of children, and the one group."""
    bands = {f"{least} to {most - 1}": cells.mask_within(least, most) for least, most in pairwise(BANDS)}
    return {
        f"{SMALLEST} or more": cells.mask_within(SMALLEST),
        **bands,
        f"{BANDS[-1]} or more": cells.mask_within(BANDS[-1]),
        "the one group": cells.mask_the_one(),
    }


_CHILDREN_IN_A_CELL = 40


def _measure_seconds(councils: Sequence[str]) -> tuple[list[float], int, int]:
    """Return processor seconds of each stage from policy to tables, and numbers of cells and rows.

    Counting the children is not included.
    """
    policy, measured, cells, clock = load_policy(), {}, 0, [time.process_time()]
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    clock.append(time.process_time())
    for family, plan in plans.items():
        measured[family], cells = _measure(plan), cells + sum(np.prod(plan.family.get_shape(a)) for a in plan.sigmas)
    clock.append(time.process_time())
    cohort = MeasuredCohort("202425", "2026.11.0", plans, measured)
    tables = tabulate(MeasuredRelease([cohort], councils, policy.reliability, {}))
    clock.append(time.process_time())
    return np.diff(clock).tolist(), int(cells), sum(table.num_rows for table in tables.values())


def _measure_half_widths(councils: Sequence[str]) -> dict[str, tuple[float, float]]:
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
    council = plan.family.get_attribute(nesting.inner)
    levels = {"council": council.categories[:1], "region (median)": (), "England": council.categories}
    middle = sorted(nesting.members.values(), key=len)[len(nesting.members) // 2]
    levels["region (median)"] = middle
    group = Selector.for_each(plan.family.get_attribute("ethnic_group"))
    cube = Cube({council.name: Selector.for_groups(council, levels), "ethnic_group": group})
    found = [
        compute_count_half_widths(Covariances(each), cube)[:, 0]
        for each in (plan, make_plan(without, plan.rho, delta=plan.delta))
    ]
    return {level: (float(one), float(other)) for level, one, other in zip(levels, *found, strict=True)}


def _measure(plan: Plan) -> Measurement:
    counts = {a: np.full(plan.family.get_shape(a), _CHILDREN_IN_A_CELL, dtype=np.int64) for a in plan.sigmas}
    return measure(plan, counts, OpenDPNoise(compute_charge(plan)))


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])) if len(sys.argv) > 1 else None)

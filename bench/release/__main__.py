"""Writes docs/accuracy.md: accuracy, computing time for England, and the gain from measuring regions."""

import datetime as dt
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from assets.home.paths import Home
from assets.release.planning import plan_family
from assets.release.tabulate import MeasuredRelease, tabulate
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
from tests.support.release.usable import Usable, count_usable_rates

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"
RELEASES, ENGLISH_RELEASES = 40, 3
MADE_UP, RELEASES_OF_EACH, WITH_THE_ONE = 50, 4, 12
"""Synthetic tables for the model's column, and releases of each; more releases if one group is unlike the others."""
SMALLEST = 10
BANDS = ((10, 50), (50, 200), (200, 1000), (1000, float("inf")))
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
    pilot, policy = sorted(PILOT), load_policy()
    each, detailed = count_queries(plan_family("pupil", pilot, policy))
    rates = [(rho, measure_errors(pilot, RELEASES, rho=rho)) for rho in (policy.get_rho("pupil"), 0.02436)]
    linked = (
        {family: home.get_cohort(PUBLISHED_COHORT).get_confidential_path(family) for family in FAMILIES} if home else {}
    )
    usable = {
        "pilot": count_usable_rates(pilot, RELEASES),
        **({"pilot, synthetic extracts": count_usable_rates(pilot, RELEASES, linked)} if linked else {}),
        "England, with regions": count_usable_rates(sorted(load_places()), ENGLISH_RELEASES),
    }
    models = {
        what: measure_errors(pilot, WITH_THE_ONE if truth.special else RELEASES_OF_EACH, truth=truth, tables=MADE_UP)
        for what, truth in TRUTHS.items()
    }
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    PAGE.write_text(
        f"""# Accuracy and time of the release, measured

Made by `python -m bench.release [HOME]` on {dt.date.today()}: {machine}, OpenDP {version("opendp")}.
A synthetic child table of the pilot's published sizes is released {RELEASES} times and compared with its truth. For the
model's column, {MADE_UP} such tables are released {RELEASES_OF_EACH} times each, {WITH_THE_ONE} with the last truth.

## Against one query a table

Mean absolute error, in points, of the rate of a good level of development by council and characteristic, at the same
rho. The pupil tables are {each} marginals, {detailed} of which no other contains. The alternatives ask OpenDP's
discrete Gaussian for each table with an equal share, or for the most detailed tables only.

| rho (epsilon) | way | cells of {LARGE} children or more | of {SMALLEST} or more |
|---|---|---|---|
{_format_ways(rates)}

The release has {_format_ratio(rates, "each")} of the error of the first and
{_format_ratio(rates, "detailed")} of that of the second
(cells of {LARGE} or more; tests require 0.45). {_format_coverage(rates)} of its 95% intervals contain the truth.

## Published rates that are usable

Synthetic tables of all families have the expected sizes and shares in the middle of what is plausible, and are released
{RELEASES} times (England {ENGLISH_RELEASES} times). A published rate is usable if it has no flag: its 95% interval is
at most {policy.reliability.unreliable_half_width:g} points wide either way. {_format_held(usable)} of all
intervals contain the truth. "Synthetic extracts" are those of `make demo`, linked in HOME; nothing was fitted to them.

| table | {" | ".join(f"{what}: rates | published | usable of these" for what in usable)} |
|---|{"---|---|---|" * len(usable)}
{_format_usable(usable)}

## The model's column

Four truths: additive effects of council and characteristic; each group in each council off by 3 points (standard
deviation, normal); the same with Student's t distribution, three degrees of freedom; and as the second, with one ethnic
group in one council 15 points below, "the one group". By the number of children in the cell: root mean square error in
points, and share of 95% intervals that contain the rate of these children. Tests require 93 to 97% of the model over
all cells, and 90% for the one group.

{_format_by_band(models)}

Cells of 50 to 199 children whose figure is within 5 points of the truth (tests require 80% of the model):
{_format_near(models)}.

A group unlike the others is drawn towards them: the mean error of the one group is
{models["one group below"].compute_mean_error("model"):+.1f} points, that of the release
{models["one group below"].compute_mean_error("release"):+.1f}. Its interval allows for that.

## Two councils

The noise of two councils' rates is correlated by at most {measure_correlation(pilot):.3f} in the pilot, so it may be
taken as independent.

{measure_comparisons()}
## Regions

Half-width of the 95% interval of a count of children of one ethnic group, England with regions measured (a share of
{policy.regions_share:g} of the budget) and without.

| level | with | without |
|---|---|---|
{_list_levels()}

## Time

Processor seconds, without counting the children. OpenDP takes some nine microseconds a cell for noise.

| | plan | measure | estimate and tabulate | all | cells drawn | rows published |
|---|---|---|---|---|---|---|
{_measure_times("pilot", pilot)}
{_measure_times("England, with regions", list(load_places()))}
""",
        encoding="utf-8",
    )
    print(PAGE.read_text(encoding="utf-8"))


def _format_ways(rates: list[tuple[float, Cells]]) -> str:
    return "\n".join(
        f"| {rho:g} ({compute_epsilon(rho, 1e-6):.1f}) | {title} | {cells.compute_mean_absolute(way, LARGE):.2f} "
        f"| {cells.compute_mean_absolute(way, SMALLEST):.2f} |"
        for rho, cells in rates
        for way, title in WAYS.items()
    )


def _format_ratio(rates: list[tuple[float, Cells]], way: str) -> str:
    return " and ".join(
        f"{cells.compute_mean_absolute('release', LARGE) / cells.compute_mean_absolute(way, LARGE):.2f}"
        for _, cells in rates
    )


def _format_coverage(rates: list[tuple[float, Cells]]) -> str:
    return " and ".join(f"{cells.compute_coverage('release', cells.mask_within(SMALLEST)):.1%}" for _, cells in rates)


def _format_held(found: dict[str, Usable]) -> str:
    return " and ".join(f"{each.coverage:.1%}" for each in found.values())


def _format_usable(found: dict[str, Usable]) -> str:
    """Return a line for each table, and one for all together."""
    lines = [(f"`{name}`", [_format_rates(each, table=name) for each in found.values()]) for name in TABLES]
    lines.append(("all together", [_format_rates(each) for each in found.values()]))
    return "\n".join(f"| {name} | {' | '.join(numbers)} |" for name, numbers in lines)


def _format_rates(found: Usable, **of: str) -> str:
    return f"{found.count_defined(**of):,} | {found.count_published(**of):,} | {found.compute_share(**of):.1%}"


def _list_levels() -> str:
    found = _measure_half_widths(list(load_places()))
    return "\n".join(f"| {level} | {one:.1f} | {other:.1f} |" for level, (one, other) in found.items())


def _format_by_band(models: dict[str, Cells]) -> str:
    """Return a table of error and coverage by truth and way, for all cells, by band and for the one group."""

    def format_shown(cells: Cells, way: str, chosen: pd.Series) -> str:
        return f"{cells.compute_root_mean_square(way, chosen):.2f}, {cells.compute_coverage(way, chosen):.1%}"

    heads = [f"{SMALLEST} or more", *map(_format_band, BANDS), "the one group"]
    rows = ["| truth | way | " + " | ".join(heads) + " |", "|---|---|" + "---|" * len(heads)]
    for what, cells in models.items():
        chosen = [cells.mask_within(SMALLEST), *(cells.mask_within(*band) for band in BANDS), cells.mask_the_one()]
        for way in ("release", "model"):
            rows.append(
                f"| {what} | {WAYS[way]} | " + " | ".join(format_shown(cells, way, each) for each in chosen) + " |"
            )
    return "\n".join(rows)


def _format_near(models: dict[str, Cells]) -> str:
    return "; ".join(
        f"{what} {cells.compute_share_near('model', 5, cells.mask_within(50, 200)):.0%}"
        f" (this release {cells.compute_share_near('release', 5, cells.mask_within(50, 200)):.0%})"
        for what, cells in models.items()
    )


def _format_band(band: tuple[float, float]) -> str:
    return f"{band[0]:g} or more" if band[1] == float("inf") else f"{band[0]:g} to {band[1] - 1:g}"


def _measure_times(what: str, councils: list[str]) -> str:
    found = _measure_seconds(councils)
    times = [found[stage] for stage in ("plan", "measure", "estimate and tabulate")]
    stages = " | ".join(f"{time:.2f}" for time in (*times, sum(times)))
    return f"| {what} | {stages} | {found['cells']:,.0f} | {found['rows']:,.0f} |"


_CHILDREN_IN_A_CELL = 40


def _measure_seconds(councils: Sequence[str]) -> dict[str, float]:
    """Return processor seconds of each stage from policy to tables, and numbers of cells and rows.

    Counting the children is not included.
    """
    found, policy = {}, load_policy()
    begun = time.process_time()
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    found["plan"] = time.process_time() - begun
    begun, measured, cells = time.process_time(), {}, 0
    for family, plan in plans.items():
        measured[family], cells = _measure(plan), cells + sum(np.prod(plan.family.get_shape(a)) for a in plan.sigmas)
    found["measure"] = time.process_time() - begun
    begun = time.process_time()
    cohort = MeasuredCohort("202425", "2026.11.0", plans, measured)
    tables = tabulate(MeasuredRelease([cohort], councils, policy.reliability, {}))
    found["estimate and tabulate"] = time.process_time() - begun
    return found | {"cells": float(cells), "rows": float(sum(table.num_rows for table in tables.values()))}


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

"""Synthetic children from a release bundle alone, and how close they are to what it published.

Every figure of the release is a function of its noisy counts, and so is every synthetic child: nothing else is read, so
nothing is charged. Attributes that were measured for linkage error alone are left out. Children are as they were
linked; published figures that a missed or false link moves are corrected for it (`assets.release.linkage_error`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.release.tabulate import all_measured, bundle_facts, recomputed, tabulate
from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.facts.synthetic import SMALLEST_GROUP, Agreement, HeldOut, SyntheticChildren
from ndl_export.tables import TABLES, MeasureKind
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.pupil import EXPECTED, FAMILY, GLD
from privacy.release.estimates import Estimates, estimates_of, without_categories
from privacy.release.intervals import Reliability
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Array, Cube, Selector
from privacy.synthetic.model import draw, libraries
from privacy.synthetic.problem import AllOf, Codes, Names, Problem, contradictions, problems, widest
from sources.reference.goals import GLD_GOALS

GOOD_LEVEL = AllOf(GLD.name, GLD.categories[0], GLD_GOALS, EXPECTED)
_MEDIAN_OF_NORMAL = 0.6745
"""Half of what is drawn from a normal distribution lies within so many standard deviations."""


class NoSuchCohort(ValueError):
    """The bundle does not hold the cohort that is asked for; the message names those that it does."""


def synthetic_children(bundle: Path, cohort: str | None, seed: int) -> SyntheticChildren:
    """The synthetic children of the bundle in the folder `bundle`, of its newest cohort unless one is given.

    Raises NoSuchCohort, and `MissingLibrary` where the extra for it is not installed.
    """
    package, record = bundle_facts(bundle)
    by_cohort = {each.cohort: each for each in all_measured(bundle)}
    own = by_cohort.get(cohort or max(by_cohort))
    if own is None:
        raise NoSuchCohort(f"the bundle has no cohort {cohort}: it holds {', '.join(sorted(by_cohort))}")
    missing: MissingByCohort = package["missing"]
    absent = not_sent(missing.get(own.cohort, {}), FAMILY.name)
    plan, measurement = without_categories(own.plans[FAMILY.name], own.measurements[FAMILY.name], COUNCIL, absent)
    left_out = {name for names, _ in FAMILY.measured_apart for name in names} - {COUNCIL}
    asked = list(problems(plan, measurement, left_out, GOOD_LEVEL))
    drawn = [draw(each, seed) for each in asked]
    rows = _together(plan, asked, [each.rows for each in drawn])
    kept = _without_attributes(plan, left_out)
    counted = Measurement(kept.sha256, "synthetic children", "", kept.rho, _counted(kept, rows))
    as_cohort = MeasuredCohort(own.cohort, own.release, {FAMILY.name: kept}, {FAMILY.name: counted})
    tables = tabulate([as_cohort], package["councils"], Reliability(**record["reliability"]), missing)
    return SyntheticChildren(
        package,
        own.cohort,
        seed,
        _table(plan, rows),
        {name: plan.family.attribute(name).categories for name in rows},
        libraries(),
        tuple(name for name in plan.family.columns if name not in rows),
        tuple(dict.fromkeys(names for each in drawn for names in each.not_fitted)),
        sum(contradictions(problem, each.rows, GOOD_LEVEL) for problem, each in zip(asked, drawn, strict=True)),
        tuple(_agreements(recomputed(bundle), tables)),
        tuple(_held_out(plan, measurement, asked, seed)),
    )


def _together(plan: Plan, asked: list[Problem], drawn: list[Codes]) -> dict[str, NDArray[np.int64]]:
    """The rows of all groups, coded by the domains of the whole family, in order of their codes."""
    order = [each for each in plan.family.attributes if each.name in drawn[0]]
    rows = {}
    for attribute in order:
        place = {category: code for code, category in enumerate(attribute.categories)}
        codes = [
            np.array([place[category] for category in problem.attribute(attribute.name).categories])[
                rows_of_group[attribute.name]
            ]
            for problem, rows_of_group in zip(asked, drawn, strict=True)
        ]
        rows[attribute.name] = np.concatenate(codes)
    sequence = np.lexsort([rows[attribute.name] for attribute in reversed(order)])
    return {name: codes[sequence] for name, codes in rows.items()}


def _table(plan: Plan, rows: Codes) -> pa.Table:
    return pa.table(
        {name: pa.array(plan.family.attribute(name).categories).take(pa.array(codes)) for name, codes in rows.items()}
    )


def _without_attributes(plan: Plan, left_out: Collection[str]) -> Plan:
    """The plan as if what has these attributes had not been measured."""
    family = replace(
        plan.family,
        attributes=tuple(each for each in plan.family.attributes if each.name not in left_out),
        marginals=tuple(each for each in plan.family.marginals if not set(each.attributes) & set(left_out)),
    )
    return replace(plan, family=family, sigmas={n: s for n, s in plan.sigmas.items() if not set(n) & set(left_out)})


def _counted(plan: Plan, rows: Codes) -> dict[Names, NDArray[np.int64]]:
    """The marginals of the plan, counted over synthetic rows."""
    codes, nesting = dict(rows), plan.family.nesting
    if nesting is not None:
        groups = plan.family.attribute(nesting.outer).categories
        group = {member: number for number, name in enumerate(groups) for member in nesting.members[name]}
        inner = plan.family.attribute(nesting.inner).categories
        codes[nesting.outer] = np.array([group[member] for member in inner])[rows[nesting.inner]]
    return {names: _counts(plan, codes, names) for names in plan.sigmas}


def _agreements(published: dict[str, pa.Table], synthetic: dict[str, pa.Table]) -> Iterator[Agreement]:
    """By table and percentage, over the rows that both have."""
    for name, own in synthetic.items():
        keys = ["time_period", "area_code", *(entry.name for entry in TABLES[name].filters)]
        for measure in TABLES[name].measures:
            if measure.kind is not MeasureKind.PERCENT:
                continue
            figure, bounds = measure.name, [f"{measure.name}_lower_ci", f"{measure.name}_upper_ci"]
            counts_all = "children_count" in own.column_names
            count = "children_count" if counts_all else "expected_children_count"
            left = published[name].select([*keys, count, figure, *bounds]).to_pandas()
            both = left.merge(own.select([*keys, figure]).to_pandas(), on=keys, suffixes=("", "_synthetic")).dropna()
            size = both[count] if counts_all else 100 * both[count] / both[figure]
            both = both[size >= SMALLEST_GROUP]
            if both.empty:
                continue
            ours, theirs = both[f"{figure}_synthetic"], both[figure]
            apart = (ours - theirs).abs()
            lower, upper = both[bounds[0]].round(measure.decimals), both[bounds[1]].round(measure.decimals)
            yield Agreement(
                name,
                figure,
                len(both),
                int(ours.between(lower, upper).sum()),
                float(apart.median()),
                float(apart.quantile(0.9)),
                float(((both[bounds[1]] - both[bounds[0]]) / 2).median()),
            )


def _held_out(plan: Plan, measurement: Measurement, asked: list[Problem], seed: int) -> Iterator[HeldOut]:
    """Of children drawn without every second of the widest marginals that tell of a good level of development."""
    held = widest(asked[0], GOOD_LEVEL.whole)
    rows = _together(plan, asked, [draw(each.without(held), seed).rows for each in asked])
    estimates = estimates_of(plan, measurement)
    whole = plan.family.attribute(GOOD_LEVEL.whole)
    is_good = rows[whole.name] == whole.categories.index(GOOD_LEVEL.yes)
    for names in held:
        groups = tuple(name for name in names if name != whole.name)
        every = Cube({name: Selector.each(plan.family.attribute(name)) for name in groups})
        good = replace(every, where={whole.name: Selector.only(whole, GOOD_LEVEL.yes)})
        rate, deviation = _rates(estimates, good, every)
        drawn = _counts(plan, rows, groups)
        drawn_good = _counts(plan, {name: rows[name][is_good] for name in groups}, groups)
        large = (estimates.values(every) >= SMALLEST_GROUP) & (drawn > 0)
        if not large.any():
            continue
        apart = 100 * np.abs(drawn_good[large] / drawn[large] - rate[large])
        yield HeldOut(
            names,
            int(large.sum()),
            float(np.median(apart)),
            float(np.quantile(apart, 0.9)),
            float(100 * _MEDIAN_OF_NORMAL * np.median(deviation[large])),
        )


def _rates(estimates: Estimates, part: Cube, whole: Cube) -> tuple[Array, Array]:
    """Estimated rates and the deviation of their noise, by the delta method; no number where there is nobody."""
    size = np.where((found := estimates.values(whole)) > 0, found, np.nan)
    rate = estimates.values(part) / size
    variance = (
        estimates.variance(part) - 2 * rate * estimates.covariance(part, whole) + rate**2 * estimates.variance(whole)
    )
    return rate, np.sqrt(np.maximum(variance, 0.0)) / size


def _counts(plan: Plan, rows: Codes, names: Names) -> NDArray[np.int64]:
    """Synthetic rows by the attributes."""
    shape = plan.family.shape(names)
    cells = np.ravel_multi_index([rows[name] for name in names], shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)

"""Synthetic children made from a release bundle alone, and how closely they match what it published.

Every figure of the release is a function of its noisy counts, and so is every synthetic child: nothing else is read, so
nothing is charged. Attributes measured only for linkage error are left out. Rows are drawn from a model of the
marginals, and a few are changed until every published percentage of a large group lies in its interval.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.release.linkage_error import correct_estimates, find_review
from assets.release.noise_workload import build_block_figures
from assets.release.tabulate import MeasuredRelease, read_measured_release, tabulate
from ndl_export.facts.missing import list_missing_councils
from ndl_export.facts.release_facts import DATAPACKAGE_FILE, read_bundle_facts
from ndl_export.files.signing import SUMS_FILE
from ndl_export.synthetic.children import SMALLEST_GROUP, ComparedFigure, HeldOut, IntervalAgreement, SyntheticChildren
from ndl_export.synthetic.folder import build_synthetic_files, check_wanted, write_synthetic
from ndl_export.tables import Measure, MeasureKind, Table, pupil
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.rows import Layout
from ndl_export.tables.schema import WITH_INTERVAL, ColumnRole, count_unit_decimals, get_column_name
from privacy.estimation.estimates import build_estimates, drop_categories
from privacy.estimation.intervals import Moments, RatioMoments
from privacy.keys import KeyRing
from privacy.release.canonical import compute_sha256
from privacy.release.plan import Plan
from privacy.release.workload import Array, Cube, Figures, MeasuredFamily, Selector, list_terms
from privacy.synthetic import model
from privacy.synthetic.bands import Bands, deal_parts
from privacy.synthetic.repair import Rates, compute_ratios, find_tied_sets, repair_rows
from sources.reference.code_lists import GLD_GOALS, GOALS

GOALS_MET = model.AllOf(
    (*GLD_GOALS, *(goal for goal in GOALS if goal not in GLD_GOALS)),
    pupil.EXPECTED,
    (
        model.Whole(pupil.GLD.name, pupil.GLD.categories[0], len(GLD_GOALS)),
        model.Whole(pupil.GOALS_EXPECTED.name, pupil.ALL_GOALS, len(GOALS)),
    ),
)
LEFT_OUT = pupil.FAMILY.never_shown | {pupil.FIRST_CONCERN.name, *(review.name for review in pupil.REVIEWS.values())}
"""Attributes that synthetic children do not have. With the five reviews, the pilot's children took 122 s of processor
time instead of 65; with the first concern, over 183 s."""
_BANDS = Bands(pupil.GOALS_EXPECTED.name, pupil.GOAL_BANDS, (COUNCIL,), (COUNCIL, pupil.SEX.name, pupil.FSM.name))
"""Goals are measured by council, by sex and by free school meals, so that those counts must stay as they are."""
_MEDIAN_OF_NORMAL = 0.6745
"""Half of the draws from a normal distribution lie within this many standard deviations."""


class NoSuchCohort(ValueError):
    """A cohort that the bundle does not hold; the message names those it does."""


@dataclass(frozen=True, eq=False)
class PublishedRates:
    """Ratios or differences of a block with intervals, as fractions; NaN if not published or of too small a group.

    `parts` are numerator and denominator, for a difference of both rates; `rates` only if rows can be changed to meet
    them: those of one count.
    """

    table: Table
    measure: Measure
    parts: tuple[tuple[Figures, Figures], ...]
    value: Array
    lower: Array
    upper: Array
    flag: NDArray[np.object_]

    @property
    def rates(self) -> Rates | None:
        ((part, whole), *others) = self.parts
        if others or not isinstance(part, Cube) or not isinstance(whole, Cube):
            return None
        return Rates(part, whole, self.lower, self.upper)

    def compute(self, family: MeasuredFamily, rows: model.Codes) -> Array:
        """Return the same figures of the rows."""
        first, *others = (compute_ratios(family, rows, *each) for each in self.parts)
        return np.asarray(first - others[0] if others else first)


@dataclass(frozen=True, eq=False)
class _Inputs:
    """The plan, problems and published figures of a cohort, and those that its rows should agree with."""

    plan: Plan
    problems: list[model.SynthesisProblem]
    published: Moments
    figures: list[PublishedRates]


def make_synthetic_children(bundle: Path, cohort: str | None, seed: int) -> SyntheticChildren:
    """Return the synthetic children of a bundle, by default of its newest cohort. Raises `NoSuchCohort`."""
    release, (package, _) = read_measured_release(bundle), read_bundle_facts(bundle)
    by_cohort = {each.cohort: each for each in release.cohorts}
    own = by_cohort.get(cohort or max(by_cohort))
    if own is None:
        raise NoSuchCohort(f"the bundle has no cohort {cohort}: it holds {', '.join(sorted(by_cohort))}")
    listed, made = bundle / SUMS_FILE, synthesise_cohort(release.select(own), package, seed)
    return replace(made, release_sums=compute_sha256(listed.read_bytes())) if listed.is_file() else made


def publish_synthetic(home: Home, keys: KeyRing, version: str, cohort: str | None, seed: int) -> SyntheticChildren:
    """Write the synthetic children of a published release next to it, signed in the same way."""
    # before anything is drawn, which takes minutes
    check_wanted(home.release, version)
    made = make_synthetic_children(home.release / version, cohort, seed)
    write_synthetic(home.release, made, keys.signing_key)
    return made


def find_differing_files(folder: Path) -> list[str]:
    """Return the names of files of synthetic children that the bundle two folders up does not reproduce."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    package = json.loads(files[DATAPACKAGE_FILE])
    bundle = folder.resolve().parent.parent / package["release"]
    listed = bundle / SUMS_FILE
    if not listed.is_file() or compute_sha256(listed.read_bytes()) != package["release_sha256sums"]:
        raise Refused(f"{bundle} is not the release that {folder} says it was made from")
    again = build_synthetic_files(make_synthetic_children(bundle, package["cohort"], package["seed"]))
    return sorted(name for name, content in again.items() if files.get(name) != content)


def synthesise_cohort(release: MeasuredRelease, package: Mapping[str, Any], seed: int) -> SyntheticChildren:
    """Return the synthetic children of one cohort, of the release that `package` describes."""
    (own,), inputs = release.cohorts, _build_inputs(release)
    drawn, family = [model.draw(each, seed) for each in inputs.problems], inputs.plan.family
    joined = _join_groups(inputs.plan, inputs.problems, [rows for rows, _ in drawn])
    joined = deal_parts(family, joined, GOALS_MET, _BANDS, seed)
    bands = family.get_attribute(pupil.GOALS_EXPECTED.name).categories
    of_number = np.array([bands.index(band) for band, numbers in pupil.GOAL_BANDS.items() for _ in numbers])
    joined[pupil.GOALS_EXPECTED.name] = of_number[_count_goals(family, joined)]
    # changing the council of a row would move a child from one council's total to another's
    movable = [names for names in find_tied_sets(inputs.problems) if COUNCIL not in names]
    wanted = [each.rates for each in inputs.figures if each.rates]
    after, changed = repair_rows(family, joined, wanted, movable, seed)
    sequence = np.lexsort([*after.values()][::-1])
    rows = {name: codes[sequence] for name, codes in after.items()}
    domains = {name: family.get_attribute(name).categories for name in rows}
    compared = [(each, each.compute(family, rows)) for each in inputs.figures]
    return SyntheticChildren(
        package,
        "",
        own.cohort,
        seed,
        pa.table({name: pa.array(domains[name]).take(pa.array(codes)) for name, codes in rows.items()}),
        domains,
        model.list_library_versions(),
        tuple(name for name in family.columns if name not in rows),
        tuple(dict.fromkeys(names for _, not_fitted in drawn for names in not_fitted)),
        model.count_contradictions(inputs.problems[0], rows, GOALS_MET),
        tuple(_iter_agreements(compared)),
        tuple(_iter_held_out(inputs, seed)),
        tuple(_iter_goals(compared)),
        changed,
        tuple(name for each, found in compared for name in _iter_outside(each, found)),
    )


def _build_inputs(release: MeasuredRelease) -> _Inputs:
    (own,) = release.cohorts
    absent = list_missing_councils(release.missing[own.cohort], pupil.FAMILY.name)
    plan, measurement = drop_categories(*own.combine(pupil.FAMILY.name), COUNCIL, absent)
    published = correct_estimates(plan.family, build_estimates(plan, measurement), find_review(own))
    every = [*pupil.FAMILY.tables, *(each.table for each in release.requested if each.family == pupil.FAMILY.name)]
    rates, tables = list[PublishedRates](), tabulate(release)
    for table in (each for each in every if not any(block.attributes & LEFT_OUT for block in each.blocks)):
        layout = release.layouts[table.name]
        rates += _iter_published_rates(tables[table.name], layout, plan.family, published, release.councils, absent)
    return _Inputs(
        plan,
        list(model.iter_problems(plan, measurement, published, COUNCIL, LEFT_OUT, GOALS_MET)),
        published,
        rates,
    )


def _join_groups(
    plan: Plan, parts: list[model.SynthesisProblem], drawn: list[model.Codes]
) -> dict[str, NDArray[np.int64]]:
    """Return the rows of all groups, coded by the domains of the whole family."""
    rows = {}
    for attribute in (each for each in plan.family.attributes if each.name in drawn[0]):
        codes = []
        for problem, rows_of_group in zip(parts, drawn, strict=True):
            place = map(attribute.categories.index, problem.get_attribute(attribute.name).categories)
            codes.append(np.array([*place])[rows_of_group[attribute.name]])
        rows[attribute.name] = np.concatenate(codes)
    return rows


def _count_goals(family: MeasuredFamily, rows: model.Codes) -> NDArray[np.int64]:
    expected = {goal: family.get_attribute(goal).categories.index(pupil.EXPECTED) for goal in GOALS}
    return np.asarray(np.sum([rows[goal] == code for goal, code in expected.items()], axis=0))


def _iter_outside(each: PublishedRates, found: Array) -> Iterator[str]:
    axes, inside = [*_get_cube(each).selectors.values()], (found >= each.lower) & (found <= each.upper)
    for position in np.argwhere(~np.isnan(each.value) & ~inside):
        labels = (axis.labels[place] for axis, place in zip(axes, position, strict=True))
        yield ", ".join((each.table.name, each.measure.name, *labels))


def _iter_agreements(compared: Sequence[tuple[PublishedRates, Array]]) -> Iterator[IntervalAgreement]:
    """Yield the agreement with published figures, by table and percentage."""
    # a table has a block for each breakdown, and its page shows one line for all of them
    by_percentage = defaultdict(list)
    for each, found in compared:
        key, shown = (each.table.name, each.measure.name, each.table.title, each.measure.label), ~np.isnan(each.value)
        own = found, each.value, each.lower, each.upper
        by_percentage[key].append([values[shown] for values in own])
    for key, parts in by_percentage.items():
        found, value, lower, upper = map(np.concatenate, zip(*parts, strict=True))
        within, apart = (found >= lower) & (found <= upper), 100 * np.abs(found - value)
        typical = (np.median(apart), np.quantile(apart, 0.9), np.median(50 * (upper - lower)))
        yield IntervalAgreement(*key, len(apart), int(within.sum()), *map(float, typical))


def _iter_goals(compared: Sequence[tuple[PublishedRates, Array]]) -> Iterator[ComparedFigure]:
    """Yield the average number of goals, and the percentage of children in each band, for all councils together."""
    for each, found in compared:
        unit, scale = each.measure.kind.unit, each.measure.kind.scale
        labels: Sequence[str] = ()
        if each.measure.kind is MeasureKind.AVERAGE:
            labels = (each.measure.label,)
        elif each.table is pupil.NUMBER_OF_GOALS:
            bands = _get_cube(each).selectors[pupil.GOALS_EXPECTED.name].labels
            labels = [
                f"Children at the expected level in {band} goals" if band in pupil.GOAL_BANDS else "" for band in bands
            ]
        for place, label in enumerate(labels):
            flag, *figures = (
                values.reshape(len(values), -1)[0, place]
                for values in (each.flag, each.value, each.lower, each.upper, found)
            )
            percent, lower, upper, of_rows = (scale * float(value) for value in figures)
            if label and not np.isnan(percent):
                decimals = count_unit_decimals(unit, flag, 1)
                yield ComparedFigure(label, unit, percent, lower, upper, of_rows, decimals)


def _get_cube(each: PublishedRates) -> Cube:
    """Return the cube of a figure's denominators, which has the areas and levels as its axes."""
    return list_terms(each.parts[0][1])[0][1]


def _iter_held_out(inputs: _Inputs, seed: int) -> Iterator[HeldOut]:
    """Yield errors for every second of the widest marginals with a good level of development, held out of the model."""
    largest = max(inputs.problems, key=lambda each: each.rows)
    held = model.select_widest(largest, pupil.GLD.name)
    rows = _join_groups(inputs.plan, [largest], [model.draw(largest.exclude(held), seed)[0]])
    family, published = inputs.plan.family, inputs.published
    whole = family.get_attribute(pupil.GLD.name)
    for names in held:
        every = Cube({name: Selector.for_each(family.get_attribute(name)) for name in names if name != whole.name})
        good = replace(every, where={whole.name: Selector.for_categories(whole, pupil.GLD.categories[0])})
        found = RatioMoments.build(published, good, every)
        # by the delta method; NaN if there are no children
        size = np.where(found.y > 0, found.y, np.nan)
        rate = found.x / size
        deviation = np.sqrt(np.maximum(found.compute_variance(rate), 0.0)) / size
        apart = 100 * np.abs(compute_ratios(family, rows, good, every) - rate)
        large = (found.y >= SMALLEST_GROUP) & ~np.isnan(apart)
        if not large.any():
            continue
        yield HeldOut(
            names,
            int(large.sum()),
            float(np.median(apart[large])),
            float(np.quantile(apart[large], 0.9)),
            float(100 * _MEDIAN_OF_NORMAL * np.median(deviation[large])),
        )


def _iter_published_rates(
    published: pa.Table,
    layout: Layout,
    family: MeasuredFamily,
    moments: Moments,
    councils: Sequence[str],
    absent: Collection[str],
) -> Iterator[PublishedRates]:
    """Yield the published rates of a table of one cohort, for groups estimated at `SMALLEST_GROUP` or more."""
    table = layout.table
    for block in table.blocks:
        if (figures := build_block_figures(block, family, councils, absent)) is None:
            continue
        places = layout.find_positions(block, figures.areas).reshape(figures.base.shape)
        for name, (rate, taken_off) in figures.ratios.items():
            measure = table.get_measure(name)
            parts = (rate, taken_off) if taken_off else (rate,)
            large = (places >= 0) & np.all(
                [moments.compute_values(whole) >= SMALLEST_GROUP for _, whole in parts], axis=0
            )
            columns = (
                published[get_column_name(measure, role)].to_numpy() / measure.kind.scale for role in WITH_INTERVAL
            )
            value, lower, upper = (np.where(large, column[places], np.nan) for column in columns)
            shown = ~np.isnan(value)
            low, high = (np.where(shown, bound, np.nan) for bound in (lower, upper))
            flags = np.array(published[get_column_name(measure, ColumnRole.FLAG)].to_pylist(), dtype=object)
            if shown.any():
                yield PublishedRates(table, measure, parts, value, low, high, flags[places])

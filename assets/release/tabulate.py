"""Builds published tables from consistent estimates: every row of the definition, with intervals and flags.

`find_differing_tables` makes the tables of a bundle again from its noisy counts alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path, PurePath
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from assets.home.errors import Refused
from assets.release.linkage_error import are_links_withheld, correct_estimates, find_doubtful_groups, find_review
from assets.release.noise_workload import BlockFigures, build_block_figures, compute_noise_covariance
from ndl_export.bundle.checks import build_table_layouts
from ndl_export.facts.missing import RECORDS, list_missing_councils
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE, NOISY_COUNTS_FILE, NoisyCounts, list_plan_files
from ndl_export.facts.on_request import OnRequest, RequestedTable, RequestMeasurement
from ndl_export.facts.release_facts import index_cohort_entries, read_bundle_facts
from ndl_export.tables import ALL, FAMILIES, Block, Measure, Table, pupil, schema
from ndl_export.tables.geography import LOCAL_AUTHORITY, MissingByCohort
from ndl_export.tables.model import COUNCIL, Count
from ndl_export.tables.pupil import ETHNIC
from ndl_export.tables.rows import Layout, iter_rows
from privacy.estimation import intervals
from privacy.estimation.estimates import build_estimates, drop_categories
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.policy import Reliability
from privacy.release.statement import MeasuredCohort, MeasuredOnRequest
from privacy.release.workload import Figures, MeasuredFamily, WorkloadError

Array = NDArray[np.float64]


_KINDS = {attribute.label: kind for kind, attribute in RECORDS.items()}
SENT_PERCENT = 3.0
"""The upper end of the interval of the children with a review, in percent, below which it counts as not sent. Every
family is offered each review, and in England over 80% of infants have each one after the birth. The noise of the
pilot's smallest council is about 1 percent."""

_Figures = Mapping[schema.ColumnRole, NDArray[Any]]
"""One measure's figures for some rows, by role of their column, all of one shape; NaN if there is none."""


@dataclass(frozen=True, eq=False)
class MeasuredRelease:
    """What the tables of a release are made from; `councils` are those that take part in any of its cohorts."""

    cohorts: Sequence[MeasuredCohort]
    councils: Sequence[str]
    reliability: Reliability
    missing: MissingByCohort
    requested: Sequence[RequestedTable] = ()

    def select(self, own: MeasuredCohort) -> Self:
        """Return the part of one cohort."""
        requested = [each for each in self.requested if own.cohort in each.cohorts]
        missing = {own.cohort: self.missing.get(own.cohort, {})}
        return replace(self, cohorts=[own], missing=missing, requested=requested)

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """The rows of every table, by name."""
        plans = {(own.cohort, family): plan.encode_json() for own in self.cohorts for family, plan in own.plans.items()}
        cohorts = tuple(own.cohort for own in self.cohorts)
        return build_table_layouts(tuple(self.councils), cohorts, self.missing, plans, self.requested)


def tabulate(release: MeasuredRelease) -> dict[str, pa.Table]:
    """Return every table of the measured families by name, then the requested ones with rows of their own cohorts.

    Figures of several councils cover those that are not missing. Raises `Refused`.
    """
    parts = [_build_cohort_tables(release.select(own)) for own in release.cohorts]
    tables = {}
    for name, layout in release.layouts.items():
        if own := [part[name] for part in parts if name in part]:
            data, place = layout.sort_rows(pa.concat_tables(own)), len(schema.list_key_names(layout.table))
            with_breaks = data.add_column(place, schema.BREAK_COLUMN.name, layout.breaks)
            tables[name] = _hide_unavailable(with_breaks.cast(schema.build_arrow_schema(layout.table)), layout)
    return tables


def _hide_unavailable(data: pa.Table, layout: Layout) -> pa.Table:
    """Return a table in the order of `layout`, without the figures and breaks of rows that are not available."""
    hidden = {schema.BREAK_COLUMN.name: layout.breaks}
    for measure in layout.table.measures:
        gone = pa.array(layout.find_applying(measure.name) & ~layout.available)
        for column in schema.list_measure_columns(measure):
            instead = schema.Flag.NOT_AVAILABLE.value if column.role is schema.ColumnRole.FLAG else None
            hidden[column.name] = pc.if_else(gone, pa.scalar(instead, column.type), data[column.name])
    columns = [hidden.get(name, data[name]) for name in data.column_names]
    return pa.table(columns, schema=data.schema)


def tabulate_what_was_sent(release: MeasuredRelease) -> tuple[MeasuredRelease, dict[str, pa.Table]]:
    """Return the release with all reviews that are not sent among what is missing, and its tables. Raises `Refused`.

    A review that council files do not mention counts as not sent where fewer than `SENT_PERCENT` of children can have
    had it, in all councils together or in one. Noisy counts alone decide, so this costs nothing and reveals nothing.
    """
    tables, name = tabulate(release), pupil.HEALTH_VISITOR_REVIEWS.name
    missing = {cohort: dict(absent) for cohort, absent in release.missing.items()}
    councils = {
        (cohort, area.code): area.councils for cohort in missing for area in release.layouts[name].list_areas(cohort)
    }
    for row in tables[name].to_pylist():
        percent, is_of_all = row["children_percent_upper_ci"], row["breakdown_topic"] == ALL.label
        if is_of_all and row["review_timing"] == pupil.DONE and percent is not None and percent < SENT_PERCENT:
            absent, kind = missing[row["time_period"]], _KINDS[row["health_review"]]
            absent[kind] = tuple(sorted({*absent.get(kind, ()), *councils[row["time_period"], row["area_code"]]}))
    sent = replace(release, missing=missing)
    return sent, {name: _hide_unavailable(table, sent.layouts[name]) for name, table in tables.items()}


@dataclass(frozen=True)
class Differing:
    """Tables that the noisy counts do not reproduce: different figures, or different last digits only."""

    figures: list[str]
    last_digits: list[str]


def find_differing_tables(bundle: Path) -> Differing:
    """Return the tables that the bundle's own noisy counts do not reproduce. Raises `Refused`.

    Decimals are compared to `SAME_DIGITS` digits: beyond that, sums differ between processors and numerical libraries.
    """
    release = read_measured_release(bundle)
    again = tabulate(release)
    again[PurePath(NOISE_COVARIANCE_FILE).stem] = compute_noise_covariance(release.cohorts, release.missing)
    published = {name: pq.ParquetFile(bundle / f"{name}.parquet").read() for name in again}
    other = [name for name, table in published.items() if not table.equals(again[name])]
    figures = [name for name in other if not _has_same_figures(published[name], again[name])]
    return Differing(figures, [name for name in other if name not in figures])


def _has_same_figures(table: pa.Table, other: pa.Table) -> bool:
    """Return whether two tables have the same columns and rows, decimal numbers to `SAME_DIGITS` digits."""
    if table.schema != other.schema or len(table) != len(other):
        return False
    near = 10.0**-SAME_DIGITS
    for one, two in zip(table.columns, other.columns, strict=True):
        if pa.types.is_floating(one.type) and one.is_null().equals(two.is_null()):
            first, second = (column.to_numpy(zero_copy_only=False) for column in (one, two))
            if np.allclose(first, second, rtol=near, atol=near, equal_nan=True):
                continue
        if not one.equals(two):
            return False
    return True


def read_measured_release(bundle: Path) -> MeasuredRelease:
    """Return what the tables in a bundle's folder are made from. Raises `Refused`."""
    package, record = read_bundle_facts(bundle)
    cells, requests = pq.ParquetFile(bundle / NOISY_COUNTS_FILE).read(), OnRequest.read_bundle(bundle)
    names = list_plan_files(package["cohorts"])
    parts: dict[str, Any] = defaultdict(lambda: ({}, {}, []))
    for stated in record["families"]:
        cohort, family = stated["cohort"], stated["family"]
        plans, measurements, on_request = parts[cohort]
        if release := stated.get("measured_in"):
            if (key := RequestMeasurement(cohort, family, release)) not in requests.noisy_counts:
                raise Refused(
                    f"{bundle}: lacks what was measured on request in release {release}, as its privacy record states:"
                    " take another copy of it"
                )
            measured = _build_stated(stated, requests.noisy_counts[key])
            on_request.append(MeasuredOnRequest(release, *measured, tuple(stated["tables"])))
        else:
            drawn = NoisyCounts.read((bundle / names[cohort, family]).read_bytes(), cells, cohort, family)
            plans[family], measurements[family] = _build_stated(stated, drawn)
    cohorts = [
        MeasuredCohort(each, entry["measured_in"], parts[each][0], parts[each][1], tuple(parts[each][2]))
        for each, entry in index_cohort_entries(record).items()
    ]
    reliability = Reliability(**record["reliability"])
    return MeasuredRelease(cohorts, package["councils"], reliability, package["missing"], requests.tables)


def _build_stated(stated: Mapping[str, str], drawn: NoisyCounts) -> tuple[Plan, Measurement]:
    plan = Plan.from_json(drawn.plan)
    made_by = stated["noise_source"], stated["opendp_version"]
    return plan, Measurement(plan.sha256, *made_by, float(stated["rho"]), drawn.counts)


def _build_cohort_tables(release: MeasuredRelease) -> dict[str, pa.Table]:
    """Return the rows of one cohort by table, without the column of breaks."""
    (own,), tables = release.cohorts, {}
    for family in own.plans:
        absent = list_missing_councils(release.missing[own.cohort], family)
        try:
            estimated = None
            if set(release.councils) - set(absent):
                estimated = _estimate_family(own, family, absent, release.reliability)
            answers: list[Table] = [each.table for each in release.requested if each.family == family]
            for table in (*FAMILIES[family].tables, *answers):
                layout = release.layouts[table.name]
                tables[table.name] = _build_table(layout, estimated, release, absent)
        except (KeyError, WorkloadError) as error:
            # the cohort was measured under earlier definitions, without a marginal or category that today's tables need
            raise Refused(
                f"the noisy counts of {family}, cohort {own.cohort}, drawn for release {own.release}, do not give the"
                f" tables as they are defined now: {error}. Leave the cohort out, or measure it anew in a revision."
            ) from None
    return tables


@dataclass(frozen=True, eq=False)
class _Estimated:
    """Figures as linked and corrected, and the groups whose linked figures depend on that correction."""

    family: MeasuredFamily
    as_linked: intervals.Moments
    corrected: intervals.Moments
    doubtful: frozenset[str]
    withheld: bool
    """Whether no linked figure is shown, because too many links are missed."""


def _estimate_family(own: MeasuredCohort, family: str, absent: Collection[str], limits: Reliability) -> _Estimated:
    # noise is drawn for every council of the plan; for one that sent nothing, the counts are noise alone
    plan, measurement = drop_categories(*own.combine(family), COUNCIL, absent)
    estimates = build_estimates(plan, measurement)
    withheld = are_links_withheld(plan.family, estimates, limits.withheld_missed_links)
    return _Estimated(
        plan.family,
        estimates,
        correct_estimates(plan.family, estimates, find_review(own)),
        frozenset(ETHNIC.categories) if withheld else find_doubtful_groups(plan.family, estimates),
        withheld,
    )


def _build_table(
    rows: Layout, estimated: _Estimated | None, release: MeasuredRelease, absent: Collection[str]
) -> pa.Table:
    """Return the table; if `estimated` is None because no council has sent anything, no figure is available."""
    table = rows.table
    columns = {measure.name: _build_empty_figures(rows, measure) for measure in table.measures}
    if estimated is not None:
        for block in table.blocks:
            figures = build_block_figures(block, estimated.family, release.councils, absent)
            if figures is None:
                continue
            places = rows.find_positions(block, figures.areas)
            if not (published := places >= 0).any():
                continue
            for name, found in _iter_block_measures(table, block, figures, estimated, release.reliability):
                for role, values in found.items():
                    columns[name][role][places[published]] = values.ravel()[published]
    filled = {name: rows.keys[name] for name in rows.keys.column_names}
    for measure in table.measures:
        for column in schema.list_measure_columns(measure):
            values = columns[measure.name][column.role]
            # NULL for a missing number or an empty flag
            mask = values == intervals.RELIABLE if column.role is schema.ColumnRole.FLAG else None
            filled[column.name] = pa.array(values, mask=mask, from_pandas=True).cast(column.type)
    return pa.table(filled)


def _iter_block_measures(
    table: Table, block: Block, figures: BlockFigures, estimated: _Estimated, reliability: Reliability
) -> Iterator[tuple[str, _Figures]]:
    """Yield the measures of a block, each (areas, *levels), with structural zeros marked as not applicable."""
    shape, moments = figures.base.shape, intervals.Remembered(estimated.corrected)
    possible = np.array([is_possible for *_, is_possible in iter_rows(table, block)])
    impossible = np.broadcast_to(~possible.reshape(shape[1:]), shape)
    doubtful = partial(_find_doubtful, table, block, estimated.doubtful)
    mark = partial(_mark_figures, impossible=impossible, withheld=estimated.withheld)
    for name, cube in figures.counts.items():
        of_count = estimated.as_linked if table.get_measure(name).as_linked else moments
        count, estimate = intervals.compute_published_counts(of_count, cube), of_count.compute_values(cube)
        counted = _build_figures(count.value, estimate, count.lower, count.upper, count.flag)
        yield name, mark(counted, doubtful((block.counts[name],)))
    for name, (rate, taken_off) in figures.ratios.items():
        measure = table.get_measure(name)
        if taken_off is not None:
            found = intervals.compute_rate_differences(moments, rate, taken_off, reliability)
        else:
            # an average over several counts, such as of the goals that a child meets, is at most their number
            largest = float(len(block.ratios[name].parts))
            found = intervals.compute_published_ratios(
                moments, *rate, reliability, largest=largest, unit=measure.kind.scale
            )
        model = _model_percentages(table, block, figures, moments, rate) if measure.modelled else {}
        nothing = np.full(found.value.shape, np.nan)
        ratio = _build_figures(found.value, nothing, found.lower, found.upper, found.flag)
        yield name, _round_figures(mark(ratio | model, doubtful(block.ratios[name].counts)), measure)


# sums of numpy 2.4 and 2.5 differ in the sixteenth digit: see `find_differing_tables`
SAME_DIGITS = 9
_ROLES = (
    schema.ColumnRole.FIGURE,
    schema.ColumnRole.ESTIMATE,
    schema.ColumnRole.LOWER,
    schema.ColumnRole.UPPER,
    schema.ColumnRole.FLAG,
)


def _build_figures(*values: NDArray[Any]) -> dict[schema.ColumnRole, NDArray[Any]]:
    """Return figures from values in the order of `_ROLES`."""
    return dict(zip(_ROLES, values, strict=True))


def _model_percentages(
    table: Table, block: Block, figures: BlockFigures, moments: intervals.Moments, rate: tuple[Figures, Figures]
) -> dict[schema.ColumnRole, NDArray[Any]]:
    """Return modelled percentages of councils with intervals, NaN elsewhere, one model per choice of axes at total."""
    councils = [index for index, area in enumerate(figures.areas) if area.level == LOCAL_AUTHORITY]
    modelled = {role: np.full(figures.base.shape, np.nan) for role in schema.MODEL_WITH_INTERVAL}
    if len(councils) < intervals.MINIMUM_PLACES:
        return modelled
    noisy = intervals.NoisyRates.build(moments, *rate)
    for groups in _group_levels(table, block):
        found = intervals.model_rates(noisy.select(councils, groups))
        for values, rates in zip(modelled.values(), (found.rate, found.lower, found.upper), strict=True):
            values.reshape(len(figures.areas), -1)[np.ix_(councils, groups)] = 100 * rates
    return modelled


def _group_levels(table: Table, block: Block) -> list[list[int]]:
    """Return positions of levels grouped by which axes are at their total, leaving out groups of one level."""
    groups: dict[tuple[bool, ...], list[int]] = {}
    for position, (_, chosen, possible) in enumerate(iter_rows(table, block)):
        if possible:
            groups.setdefault(tuple(level.categories is None for level in chosen), []).append(position)
    return [positions for positions in groups.values() if len(positions) > 1]


def _find_doubtful(table: Table, block: Block, groups: frozenset[str], counts: Sequence[Count]) -> NDArray[np.bool_]:
    """Return, by level of the axes, whether a figure of these counts depends on links of these ethnic groups."""
    found_by_linkage = FAMILIES[table.family].found_by_linkage
    linked = {name for count in counts for name, _ in count.groups} & found_by_linkage
    on_axes = {axis.attribute for axis in block.axes} & found_by_linkage
    distinguished = [
        {axis.attribute: level.categories for axis, level in zip(block.axes, chosen, strict=True) if level.categories}
        for _, chosen, _ in iter_rows(table, block)
    ]
    # Rows of all children are doubtful if every group is.
    everybody = set(ETHNIC.categories) if groups >= set(ETHNIC.categories) else set()
    found = [
        bool(groups & set(own.get(ETHNIC.name, everybody)) and (linked or on_axes & set(own))) for own in distinguished
    ]
    return np.array(found).reshape([len(axis.selections) for axis in block.axes])


def _mark_figures(
    figures: _Figures, doubtful: NDArray[np.bool_], impossible: NDArray[np.bool_], withheld: bool
) -> _Figures:
    """Return the figures, with shown ones that depend on doubtful links flagged or `withheld`, and those of impossible
    rows empty."""
    flag = figures[schema.ColumnRole.FLAG].astype(object)
    mark = intervals.WITHHELD if withheld else schema.Flag.LINKAGE.value
    flag = np.where(doubtful & (flag != intervals.WITHHELD), mark, flag)
    numbers = {role: values for role, values in figures.items() if role is not schema.ColumnRole.FLAG}
    shown = numbers[schema.ColumnRole.FIGURE]
    numbers[schema.ColumnRole.FIGURE] = np.where(flag == intervals.WITHHELD, np.nan, shown)
    found = {role: np.where(impossible, np.nan, values) for role, values in numbers.items()}
    return found | {schema.ColumnRole.FLAG: np.where(impossible, schema.Flag.NOT_APPLICABLE.value, flag)}


def _round_figures(figures: _Figures, measure: Measure) -> _Figures:
    """Return the figures of a ratio with as many decimals as their flags allow."""
    flag, value = figures[schema.ColumnRole.FLAG], figures[schema.ColumnRole.FIGURE]
    coarse = np.round(value, schema.count_decimals(measure, schema.Flag.UNRELIABLE))
    rounded = np.where(flag == schema.Flag.UNRELIABLE, coarse, np.round(value, measure.decimals))
    return {**figures, schema.ColumnRole.FIGURE: rounded}


def _build_empty_figures(rows: Layout, measure: Measure) -> _Figures:
    """Return empty figures for all rows: not available if a figure applies, otherwise not applicable."""
    number = partial(np.full, len(rows.row_of), np.nan)
    flag = np.where(
        rows.find_applying(measure.name), schema.Flag.NOT_AVAILABLE.value, schema.Flag.NOT_APPLICABLE.value
    ).astype(object)
    figures = _build_figures(*(number() for _ in _ROLES[:-1]), flag)
    return figures | ({role: number() for role in schema.MODEL_WITH_INTERVAL} if measure.modelled else {})

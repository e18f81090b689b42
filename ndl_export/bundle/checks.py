"""Checks of a release's content: its tables and its privacy record, before it is written and whenever it is verified.

Tables of a family must agree: a set of children has the same number wherever it is published, the categories of an
attribute add up, and areas add up. This is checked on the unbiased estimates. Children as linked, and children after
correction for linkage error, are checked separately: only the former agree in the shared totals of different
attributes, because each attribute is corrected on its own. Tables on request, plans and the privacy record must agree
too. Whether figures follow from the noisy counts is not checked here: `readiness recompute` shows it.
"""

import datetime as dt
import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.facts.missing import list_missing_councils, list_missing_records
from ndl_export.facts.on_request import OnRequest, RequestedTable, RequestMeasurement
from ndl_export.facts.release_facts import Version
from ndl_export.tables import FAMILIES, TABLES, Family, Measure, Table, definition, geography, schema
from ndl_export.tables.csv_files import format_upload_title
from ndl_export.tables.rows import Children, Layout, build_layout, parse_detail
from ndl_export.tables.schema import BREAK_COLUMN, MODEL_WITH_INTERVAL, ColumnRole, Flag, get_column_name
from privacy.doors.typed import is_line

_ROUNDING = 1e-9
_CHILD = "child"


def build_table_layouts(
    councils: tuple[str, ...],
    cohorts: tuple[str, ...],
    missing: geography.MissingByCohort = MappingProxyType({}),
    plans: Mapping[tuple[str, str], bytes] = MappingProxyType({}),
    requested: Iterable[RequestedTable] = (),
) -> dict[str, Layout]:
    """Return the rows of each table by name; `plans`, by cohort and family, state the detail of each."""
    named = [(cohort, tuple((kind, tuple(own)) for kind, own in absent.items())) for cohort, absent in missing.items()]
    found = dict(_build_standard_layouts(councils, cohorts, tuple(named), tuple(plans.items())))
    areas = {cohort: _list_areas(councils, missing.get(cohort, {})) for cohort in cohorts}
    for each in requested:
        # A table on request has every row of its definition, in its own cohorts.
        own = [cohort for cohort in cohorts if cohort in each.cohorts]
        found[each.name] = build_layout(each.table, {cohort: areas[cohort][each.family] for cohort in own})
    return found


# A release, its rehearsal and their checks ask for the same rows eight times; a rehearsal has no more than two kinds.
@lru_cache(maxsize=2)
def _build_standard_layouts(
    councils: tuple[str, ...],
    cohorts: tuple[str, ...],
    missing: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...],
    plans: tuple[tuple[tuple[str, str], bytes], ...],
) -> Mapping[str, Layout]:
    """Return the rows of the tables that every release has."""
    absent = {cohort: dict(own) for cohort, own in missing}
    areas = {cohort: _list_areas(councils, absent.get(cohort, {})) for cohort in cohorts}
    details = {key: parse_detail(plan) for key, plan in plans}
    return {
        name: build_layout(
            table,
            {cohort: areas[cohort][table.family] for cohort in cohorts},
            {cohort: details.get((cohort, table.family)) for cohort in cohorts},
        )
        for name, table in TABLES.items()
    }


def _list_areas(councils: tuple[str, ...], absent: geography.Missing) -> dict[str, tuple[geography.Geography, ...]]:
    """Return the areas of a cohort by family."""
    return {
        family: geography.list_geographies(
            councils, list_missing_councils(absent, family), list_missing_records(absent)
        )
        for family in FAMILIES
    }


def find_table_faults(tables: Mapping[str, pa.Table], layouts: Mapping[str, Layout]) -> list[tuple[str, str]]:
    """List (table or family, fault) in columns, rows, flags, intervals and sums of a release's tables."""
    faults = [(name, "the table is missing") for name in layouts if name not in tables]
    faults += [(name, "there is no such table") for name in tables if name not in layouts]
    ordered: dict[str, pa.Table] = {}
    for name in layouts.keys() & tables.keys():
        try:
            _check_columns(tables[name], schema.build_arrow_schema(layouts[name].table))
            ordered[name] = layouts[name].sort_rows(tables[name])
        except ValueError as error:
            faults.append((name, str(error)))
    for name, data in ordered.items():
        if not data[BREAK_COLUMN.name].combine_chunks().equals(layouts[name].breaks):
            faults.append((name, f"{BREAK_COLUMN.name} is not what the definitions say of breaks in the time series"))
        measures = layouts[name].table.measures
        faults += [
            (name, fault) for measure in measures for fault in _find_measure_faults(data, layouts[name], measure)
        ]
    # One wrong row would be reported again in every sum that it is part of.
    if not faults:
        faults += find_disagreements(ordered, layouts)
    return sorted(faults)


def find_privacy_faults(record: Mapping[str, Any], version: str, cohorts: tuple[str, ...]) -> list[str]:
    """List missing or impossible values in a privacy record; empty if there are none.

    Epsilon must be at least the best value possible with Gaussian noise of that rho and at most the plain conversion of
    zero-concentrated differential privacy, so that it is neither understated nor made up.
    """
    try:
        return list(_find_privacy_faults(record, version, cohorts))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return [f"the privacy record is not of the expected shape: {error!r}"]


def _check_columns(data: pa.Table, expected: pa.Schema) -> None:
    """Raise ValueError if columns differ from the definition, or have empty cells where it allows none."""
    if data.column_names != expected.names:
        odd = sorted(set(data.column_names) ^ set(expected.names))
        raise ValueError(f"columns differ from the definition: {', '.join(odd) or 'their order'}")
    for field, wanted in zip(data.schema, expected, strict=True):
        if (field.type, field.nullable) != (wanted.type, wanted.nullable):
            raise ValueError(f"column {field.name} is {field}, and should be {wanted}")
    for field in data.schema:
        if not field.nullable and data[field.name].null_count:
            raise ValueError(f"column {field.name} has empty cells")


def _find_measure_faults(data: pa.Table, expected: Layout, measure: Measure) -> Iterator[str]:
    """Yield faults in the columns of one measure."""
    flag = data[get_column_name(measure, ColumnRole.FLAG)]
    unreliable, withheld, undefined, unavailable = (
        pc.fill_null(pc.equal(flag, value.value), False).to_numpy()
        for value in (Flag.UNRELIABLE, Flag.WITHHELD, Flag.NOT_APPLICABLE, Flag.NOT_AVAILABLE)
    )
    applies, absent = expected.find_applying(measure.name), undefined | unavailable
    figure, lower, upper = (_get_numbers(data, measure, role) for role in schema.WITH_INTERVAL)
    is_linked = not FAMILIES[expected.table.family].found_by_linkage.isdisjoint(expected.table.counted_by)
    shown, interval = ~(withheld | absent), ~absent
    # half of the last digit shown
    coarse = schema.count_decimals(measure, Flag.UNRELIABLE)
    slack = 0.5 * 10.0 ** -np.where(unreliable, coarse, measure.decimals) + _ROUNDING
    checks = {
        "flags that are not legal": ~pc.is_in(flag, value_set=pa.array([None, *Flag], pa.string())).to_numpy(),
        "flag z where the figure applies, or the reverse": undefined == applies,
        "flag x where the council has sent its records, or the reverse": unavailable != (applies & ~expected.available),
        "figures missing, or shown where the flag says otherwise": np.isnan(figure) == shown,
        "intervals missing, or given where the figure does not apply": (np.isnan(lower) | np.isnan(upper)) == interval,
        "intervals whose ends are the wrong way round": interval & (lower > upper),
        "figures outside their interval": shown & ~((lower - slack <= figure) & (figure <= upper + slack)),
        "values that are not finite numbers": _find_unbounded(data, measure),
    }
    if measure.is_count:
        estimate = _get_numbers(data, measure, ColumnRole.ESTIMATE)
        checks |= {
            "counts withheld that are not about linked children": withheld & (not is_linked),
            "estimates missing, or given where the figure does not apply": np.isnan(estimate) == interval,
            "counts that are not their estimate rounded": shown & (np.abs(figure - np.maximum(estimate, 0)) > slack),
        }
    least, most = measure.kind.least, measure.kind.most
    checks[f"figures or limits below {least}"] = (figure < least) | (lower < least) | (upper < least)
    if most is not None:
        checks[f"figures or limits above {most}"] = (figure > most) | (upper > most + _ROUNDING)
    if measure.modelled:
        checks |= _find_model_faults(absent, *(_get_numbers(data, measure, role) for role in MODEL_WITH_INTERVAL))
    for what, wrong in checks.items():
        if wrong.any():
            yield f"{measure.name}: {int(wrong.sum())} {what}, first in row {_format_row(data, expected.table, wrong)}"


def _find_model_faults(
    absent: NDArray[np.bool_], model: NDArray[np.float64], lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> dict[str, NDArray[np.bool_]]:
    """Return where a model's figures or intervals are wrong, by fault."""
    has_model = ~np.isnan(model)
    return {
        "models given where the figure does not apply": absent & has_model,
        "models without an interval, or the reverse": (np.isnan(lower) == has_model) | (np.isnan(upper) == has_model),
        "models outside their interval": has_model & ~((lower <= model) & (model <= upper)),
        "models outside the range of the figure": (lower < 0) | (upper > 100),
    }


def _get_numbers(data: pa.Table, measure: Measure, role: ColumnRole) -> NDArray[np.float64]:
    """Return the values of a column, with NaN for NULL."""
    return data[get_column_name(measure, role)].cast(pa.float64()).to_numpy()


def _find_unbounded(data: pa.Table, measure: Measure) -> NDArray[np.bool_]:
    """Return where a value of the measure is infinite or NaN."""
    own = [column for column in schema.list_measure_columns(measure) if column.role is not ColumnRole.FLAG]
    finite = [pc.fill_null(pc.is_finite(data[column.name].cast(pa.float64())), True).to_numpy() for column in own]
    return ~np.logical_and.reduce(finite)


def _format_row(data: pa.Table, table: Table, wrong: NDArray[np.bool_]) -> str:
    keys = data.select(schema.list_key_names(table)).slice(int(np.flatnonzero(wrong)[0]), 1).to_pylist()[0]
    return "/".join(value for value in keys.values() if value)


def _find_privacy_faults(record: Mapping[str, Any], version: str, cohorts: tuple[str, ...]) -> Iterator[str]:
    if record["release"] != version:
        yield f"it is about release {record['release']}"
    about = {entry["cohort"]: entry for entry in record["cohorts"]}
    if sorted(about) != sorted(cohorts):
        yield f"it is about cohort {', '.join(about)}, the tables about {', '.join(cohorts)}"
    for text in ("neighbouring_relation", "trust_model", "deployment"):
        if not record[text]:
            yield f"{text} is empty"
    if not record["registry"]["url_slug"]:
        yield "registry: url_slug is empty"
    if odd := {family["cohort"] for family in record["families"]} - about.keys():
        yield f"it has families of cohort {', '.join(sorted(odd))}, which it is not about"
    yield from _find_parameter_faults("the release", record["privacy_parameters"])
    for cohort, entry in about.items():
        families = [family for family in record["families"] if family["cohort"] == cohort]
        # A later measurement on request has a separate entry.
        suffixes = (f" in {each['measured_in']}" if "measured_in" in each else "" for each in families)
        named = {f"{each['family']}{suffix}": each for each, suffix in zip(families, suffixes, strict=True)}
        yield from _find_cohort_faults(f"cohort {cohort}", entry, named)
    largest = max(about.values(), key=lambda entry: float(entry["privacy_parameters"]["rho"]))["privacy_parameters"]
    if largest != record["privacy_parameters"]:
        yield "the parameters of the release are not the largest of its cohorts"


def _find_cohort_faults(what: str, entry: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[str]:
    """Yield faults in the record of one cohort; `stated` has its measurements by name."""
    if not entry["measured_in"]:
        yield f"{what}: measured_in is empty"
    families = {name for name, family in stated.items() if "measured_in" not in family}
    if families != FAMILIES.keys():
        yield f"{what}: it lists the families {', '.join(sorted(families))}, not {', '.join(sorted(FAMILIES))}"
    yield from _find_parameter_faults(what, entry["privacy_parameters"])
    yield from _find_parameter_faults(f"{what}, jointly", entry["joint_parameters"])
    by_unit = {account["unit"]: account["privacy_parameters"] for account in entry["accounts"]}
    if by_unit[_CHILD] != entry["privacy_parameters"]:
        yield f"{what}: the parameters of the cohort are not those of a child"
    charged = {name: family["charged_to"] for name, family in stated.items()}
    if odd := set(charged.values()) ^ set(by_unit):
        yield f"{what}: it has an account, or a family charged to one, of {', '.join(sorted(odd))} alone"
    for unit, parameters in by_unit.items():
        yield from _find_parameter_faults(f"{what}, {unit}", parameters)
        total = math.fsum(family["rho"] for name, family in stated.items() if charged[name] == unit)
        # Parameters are stated with nine decimals, so their sum is not exact.
        if not math.isclose(total, parameters["rho"], abs_tol=1e-6):
            yield f"{what}: rho of the families adds up to {total:g}, not to that of a {unit}"
    total = math.fsum(float(each["rho"]) for each in by_unit.values())
    if not math.isclose(entry["joint_parameters"]["rho"], total, abs_tol=1e-6):
        yield f"{what}: the joint rho is not the sum of its accounts"
    for name, family in stated.items():
        yield from _find_parameter_faults(f"{what}, family {name}", family)
        for text in ("privacy_unit", "mechanism", "ledger_entry"):
            if not family[text]:
                yield f"{what}, family {name}: {text} is empty"
        if not str(family["noise_source"]).lower().startswith("opendp"):
            yield f"{what}, family {name}: its noise came from {family['noise_source']!r}, not from OpenDP"


def _find_parameter_faults(what: str, parameters: Mapping[str, float]) -> Iterator[str]:
    rho, epsilon, delta = parameters["rho"], parameters["epsilon"], parameters["delta"]
    if not (0 < rho < 100 and 0 < delta <= 1e-5 and epsilon > 0):
        yield f"{what}: rho {rho}, epsilon {epsilon}, delta {delta} are out of range"
        return
    # The delta of Gaussian noise of this rho at epsilon: Balle and Wang 2018, theorem 8.
    mu = math.sqrt(2 * rho)
    above, below = (math.erfc((epsilon / mu + sign * mu / 2) / math.sqrt(2)) / 2 for sign in (-1, 1))
    # Bun and Steinke 2016, proposition 1.3; a thousandth more, because epsilon is rounded up to four decimals.
    if epsilon > 1.001 * (rho + 2 * math.sqrt(rho * math.log(1 / delta))):
        yield f"{what}: epsilon {epsilon} is more than rho {rho} gives at delta {delta}"
    elif above - math.exp(epsilon) * below > delta:
        yield f"{what}: epsilon {epsilon} is less than Gaussian noise of rho {rho} gives at delta {delta}"


TOLERANCE = 1e-5
"""Largest difference between two sums of estimates that counts as rounding error, in rows of the child table."""

Sums = dict[Children, NDArray[np.float64]]
"""Estimates by the children counted: (areas,), NaN if not published for the area."""

Splits = dict[tuple[Children, str], list[frozenset[str]]]
"""By (children, attribute), the sets of categories by which their published number is split, smallest first."""


def find_disagreements(tables: Mapping[str, pa.Table], layouts: Mapping[str, Layout]) -> Iterator[tuple[str, str]]:
    """Yield (table or family, fault) for numbers that disagree; tables have their rows in order."""
    for family in FAMILIES.values():
        of_family = [name for name, rows in layouts.items() if rows.table.family == family.name and name in tables]
        for period in layouts[of_family[0]].cohorts if of_family else ():
            present = [name for name in of_family if period in layouts[name].cohorts]
            for as_linked in (False, True):
                sums: Sums = {}
                for name in present:
                    for counted, values in _iter_estimates(tables[name], layouts[name], period, as_linked):
                        known = sums.get(counted)
                        # Another table may publish the same number for areas in which this one does not.
                        sums[counted] = values if known is None else np.where(np.isnan(known), values, known)
                        if known is not None and not _are_equal(known, values):
                            yield name, f"{period}: {_describe_count(counted)} differs from the same number elsewhere"
                splits = _index_splits(sums)
                yield from (
                    (family.name, f"{period}: {fault}")
                    for fault in (
                        *_find_unequal_parts(sums, splits, family),
                        *(_find_unequal_shared(sums, splits, family) if as_linked else ()),
                        *(_find_unequal_areas(sums, layouts[present[0]].list_areas(period)) if sums else ()),
                    )
                )


def _iter_estimates(
    data: pa.Table, layout: Layout, cohort: str, as_linked: bool
) -> Iterator[tuple[Children, NDArray[np.float64]]]:
    """Yield (children counted, estimate by area) for a cohort's as-linked counts in a table, or for all others."""
    own = layout.cohort_of_area == layout.cohorts.index(cohort)
    grid = np.full((len(layout.areas), len(layout.rows)), np.nan)
    for measure in layout.table.measures:
        if measure.is_count and measure.as_linked == as_linked:
            grid[layout.area_of, layout.row_of] = data[get_column_name(measure, ColumnRole.ESTIMATE)].to_numpy()
            for index, row in enumerate(layout.rows):
                if measure.name in row.counts:
                    yield row.counts[measure.name], grid[own, index]


def _index_splits(sums: Sums) -> Splits:
    splits: Splits = {}
    for counted in sums:
        for name, categories in counted:
            splits.setdefault((counted - {(name, categories)}, name), []).append(categories)
    return {key: sorted(found, key=lambda categories: (len(categories), *categories)) for key, found in splits.items()}


def _find_unequal_parts(sums: Sums, splits: Splits, family: Family) -> Iterator[str]:
    """Yield numbers that differ from the sum over an attribute's categories, if all of these are published."""
    domains = {attribute.name: frozenset(attribute.categories) for attribute in family.attributes}
    for whole, name in splits:
        total = _sum_over(sums, splits, whole, name, domains[name])
        if whole in sums and total is not None and not _are_equal(total, sums[whole]):
            yield f"{_describe_count(whole)} is not the sum over {name}"


def _find_unequal_shared(sums: Sums, splits: Splits, family: Family) -> Iterator[str]:
    """Yield shared totals of two attributes that differ, if both sides are published."""
    for shared in family.shared_totals:
        for category in (None, *family.get_attribute(shared.within).categories):
            within: Children = frozenset({(shared.within, frozenset({category}))} if category else ())
            left, right = (
                _sum_over(sums, splits, within, name, frozenset(categories))
                for name, categories in (shared.left, shared.right)
            )
            if left is not None and right is not None and not _are_equal(left, right):
                yield f"it does not hold that {shared.description}"


def _sum_over(
    sums: Sums, splits: Splits, whole: Children, name: str, categories: frozenset[str]
) -> NDArray[np.float64] | None:
    """Return the sum over `categories` of the numbers that split `whole` by `name`; None if some are not published."""
    total, left = np.zeros(()), categories
    for chosen in splits.get((whole, name), ()):
        # Smallest first: a level that adds up categories is used only where these are not published one by one.
        if chosen <= left:
            total, left = total + sums[whole | {(name, chosen)}], left - chosen
    return None if left else total


def _find_unequal_areas(sums: Sums, areas: Sequence[geography.Geography]) -> Iterator[str]:
    """Yield numbers of areas that differ from the sum over their councils."""
    councils = {area.councils[0]: index for index, area in enumerate(areas) if len(area.councils) == 1}
    counted, values = list(sums), np.array(list(sums.values()))
    for index, area in enumerate(areas):
        inside = [councils[council] for council in area.councils]
        # A sum is NaN if a part is not published, and no comparison with NaN is true.
        differs = np.abs(values[:, inside].sum(axis=1) - values[:, index]) > TOLERANCE
        for position in np.flatnonzero(differs):
            yield f"{_describe_count(counted[position])} of {area.name} is not the sum of its councils"


def _are_equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> bool:
    """Return whether both are equal in every area where both are published."""
    # Where one is not published the difference is NaN, and no comparison with NaN is true.
    return not (np.abs(left - right) > TOLERANCE).any()


def _describe_count(counted: Children) -> str:
    if not counted:
        return "the number of all"
    return "the number with " + ", ".join(
        f"{name} = {' or '.join(sorted(categories))}" for name, categories in sorted(counted, key=str)
    )


def find_request_faults(
    on_request: OnRequest, record: Mapping[str, Any], version: str, cohorts: Collection[str]
) -> list[str]:
    """List the faults in the requested tables of a release, given its privacy record; empty if there are none."""
    try:
        return [
            *_find_table_faults(on_request.tables, version, cohorts),
            *_find_name_faults(on_request.tables),
            *_find_plan_faults(on_request, record),
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return [f"it does not say what was asked for and measured: {error!r}"]


def _find_table_faults(tables: Collection[RequestedTable], version: str, cohorts: Collection[str]) -> Iterator[str]:
    for each in tables:
        if not each.cohorts:
            yield f"{each.name} names no cohort"
        if odd := sorted(set(each.cohorts) - set(cohorts)):
            yield f"{each.name} is for cohort {', '.join(odd)}, which the release does not have"
        if Version.parse(each.release) > Version.parse(version):
            yield f"{each.name} was first published in {each.release}, which is later than this release"
        # Called for its ValueError, which the caller reports.
        dt.date.fromisoformat(each.asked_on)
        for what, words in (("who asked for it", each.asked_by), ("what for", each.purpose)):
            if not is_line(words):
                yield f"{each.name} does not say {what} in one line"


def _find_name_faults(tables: Collection[RequestedTable]) -> Iterator[str]:
    # As in a bulk upload, which does not allow every character or the same title twice.
    titles = Counter(format_upload_title(table) for table in (*TABLES.values(), *(each.table for each in tables)))
    for what, counted in (("are called", Counter(each.name for each in tables)), ("have the title", titles)):
        yield from (f"{number} tables {what} {words}" for words, number in counted.items() if number > 1)


def _find_plan_faults(on_request: OnRequest, record: Mapping[str, Any]) -> Iterator[str]:
    """Yield differences between the plans of a release and those in its privacy statement."""
    stated = {
        RequestMeasurement(family["cohort"], family["family"], family["measured_in"]): family
        for family in record["families"]
        if "measured_in" in family
    }
    for each in sorted(stated.keys() - on_request.noisy_counts.keys()):
        yield f"it leaves out what the privacy statement says was measured of {_describe_measurement(each)}"
    for each in sorted(on_request.noisy_counts.keys() - stated.keys()):
        yield f"the privacy statement does not say that anything was measured of {_describe_measurement(each)}"
    for each in sorted(on_request.noisy_counts.keys() & stated.keys()):
        plan = on_request.noisy_counts[each].plan
        if hashlib.sha256(plan).hexdigest() != stated[each]["plan_sha256"]:
            yield f"{each.plan_file} is not the plan that the privacy statement names"
        else:
            yield from _find_purpose_faults(each, plan, on_request, stated[each]["tables"])


def _find_purpose_faults(
    of: RequestMeasurement, plan: bytes, on_request: OnRequest, stated: Collection[str]
) -> Iterator[str]:
    """Yield differences between the tables and definitions in a plan and those that the release states."""
    requests = {each["definition"]["name"]: each for each in json.loads(plan)["detail"]["requests"]}
    known = {each.name: each for each in on_request.tables}
    if requests.keys() != set(stated):
        names = (", ".join(sorted(each)) or "no table" for each in (requests, stated))
        yield "{} was made for {}, and the privacy statement says for {}".format(of.plan_file, *names)
    for name, request in requests.items():
        if name not in known:
            yield f"it leaves out {name}, which {of.plan_file} was made for"
        elif not _is_same_definition(known[name], request):
            yield f"{name} is defined differently in {of.plan_file}, under which it was measured"
        elif of.cohort not in known[name].cohorts:
            yield f"{name} is not of cohort {of.cohort}, for which {of.plan_file} measured it"


def _is_same_definition(table: RequestedTable, request: Mapping[str, Any]) -> bool:
    """Return whether both definitions are identical, including the order of levels."""
    try:
        then = definition.read_definition(request["definition"])
    except definition.InvalidDefinition:
        return False
    now = table.definition
    # As text, because dictionaries of levels are equal in any order.
    return (now.model_dump_json(), table.family) == (then.model_dump_json(), request["family"])


def _describe_measurement(of: RequestMeasurement) -> str:
    return f"{of.family}, cohort {of.cohort}, for release {of.release}"

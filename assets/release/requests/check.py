"""Checks requests before anything is spent: what is published, what is free, and what measuring would cost.

It uses public facts alone: the request, the policy, balances of the ledger, and what a release publishes. No
confidential table is opened, so no answer reveals more about one than the release does.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, reduce
from itertools import accumulate
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.home.paths import Home
from assets.release.fix_release import get_budget_left
from assets.release.planning import Sizes
from assets.release.requests.planning import STEP, AccuracyOutOfReach, Expected, Known, Released, find_release
from assets.release.requests.request import WIDEST_POINTS, Request, parse_request
from ndl_export.facts.release_facts import DATAPACKAGE_FILE
from ndl_export.facts.synthetic_folder import PARQUET_FILE, QUALITY_PAGE
from ndl_export.tables import FAMILIES, Table
from ndl_export.tables.definition import TOTAL, InvalidDefinition, RequestedColumn
from ndl_export.tables.geography import Geography, list_geographies
from ndl_export.tables.model import COUNCIL, RateBlock, Selection, select_each
from ndl_export.tables.pupil import FAMILY
from ndl_export.tables.rows import Detail, Said, collect_statements, iter_rows
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.estimation.intervals import UNRELIABLE, WITHHELD
from privacy.release.ledger import NANO
from privacy.release.mechanism import compute_epsilon
from privacy.release.plan import Plan

Facts = dict[str, Any]


class RequestAnswer(StrEnum):
    """The answer to a request, for one cohort."""

    PUBLISHED = "published"
    FREE = "free"
    FITS = "fits"
    DOES_NOT_FIT = "does not fit"
    OUT_OF_REACH = "out of reach"

    @property
    def can_be_had(self) -> bool:
        return self not in (RequestAnswer.DOES_NOT_FIT, RequestAnswer.OUT_OF_REACH)


@dataclass(frozen=True, eq=False)
class _Cohort:
    """A cohort's earlier measurements and remaining budget, rho by unit."""

    known: Known
    left: Mapping[str, float]

    def can_pay(self, rho: float, family: str) -> bool:
        return _convert_to_nano(rho) <= _convert_to_nano(self.left[self.known.policy.get_unit(family)])


def check_requests(home: Home, requests: Sequence[Request], version: str | None = None) -> Facts:
    """Return the answers to each request, by cohort, and to all together, from that or the newest suitable release."""
    release = find_release(home, requests, version)
    others = {each.name: each.definition for each in release.on_request.tables}
    if taken := [each.name for each in requests if others.get(each.name, each.definition) != each.definition]:
        raise InvalidDefinition(
            f"release {release.version} has another table called {', '.join(taken)}: give it a new name"
        )
    codes = sorted({code for request in requests for code in request.cohorts})
    policy = home.load_policy()
    cohorts = {
        code: _Cohort(release.read_known(policy, code), get_budget_left(home.get_cohort(code))) for code in codes
    }
    return {
        "release": release.version,
        "delta": policy.delta,
        "requests": [_describe_request(each, release, cohorts) for each in requests],
        "together": [_compute_joint_cost(requests, each) for each in cohorts.values()] if len(requests) > 1 else [],
    }


def can_be_had(found: Facts) -> bool:
    """Return whether every request, and all of them together, fit the remaining budget."""
    single = (RequestAnswer(each["answer"]).can_be_had for request in found["requests"] for each in request["cohorts"])
    return all(single) and all(each["fits"] for each in found["together"])


def _describe_request(request: Request, release: Released, cohorts: Mapping[str, _Cohort]) -> Facts:
    rows = request.table.blocks[0].axes
    stated = request.model_dump(include={"name", "title", "family", "geography", "asked_by", "purpose", "accuracy"})
    return stated | {
        "unit": FAMILIES[request.family].unit,
        "sha256": request.sha256,
        "rows_of_an_area": int(np.prod([len(axis.selections) for axis in rows])),
        "cohorts": [_check_cohort(request, release, cohorts[code]) for code in request.cohorts],
    }


def _check_cohort(request: Request, release: Released, cohort: _Cohort) -> Facts:
    known, unit = cohort.known, cohort.known.policy.get_unit(request.family)
    published, free = find_published(request, release, known), known.estimate(request)
    answer, plan = _plan_request(request, cohort)
    if answer is RequestAnswer.FREE and published["figures"] == published["of"]:
        answer = RequestAnswer.PUBLISHED
    with_all_left = None
    if not answer.can_be_had and _convert_to_nano(cohort.left[unit]) >= STEP:
        everything = known.plan_at(cohort.left[unit], request)
        with_all_left = _summarise_accuracy(known.estimate(request, everything), request)
    return {
        "cohort": known.cohort,
        "answer": answer,
        "published": published,
        "known": free and _summarise_accuracy(free, request),
        "synthetic": None if free else compute_synthetic_figures(request, known.cohort, release.synthetic_children),
        "measured": plan and _describe_measurement(request, plan, cohort),
        "left_rho": cohort.left[unit],
        "with_all_that_is_left": with_all_left,
        "alternatives": [] if plan is None and answer.can_be_had else _list_alternatives(request, plan, cohort),
    }


def _plan_request(request: Request, cohort: _Cohort) -> tuple[RequestAnswer, Plan | None]:
    try:
        plan = cohort.known.plan_requests([request])[request.family]
    except AccuracyOutOfReach:
        return RequestAnswer.OUT_OF_REACH, None
    if plan is None:
        return RequestAnswer.FREE, None
    return RequestAnswer.FITS if cohort.can_pay(plan.rho, request.family) else RequestAnswer.DOES_NOT_FIT, plan


def _describe_measurement(request: Request, plan: Plan, cohort: _Cohort) -> Facts:
    """Return what a measurement costs, the total privacy loss of its unit afterwards, and how accurate the table is."""
    policy = cohort.known.policy
    account = policy.accounts[unit := policy.get_unit(request.family)]
    spent, delta = account.cap_rho - cohort.left[unit], policy.delta
    return {
        "rho": plan.rho,
        "nano_rho": _convert_to_nano(plan.rho),
        "epsilon": compute_epsilon(plan.rho, delta),
        "epsilon_before": compute_epsilon(spent, delta) if spent > 0 else 0.0,
        "epsilon_after": compute_epsilon(spent + plan.rho, delta),
        "plan_sha256": plan.sha256,
        **_summarise_accuracy(cohort.known.estimate(request, plan), request),
    }


def _list_alternatives(request: Request, wanted: Plan | None, cohort: _Cohort) -> list[Facts]:
    """Return cheaper alternatives to the wanted plan (if any plan answers the request) that fit, the cheapest first."""
    found = []
    for words, change in _iter_changes(request, cohort.known.sizes_of(request.family)):
        try:
            instead = parse_request(request.build_document() | change)
            plan = cohort.known.plan_requests([instead])[instead.family]
        except (InvalidDefinition, AccuracyOutOfReach):
            continue
        rho = plan.rho if plan else 0.0
        if cohort.can_pay(rho, request.family) and not (wanted and rho >= wanted.rho):
            accuracy = _summarise_accuracy(cohort.known.estimate(instead, plan), instead)
            found.append({"instead": words, "rho": rho, **accuracy})
    return sorted(found, key=itemgetter("rho"))


def _summarise_accuracy(exactness: Expected | None, request: Request) -> Facts:
    """Return facts on the percentages at full detail, and how many of all rows will be flagged."""
    assert exactness is not None  # a plan that was made for the request gives its table
    return {
        "percentages": int(exactness.points.size),
        "share_within": round(exactness.compute_share_within(request.accuracy.half_width_points), 4),
        "within_points": request.accuracy.half_width_points,
        "median_half_width": round(float(np.median(exactness.points)), 2),
        "rows": int(exactness.flags.size),
        "flagged_unreliable": int((exactness.flags == UNRELIABLE).sum()),
        "withheld": int((exactness.flags == WITHHELD).sum()),
    }


def _compute_joint_cost(requests: Sequence[Request], cohort: _Cohort) -> Facts:
    """Return the cost of measuring all requests within reach at once, and the sum of separate costs, rho by unit."""
    own = [each for each in requests if cohort.known.cohort in each.cohorts]
    alone = {each.name: _plan_request(each, cohort) for each in own}
    within_reach = [each for each in own if alone[each.name][0] is not RequestAnswer.OUT_OF_REACH]
    plans = [plan for plan in cohort.known.plan_requests(within_reach).values() if plan]
    policy = cohort.known.policy

    def sum_by_unit(all_of: Iterable[Plan | None]) -> dict[str, float]:
        added = dict.fromkeys(policy.accounts, 0)
        for plan in all_of:
            if plan:
                added[policy.get_unit(plan.family.name)] += _convert_to_nano(plan.rho)
        return {unit: nano / NANO for unit, nano in added.items() if nano}

    at_once = sum_by_unit(plans)
    return {
        "cohort": cohort.known.cohort,
        "requests": [each.name for each in within_reach],
        "rho": at_once,
        "apart_rho": sum_by_unit(plan for _, plan in alone.values()),
        "left_rho": {unit: cohort.left[unit] for unit in at_once},
        "fits": all(_convert_to_nano(rho) <= _convert_to_nano(cohort.left[unit]) for unit, rho in at_once.items()),
    }


def _convert_to_nano(rho: float) -> int:
    return round(rho * NANO)


# half the width costs four to six times as much
COARSER = (1.5, 2.0)
_LONGEST_LABEL = 80


def _iter_changes(request: Request, sizes: Sizes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield descriptions of cheaper alternatives, with the keys of the request that change."""
    columns = [column.model_dump(mode="json") for column in request.columns]
    if request.geography == "councils":
        yield "for all councils together", {"geography": "all_councils_together"}
    if len(columns) > 1:
        for place, entry in enumerate(request.table.filters):
            yield f"without {entry.label}", {"columns": columns[:place] + columns[place + 1 :]}
    for factor in COARSER:
        points = request.accuracy.half_width_points * factor
        if points <= WIDEST_POINTS:
            accuracy = request.accuracy.model_dump() | {"half_width_points": points}
            yield f"within {points:g} points", {"accuracy": accuracy}
    merged = [_merge_into_two(column, request.family, sizes) for column in request.columns]
    if merged != columns:
        yield "with every column in two levels", {"columns": merged}


def _merge_into_two(column: RequestedColumn, family: str, sizes: Sizes) -> dict[str, Any]:
    """Return the column with neighbouring levels merged into two, as equal as possible by published sizes."""
    attribute = FAMILIES[family].get_attribute(column.attribute)
    stated = [Selection(label, categories) for label, categories in (column.levels or {}).items()] or select_each(
        attribute
    )
    document = column.model_dump(mode="json")
    if len(stated) <= 2:
        return document
    positions = [[attribute.categories.index(each) for each in level.categories or ()] for level in stated]
    shares = list(accumulate(sizes.compute_share(attribute.name, each) for each in positions))
    first = 1 + int(np.argmin([abs(share - shares[-1] / 2) for share in shares[:-1]]))
    merged = {}
    for part in (stated[:first], stated[first:]):
        label = part[0].label if len(part) == 1 else f"{part[0].label} to {part[-1].label}"
        categories = [category for level in part for category in level.categories or ()]
        merged[label[:_LONGEST_LABEL].strip()] = list(dict.fromkeys(categories))
    return document | {"levels": merged}


def find_published(request: Request, release: Released, known: Known) -> Facts:
    """Return how many of a request's percentages at full detail are published and not withheld, and the tables."""
    plan = known.base[request.family]
    areas = list_geographies(plan.family.get_attribute(COUNCIL).categories)
    areas = areas if request.geography == "councils" else areas[:1]
    wanted = {
        next(each for each in figures if each[1] is not None)
        for levels, figures in collect_statements(request.table).items()
        if TOTAL not in levels
    }
    published = {
        table: _list_published_figures(table, plan, areas, _list_withheld_rows(table, release, known.cohort))
        for table in FAMILIES[request.family].tables
    }
    for other in (each.table for each in release.on_request.tables if each.family == request.family):
        stated = set[Said]().union(*collect_statements(other).values())
        # the first area is that of all councils together
        published[other] = [stated if index == 0 or other.blocks[0].councils else set() for index in range(len(areas))]
    figures = sum(len(wanted & set().union(*in_area)) for in_area in zip(*published.values(), strict=True))
    tables = [table.name for table, by_area in published.items() if any(wanted & own for own in by_area)]
    return {"figures": figures, "of": len(wanted) * len(areas), "tables": tables}


def _list_withheld_rows(table: Table, release: Released, cohort: str) -> Collection[tuple[str, ...]]:
    """Return the rows of a published table that withhold a figure: code of the area, and level of each filter."""
    flags = [get_column_name(measure, ColumnRole.FLAG) for measure in table.measures]
    keys = ["area_code", *(each.name for each in table.filters)]
    rows = pq.read_table(release.folder / f"{table.name}.parquet", columns=["time_period", *keys, *flags])
    any_withheld = reduce(pc.or_kleene, (pc.fill_null(pc.equal(rows[flag], Flag.WITHHELD), False) for flag in flags))
    found = rows.filter(pc.and_(pc.equal(rows["time_period"], cohort), any_withheld)).select(keys)
    return set(zip(*(column.to_pylist() for column in found.columns), strict=True))


def _list_published_figures(
    table: Table, plan: Plan, areas: Sequence[Geography], withheld: Collection[tuple[str, ...]]
) -> list[set[Said]]:
    """Return the figures that one of the release's own tables publishes, by area; for withheld rows only the counts."""
    detail = Detail.from_document(plan.detail) if plan.detail else None
    return [
        {
            figure
            for levels, figures in collect_statements(table).items()
            if detail is None or detail.is_row_published(table.name, levels, area)
            for figure in figures
            if figure[1] is None or (area.code, *levels) not in withheld
        }
        for area in areas
    ]


def compute_synthetic_figures(request: Request, cohort: str, folder: Path) -> Facts | None:
    """Return the percentage of each row at full detail from synthetic children, for all councils.

    In a table of counts, a row is a percentage of the row with its last column at the total. Returns None without
    synthetic children, or if they lack an attribute of the table.
    """
    file = folder / PARQUET_FILE
    if request.family != FAMILY.name or not file.is_file():
        return None
    children = pq.read_table(file)
    children = children.filter(pc.equal(children["cohort"], cohort))
    lacking = any(not block.attributes <= {*children.column_names} for block in request.table.blocks)
    if lacking or not children.num_rows:
        return None
    held_out = json.loads((folder / DATAPACKAGE_FILE).read_bytes())["held_out"]
    statement = PurePosixPath(folder.parent.name, folder.name, QUALITY_PAGE)
    return {"statement": str(statement), "held_out": held_out, "rows": _count_rows(request, children)}


def _count_rows(request: Request, children: pa.Table) -> list[Facts]:
    (block,) = request.table.blocks

    @cache
    def is_in(attribute: str, categories: tuple[str, ...] | None) -> Any:
        if categories is None:
            return np.ones(children.num_rows, dtype=bool)
        return np.asarray(pc.is_in(children[attribute], value_set=pa.array(categories)))

    rows = []
    for _, chosen, _ in iter_rows(request.table, block):
        if TOTAL in (labels := [level.label for level in chosen]):
            continue
        sides = [is_in(axis.attribute, level.categories) for axis, level in zip(block.axes, chosen, strict=True)]
        whole = part = np.logical_and.reduce(sides)
        if isinstance(block, RateBlock):
            part = whole & is_in(*block.numerator)
        else:
            whole = np.logical_and.reduce([*sides[:-1], np.ones(children.num_rows, dtype=bool)])
        total = int(whole.sum())
        percent = round(100 * int(part.sum()) / total, 2) if total else None
        rows.append({"levels": labels, "of": total, "percent": percent})
    return rows

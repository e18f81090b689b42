"""Checks requests before anything is spent: what is published, what is free, and what measuring would cost.

It uses public facts alone: the request, the policy, balances of the ledger, and what a release publishes. No
confidential table is opened, so no answer reveals more about one than the release does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from operator import itemgetter
from typing import Any

import numpy as np

from assets.home.paths import Home
from assets.release.fix_release import get_budget_left
from assets.release.planning import Sizes
from assets.release.requests import planning
from assets.release.requests.planning import AccuracyOutOfReach, Expected, Known
from assets.release.requests.released import (
    Published,
    Released,
    compute_synthetic_figures,
    find_published,
    find_release,
)
from assets.release.requests.request import WIDEST_POINTS, InvalidRequest, Request, request_of
from ndl_export.tables import FAMILIES
from ndl_export.tables.definition import Column, InvalidDefinition
from ndl_export.tables.model import Selection, select_each
from privacy.estimation.intervals import UNRELIABLE, WITHHELD
from privacy.release.ledger import NANO
from privacy.release.mechanism import compute_epsilon
from privacy.release.plan import Plan
from privacy.release.policy import Policy, load_policy

Facts = dict[str, Any]


class Answer(StrEnum):
    """The answer to a request, for one cohort."""

    PUBLISHED = "published"
    FREE = "free"
    FITS = "fits"
    DOES_NOT_FIT = "does not fit"
    OUT_OF_REACH = "out of reach"

    @property
    def can_be_had(self) -> bool:
        return self not in (Answer.DOES_NOT_FIT, Answer.OUT_OF_REACH)


@dataclass(frozen=True, eq=False)
class _Cohort:
    """A cohort's earlier measurements and remaining budget, rho by unit."""

    code: str
    known: Known
    left: Mapping[str, float]
    policy: Policy

    def can_pay(self, rho: float, family: str) -> bool:
        return _convert_to_nano(rho) <= _convert_to_nano(self.left[self.policy.get_unit(family)])

    def plan(self, requests: Sequence[Request]) -> dict[str, Plan | None]:
        return planning.plan_requests(requests, self.code, self.known, self.policy)

    def estimate(self, request: Request, plan: Plan | None) -> Expected | None:
        """Return the expected accuracy with everything known, and measured under the plan."""
        whole, sizes = self.known.combine(request.family, plan), self.known.sizes_of(request.family)
        return planning.estimate_accuracy(request, whole, sizes, self.policy)


def check_requests(home: Home, requests: Sequence[Request], version: str | None = None) -> Facts:
    """Return the answer to each request, by cohort, and to all together, from that or the newest fitting release."""
    release, policy = find_release(home, requests, version), load_policy()
    others = {each.name: each.definition for each in release.on_request.tables}
    if taken := [each.name for each in requests if others.get(each.name, each.definition) != each.definition]:
        raise InvalidRequest(
            f"release {release.version} has another table called {', '.join(taken)}: give it a new name"
        )
    codes = sorted({code for request in requests for code in request.cohorts})
    cohorts = {
        code: _Cohort(code, release.read_known(code), get_budget_left(home.cohort(code)), policy) for code in codes
    }
    return {
        "release": release.version,
        "delta": policy.delta,
        "requests": [_request(each, release, cohorts) for each in requests],
        "together": [_compute_joint_cost(requests, each) for each in cohorts.values()] if len(requests) > 1 else [],
    }


def can_be_had(found: Facts) -> bool:
    """Return whether every request, and all of them together, fit the remaining budget."""
    single = (Answer(each["answer"]).can_be_had for request in found["requests"] for each in request["cohorts"])
    return all(single) and all(each["fits"] for each in found["together"])


def _request(request: Request, release: Released, cohorts: Mapping[str, _Cohort]) -> Facts:
    rows = request.table.blocks[0].axes
    return {
        "name": request.name,
        "title": request.title,
        "family": request.family,
        "unit": FAMILIES[request.family].unit,
        "geography": request.geography,
        "asked_by": request.asked_by,
        "purpose": request.purpose,
        "sha256": request.sha256,
        "accuracy": request.accuracy.model_dump(),
        "rows_of_an_area": int(np.prod([len(axis.selections) for axis in rows])),
        "cohorts": [_check_cohort(request, release, cohorts[code]) for code in request.cohorts],
    }


def _check_cohort(request: Request, release: Released, cohort: _Cohort) -> Facts:
    there, free = find_published(request, release, cohort.code, cohort.known), cohort.estimate(request, None)
    unit = cohort.policy.get_unit(request.family)
    answer, plan = _plan_request(request, there, cohort)
    with_all_left = None
    if not answer.can_be_had and _convert_to_nano(cohort.left[unit]) >= planning.STEP:
        everything = planning.plan_at(cohort.left[unit], request, cohort.known, cohort.policy)
        with_all_left = _estimate_known_accuracy(request, everything, cohort)
    return {
        "cohort": cohort.code,
        "answer": answer,
        "published": {"figures": there.figures, "of": there.of, "tables": list(there.tables)},
        "known": free and _summarise_accuracy(free, request),
        "synthetic": None if free else compute_synthetic_figures(request, cohort.code, release.synthetic_children),
        "measured": plan and _describe_measurement(request, plan, cohort),
        "left_rho": cohort.left[unit],
        "with_all_that_is_left": with_all_left,
        "alternatives": [] if plan is None and answer.can_be_had else _list_alternatives(request, plan, cohort),
    }


def _plan_request(request: Request, there: Published, cohort: _Cohort) -> tuple[Answer, Plan | None]:
    try:
        plan = cohort.plan([request])[request.family]
    except AccuracyOutOfReach:
        return Answer.OUT_OF_REACH, None
    if plan is None:
        return Answer.PUBLISHED if there.figures == there.of else Answer.FREE, None
    return Answer.FITS if cohort.can_pay(plan.rho, request.family) else Answer.DOES_NOT_FIT, plan


def _describe_measurement(request: Request, plan: Plan, cohort: _Cohort) -> Facts:
    """Return what a measurement costs, the total privacy loss of its unit afterwards, and how accurate the table is."""
    account = cohort.policy.accounts[unit := cohort.policy.get_unit(request.family)]
    spent, delta = account.cap_rho - cohort.left[unit], cohort.policy.delta
    return {
        "rho": plan.rho,
        "nano_rho": _convert_to_nano(plan.rho),
        "epsilon": compute_epsilon(plan.rho, delta),
        "epsilon_before": compute_epsilon(spent, delta) if spent > 0 else 0.0,
        "epsilon_after": compute_epsilon(spent + plan.rho, delta),
        "plan_sha256": plan.sha256,
        **_estimate_known_accuracy(request, plan, cohort),
    }


def _list_alternatives(request: Request, wanted: Plan | None, cohort: _Cohort) -> list[Facts]:
    """Return cheaper alternatives to the wanted plan (if any plan answers the request) that fit, the cheapest first."""
    found = []
    for words, change in _iter_changes(request, cohort.known.sizes_of(request.family)):
        try:
            instead = request_of(request.to_document() | change)
            plan = cohort.plan([instead])[instead.family]
        except (InvalidDefinition, AccuracyOutOfReach):
            continue
        rho = plan.rho if plan else 0.0
        if cohort.can_pay(rho, request.family) and not (wanted and rho >= wanted.rho):
            found.append({"instead": words, "rho": rho, **_estimate_known_accuracy(instead, plan, cohort)})
    return sorted(found, key=itemgetter("rho"))


def _estimate_known_accuracy(request: Request, plan: Plan | None, cohort: _Cohort) -> Facts:
    exactness = cohort.estimate(request, plan)
    if exactness is None:
        raise ValueError(f"a plan for {request.name} does not give it")
    return _summarise_accuracy(exactness, request)


def _summarise_accuracy(exactness: Expected, request: Request) -> Facts:
    """Return facts on the percentages at full detail, and how many of all rows will be flagged."""
    return {
        "percentages": int(exactness.points.size),
        "share_within": round(exactness.share_within(request.accuracy.half_width_points), 4),
        "within_points": request.accuracy.half_width_points,
        "median_half_width": round(float(np.median(exactness.points)), 2),
        "rows": int(exactness.flags.size),
        "flagged_unreliable": int((exactness.flags == UNRELIABLE).sum()),
        "withheld": int((exactness.flags == WITHHELD).sum()),
    }


def _compute_joint_cost(requests: Sequence[Request], cohort: _Cohort) -> Facts:
    """Return the cost of measuring all requests within reach at once, and the sum of each alone, in rho by unit."""
    own = [each for each in requests if cohort.code in each.cohorts]
    # the cost does not depend on published figures, so none are read
    alone = {each.name: _plan_request(each, Published(0, 1, ()), cohort) for each in own}
    within_reach = [each for each in own if alone[each.name][0] is not Answer.OUT_OF_REACH]
    plans = [plan for plan in cohort.plan(within_reach).values() if plan]
    policy = cohort.policy

    def by_unit(all_of: Iterable[Plan | None]) -> dict[str, float]:
        added = dict.fromkeys(policy.accounts, 0)
        for plan in all_of:
            if plan:
                added[policy.get_unit(plan.family.name)] += _convert_to_nano(plan.rho)
        return {unit: nano / NANO for unit, nano in added.items() if nano}

    at_once = by_unit(plans)
    return {
        "cohort": cohort.code,
        "requests": [each.name for each in within_reach],
        "rho": at_once,
        "apart_rho": by_unit(plan for _, plan in alone.values()),
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


def _merge_into_two(column: Column, family: str, sizes: Sizes) -> dict[str, Any]:
    """Return the column with neighbouring levels merged into two, as equal as possible by published sizes."""
    attribute = FAMILIES[family].get_attribute(column.attribute)
    stated = [Selection(label, categories) for label, categories in (column.levels or {}).items()] or select_each(
        attribute
    )
    document = column.model_dump(mode="json")
    if len(stated) <= 2:
        return document
    positions = [[attribute.categories.index(each) for each in level.categories or ()] for level in stated]
    shares = list(accumulate(sizes.share(attribute.name, each) for each in positions))
    first = 1 + int(np.argmin([abs(share - shares[-1] / 2) for share in shares[:-1]]))
    merged = {}
    for part in (stated[:first], stated[first:]):
        label = part[0].label if len(part) == 1 else f"{part[0].label} to {part[-1].label}"
        categories = [category for level in part for category in level.categories or ()]
        merged[label[:_LONGEST_LABEL].strip()] = list(dict.fromkeys(categories))
    return document | {"levels": merged}

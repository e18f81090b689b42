"""What docs/tables-on-request.md says that its requests cost, and with what accuracy."""

from __future__ import annotations

import re
from functools import cache

import pytest

from assets.release.planning import plan_family
from assets.release.requests.planning import expected, plan_requests
from assets.release.requests.request import Request, read_requests, request_of
from ndl_export.tables import FAMILIES
from privacy.release.combined import combined_plan
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.reference.places import PILOT
from tests.support import PROJECT

COHORT = "202425"
PAGE = (PROJECT / "docs" / "tables-on-request.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())
ROWS = {
    name: cells
    for name, *cells in re.findall(
        r"^\| \[(\w+)\]\(requests/\1\.yaml\) \|.*\| ([\d.]+) \| (.*) \|$", PAGE, re.MULTILINE
    )
}
REQUESTS = read_requests(sorted((PROJECT / "docs" / "requests").glob("*.yaml")))


@cache
def released() -> dict[str, Plan]:
    """What the pilot's release measures."""
    return {family: plan_family(family, PILOT, load_policy()) for family in FAMILIES}


def planned(*requests: Request) -> dict[str, Plan]:
    found = plan_requests(requests, COHORT, released(), [], load_policy())
    return {family: plan for family, plan in found.items() if plan}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.name)
def test_every_request_costs_and_gives_what_the_page_says(request_: Request) -> None:
    rho, accuracy = ROWS[request_.name]
    (plan,) = planned(request_).values()
    found = expected(request_, combined_plan(released()[request_.family], [plan]))
    assert found is not None
    points = request_.accuracy.half_width_points
    assert rho == f"{plan.rho:.5f}"
    assert accuracy == f"{found.share_within(points):.0%} of {found.points.size} within {points:g} points"


def test_all_together_cost_what_the_page_says() -> None:
    accounts = load_policy().accounts
    left = {unit: account.cap_rho - sum(account.split.values()) for unit, account in accounts.items()}
    together = planned(*REQUESTS)
    assert f"rho {left['child']:.3f} for a child and {left['response']:.3f} for a response" in WORDS
    cost = together["pupil"].rho
    assert f"rho {cost:.5f} for a child, so that they leave {left['child'] - cost:.5f}" in WORDS
    assert together["parents"].rho <= left["response"]


def test_small_groups_by_council_take_more_than_a_cohort_has_left() -> None:
    asked = next(each for each in REQUESTS if each.name == "gld_by_ethnic_group_and_fsm")
    half = {"half_width_points": 5.0, "share_of_rates": 0.5}
    by_council = request_of(asked.document() | {"accuracy": half, "geography": "councils"})
    account = load_policy().accounts["child"]
    assert planned(by_council)["pupil"].rho > account.cap_rho - sum(account.split.values())


def test_half_the_width_costs_four_to_five_times_as_much() -> None:
    asked = next(each for each in REQUESTS if each.name == "waiting_time_by_send")
    finer = request_of(asked.document() | {"accuracy": asked.accuracy.model_dump() | {"half_width_points": 2.5}})
    coarse, fine = (planned(each)["parents"].rho for each in (asked, finer))
    assert "Half the width costs four to five times as much" in WORDS
    assert 3 < fine / coarse < 5.5

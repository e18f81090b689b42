"""What docs/tables-on-request.md says that its requests cost, and with what accuracy."""

from __future__ import annotations

import re

import pytest

from assets.release.requests.planning import expected, plan_requests
from assets.release.requests.request import Request, read_requests, request_of
from privacy.release.mechanism import combined_plan
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from tests.support import PROJECT
from tests.support.release.sizes import known

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
RELEASED = known()
"""What the pilot's release measured, and the sizes that it publishes."""


def planned(*requests: Request) -> dict[str, Plan]:
    found = plan_requests(requests, COHORT, RELEASED, load_policy())
    return {family: plan for family, plan in found.items() if plan}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.name)
def test_every_request_costs_and_gives_what_the_page_says(request_: Request) -> None:
    rho, accuracy = ROWS[request_.name]
    (plan,) = planned(request_).values()
    whole = combined_plan(RELEASED.base[request_.family], [plan])
    found = expected(request_, whole, RELEASED.sizes_of(request_.family), load_policy())
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
    most = {"half_width_points": 5.0, "share_of_rates": 0.55}
    by_council = request_of(asked.document() | {"accuracy": most, "geography": "councils"})
    assert "55% of the percentages within 5 points would take more than a cohort has left" in WORDS
    account = load_policy().accounts["child"]
    assert planned(by_council)["pupil"].rho > account.cap_rho - sum(account.split.values())


def test_half_the_width_costs_four_to_six_times_as_much() -> None:
    asked = next(each for each in REQUESTS if each.name == "waiting_time_by_send")
    finer = request_of(asked.document() | {"accuracy": asked.accuracy.model_dump() | {"half_width_points": 2.5}})
    coarse, fine = (planned(each)["parents"].rho for each in (asked, finer))
    assert "Half the width costs four to six times as much" in WORDS
    assert 4 < fine / coarse < 6

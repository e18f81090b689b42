"""What docs/tables-on-request.md says that its requests cost, and with what accuracy."""

import re

import pytest

from assets.release.requests.planning import STEP, Expected
from assets.release.requests.request import Request, read_requests
from privacy.release.ledger import NANO
from privacy.release.policy import load_policy
from tests.support import PROJECT
from tests.support.release.sizes import build_known

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
RELEASED = build_known()
"""What the pilot's release measured, and the sizes that it publishes."""
POLICY = load_policy()


def expected_at(rho: float, request: Request) -> Expected:
    """How exact a table is if so much is spent on it alone: one plan, where a search for the least rho takes many."""
    found = RELEASED.estimate(request, RELEASED.plan_at(rho, request))
    assert found is not None
    return found


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: each.name)
def test_every_request_costs_and_gives_what_the_page_says(request_: Request) -> None:
    """It is met at the rho of the page, and not at one step less."""
    rho, accuracy = ROWS[request_.name]
    found = expected_at(float(rho), request_)
    assert found.is_enough_for(request_)
    assert not expected_at(float(rho) - STEP / NANO, request_).is_enough_for(request_)
    points = request_.accuracy.half_width_points
    assert accuracy == f"{found.compute_share_within(points):.0%} of {found.points.size} within {points:g} points"


@pytest.mark.slow
def test_all_together_cost_what_the_page_says() -> None:
    accounts = POLICY.accounts
    left = {unit: account.cap_rho - sum(account.split.values()) for unit, account in accounts.items()}
    together = {family: plan for family, plan in RELEASED.plan_requests(REQUESTS).items() if plan}
    assert f"rho {left['child']:.3f} for a child and {left['response']:.3f} for a response" in WORDS
    cost = together["pupil"].rho
    assert f"rho {cost:.5f} for a child, so that they leave {left['child'] - cost:.5f}" in WORDS
    assert together["parents"].rho <= left["response"]

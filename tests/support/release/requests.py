"""Requests for tables, and releases that answer them, made as by the assets."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from assets.home.paths import Home
from assets.release.requests.register import register
from assets.release.requests.request import TEMPLATE, parse_request, read_request
from privacy.release.plan import Plan
from tests.support.release.sizes import build_known

SUPPLEMENT = "2026.11.1"
TODAY = dt.date(2026, 11, 27)
COARSE = {"half_width_points": 15.0, "share_of_rates": 0.1}


def build_request(name: str = "gld_by_ethnic_group_and_fsm", **changed: Any) -> dict[str, Any]:
    """Return the template's request for all councils, with some keys `changed`; a key changed to None is left out."""
    stated = read_request(TEMPLATE).build_document() | {
        "name": name,
        "columns": ["ethnic_group", "fsm"],
        "geography": "all_councils_together",
        "accuracy": {"half_width_points": 5.0, "share_of_rates": 0.8},
    }
    return {key: value for key, value in (stated | changed).items() if value is not None}


OF_EACH_FAMILY = (
    build_request(),
    build_request(
        "all_five_by_sex_and_imd",
        title="ASQ-3 by sex and deprivation",
        family="health",
        columns=["sex", "imd_quintile"],
        figure={"attribute": "asq3_all_five", "categories": ["At or above the cut-off"]},
        accuracy=COARSE,
    ),
    build_request(
        "waits_by_send",
        title="Waits by SEND",
        family="parents",
        columns=["wait_band", "child_send"],
        figure=None,
        accuracy=COARSE,
    ),
)
"""One request for each family."""


def ask(home: Home, *documents: Mapping[str, Any]) -> list[str]:
    return [register(home, parse_request(each), TODAY).name for each in documents]


def make_further_plans(councils: Sequence[str]) -> dict[str, Plan]:
    """Return the plans, by family, of what `OF_EACH_FAMILY` needs beyond today's tables, within the cap."""
    planned = build_known(councils).plan_requests(map(parse_request, OF_EACH_FAMILY))
    return {family: plan for family, plan in planned.items() if plan is not None}

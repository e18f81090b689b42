"""Made-up releases with tables on request in two families, whose texts contain characters special in SQL and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ndl_export.facts.directory_files import AskedTable, Budget, Status
from ndl_export.facts.missing import Missing
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables.definition import read_definition
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, fake_facts
from tests.support.export.supplement import SUPPLEMENT, on_request, record_with

MEALS = "Gets 'free' school meals"
SEN_BY_MEALS: dict[str, Any] = {
    "name": "sen_by_meals",
    "title": "SEN provision by free school meals & the child's sex",
    "description": "Children by SEN provision, whether they're eligible for free school meals, and sex",
    "columns": [
        {"attribute": "sen_provision", "name": "order", "label": "Child's SEN provision"},
        {
            "attribute": "fsm",
            "name": "meals",
            "levels": {
                MEALS: ["Eligible for free school meals"],
                "Doesn't": ["Not eligible for free school meals"],
            },
        },
        "sex",
    ],
    "figure": {"attribute": "gld", "categories": ["Yes"]},
}
REVIEWED: dict[str, Any] = {
    "name": "reviewed_by_sex",
    "title": "Children reviewed at two, by sex",
    "description": "Children with a two-year review by sex",
    "columns": ["sex"],
    "geography": "all_councils_together",
}


def requested(
    definition: Mapping[str, Any],
    family: str = "pupil",
    release: str = SUPPLEMENT,
    cohorts: tuple[str, ...] = (COHORT,),
) -> RequestedTable:
    return RequestedTable(
        read_definition(definition),
        family,
        cohorts,
        release,
        asked_by="University of Leeds, Children's Centre",
        asked_on="2026-11-20",
        purpose="How the offer of meals reaches children with SEN, who's served by it",
    )


SEN = requested(SEN_BY_MEALS)
REVIEWS = requested(REVIEWED, "health")


def facts_with(
    requests: Sequence[RequestedTable],
    version: str = SUPPLEMENT,
    councils: tuple[str, ...] = PILOT,
    missing: Missing = MappingProxyType({}),
) -> ReleaseFacts:
    """Return the facts of a release with these tables, whose counts were measured for `SUPPLEMENT`."""
    facts, asked = fake_facts(version, councils, missing), on_request(requests)
    return replace(facts, on_request=asked, privacy_record=record_with(facts.privacy_record, asked))


def asked_table(
    request: RequestedTable, status: Status = Status.ANSWERED, reason: str = "", **rho: float
) -> AskedTable:
    """Return a table as recorded in the register of requests."""
    return AskedTable(
        name=request.name,
        title=request.table.title,
        asked_by=request.asked_by,
        purpose=request.purpose,
        asked_on=request.asked_on,
        cohorts=request.cohorts,
        status=status,
        answered_in=request.release if status is Status.ANSWERED else "",
        reason=reason,
        rho={cohort.removeprefix("of_"): spent for cohort, spent in rho.items()},
    )


ASKED = (
    asked_table(SEN, of_202425=0.02),
    asked_table(REVIEWS, of_202425=0.0),
    asked_table(requested({**SEN_BY_MEALS, "name": "sen_alone", "title": "SEN & nothing else"}), Status.ASKED),
    asked_table(
        requested({**REVIEWED, "name": "reviewed_again"}, "health"),
        Status.REFUSED,
        "It asks what reviewed_by_sex says, of fewer children than can be shown",
    ),
)
BUDGETS = (Budget(COHORT, "child", 0.5, 0.235, 0.265), Budget(COHORT, "response", 0.2, 0.15, 0.05))

"""Made-up releases with tables on request, in two families, whose words hold what SQL and HTML must be told about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ndl_export.facts.missing import Missing
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables.definition import read_definition
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, fake_facts, fake_noisy_counts

FIRST = "2026.12.0"
CHARGED = {"rho": 0.004, "epsilon": 0.4, "delta": 1e-6}
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
    definition: Mapping[str, Any], family: str = "pupil", release: str = FIRST, cohorts: tuple[str, ...] = (COHORT,)
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
    version: str = FIRST,
    councils: tuple[str, ...] = PILOT,
    missing: Missing = MappingProxyType({}),
) -> ReleaseFacts:
    """A release that has these, those of family `pupil` measured for it together."""
    facts = fake_facts(version, councils, missing)
    of_pupil = [each.name for each in requests if each.family == "pupil"]
    if not of_pupil:
        return replace(facts, on_request=OnRequest(tuple(requests)))
    record = json.loads(json.dumps(facts.privacy_record))
    own = next(each for each in record["families"] if each["family"] == "pupil")
    record["families"].append(own | {"measured_in": version, "tables": of_pupil} | CHARGED)
    [cohort] = record["cohorts"]
    stated = (record, cohort, cohort["accounts"][0])
    parameters = [each["privacy_parameters"] for each in stated] + [each["joint_parameters"] for each in stated[:2]]
    for each in parameters:
        each["rho"] += CHARGED["rho"]
    measured = {Further(COHORT, "pupil", version): fake_noisy_counts(councils)["pupil"]}
    return replace(facts, on_request=OnRequest(tuple(requests), measured), privacy_record=record)

"""Made-up releases with tables on request: some measured later, some that needed no measurement."""

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import yaml

from ndl_export.facts.directory_files import AskedTable, Budget, Status
from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.on_request import OnRequest, RequestedTable, RequestMeasurement
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables import FAMILIES
from ndl_export.tables.definition import read_definition
from ndl_export.tables.geography import Missing
from privacy.release.mechanism import compute_epsilon
from tests.support.export.fake_release import COHORT, EARLIER, PARAMETERS, fake_facts

BASE = "2026.11.0"
"""The release whose noisy counts the supplement uses again."""
SUPPLEMENT = "2026.12.0"
LINKED, WAITS, TOGETHER = "readiness_by_review", "waits_by_need", "barriers_together"
_RHO, _DELTA = 0.02, 1e-6
_STATED = yaml.safe_load((Path(__file__).parent / "requested_tables.yaml").read_text(encoding="utf-8"))
DEFINITIONS: dict[str, dict[str, Any]] = {name: {"name": name, **stated} for name, stated in _STATED.items()}
SEN_BY_MEALS, REVIEWED = DEFINITIONS["sen_by_meals"], DEFINITIONS["reviewed_by_sex"]
MEALS = "Gets 'free' school meals"


def build_requested(
    definition: Mapping[str, Any], family: str = "pupil", release: str = SUPPLEMENT, cohorts: Sequence[str] = (COHORT,)
) -> RequestedTable:
    return RequestedTable(
        read_definition(definition),
        family,
        tuple(cohorts),
        release,
        asked_by="University of Leeds, Children's Centre",
        asked_on="2026-11-20",
        purpose="How the offer of meals reaches children with SEN, who's served by it",
    )


SEN, REVIEWS = build_requested(SEN_BY_MEALS), build_requested(REVIEWED, "health")


def build_requested_tables(cohorts: Sequence[str] = (EARLIER, COHORT)) -> tuple[RequestedTable, ...]:
    """Return a table of linked children in all `cohorts`, one of responses in the newest, and one of all councils
    together, for which nothing was measured."""
    found = (
        build_requested(DEFINITIONS[LINKED], "pupil", cohorts=cohorts),
        *(build_requested(DEFINITIONS[name], "parents") for name in (WAITS, TOGETHER)),
    )
    purpose = "To see whether reviews tell readiness apart in deprived areas"
    return tuple(replace(each, asked_by="A university", purpose=purpose) for each in found)


def build_facts_with(
    requests: Sequence[RequestedTable],
    version: str = SUPPLEMENT,
    missing: Missing = MappingProxyType({}),
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> ReleaseFacts:
    """Return the facts of a release that reuses the counts of `BASE` and adds these tables, measured for `SUPPLEMENT`.

    `earlier` cohorts are added to the newest, each with the release that measured it. Tables in which councils have
    rows have noisy counts of every cohort.
    """
    measured = {
        RequestMeasurement(cohort, each.family, SUPPLEMENT): _draw(each)
        for each in requests
        if each.definition.geography == "councils"
        for cohort in each.cohorts
    }
    facts, asked = fake_facts(version, missing=missing, earlier=earlier), OnRequest(tuple(requests), measured)
    return replace(facts, on_request=asked, privacy_record=_record_with(facts.privacy_record, asked))


def build_supplement_facts(earlier: Mapping[str, str] = MappingProxyType({EARLIER: "2025.11.0"})) -> ReleaseFacts:
    return build_facts_with(build_requested_tables((*earlier, COHORT)), earlier=earlier)


def _draw(table: RequestedTable) -> NoisyCounts:
    """Return noisy counts of a table; their plan states its purpose, as plans of requests do."""
    attribute = FAMILIES[table.family].get_attribute(table.definition.columns[0].attribute)
    attributes = [{"name": attribute.name, "categories": list(attribute.categories)}]
    requests = [{"definition": table.definition.model_dump(mode="json"), "family": table.family}]
    plan = {
        "family": {"name": table.family, "attributes": attributes},
        "measured": [{"attributes": [attribute.name], "sigma": 4.0}],
        "detail": {"requests": requests},
    }
    counts = {(attribute.name,): np.arange(len(attribute.categories), dtype=np.int64) - 1}
    return NoisyCounts(json.dumps(plan).encode(), counts)


def _record_with(record: Mapping[str, Any], tables: OnRequest) -> dict[str, Any]:
    """Return the privacy record with the measurements on request, all charged the same."""
    found = copy.deepcopy(dict(record))
    for each, counts in tables.noisy_counts.items():
        own = next(f for f in found["families"] if (f["cohort"], f["family"]) == (each.cohort, each.family))
        names = [request["definition"]["name"] for request in json.loads(counts.plan)["detail"]["requests"]]
        found["families"].append(
            own
            | _build_parameters(_RHO)
            | {"plan_sha256": hashlib.sha256(counts.plan).hexdigest(), "measured_in": each.release, "tables": names}
        )
    for entry in found["cohorts"]:
        entry["measured_in"] = BASE if entry["cohort"] == COHORT else entry["measured_in"]
        own = [family for family in found["families"] if family["cohort"] == entry["cohort"]]
        spent = {
            account["unit"]: math.fsum(each["rho"] for each in own if each["charged_to"] == account["unit"])
            for account in entry["accounts"]
        }
        for account in entry["accounts"]:
            account["privacy_parameters"] = _build_parameters(spent[account["unit"]])
        entry["privacy_parameters"] = _build_parameters(spent["child"])
        entry["joint_parameters"] = _build_parameters(math.fsum(spent.values()))
    largest = max(found["cohorts"], key=lambda entry: float(entry["privacy_parameters"]["rho"]))
    return found | {name: largest[name] for name in ("privacy_parameters", "joint_parameters")}


def _build_parameters(rho: float) -> dict[str, float]:
    epsilon = math.ceil(compute_epsilon(rho, _DELTA) * 1e4) / 1e4
    return {"rho": rho, "epsilon": epsilon, "delta": PARAMETERS["pupil"]["delta"]}


def build_asked_table(
    request: RequestedTable, status: Status = Status.ANSWERED, reason: str = "", rho: float | None = None
) -> AskedTable:
    """Return a table as recorded in the register of requests; `rho` is what it cost in its one cohort."""
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
        rho={} if rho is None else {COHORT: rho},
    )


ASKED = (
    build_asked_table(SEN, rho=0.02),
    build_asked_table(REVIEWS, rho=0.0),
    build_asked_table(
        build_requested({**SEN_BY_MEALS, "name": "sen_alone", "title": "SEN & nothing else"}), Status.ASKED
    ),
    build_asked_table(
        build_requested({**REVIEWED, "name": "reviewed_again"}, "health"),
        Status.REFUSED,
        "It asks what reviewed_by_sex says, of fewer children than can be shown",
    ),
)
BUDGETS = (Budget(COHORT, "child", 0.5, 0.235, 0.265), Budget(COHORT, "response", 0.2, 0.15, 0.05))

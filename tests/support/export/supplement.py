"""A release with made-up figures and tables on request: some measured later, one that needed no measurement."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.facts.noisy_counts import NoisyCounts
from ndl_export.facts.on_request import Further, OnRequest, RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts
from ndl_export.tables import FAMILIES, TABLES
from ndl_export.tables.definition import read_definition
from ndl_export.tables.schema import ColumnRole, get_column_name
from privacy.release.mechanism import compute_epsilon
from sources.reference.places import PILOT
from tests.support.export.fake_release import COHORT, EARLIER, PARAMETERS, fake_facts

BASE = "2026.11.0"
"""The release whose noisy counts the supplement uses again."""
SUPPLEMENT = "2026.12.0"
LINKED, WAITS, TOGETHER = "readiness_by_review", "waits_by_need", "barriers_together"
_RHO, _DELTA = 0.02, 1e-6

_DEFINITIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "pupil",
        {
            "name": LINKED,
            "title": "Good level of development: by review and deprivation",
            "description": "Children at a good level of development by the outcome of the review and IMD quintile",
            "columns": [{"attribute": "asq3", "name": "asq3_outcome"}, "imd_quintile"],
            "figure": {"attribute": "gld", "categories": ["Yes"]},
        },
    ),
    (
        "parents",
        {
            "name": WAITS,
            "title": "Long waits by need",
            "description": "Responses that say how long the wait was, by what the child needs",
            "columns": [
                {
                    "attribute": "child_send",
                    "levels": {"Yes or being assessed": ["Yes", "Being assessed"], "No": ["No"]},
                },
                {
                    "attribute": "sought_support",
                    "levels": {"Got it or waits": ["Got it", "Still waiting"]},
                    "total": False,
                },
            ],
            "figure": {
                "attribute": "wait_band",
                "categories": ["Over 18 weeks"],
                "name": "long_wait",
                "label": "of a wait of over 18 weeks",
            },
        },
    ),
    (
        "parents",
        {
            "name": TOGETHER,
            "title": "Barriers for all councils together",
            "description": "Responses by the main barrier",
            "columns": ["main_barrier"],
            "geography": "all_councils_together",
        },
    ),
)


def requested_tables(cohorts: Sequence[str] = (EARLIER, COHORT)) -> tuple[RequestedTable, ...]:
    """Return a table of linked children in all `cohorts`, one of responses in the newest, and one of all councils
    together, for which nothing was measured."""
    asked = ("A university", "2026-11-20", "To see whether reviews tell readiness apart in deprived areas")
    return tuple(
        RequestedTable(
            read_definition(definition), family, tuple(cohorts) if family == "pupil" else (COHORT,), SUPPLEMENT, *asked
        )
        for family, definition in _DEFINITIONS
    )


def on_request(tables: Sequence[RequestedTable]) -> OnRequest:
    """Return the tables with noisy counts of every cohort for those in which councils have rows."""
    return OnRequest(
        tuple(tables),
        {
            Further(cohort, each.family, SUPPLEMENT): _drawn(each)
            for each in tables
            if each.definition.geography == "councils"
            for cohort in each.cohorts
        },
    )


def supplement_facts(councils: tuple[str, ...] = PILOT, earlier: Mapping[str, str] | None = None) -> ReleaseFacts:
    """Return the facts of a release that reuses the counts of `BASE` and adds the requested tables; `earlier` cohorts
    are added to the newest, each with the release that measured it."""
    earlier = {EARLIER: "2025.11.0"} if earlier is None else earlier
    facts = fake_facts(SUPPLEMENT, councils, earlier=earlier)
    tables = on_request(requested_tables((*earlier, COHORT)))
    return replace(facts, on_request=tables, privacy_record=record_with(facts.privacy_record, tables))


def _drawn(table: RequestedTable) -> NoisyCounts:
    """Return noisy counts of a table; their plan states its purpose, as plans of requests do."""
    attribute = FAMILIES[table.family].attribute(table.definition.columns[0].attribute)
    plan = {
        "family": {
            "name": table.family,
            "attributes": [{"name": attribute.name, "categories": list(attribute.categories)}],
        },
        "measured": [{"attributes": [attribute.name], "sigma": 4.0}],
        "detail": {
            "requests": [{"definition": table.definition.model_dump(mode="json"), "family": table.family}],
        },
    }
    counts = {(attribute.name,): np.arange(len(attribute.categories), dtype=np.int64) - 1}
    return NoisyCounts(json.dumps(plan).encode(), counts)


def record_with(record: Mapping[str, Any], tables: OnRequest) -> dict[str, Any]:
    """Return the privacy record with the measurements on request, all charged the same."""
    found = copy.deepcopy(dict(record))
    for each, counts in tables.noisy_counts.items():
        own = next(f for f in found["families"] if (f["cohort"], f["family"]) == (each.cohort, each.family))
        names = [request["definition"]["name"] for request in json.loads(counts.plan)["detail"]["requests"]]
        found["families"].append(
            own
            | parameters(_RHO)
            | {"plan_sha256": hashlib.sha256(counts.plan).hexdigest(), "measured_in": each.release, "tables": names}
        )
    for entry in found["cohorts"]:
        entry["measured_in"] = BASE if entry["cohort"] == COHORT else entry["measured_in"]
        spent = {
            account["unit"]: math.fsum(
                family["rho"]
                for family in found["families"]
                if (family["cohort"], family["charged_to"]) == (entry["cohort"], account["unit"])
            )
            for account in entry["accounts"]
        }
        for account in entry["accounts"]:
            account["privacy_parameters"] = parameters(spent[account["unit"]])
        entry["privacy_parameters"] = parameters(spent["child"])
        entry["joint_parameters"] = parameters(math.fsum(spent.values()))
    largest = max(found["cohorts"], key=lambda entry: float(entry["privacy_parameters"]["rho"]))
    return found | {name: largest[name] for name in ("privacy_parameters", "joint_parameters")}


def parameters(rho: float) -> dict[str, float]:
    """Return privacy parameters as in a statement."""
    return {
        "rho": rho,
        "epsilon": math.ceil(compute_epsilon(rho, _DELTA) * 1e4) / 1e4,
        "delta": PARAMETERS["pupil"]["delta"],
    }


def narrowed(tables: Mapping[str, pa.Table], family: str, by: float) -> dict[str, pa.Table]:
    """Return the tables with a family's intervals narrowed by the factor `by`: 0.5 halves the distance of both ends."""
    found = {}
    for name, data in tables.items():
        for measure in TABLES[name].measures if name in TABLES and TABLES[name].family == family else ():
            value = data[get_column_name(measure, ColumnRole.ESTIMATE if measure.is_count else ColumnRole.FIGURE)]
            for role in (ColumnRole.LOWER, ColumnRole.UPPER):
                column = get_column_name(measure, role)
                end = pc.add(value, pc.multiply(pc.subtract(data[column], value), by))
                place = data.column_names.index(column)
                data = data.set_column(place, data.field(place), pc.coalesce(end, data[column]))
        found[name] = data
    return found

"""B. With zero noise, one child in the raw extracts changes each measured marginal by at most 1 in L2, and all of them
together by at most rho, both for a release's own tables and for tables on request.

The raw extracts differ by one child, and are processed by the real intake, linkage and derivation.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from assets.intake.ingest import Intake
from assets.linkage.children import build_confidential_tables
from assets.linkage.inputs import list_extract_paths
from assets.linkage.link import link_cohort
from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release.child_table import count_cells
from privacy.release.mechanism import compute_charge, measure
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from sources.contracts import CONTRACTS
from sources.extract.landing import find
from sources.reference.code_lists import DOMAINS, QUESTIONS
from sources.reference.cohorts import Cohort
from tests.support.extracts import COHORT, build_row, make_nhs_number, make_upn, prepend
from tests.support.independent import GOALS, write_extracts
from tests.support.release.doubles import NoNoise
from tests.support.release.requests import make_further_plans

COUNCILS = ("leeds", "sefton")

Row = Mapping[str, Any] | Iterable[tuple[str, Any]]
Rows = tuple[tuple[str, str, Row], ...]
"""(council, source, row): rows that one child adds to the extracts."""

_PERSON = {
    "surname": "Quennell",
    "forename": "Ottoline",
    "sex": "F",
    "date_of_birth": "2020-03-07",
    "postcode": "LS6 3QS",
}
_PROFILE = build_row("eyfsp", _PERSON, upn=make_upn(811_111_111_111))
_ELSEWHERE = _PROFILE | {"la_code": "343"}
_CENSUS = build_row("school_census", _PERSON, upn=_PROFILE["upn"], fsm_eligible="Y")
_SETTING = build_row("early_years_census", _PERSON, entitlement="2YO", progress_check_outcome="concern")
_REVIEW = build_row(
    "hv_reviews",
    _PERSON,
    dict.fromkeys(DOMAINS, "60") | {"asq3_communication": "10", "concern": "Y"},
    local_patient_id="P-Q",
    nhs_number=str(make_nhs_number(811_112)),
)
_RESPONSE = build_row("parent_experience", dict.fromkeys(QUESTIONS, ""), response_id="999999", child_age_band="5") | {
    "main_barrier": "9"
}

CHILDREN: Mapping[str, Rows] = {
    "in every source": (
        ("leeds", "eyfsp", _PROFILE),
        ("leeds", "school_census", _CENSUS),
        ("leeds", "early_years_census", _SETTING),
        ("leeds", "hv_reviews", _REVIEW),
    ),
    "duplicate rows": (
        ("leeds", "eyfsp", _PROFILE),
        ("leeds", "eyfsp", _PROFILE | {"mat_e11": "1"}),
        ("leeds", "eyfsp", _PROFILE | dict.fromkeys(GOALS, "A")),
        ("leeds", "school_census", _CENSUS),
        ("leeds", "school_census", _CENSUS | {"fsm_eligible": "N", "ethnicity": "APKN"}),
        ("leeds", "early_years_census", _SETTING),
        ("leeds", "early_years_census", _SETTING | {"entitlement": "UNI"}),
    ),
    "three reviews": (
        ("leeds", "eyfsp", _PROFILE),
        ("leeds", "hv_reviews", _REVIEW),
        ("leeds", "hv_reviews", _REVIEW | {"review_date": "2022-05-03", "asq3_communication": "60"}),
        ("leeds", "hv_reviews", _REVIEW | {"review_date": "2022-06-04", "asq3_communication": ""}),
    ),
    "two councils": (
        ("leeds", "eyfsp", _PROFILE),
        ("sefton", "eyfsp", _ELSEWHERE),
        ("leeds", "school_census", _CENSUS),
        ("sefton", "school_census", _CENSUS | {"fsm_eligible": "N"}),
        ("leeds", "hv_reviews", _REVIEW),
        ("sefton", "hv_reviews", _REVIEW | {"local_patient_id": "Q-2"}),
    ),
    "unknown codes": (
        ("leeds", "eyfsp", _PROFILE),
        ("leeds", "eyfsp", _PROFILE | {"sex": "X"}),
        ("leeds", "school_census", _CENSUS | {"ethnicity": "ZZZZ", "fsm_eligible": "?", "sen_provision": "Q"}),
        ("leeds", "hv_reviews", _REVIEW | {"asq3_months": "99", "concern": "maybe"}),
        ("leeds", "early_years_census", _SETTING | {"entitlement": "??", "progress_check_outcome": "??"}),
    ),
    "a response": (("leeds", "parent_experience", _RESPONSE),),
}
"""Rows that one child, or one parent, may add to the councils' extracts."""

_SOUND = ("in every source", "duplicate rows", "three reviews", "two councils")

WORST: Rows = (
    *dict.fromkeys(
        (council, source, tuple(values.items())) for name in _SOUND for council, source, values in CHILDREN[name]
    ),
)
"""All valid rows of one child together."""


@dataclass(frozen=True)
class Neighbours:
    """A home with ingested and linked extracts of about a hundred children, and one with one child's rows added."""

    without: Home
    with_child: Home

    @classmethod
    def in_folder(cls, folder: Path) -> Neighbours:
        return cls(Home(folder / "home"), Home(folder / "home_with_child"))


def neighbours(folder: Path, rows: Rows, *, children: int = 120) -> Neighbours:
    """Ingest and link both homes; the child's rows come first in each of its extracts."""
    keys = KeyRing.create(folder / "keys", demonstration=True)
    write_extracts(folder / "landing", children=children, seed=11, councils=COUNCILS)
    made = Neighbours.in_folder(folder)
    _take_in(folder / "landing", made.without, keys)
    shutil.copytree(made.without.root, made.with_child.root)  # unchanged extracts are not ingested again
    for council, source, values in rows:
        prepend(folder / "landing" / council / source / f"{COHORT}.csv", dict(values))
    _take_in(folder / "landing", made.with_child, keys)
    return made


def _take_in(landing: Path, home: Home, keys: KeyRing) -> None:
    intake = Intake(landing, home, keys)
    for source in CONTRACTS:
        landed = [found for council in COUNCILS if (found := find(landing, council, source, COHORT))]
        for outcome in intake.ingest_all(landed):
            if isinstance(outcome, Exception):
                raise outcome
    link_cohort(home.get_cohort(COHORT), COUNCILS, keys)


def check_sensitivity(neighbours: Neighbours, moved: tuple[str, ...] = ("pupil",)) -> None:
    """Raise AssertionError if a child changes more than is charged for, or nothing in a family of `moved`."""
    policy, on_request = load_policy(), make_further_plans(COUNCILS)
    with tempfile.TemporaryDirectory() as folder:
        tables = [_tables(home, Path(folder) / home.root.name) for home in (neighbours.without, neighbours.with_child)]
        for family in FAMILIES:
            plan = plan_family(family, COUNCILS, policy)
            assert plan.rho == policy.get_rho(family)
            for each in (plan, *([on_request[family]] if family in on_request else [])):
                _check(each, [table[family] for table in tables], family in moved)


def _check(plan: Plan, tables: list[Path], moved: bool) -> None:
    family = plan.family.name
    here, there = (measure(plan, count_cells(table, plan), NoNoise()) for table in tables)
    moved_by = {names: here.noisy[names] - there.noisy[names] for names in plan.sigmas}
    distances = {names: math.sqrt(int((difference**2).sum())) for names, difference in moved_by.items()}
    worst = max(distances, key=lambda names: distances[names])
    assert distances[worst] <= 1, f"{family} over {worst} moves by {distances[worst]:.3f} in L2"
    cost = math.fsum(d**2 / (2 * plan.sigmas[names] ** 2) for names, d in distances.items())
    assert cost <= compute_charge(plan) <= plan.rho
    assert (distances[worst] == 1) == moved, f"{family}: the planted child is misplaced"


def _tables(home: Home, folder: Path) -> dict[str, Path]:
    """Derive the confidential tables and return their paths."""
    store = home.get_cohort(COHORT)
    folder.mkdir()
    tables = {family: folder / f"{family}.parquet" for family in FAMILIES}
    extracts = {source: list_extract_paths(store, source, COUNCILS) for source in CONTRACTS}
    build_confidential_tables(Cohort(COHORT), store.links, store.agreement, extracts, tables)
    return tables

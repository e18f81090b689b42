"""Raw extracts that differ by one child, through the real intake, linkage and derivation."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from assets.intake.take_in import Intake
from assets.linkage.link import link_cohort
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.extract.landed import find
from tests.support.independent import GOALS, nhs_number, upn, write_extracts

COHORT = "202425"
COUNCILS = ("leeds", "sefton")

Row = Mapping[str, Any] | Iterable[tuple[str, Any]]
Rows = tuple[tuple[str, str, Row], ...]
"""(council, source, row): what one child adds to the extracts."""

_PERSON = {
    "surname": "Quennell",
    "forename": "Ottoline",
    "sex": "F",
    "date_of_birth": "2020-03-07",
    "postcode": "LS6 3QS",
}
_PROFILE = (
    {"la_code": "383", "estab": "2001", "urn": "100001", "academic_year": COHORT, "upn": upn(811_111_111_111)}
    | _PERSON
    | dict.fromkeys(GOALS, "2")
)
_ELSEWHERE = _PROFILE | {"la_code": "343"}
_CENSUS = {"upn": _PROFILE["upn"], **_PERSON, "ethnicity": "WBRI", "fsm_eligible": "Y", "sen_provision": "N"} | {
    "first_language": "ENG"
}
_SETTING = {"setting_urn": "EY1", **_PERSON, "ethnicity": "WBRI", "entitlement": "2YO", "funded_hours": "15"} | {
    "eypp": "N",
    "sen_provision": "N",
    "progress_check_date": "2022-03-01",
    "progress_check_outcome": "concern",
}
_REVIEW = {"local_patient_id": "P-Q", "nhs_number": nhs_number(811_112), "nhs_number_status": "01", **_PERSON} | {
    "review": "2-2.5Y",
    "review_date": "2022-04-02",
    "asq3_months": "27",
    "asq3_communication": "10",
    "asq3_gross_motor": "60",
    "asq3_fine_motor": "60",
    "asq3_problem_solving": "60",
    "asq3_personal_social": "60",
    "asq_se2_score": "20",
    "concern": "Y",
    "referral": "N",
}
_RESPONSE = {"response_id": "999999", "wave": "1", "respondent_role": "1", "child_age_band": "5"} | {
    "fsm_or_funded": "1",
    "main_barrier": "9",
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
"""What one child, or one parent, may add to what councils send."""

_SOUND = ("in every source", "duplicate rows", "three reviews", "two councils")

WORST: Rows = (
    *dict.fromkeys((council, source, tuple(row.items())) for name in _SOUND for council, source, row in CHILDREN[name]),
)
"""All of that of one child at once."""


@dataclass(frozen=True)
class Neighbours:
    """A home with the extracts of some hundred children taken in and linked, and one with a child's rows besides."""

    without: Home
    with_child: Home


def neighbours(folder: Path, rows: Rows, *, children: int = 120) -> Neighbours:
    """Both, through intake and linkage; the child's rows are the first of each of its extracts."""
    keys = KeyRing.create(folder / "keys")
    write_extracts(folder / "landing", children=children, seed=11, councils=COUNCILS)
    without, with_child = Home(folder / "home"), Home(folder / "home_with_child")
    _take_in(folder / "landing", without, keys)
    shutil.copytree(without.root, with_child.root)  # what is unchanged is not taken in again
    for council, source, row in rows:
        _insert(folder / "landing" / council / source / f"{COHORT}.csv", dict(row))
    _take_in(folder / "landing", with_child, keys)
    return Neighbours(without, with_child)


def _insert(path: Path, row: dict[str, Any]) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        there, header = list(reader), reader.fieldnames or ()
    assert set(row) <= set(header), sorted(set(row) - set(header))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows([row, *there])


def _take_in(landing: Path, home: Home, keys: KeyRing) -> None:
    intake = Intake(landing, home, keys)
    for source in CONTRACTS:
        landed = [found for council in COUNCILS if (found := find(landing, council, source, COHORT))]
        for outcome in intake.take_in_all(landed):
            if isinstance(outcome, Exception):
                raise outcome
    link_cohort(home, COHORT, COUNCILS)

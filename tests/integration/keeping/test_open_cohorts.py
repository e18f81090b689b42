"""A child of cohorts that are still open: a wrong date of birth, its correction, and deliveries that come later."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.intake.deliveries import ExtractQuality
from assets.intake.suppressions import read_objections
from assets.keeping.forgetting import ExtractRows, Forgotten, find_rows, find_rows_by_pseudonym, forget
from assets.linkage.link import link_cohort
from sources.extract.landed import find
from tests.support.extracts import nhs_number, text
from tests.support.intake.desk import REVIEW_ROW, Desk, desk, keys
from tests.support.intake.numbered import numbered

__all__ = ["desk", "keys"]

BEFORE, RIGHT, AFTER = "202930", "203031", "203132"
WRONG_BIRTH, BIRTH = "2025-08-30", "2025-09-30"
NUMBER, *NUMBERS = filter(None, map(nhs_number, range(200_000, 200_010)))
CHILD = {"surname": "Zzyzxwick", "forename": "Quixolinda", "nhs_number": NUMBER, "nhs_number_status": "01"}
VISIT = {"review": "NBV", "review_date": "2025-10-09", "asq3_months": "", "asq3_communication": ""}
OTHERS = [{"surname": f"Other{n}", "forename": f"Child{n}", "nhs_number": n} for n in NUMBERS]


def deliver(desk: Desk, council: str, cohort: str, birth: str, *children: dict[str, str]) -> ExtractQuality:
    """Take in reviews of other children, born in the same month, and of the given ones."""
    path = desk.landing / council / "hv_reviews" / f"{cohort}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [REVIEW_ROW | VISIT | {"date_of_birth": birth} | change for change in (*OTHERS, *children)]
    path.write_text(text(rows, list(REVIEW_ROW)))
    landed = find(desk.landing, council, "hv_reviews", cohort)
    assert landed
    return desk.intake.ingest(landed)


def held(home: Home, desk: Desk, council: str, cohort: str) -> int:
    return len(numbered(home, desk.keys, "hv_reviews", council, cohort))


@pytest.fixture
def open_cohorts(desk: Desk) -> Desk:
    """Leeds sent the child with a wrong date of birth, then with the right one; Halton without an NHS number."""
    deliver(desk, "leeds", BEFORE, WRONG_BIRTH, CHILD)
    deliver(desk, "leeds", RIGHT, BIRTH, CHILD)
    deliver(desk, "halton", RIGHT, BIRTH, CHILD | {"nhs_number": "", "nhs_number_status": ""})
    for cohort in (BEFORE, RIGHT):
        link_cohort(desk.home.cohort(cohort), ["leeds", "halton"], desk.keys)
    return desk


def found_in(found: Forgotten) -> set[tuple[str, str]]:
    assert all(extract.rows == (len(OTHERS) + 1,) for extract in found.extracts)
    return {(extract.cohort, extract.council) for extract in found.extracts}


EVERYWHERE = {(BEFORE, "leeds"), (RIGHT, "leeds"), (RIGHT, "halton")}


@pytest.mark.parametrize("cohort", [BEFORE, RIGHT])
def test_a_request_reaches_every_open_cohort(open_cohorts: Desk, cohort: str) -> None:
    desk = open_cohorts
    row = len(OTHERS) + 1
    store = desk.home.extract("hv_reviews", cohort, "leeds")
    assert found_in(find_rows(store, [row], desk.keys, linked=False)) == {(cohort, "leeds")}
    found = find_rows(store, [row], desk.keys, linked=True)
    assert found_in(found) == EVERYWHERE
    token = numbered(desk.home, desk.keys, "hv_reviews", "leeds", cohort)["t_nhs"][row - 1].as_py()
    assert found_in(find_rows_by_pseudonym(desk.home, str(token), cohort, desk.keys)) == EVERYWHERE
    forget(desk.home, found, desk.keys)
    assert {held(desk.home, desk, council, code) for code, council in EVERYWHERE} == {len(OTHERS)}


def test_later_deliveries_of_every_cohort_come_in_without_a_child_who_objects(open_cohorts: Desk) -> None:
    desk = open_cohorts
    store = desk.home.extract("hv_reviews", BEFORE, "leeds")
    forget(desk.home, find_rows(store, [len(OTHERS) + 1], desk.keys, linked=True), desk.keys, objection=True)
    assert {objection.cohort for objection in read_objections(desk.home)} == {BEFORE, RIGHT}
    sefton = deliver(desk, "sefton", RIGHT, BIRTH, CHILD | {"postcode": "LS2 9JT"})
    leeds = deliver(
        desk, "leeds", RIGHT, BIRTH, CHILD | {"nhs_number": "", "nhs_number_status": ""}, {"surname": "New"}
    )
    later = deliver(desk, "wirral", AFTER, "2026-09-30", CHILD)
    assert [quality.rows_kept for quality in (sefton, leeds, later)] == [len(OTHERS), len(OTHERS) + 1, len(OTHERS)]
    # kept for as long as the cohort in which the child was met later
    assert {objection.cohort for objection in read_objections(desk.home)} == {BEFORE, RIGHT, AFTER}
    (one,) = {objection.id for objection in read_objections(desk.home)}
    assert one

"""A child of cohorts that are still open: a wrong date of birth, its correction, and deliveries that come later."""

import datetime as dt
import shutil
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.home.processing_log import Processing, verify
from assets.home.retention_policy import get_retention
from assets.intake.deliveries import ExtractQuality
from assets.intake.suppressions import read_objections
from assets.keeping.finding import Forgotten, find_rows, find_rows_by_pseudonym
from assets.keeping.forgetting import forget
from assets.keeping.retention import expire, find_due_items
from assets.linkage.link import link_cohort
from privacy.keys import KeyRing
from sources.extract.landing import find
from sources.reference.cohorts import Cohort
from tests.support.daily import mark_slow_after
from tests.support.extracts import format_rows, make_nhs_number
from tests.support.intake.desk import REVIEW_ROW, Desk, make_desk, open_desk
from tests.support.intake.numbered import read_numbered

pytestmark = pytest.mark.usefixtures("at_usual_moment")

BEFORE, RIGHT, AFTER = "202930", "203031", "203132"
WRONG_BIRTH, BIRTH = "2025-08-30", "2025-09-30"
NUMBER, *NUMBERS = filter(None, map(make_nhs_number, range(200_000, 200_010)))
CHILD = {"surname": "Zzyzxwick", "forename": "Quixolinda", "nhs_number": NUMBER, "nhs_number_status": "01"}
VISIT = {"review": "NBV", "review_date": "2025-10-09", "asq3_months": "", "asq3_communication": ""}
OTHERS = [
    {"surname": f"Other{n}", "forename": f"Child{n}", "nhs_number": n, "review": "2-2.5Y", "review_date": "2028-03-09"}
    for n in NUMBERS
]


def deliver(desk: Desk, council: str, cohort: str, birth: str, *children: dict[str, str]) -> ExtractQuality:
    """Take in reviews of other children, born on the same day, and of the given ones."""
    path = desk.landing / council / "hv_reviews" / f"{cohort}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [REVIEW_ROW | VISIT | {"date_of_birth": birth} | change for change in (*OTHERS, *children)]
    path.write_text(format_rows(rows, list(REVIEW_ROW)))
    return desk.intake.ingest(find(desk.landing, council, "hv_reviews", cohort))


def held(home: Home, desk: Desk, council: str, cohort: str) -> int:
    return len(read_numbered(home, desk.keys, "hv_reviews", council, cohort))


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory, keys: KeyRing) -> Path:
    """Leeds sent the child with a wrong date of birth, then with the right one; Halton without an NHS number."""
    folder = tmp_path_factory.mktemp("linked")
    desk = make_desk(folder, keys)
    deliver(desk, "leeds", BEFORE, WRONG_BIRTH, CHILD)
    deliver(desk, "leeds", RIGHT, BIRTH, CHILD)
    deliver(desk, "halton", RIGHT, BIRTH, CHILD | {"nhs_number": "", "nhs_number_status": ""})
    for cohort in (BEFORE, RIGHT):
        link_cohort(desk.home.get_cohort(cohort), ["leeds", "halton"], desk.keys)
    return folder


@pytest.fixture
def open_cohorts(linked: Path, tmp_path: Path, keys: KeyRing) -> Desk:
    return open_desk(shutil.copytree(linked, tmp_path / "copy", symlinks=True), keys)


def found_in(found: Forgotten) -> set[tuple[str, str]]:
    assert all(extract.rows == (len(OTHERS) + 1,) for extract in found.extracts)
    return {(extract.cohort, extract.council) for extract in found.extracts}


EVERYWHERE = {(BEFORE, "leeds"), (RIGHT, "leeds"), (RIGHT, "halton")}


@pytest.mark.parametrize("cohort", mark_slow_after(1, [BEFORE, RIGHT]))
def test_a_request_reaches_every_open_cohort(open_cohorts: Desk, cohort: str) -> None:
    desk = open_cohorts
    row = len(OTHERS) + 1
    store = desk.home.get_extract("hv_reviews", cohort, "leeds")
    assert found_in(find_rows(store, [row], desk.keys, linked=False)) == {(cohort, "leeds")}
    found = find_rows(store, [row], desk.keys, linked=True)
    assert found_in(found) == EVERYWHERE
    token = read_numbered(desk.home, desk.keys, "hv_reviews", "leeds", cohort)["t_nhs"][row - 1].as_py()
    assert found_in(find_rows_by_pseudonym(desk.home, str(token), cohort, desk.keys)) == EVERYWHERE
    forget(desk.home, found, desk.keys)
    assert {held(desk.home, desk, council, code) for code, council in EVERYWHERE} == {len(OTHERS)}


def test_later_deliveries_of_every_cohort_come_in_without_a_child_who_objects(open_cohorts: Desk) -> None:
    desk = open_cohorts
    store = desk.home.get_extract("hv_reviews", BEFORE, "leeds")
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


def test_a_child_who_can_be_in_no_table_is_removed_a_year_after_reception(open_cohorts: Desk) -> None:
    """The others have a two-year review, which is in tables of reviews."""
    desk = open_cohorts
    at = dt.datetime(2032, 9, 1, tzinfo=dt.UTC)
    stand_in_for_profile(desk.home, RIGHT)
    assert not find_due_items(desk.home, None, desk.keys, at - dt.timedelta(1)).children
    assert not find_due_items(desk.home, None, None, at).children  # rows are recognised by keys
    (child,) = find_due_items(desk.home, None, desk.keys, at).children
    assert found_in(child) == {(RIGHT, "leeds"), (RIGHT, "halton")}
    expire(desk.home, None, desk.keys, at)
    assert {held(desk.home, desk, council, RIGHT) for council in ("leeds", "halton")} == {len(OTHERS)}
    assert not find_due_items(desk.home, None, desk.keys, at).children
    assert "children in no table" in {entry.note for entry in verify(desk.home) if entry.what == Processing.EXPIRY}
    # the same file does not bring the child back; another is linked first, because row keys of the links are not its
    assert deliver(desk, "leeds", RIGHT, BIRTH, CHILD).rows_kept == len(OTHERS)
    deliver(desk, "leeds", RIGHT, BIRTH, CHILD | {"postcode": "LS2 9JT"})
    assert not find_due_items(desk.home, None, desk.keys, at).children


def stand_in_for_profile(home: Home, cohort: str) -> Path:
    profile = home.get_extract("eyfsp", cohort, "sefton").tokens
    profile.parent.mkdir(parents=True)
    profile.write_bytes(b"tokens of a Profile")
    return profile


def due(home: Home, at: dt.datetime) -> set[str]:
    """Return the cohorts with anything due besides the quarantine."""
    found = find_due_items(home, None, None, at).held
    return {entry.cohort for entry in found if entry.what != "quarantine"}


def test_a_cohort_without_a_profile_ends_a_year_after_reception(open_cohorts: Desk) -> None:
    desk, at = open_cohorts, dt.datetime(2031, 9, 1, tzinfo=dt.UTC)
    profile = stand_in_for_profile(desk.home, BEFORE)
    assert due(desk.home, at) == set()  # its Profile came
    profile.unlink()
    profile.parent.rmdir()
    assert due(desk.home, at - dt.timedelta(1)) == set()
    assert due(desk.home, at) == {BEFORE}
    child = find_rows(desk.home.get_extract("hv_reviews", BEFORE, "leeds"), [len(OTHERS) + 1], desk.keys, linked=True)
    forget(desk.home, child, desk.keys, objection=True)
    expire(desk.home, None, None, at)
    assert {extract.cohort for extract in desk.home.iter_extracts("pseudonymised", "parquet")} == {RIGHT}
    # more files of the cohort may come, and the same ones again
    assert {objection.cohort for objection in read_objections(desk.home)} == {BEFORE, RIGHT}
    assert desk.home.get_extract("hv_reviews", BEFORE, "leeds").forgotten.exists()


def test_a_late_delivery_is_kept_as_long_again_but_no_longer_than_any_cohort() -> None:
    policy, cohort = get_retention(), Cohort(BEFORE)
    assert policy.compute_unpublished_end(cohort, dt.date(2026, 11, 29)) == dt.date(2031, 9, 1)
    assert policy.compute_unpublished_end(cohort, dt.date(2032, 1, 10)) == dt.date(2033, 1, 10)
    assert (
        policy.compute_unpublished_end(cohort, dt.date(2036, 8, 1)) == policy.compute_end(cohort) == dt.date(2036, 9, 1)
    )

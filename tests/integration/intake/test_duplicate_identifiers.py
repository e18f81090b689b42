"""A number that a sender gives to many children: its rows are noted; from a share of the rows on, a release waits."""

import numpy as np
import pyarrow as pa
import pytest

from assets.pseudonymise.findings import find_shared_numbers
from privacy.services import MAX_CHILDREN_A_NUMBER
from sources.contracts.extract_rules import MAX_SHARE_OF_MANY, NUMBER_OF_MANY
from sources.contracts.people import OF_MANY
from sources.extract.table import SOURCE_ROW
from tests.support.extracts import COHORT, build_row, format_rows, make_nhs_number, make_upn
from tests.support.intake.desk import Desk

OWN = {
    "upn": [make_upn(number) for number in range(1, 900)],
    "nhs_number": [number for each in range(1, 999) if (number := make_nhs_number(each))],
    "local_patient_id": [f"P{number}" for number in range(900)],
}
NAMES = [f"Amelia{one}{other}" for one in "abcdefghijklmnopqrstuvwxyz" for other in "abcdefghijklmnopqrstuvwxyz"]


def extract(source: str, number: str, rows: int, shared: int) -> bytes:
    """An extract of different children, the first of whom share one number."""
    own = OWN[number]
    numbers = [own[max(each, shared - 1)] for each in range(rows)]
    each = [build_row(source) | {"forename": name, number: of} for name, of in zip(NAMES, numbers, strict=False)]
    return format_rows(each).encode()


@pytest.mark.parametrize(
    ("source", "number"),
    [
        ("hv_reviews", "nhs_number"),
        ("hv_reviews", "local_patient_id"),
        ("eyfsp", "upn"),
        ("eyfsp", "nhs_number"),
        ("school_census", "upn"),
        ("early_years_census", "nhs_number"),
    ],
)
def test_one_number_on_all_rows_is_reported_and_holds_a_release(desk: Desk, source: str, number: str) -> None:
    desk.land(extract(source, number, 40, 40), source)
    quality = desk.take(source)
    counted = {count.rule: count for count in quality.rules}
    assert counted[OF_MANY[number].id].rows == 40
    assert "upn-of-two-children" not in counted
    assert NUMBER_OF_MANY.id in {finding.rule for finding in quality.holds}
    page = (desk.home.get_cohort(COHORT).get_reports_folder("leeds") / f"{source}.html").read_text(encoding="utf-8")
    assert "many children" in page
    assert OWN[number][40] not in page


@pytest.mark.parametrize(("shared", "is_told", "is_held"), [(6, False, False), (15, True, False), (30, True, True)])
def test_a_share_of_the_rows_decides_what_happens(desk: Desk, shared: int, is_told: bool, is_held: bool) -> None:
    desk.land(extract("hv_reviews", "nhs_number", 400, shared), "hv_reviews")
    quality = desk.take("hv_reviews")
    told = {count.rule: count.rows for count in quality.rules}.get(OF_MANY["nhs_number"].id, 0)
    assert told == (shared if is_told else 0)
    assert (NUMBER_OF_MANY.id in {finding.rule for finding in quality.holds}) == is_held
    assert 15 / 400 < MAX_SHARE_OF_MANY < 30 / 400


def test_a_number_written_in_groups_is_the_same_number(desk: Desk) -> None:
    number = OWN["nhs_number"][0]
    written = [number, f"{number[:3]} {number[3:6]} {number[6:]}", f"{number[:3]}-{number[3:6]}-{number[6:]}"]
    rows = [build_row("hv_reviews", forename=name, nhs_number=written[at % 3]) for at, name in enumerate(NAMES[:9])]
    desk.land(format_rows(rows).encode(), "hv_reviews")
    counted = {count.rule: count.rows for count in desk.take("hv_reviews").rules}
    assert counted[OF_MANY["nhs_number"].id] == 9


def test_rows_of_one_number_are_found_wherever_they_are() -> None:
    """Number 7 has one child too many, number 8 as many as may be, and number 9 many rows of one child."""
    each = [(7, child) for child in range(MAX_CHILDREN_A_NUMBER + 1)]
    each += [(8, child) for child in range(MAX_CHILDREN_A_NUMBER)] + [(9, 0)] * 20
    mixed = np.random.default_rng(3).permutation(len(each))
    numbers, children = (np.array(values, np.uint64)[mixed] for values in zip(*each, strict=True))
    table = pa.table(
        {
            "nhs_number_hash": numbers,
            "nhs_number_child_hash": 100 * numbers + children + np.uint64(1),
            SOURCE_ROW: np.arange(len(each)),
        }
    )
    assert {rule.id: list(rows) for rule, rows in find_shared_numbers(table).items()} == {
        OF_MANY["nhs_number"].id: np.flatnonzero(numbers == 7).tolist()
    }

"""Whether a delivery is of the children of an earlier one: what is compared with what, and what cannot be compared."""

from pathlib import Path

import pytest

from assets.intake.ingest import Intake
from assets.linkage.inputs import read_extracts
from assets.linkage.population_overlap import Overlap, read_overlaps, record_overlaps, set_baseline
from privacy.keys import KeyRing
from privacy.services import SERVICES
from tests.support.daily import mark_slow_after
from tests.support.extracts import COHORT, build_row, format_rows, make_upn
from tests.support.intake.desk import Desk

NAME, ROWS = "leeds/eyfsp", 40
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def send(desk: Desk, first: int, changed: str = "") -> Overlap:
    """A delivery of the children numbered from `first`, taken in and noted as the linkage does it."""
    rows = [
        build_row("eyfsp", upn=make_upn(each), surname=f"Thornton{LETTERS[each // 26]}{LETTERS[each % 26]}")
        for each in range(first, first + ROWS)
    ]
    rows[0] |= {"postcode": changed or rows[0]["postcode"]}
    desk.land(format_rows(rows).encode())
    desk.take()
    return noted(desk)


def noted(desk: Desk) -> Overlap:
    store = desk.home.get_cohort(COHORT)
    record_overlaps(store, desk.keys, read_extracts(store, ["leeds"], SERVICES))
    return read_overlaps(store)[NAME]


def is_first(overlap: Overlap) -> bool:
    """Whether it is compared with nothing, so that the next delivery is compared with it."""
    return overlap.compared_with == overlap.file_mac


def test_a_first_delivery_and_a_correction_of_it(desk: Desk) -> None:
    assert is_first(send(desk, 0))
    assert noted(desk) == noted(desk)
    corrected = send(desk, 0, "LS2 9JT")
    assert (is_first(corrected), corrected.shared) == (False, 1.0)


@pytest.mark.parametrize("note_too", mark_slow_after(1, [False, True]))
def test_without_the_samples_a_replacement_is_not_compared(desk: Desk, note_too: bool) -> None:
    send(desk, 0)
    for path in [*desk.home.tokens_zone.rglob("*.sample"), *desk.home.tokens_zone.rglob("*.newest")]:
        path.unlink()
    if note_too:
        desk.home.get_cohort(COHORT).overlaps.unlink()
    other = send(desk, 100)
    assert (is_first(other), other.shared) == (False, None)
    again = send(desk, 100, "LS2 9JT")  # what could not be compared is nothing to compare with
    assert (is_first(again), again.shared) == (False, None)
    set_baseline(desk.home.get_cohort(COHORT))  # people signed it
    assert send(desk, 100, "LS1 4AP").shared == 1.0


def test_under_other_keys_a_replacement_is_not_compared(desk: Desk, tmp_path: Path) -> None:
    send(desk, 0)
    keys = KeyRing.create(tmp_path / "others")
    rotated = Desk(desk.landing, desk.home, Intake(desk.landing, desk.home, keys), keys)
    other = send(rotated, 100)
    assert (is_first(other), other.shared) == (False, None)


def test_a_wrong_file_is_not_compared_with_itself_also_when_it_is_taken_in_anew(desk: Desk) -> None:
    send(desk, 0)
    other = send(desk, 100)
    assert other.shared == 0.0
    desk.home.get_extract("eyfsp", COHORT, "leeds").quality.unlink()
    assert send(desk, 100) == other
    assert send(desk, 100, "LS2 9JT").shared == 0.0
    assert send(desk, 0, "LS2 9JT").shared == 1.0


def test_small_steps_add_up_until_people_sign(desk: Desk) -> None:
    send(desk, 0)
    shares = [send(desk, first).shared for first in (5, 10, 15)]
    assert shares == pytest.approx([35 / 40, 30 / 40, 25 / 40])
    set_baseline(desk.home.get_cohort(COHORT))
    set_baseline(desk.home.get_cohort(COHORT))
    assert send(desk, 20).shared == pytest.approx(35 / 40)

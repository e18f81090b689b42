"""The processing log: whatever is done is there before it is done, and a line that was changed or removed is seen."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.home.paths import Home
from assets.home.processing_log import Processing, record, verify
from assets.linkage.row_numbers import explain_link, parse_row
from privacy.chained_log import LogBroken
from sources.contracts import CONTRACTS
from tests.support.installation.released import COHORT, COUNCILS, Place


def filled(root: Path, lines: int = 4) -> Home:
    home = Home(root)
    for number in range(lines):
        record(home, Processing.LINKAGE, cohort=COHORT, note=str(number))
    return home


@pytest.mark.slow
def test_a_run_leaves_a_line_for_everything_and_an_explanation_is_an_access(place: Place) -> None:
    found = verify(place.home)
    taken = {(e.council, e.source) for e in found if e.what == Processing.INTAKE}
    assert len(taken) == len(COUNCILS) * len(CONTRACTS)
    assert {e.what for e in found} == {Processing.INTAKE, Processing.LINKAGE, Processing.MEASUREMENT}
    assert all(e.run_id and e.who and e.software for e in found)
    assert {e.release for e in found if e.what == Processing.MEASUREMENT} == {"2026.11.0"}
    rows = [parse_row(f"{source}/leeds/{place.find_row(f'leeds/{source}')}") for source in ("eyfsp", "hv_reviews")]
    explain_link(place.home.get_cohort(COHORT), *rows, place.keys)
    last = verify(place.home)[-1]
    assert (last.what, last.note) == (Processing.EXPLANATION, "leeds/eyfsp and leeds/hv_reviews")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *((lambda lines, at=at: lines[:at] + lines[at + 1 :], "removed") for at in (0, 1, 3)),
        (lambda lines: [], "removed"),
        (lambda lines: [line.replace('"note": "1"', '"note": "9"') for line in lines], "line 2 was changed"),
    ],
)
def test_a_change_is_seen_and_a_removal_wherever_the_line_was(
    tmp_path: Path, change: Callable[[list[str]], list[str]], said: str
) -> None:
    home = filled(tmp_path)
    lines = home.processing_log.read_text().splitlines(keepends=True)
    home.processing_log.write_text("".join(left := change(lines)))
    with pytest.raises(LogBroken, match=said):
        verify(home)
    if left == lines[:3]:
        with pytest.raises(LogBroken, match="lines at the end were removed"):
            record(home, Processing.LINKAGE, cohort=COHORT)


def test_it_is_its_owners_alone_and_what_a_death_left_of_a_line_is_passed_over(tmp_path: Path) -> None:
    home = filled(tmp_path)
    assert home.processing_log.stat().st_mode & 0o077 == 0
    with home.processing_log.open("a") as file:
        file.write('{"seq": 5, "ti')
    assert [entry.note for entry in verify(home)] == ["0", "1", "2", "3"]
    record(home, Processing.LINKAGE, cohort=COHORT)
    assert [entry.seq for entry in verify(home)] == [1, 2, 3, 4, 5]


def test_a_death_between_line_and_head_is_mended(tmp_path: Path) -> None:
    home = filled(tmp_path)
    head = home.processing_log.with_suffix(".head.json")
    before = head.read_text()
    record(home, Processing.LINKAGE, cohort=COHORT)
    head.write_text(before)
    assert len(verify(home)) == 5
    record(home, Processing.LINKAGE, cohort=COHORT)
    assert len(verify(home)) == 6


@pytest.mark.slow
def test_many_writers_at_once_keep_one_chain(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(filled, [(tmp_path, 10)] * 3)
    assert len(verify(Home(tmp_path))) == 30

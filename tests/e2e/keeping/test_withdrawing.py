"""A part that should never have been sent is taken back: its rows go, and what they replaced counts again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.home.processing_log import read_entries
from assets.home.retention_policy import get_retention
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.multi_cohort_files import SortedFiles
from assets.intake.parts import PartStore
from assets.keeping.retention import expire, shred_taken
from assets.keeping.withdrawing import CannotWithdraw, withdraw
from assets.linkage.link import link_cohort
from pipelines.cli import main
from privacy.keys import KeyProblem, KeyRing
from sources.reference.cohorts import Cohort
from tests.support.extracts import COHORT
from tests.support.intake.in_parts import REASON, Parts, child

pytestmark = pytest.mark.slow

BEFORE = "202324"
BORN_BEFORE = {"date_of_birth": "2019-01-01", "academic_year": BEFORE}


@pytest.fixture
def sent(tmp_path: Path) -> Parts:
    """Parts in landing, and 35 rows expected."""
    made = Parts(tmp_path)
    made.send_thirty_and_ten()
    (made.landing / "reference").mkdir()
    expected = f"council,source,cohort,rows\nleeds,eyfsp,{COHORT},35\n"
    (made.landing / "reference" / "expected_rows.csv").write_text(expected)
    return made


@pytest.fixture
def taken(sent: Parts) -> Parts:
    assert sent.take().rows_kept == 40
    assert sent.sexes.count("M") == 3
    return sent


def test_its_rows_go_and_what_they_replaced_counts_again(taken: Parts) -> None:
    taken.link()
    shred_taken(taken.landing, taken.home, taken.keys)
    with pytest.raises(CannotWithdraw, match="has no part 3: it has 1, 2"):
        taken.withdraw(3)
    (done,), not_linked = taken.withdraw(2)
    assert (done.is_in, not_linked) == (True, [])
    assert taken.sexes == ["F"] * 30
    quality = deliveries.read_current(taken.store)
    assert quality
    assert quality.parts
    assert [(part.number, part.in_force, part.withdrawn) for part in quality.parts.parts] == [
        (2, 0, REASON),
        (1, 30, ""),
    ]
    assert [finding.rule for finding in quality.holds] == ["rows-far-from-last"]
    cohort = taken.store.cohort_store
    assert pq.read_table(cohort.confidential("pupil")).num_rows == 30
    assert REASON in (cohort.reports("leeds") / "eyfsp.html").read_text()
    said = [entry for entry in read_entries(taken.home) if entry.what == "part of an extract withdrawn"]
    assert [entry.note for entry in said] == ["part 2"]
    assert taken.numbers == [1]


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
def test_without_a_reason_that_can_be_repeated_nothing_is_taken_back(taken: Parts, reason: str) -> None:
    with pytest.raises(CannotWithdraw, match="a reason is one line of at most 500 characters: nothing was withdrawn"):
        taken.withdraw(2, reason)
    assert (taken.sexes.count("M"), taken.numbers) == (3, [1, 2])


def test_under_other_keys_nothing_is_begun(taken: Parts, tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="part 2 was read under other keys: give the key set of then"):
        withdraw(taken.landing, taken.store, KeyRing.create(tmp_path / "other"), 2, REASON)
    assert not taken.home.is_removal_unfinished
    assert taken.numbers == [1, 2]
    assert {entry.what for entry in read_entries(taken.home)} == {"extract taken in"}


def test_no_row_of_it_is_left_and_its_file_is_not_read_again(taken: Parts) -> None:
    stored = PartStore(taken.store).files(PartStore(taken.store).held()[0].kept_in)
    taken.withdraw(2)
    for path in (stored.payload, taken.store.pseudonymised):
        assert pq.read_metadata(path).num_rows == 30
    assert not taken.take().failures
    assert taken.sexes == ["F"] * 30
    assert Intake(taken.landing, taken.home, taken.keys).list_needing_intake(COHORT, ["leeds"]) == []
    taken.send("2026-03", child(40))
    assert taken.take().rows_kept == 31
    found = {each.landed.path.name for each in shred_taken(taken.landing, taken.home, taken.keys).ready}
    assert found == {"2026-01.csv", "2026-02.csv", "2026-03.csv"}


def test_where_it_is_the_only_one_nothing_is_in_and_the_next_is_taken(sent: Parts) -> None:
    (sent.landing / "leeds" / "eyfsp" / COHORT / "2026-02.csv").unlink()
    sent.take()
    link_cohort(sent.store.cohort_store, ["leeds"], sent.keys)
    (done,), _ = sent.withdraw(1)
    assert not done.is_in
    assert deliveries.read_current(sent.store) is None
    assert not sent.store.pseudonymised.exists()
    assert not sent.store.cohort_store.links.exists()
    stopped = deliveries.read_stopped(sent.store)
    assert stopped
    assert "every part of it was withdrawn" in stopped.sentence
    sent.send("2026-04", *map(child, range(50, 80)))
    assert sent.take().rows_kept == 30


def test_a_file_of_several_cohorts_is_taken_back_from_all_of_them(taken: Parts) -> None:
    taken.send("2026-05", child(1, **BORN_BEFORE), child(200), child(201, **BORN_BEFORE), folder="")
    assert {code: taken.take(code).rows_kept for code in (COHORT, BEFORE)} == {COHORT: 40, BEFORE: 2}
    done, _ = taken.withdraw(next(part.number for part in PartStore(taken.store).held() if part.of_several))
    assert {(each.store.cohort, each.is_in) for each in done} == {(COHORT, True), (BEFORE, False)}
    quality = deliveries.read_current(taken.store)
    assert quality
    assert quality.rows_kept == 40
    assert taken.take().rows_kept == 40
    (entry,) = SortedFiles(taken.home, "eyfsp", "leeds").entries().values()
    assert (entry.cohorts, entry.rows_set_aside, entry.first_rows) == ((), 0, ())


def test_the_command_lists_and_withdraws_by_number(taken: Parts) -> None:
    extract = ["--home", str(taken.home.root), "--cohort", COHORT, "--council", "leeds", "--source", "eyfsp"]
    with_keys = ["--keys", str(taken.root / "keys"), "--landing", str(taken.landing)]
    command = ["parts", "withdraw", *extract, *with_keys, "--part", "2", "--reason", REASON]
    asked = CliRunner().invoke(main, command)
    assert asked.exit_code == 4
    assert asked.output.startswith(f"Would be withdrawn: part 2 of leeds/eyfsp/{COHORT}\n")
    assert "withdrawn" not in CliRunner().invoke(main, ["parts", "list", *extract]).output
    done = CliRunner().invoke(main, [*command, "--yes"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"Withdrawn: part 2 of leeds/eyfsp/{COHORT}; the rest is in\n")
    listed = CliRunner().invoke(main, ["parts", "list", *extract])
    assert [line.partition(",")[0] for line in listed.output.splitlines()] == ["part 1", "part 2"]
    assert listed.output.splitlines()[1].endswith(", withdrawn")
    assert REASON not in listed.output


def test_with_its_cohort_goes_all_that_is_known_of_parts(sent: Parts) -> None:
    home, policy = sent.home, get_retention()
    silent = child(202, date_of_birth="", academic_year="")
    sent.send("2026-05", child(200), child(201, **BORN_BEFORE), silent, folder="")
    for code in (COHORT, BEFORE):
        sent.take(code)
        link_cohort(home.cohort(code), ["leeds"], sent.keys)
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=policy.quarantine_days + 1)
    expire(home, None, None, policy, later)
    assert not [*home.restricted.glob("parts/**/*.quarantine.parquet")]
    sent.send("2026-06", child(50))
    assert sent.take().rows_kept == 42
    # all but the records of what was done and of who may sign, and the locks
    records = (home.processing_log, home.ledger, home.first_real_extract)
    for code, left in ((BEFORE, (COHORT,)), (COHORT, ())):
        expire(home, None, None, policy, dt.datetime.combine(policy.ends(Cohort(code)), dt.time(), dt.UTC))
        (entry,) = SortedFiles(home, "eyfsp", "leeds").entries().values()
        assert entry.cohorts == left
        files = [path for path in home.root.rglob("*") if path.is_file() and path not in records]
        assert [path for path in files if f"cohort={code}" in str(path) and path.stat().st_size] == []
        assert [path for path in files if code.encode() in path.read_bytes()] == []
    assert (entry.rows_set_aside, entry.first_rows) == (0, ())
    assert not [*home.tokens_zone.rglob("*.parquet"), *home.restricted.rglob("*.parquet")]

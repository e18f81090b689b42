"""A part that should never have been sent is taken back: its rows go, and what they replaced counts again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.home.paths import Home
from assets.home.processing_log import read_entries
from assets.home.retention_policy import get_retention
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.multi_cohort_files import SortedFiles
from assets.intake.parts import PartStore
from assets.keeping.retention import expire, shred_taken
from assets.keeping.withdrawing import CannotWithdraw, withdraw
from assets.linkage.link import derive_confidential_tables, link_cohort
from pipelines.cli import main
from privacy.keys import KeyProblem, KeyRing
from sources.extract.landed import find
from sources.reference.cohorts import Cohort
from tests.support.extracts import COHORT, text
from tests.support.intake.in_parts import child, take
from tests.support.intake.numbered import numbered

pytestmark = pytest.mark.slow

KEY = ("eyfsp", COHORT, "leeds")
REASON = "It is of Bradford."


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Home, KeyRing]:
    """Thirty children in January; in February three of them again, with another sex, and ten of another council."""
    keys = KeyRing.create(tmp_path / "keys")
    landing, home = tmp_path / "landing", Home(tmp_path / "home")
    folder = landing / "leeds" / "eyfsp" / COHORT
    folder.mkdir(parents=True)
    (folder / "2026-01.csv").write_text(text([child(n) for n in range(30)]))
    again = [child(n, sex="M") for n in range(3)]
    (folder / "2026-02.csv").write_text(text([*again, *(child(n) for n in range(100, 110))]))
    (landing / "reference").mkdir()
    (landing / "reference" / "expected_rows.csv").write_text(f"council,source,cohort,rows\nleeds,eyfsp,{COHORT},35\n")
    return landing, home, keys


def sexes(home: Home, keys: KeyRing) -> list[str]:
    return sorted(numbered(home, keys, "eyfsp", "leeds")["sex"].to_pylist())


def test_its_rows_go_and_what_they_replaced_counts_again(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    store = home.cohort(COHORT)
    assert take(landing, home, keys).rows_kept == 40
    assert sexes(home, keys).count("M") == 3
    link_cohort(store, ["leeds"], keys)
    derive_confidential_tables(store, ["leeds"], keys)
    shred_taken(landing, home, keys)
    with pytest.raises(CannotWithdraw, match="has no part 3: it has 1, 2"):
        withdraw(landing, home, keys, KEY, 3, REASON)
    (done,), not_linked = withdraw(landing, home, keys, KEY, 2, REASON)
    assert (done.is_in, not_linked) == (True, [])
    assert sexes(home, keys) == ["F"] * 30
    quality = deliveries.read_current(home.extract(*KEY))
    assert quality
    assert quality.parts
    assert [(part.number, part.in_force, part.withdrawn) for part in quality.parts.parts] == [
        (2, 0, REASON),
        (1, 30, ""),
    ]
    assert [finding.rule for finding in quality.holds] == ["rows-far-from-last"]
    assert pq.read_table(store.confidential("pupil")).num_rows == 30
    assert REASON in (store.reports("leeds") / "eyfsp.html").read_text()
    said = [entry for entry in read_entries(home) if entry.what == "part of an extract withdrawn"]
    assert [entry.note for entry in said] == ["part 2"]
    assert not [part for part in PartStore(home, KEY).held() if part.number == 2]


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
def test_without_a_reason_that_can_be_repeated_nothing_is_taken_back(
    place: tuple[Path, Home, KeyRing], reason: str
) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    with pytest.raises(CannotWithdraw, match="a reason is one line of at most 500 characters: nothing was withdrawn"):
        withdraw(landing, home, keys, KEY, 2, reason)
    assert sexes(home, keys).count("M") == 3
    assert [part.number for part in PartStore(home, KEY).held()] == [1, 2]


def test_under_other_keys_nothing_is_begun(place: tuple[Path, Home, KeyRing], tmp_path: Path) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    with pytest.raises(KeyProblem, match="part 2 was read under other keys: give the key set of then"):
        withdraw(landing, home, KeyRing.create(tmp_path / "other"), KEY, 2, REASON)
    assert not home.is_removal_unfinished
    assert [part.number for part in PartStore(home, KEY).held()] == [1, 2]
    assert {entry.what for entry in read_entries(home)} == {"extract taken in"}


def test_no_row_of_it_is_left_and_its_file_is_not_read_again(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    stored = PartStore(home, KEY).files(PartStore(home, KEY).held()[0].kept_in)
    withdraw(landing, home, keys, KEY, 2, REASON)
    for path in (stored.payload, home.extract(*KEY).pseudonymised):
        assert pq.read_metadata(path).num_rows == 30
    assert not take(landing, home, keys).failures
    assert sexes(home, keys) == ["F"] * 30
    assert Intake(landing, home, keys).list_needing_intake(COHORT, ["leeds"]) == []
    again = landing / "leeds" / "eyfsp" / COHORT / "2026-03.csv"
    again.write_text(text([child(40)]))
    assert take(landing, home, keys).rows_kept == 31
    found = {path.name for path in shred_names(landing, home, keys)}
    assert found == {"2026-01.csv", "2026-02.csv", "2026-03.csv"}


def shred_names(landing: Path, home: Home, keys: KeyRing) -> list[Path]:
    return [each.landed.path for each in shred_taken(landing, home, keys).ready]


def test_where_it_is_the_only_one_nothing_is_in_and_the_next_is_taken(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    store = home.extract(*KEY)
    folder = landing / "leeds" / "eyfsp" / COHORT
    (folder / "2026-02.csv").unlink()
    take(landing, home, keys)
    link_cohort(home.cohort(COHORT), ["leeds"], keys)
    (done,), _ = withdraw(landing, home, keys, KEY, 1, REASON)
    assert not done.is_in
    assert deliveries.read_current(store) is None
    assert not store.pseudonymised.exists()
    assert not home.cohort(COHORT).links.exists()
    stopped = deliveries.read_stopped(store)
    assert stopped
    assert "every part of it was withdrawn" in stopped.sentence
    (folder / "2026-04.csv").write_text(text([child(n) for n in range(50, 80)]))
    assert take(landing, home, keys).rows_kept == 30


def test_a_file_of_several_cohorts_is_taken_back_from_all_of_them(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    born = {"202425": "2020-01-01", "202324": "2019-01-01"}
    moved = child(1, date_of_birth=born["202324"], academic_year="202324")
    of_both = [child(200 + n, date_of_birth=born[code], academic_year=code) for n, code in enumerate(born)]
    take(landing, home, keys)
    (landing / "leeds" / "eyfsp" / "2026-05.csv").write_text(text([moved, *of_both]))
    both = {code: find(landing, "leeds", "eyfsp", code) for code in born}
    intake = Intake(landing, home, keys)
    kept = {code: intake.ingest(landed).rows_kept for code, landed in both.items() if landed}
    assert kept == {"202425": 40, "202324": 2}
    number = next(part.number for part in PartStore(home, KEY).held() if part.of_several)
    done, _ = withdraw(landing, home, keys, KEY, number, REASON)
    assert {(each.key[1], each.is_in) for each in done} == {("202425", True), ("202324", False)}
    quality = deliveries.read_current(home.extract(*KEY))
    assert quality
    assert quality.rows_kept == 40
    assert take(landing, home, keys).rows_kept == 40
    (entry,) = SortedFiles(home, "eyfsp", "leeds").entries().values()
    assert (entry.cohorts, entry.rows_set_aside, entry.first_rows) == ((), 0, ())


def test_the_command_lists_and_withdraws_by_number(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    take(landing, home, keys)
    extract = ["--home", str(home.root), "--cohort", COHORT, "--council", "leeds", "--source", "eyfsp"]
    with_keys = ["--keys", str(home.root.with_name("keys")), "--landing", str(landing)]
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


def test_with_its_cohort_goes_all_that_is_known_of_parts(place: tuple[Path, Home, KeyRing]) -> None:
    landing, home, keys = place
    of_both = [child(200, date_of_birth="2020-01-01"), child(201, date_of_birth="2019-01-01", academic_year="202324")]
    (landing / "leeds" / "eyfsp" / "2026-05.csv").write_text(
        text([*of_both, child(202, date_of_birth="", academic_year="")])
    )
    intake, codes = Intake(landing, home, keys), ("202425", "202324")
    for code in codes:
        landed = find(landing, "leeds", "eyfsp", code)
        assert landed
        intake.ingest(landed)
        link_cohort(home.cohort(code), ["leeds"], keys)
    policy = get_retention()
    expire(home, None, None, policy, now() + dt.timedelta(days=policy.quarantine_days + 1))
    assert not [*home.restricted.glob("parts/**/*.quarantine.parquet")]
    (landing / "leeds" / "eyfsp" / COHORT / "2026-06.csv").write_text(text([child(50)]))
    assert take(landing, home, keys).rows_kept == 42
    for code, left in (("202324", ("202425",)), ("202425", ())):
        ends = dt.datetime.combine(policy.ends(Cohort(code)), dt.time(), dt.UTC)
        expire(home, None, None, policy, ends)
        (entry,) = SortedFiles(home, "eyfsp", "leeds").entries().values()
        assert entry.cohorts == left
        assert [
            path for path in files(home) if f"cohort={code}" in str(path) or code.encode() in path.read_bytes()
        ] == []
    assert (entry.rows_set_aside, entry.first_rows) == (0, ())
    assert not [*home.tokens_zone.rglob("*.parquet"), *home.restricted.rglob("*.parquet")]


def files(home: Home) -> list[Path]:
    """Every file of the home folder but the records of what was done and of who may sign, and the locks."""
    found = (path for path in home.root.rglob("*") if path.is_file() and path.stat().st_size)
    return [path for path in found if path not in (home.processing_log, home.ledger, home.first_real_extract)]

"""Removals from an extract in parts: of a part that should never have been sent, and of a child.

A withdrawn part's rows go, and what they replaced counts again; a child goes from every part, and none brings it back.
"""

import datetime as dt
import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from assets.home.errors import Refused
from assets.home.paths import Home
from assets.home.processing_log import read_entries
from assets.home.retention_policy import get_retention
from assets.intake import deliveries
from assets.intake.ingest import Intake
from assets.intake.parts import PartStore, SortedFiles
from assets.keeping.finding import Forgotten, find_rows
from assets.keeping.forgetting import forget
from assets.keeping.retention import expire, find_shreddable, shred_taken
from assets.keeping.withdrawing import withdraw
from assets.linkage.link import link_cohort
from assets.linkage.row_numbers import write_linked_rows
from pipelines.cli import main
from privacy.doors import clock
from privacy.keys import KeyProblem, KeyRing
from privacy.row_keys import parse_row_number
from sources.extract.landing import find
from sources.reference.cohorts import Cohort
from tests.support.extracts import COHORT
from tests.support.intake.in_parts import REASON, Parts, build_child
from tests.support.intake.numbered import read_numbered

pytestmark = pytest.mark.slow

BEFORE = "202324"
BORN_BEFORE = {"date_of_birth": "2019-01-01", "academic_year": BEFORE}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """The same, taken in once for all tests."""
    made = Parts(tmp_path_factory.mktemp("parts"))
    made.send_thirty_and_ten()
    assert made.take().rows_kept == 40
    assert made.sexes.count("M") == 3
    return made


@pytest.fixture
def taken(made: Parts, tmp_path: Path) -> Parts:
    return Parts(Path(shutil.copytree(made.root, tmp_path / "taken", symlinks=True)))


def test_its_rows_go_and_what_they_replaced_counts_again(taken: Parts, tmp_path: Path) -> None:
    """Without its number, a reason that can be repeated and the keys that it was read under nothing is begun."""
    taken.link()
    shred_taken(taken.landing, taken.home, taken.keys)
    before = read_entries(taken.home)
    with pytest.raises(Refused, match="has no part 3: it has 1, 2"):
        taken.withdraw(3)
    for reason in ("", " ", "two\nlines", "x" * 501):
        with pytest.raises(Refused, match="a reason is one line of at most 500 characters: nothing was withdrawn"):
            taken.withdraw(2, reason)
    with pytest.raises(KeyProblem, match="part 2 was read under other keys: give the keys of that time"):
        withdraw(taken.landing, taken.store, KeyRing.create(tmp_path / "other"), 2, REASON)
    assert (taken.sexes.count("M"), taken.numbers) == (3, [1, 2])
    assert not taken.home.is_removal_unfinished
    assert read_entries(taken.home) == before
    done, not_linked = taken.withdraw(2)
    assert (done, not_linked) == ({(taken.store, 2): True}, [])
    assert taken.sexes == ["F"] * 30
    quality = deliveries.read_current(taken.store)
    assert [(part.number, part.in_force, part.withdrawn) for part in quality.parts.parts] == [
        (2, 0, REASON),
        (1, 30, ""),
    ]
    assert [finding.rule for finding in quality.holds] == ["rows-far-from-last"]
    cohort = taken.store.cohort_store
    assert pq.read_table(cohort.get_confidential_path("pupil")).num_rows == 30
    assert REASON in (cohort.get_reports_folder("leeds") / "eyfsp.html").read_text()
    said = [entry for entry in read_entries(taken.home) if entry.what == "part of an extract withdrawn"]
    assert [entry.note for entry in said] == ["part 2"]
    assert taken.numbers == [1]


def test_no_row_of_it_is_left_and_its_file_is_not_read_again(taken: Parts) -> None:
    stored = PartStore(taken.store).get_files(PartStore(taken.store).list_kept()[0].kept_in)
    taken.withdraw(2)
    for path in (stored.payload, taken.store.pseudonymised):
        assert pq.read_metadata(path).num_rows == 30
    assert not taken.take().failures
    assert taken.sexes == ["F"] * 30
    assert Intake(taken.landing, taken.home, taken.keys).list_needing_intake(COHORT, ["leeds"]) == []
    taken.send("2026-03", build_child(40))
    assert taken.take().rows_kept == 31
    found = {each.landed.path.name for each in shred_taken(taken.landing, taken.home, taken.keys).ready}
    assert found == {"2026-01.csv", "2026-02.csv", "2026-03.csv"}


def test_where_it_is_the_only_one_nothing_is_in_and_the_next_is_taken(tmp_path: Path) -> None:
    sent = Parts(tmp_path)
    sent.send_thirty_and_ten()
    (sent.landing / "leeds" / "eyfsp" / COHORT / "2026-02.csv").unlink()
    sent.take()
    link_cohort(sent.store.cohort_store, ["leeds"], sent.keys)
    done, _ = sent.withdraw(1)
    assert done == {(sent.store, 1): False}
    assert deliveries.read_current(sent.store) is None
    assert not sent.store.pseudonymised.exists()
    assert not sent.store.cohort_store.links.exists()
    stopped = deliveries.read_stopped(sent.store)
    assert "every part of it was withdrawn" in stopped.sentence
    sent.send("2026-04", *map(build_child, range(50, 80)))
    assert sent.take().rows_kept == 30


def test_a_file_of_several_cohorts_is_taken_back_from_all_of_them(taken: Parts) -> None:
    taken.send("2026-05", build_child(1, **BORN_BEFORE), build_child(200), build_child(201, **BORN_BEFORE), folder="")
    assert {code: taken.take(code).rows_kept for code in (COHORT, BEFORE)} == {COHORT: 40, BEFORE: 2}
    done, _ = taken.withdraw(next(part.number for part in PartStore(taken.store).list_kept() if part.of_several))
    assert {(store.cohort, is_in) for (store, _), is_in in done.items()} == {(COHORT, True), (BEFORE, False)}
    quality = deliveries.read_current(taken.store)
    assert quality.rows_kept == 40
    assert taken.take().rows_kept == 40
    (entry,) = SortedFiles(taken.home, "eyfsp", "leeds").list_entries().values()
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
    assert done.output.startswith(f"Withdrawn: part 2 of leeds/eyfsp/{COHORT}; the other parts stay\n")
    listed = CliRunner().invoke(main, ["parts", "list", *extract])
    assert [line.partition(",")[0] for line in listed.output.splitlines()] == ["part 1", "part 2"]
    assert listed.output.splitlines()[1].endswith(", withdrawn")
    assert REASON not in listed.output


def test_with_its_cohort_goes_all_that_is_known_of_parts(tmp_path: Path) -> None:
    sent, policy = Parts(tmp_path), get_retention()
    sent.send_thirty_and_ten()
    home = sent.home
    silent = build_child(202, date_of_birth="", academic_year="")
    sent.send("2026-05", build_child(200), build_child(201, **BORN_BEFORE), silent, folder="")
    for code in (COHORT, BEFORE):
        sent.take(code)
        link_cohort(home.get_cohort(code), ["leeds"], sent.keys)
    later = clock.now() + dt.timedelta(days=policy.quarantine_days + 1)
    expire(home, None, None, later)
    assert not [*home.restricted.glob("parts/**/*.quarantine.parquet")]
    sent.send("2026-06", build_child(50))
    assert sent.take().rows_kept == 42
    # all but the records of what was done and of who may sign, and the locks
    records = (home.processing_log, home.ledger, home.first_real_extract)
    for code, left in ((BEFORE, (COHORT,)), (COHORT, ())):
        expire(home, None, None, dt.datetime.combine(policy.compute_end(Cohort(code)), dt.time(), dt.UTC))
        (entry,) = SortedFiles(home, "eyfsp", "leeds").list_entries().values()
        assert entry.cohorts == left
        files = [path for path in home.root.rglob("*") if path.is_file() and path not in records]
        assert [path for path in files if f"cohort={code}" in str(path) and path.stat().st_size] == []
        assert [path for path in files if code.encode() in path.read_bytes()] == []
    assert (entry.rows_set_aside, entry.first_rows) == (0, ())
    assert not [*home.tokens_zone.rglob("*.parquet"), *home.restricted.rglob("*.parquet")]


@pytest.fixture
def three(tmp_path: Path) -> Parts:
    """Three parts, in the last two of which the second child has another sex."""
    made = Parts(tmp_path)
    made.send("2026-01", *map(build_child, (1, 2, 3)))
    made.send("2026-02", build_child(2, sex="M"), build_child(4))
    made.send("2026-03", build_child(2, sex="M"), build_child(5))
    made.take()
    return made


def find_row(three: Parts, number: str, *, linked: bool) -> Forgotten:
    return find_rows(three.store, [parse_row_number(number) or 0], three.keys, linked=linked)


def records(three: Parts) -> set[int]:
    parts = PartStore(three.store)
    return {
        record
        for table in parts.read_marks(three.keys, parts.list_kept()).values()
        for record in table["record"].to_pylist()
    }


def read_links(three: Parts, *columns: str) -> list[tuple[object, ...]]:
    link_cohort(three.store.cohort_store, ["leeds"], three.keys)
    out = three.root / "links.parquet"
    write_linked_rows(three.store.cohort_store, out, three.keys)
    found = [tuple(row.values()) for row in pq.read_table(out).select(columns).to_pylist()]
    out.unlink()
    return found


def test_every_row_of_the_record_goes_from_every_part_and_stays_away(three: Parts) -> None:
    three.link()
    with pytest.raises(Refused, match="has no row 2:3: a row of a part is named 3:17"):
        find_row(three, "2:3", linked=True)
    rows = read_numbered(three.home, three.keys, "eyfsp", "leeds")
    of_child = rows.filter(pc.equal(rows["sex"], "M"))
    assert of_child["source_row"].to_pylist() == [parse_row_number("2:1")]
    held = records(three)
    forget(three.home, find_row(three, "2:1", linked=True), three.keys)
    assert len(held - records(three)) == 1
    assert three.sexes == ["F"] * 4
    listed = deliveries.read(three.store.quality)
    assert (listed.rows_kept, listed.rows_rejected) == (4, 1)
    assert pq.read_table(three.store.cohort_store.get_confidential_path("pupil")).num_rows == 4
    gone = {token for name in of_child.column_names if name.startswith("t_") for token in of_child[name].to_pylist()}
    for stem in {part.kept_in for part in PartStore(three.store).list_kept()}:
        assert not gone & set(pq.read_table(PartStore(three.store).get_files(stem).payload)["row_key"].to_pylist())
    three.send("2026-04", build_child(6))
    assert three.take().rows_kept == 5
    again, landed = Home(three.root / "again"), find(three.landing, "leeds", "eyfsp", COHORT)
    again.prepare()
    (three.home.restricted / "forgotten").rename(again.restricted / "forgotten")
    assert Intake(three.landing, again, three.keys).ingest(landed).rows_kept == 5


def test_an_objection_keeps_the_child_out_of_later_parts(three: Parts) -> None:
    forget(three.home, find_row(three, "2:1", linked=False), three.keys, objection=True)
    three.send("2026-04", build_child(2), build_child(7))
    assert three.take().rows_kept == 5
    assert "M" not in three.sexes


def test_parts_are_shredded_and_stay_in_force_and_links_name_part_and_row(three: Parts) -> None:
    three.send("2026-04", build_child(6))
    assert len(find_shreddable(three.landing, three.home, three.keys).ready) == 3
    for _ in range(2):
        shred_taken(three.landing, three.home, three.keys)
        if (three.landing / "leeds" / "eyfsp" / COHORT).exists():
            assert three.take().rows_kept == 6
    assert not (three.landing / "leeds" / "eyfsp" / COHORT).exists()
    assert read_links(three, "part", "source_row") == [(1, 1), (1, 3), (2, 1), (2, 2), (3, 2), (4, 1)]


def test_a_further_part_leaves_the_ids_of_children_that_it_does_not_speak_of(three: Parts) -> None:
    def ids() -> dict[tuple[object, ...], object]:
        return {row[:2]: row[2] for row in read_links(three, "part", "source_row", "child_id")}

    before = ids()
    three.send("2026-04", build_child(1, sex="M"), build_child(6))
    three.take()
    after = ids()
    of_others = {row: before[row] for row in before if row != (1, 1)}
    assert len(of_others) == 4
    assert of_others == {row: after[row] for row in of_others}
    assert {*after} - {*before} == {(4, 1), (4, 2)}

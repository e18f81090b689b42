"""The drill: a machine is lost, with home, keys and ledger, and the installation goes on elsewhere as it would have."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assets.home.processing_log import verify
from assets.keeping.forgetting import forget
from pipelines.commands.console import Ending
from tests.support.extracts import COHORT, append
from tests.support.installation.backups import Safe, read_tree
from tests.support.installation.released import PLANTED, Place
from tests.support.installation.traces import find_traces, hash_files
from tests.support.planted import PROFILE
from tests.support.release import postgres

pytestmark = pytest.mark.slow

DATABASE = "readiness.duckdb"
"""Its bytes are not a function of what is in it."""
FIRST, REVISION = "2026.11.0", ("--release", "2026.11.1", "--share", "0.05")


def run(safe: Safe, *options: str) -> None:
    done = safe.run_command("run", "--cohort", COHORT, *options)
    assert done.exit_code == 0, done.output


def moved(safe: Safe, to: Path) -> Safe:
    """Another machine: landing, the people's keys and the disks of backups are there; home and keys are not."""
    for name in ("landing", "people", "disks", "copy"):
        shutil.copytree(safe.root / name, to / name, symlinks=True)
    return Safe(to)


def test_a_lost_machine(place: Place, tmp_path: Path) -> None:
    """With a linkage, a signed release and a removal: verified, repeated to the byte, and charged as it would be."""
    published, ledger = hash_files(place.home.release / FIRST), place.home.open_ledger().list_entries()
    forget(place.home, place.find_rows(), place.keys, objection=True)
    safe = Safe.for_installation(place.root)
    run(safe)
    assert (hash_files(place.home.release / FIRST), place.home.open_ledger().list_entries()) == (published, ledger)
    safe.copy_home()
    safe.make_backup("records")
    safe.make_backup("keys")
    before, books = read_tree(safe.home.root), safe.home.open_ledger().copy()

    there = moved(safe, tmp_path / "elsewhere" / "other machine")
    (keys,), (records,) = (list(there.get_disk(part).iterdir()) for part in ("keys", "records"))
    assert there.restore("keys", keys, "--yes").exit_code == 0
    there.put_back()
    assert there.restore("records", records, "--yes").exit_code == 0

    assert read_tree(there.home.root) == before
    assert there.home.open_ledger().copy() == books
    assert there.run_command("verify", there.home.release / FIRST).exit_code == 0
    status = ("status", "--cohort", COHORT, "--json")
    assert json.loads(there.run_command(*status).stdout) == json.loads(safe.run_command(*status).stdout)
    assert there.run_command("doctor").exit_code == 0
    verify(there.home)

    shutil.rmtree(there.home.release)
    run(there)
    made, kept = ({n: of for n, of in hash_files(each.home.release).items() if n != DATABASE} for each in (there, safe))
    assert made == kept
    lines = len(verify(there.home))
    run(there)
    assert (len(verify(there.home)), there.home.open_ledger().copy()) == (lines, books)

    for each in (safe, there):
        run(each, *REVISION)
    own, restored = (_charged(each, len(books.entries)) for each in (safe, there))
    assert own == restored


def _charged(safe: Safe, after: int) -> list[tuple[object, ...]]:
    """What was charged since, for what, under which plan and on which rows."""
    entries = safe.home.open_ledger().list_entries()[after:]
    return [(e.kind, e.cohort, e.release, e.family, e.nano_rho, e.plan_sha256, e.input_mac) for e in entries]


def test_a_child_who_was_removed_after_the_backup_stays_removed(copied: Callable[[], Place]) -> None:
    """The old backup has the rows; they are removed again, by the newest records, before the home is in place."""
    for objection in (False, True):
        place = copied()
        safe = Safe.for_installation(place.root)
        tokens, child_id = place.find_own_tokens(), place.find_child_id("leeds/eyfsp")
        shutil.rmtree(place.root / "copy", ignore_errors=True)
        safe.copy_home()
        forget(place.home, place.find_rows(), place.keys, objection=objection)
        after = read_tree(place.home.root)
        records = safe.make_backup("records")
        safe.put_back()

        done = safe.restore("records", records, "--yes")

        assert done.exit_code == 0, done.output
        assert "removed again: rows of 3 extracts" in done.stdout
        assert find_traces(place.home.root, tokens, {child_id}, place.keys) == []
        assert all((name, place.find_row(name)) not in place.list_linked_rows() for name in PLANTED)
        zones = ("restricted/pseudonymised/", "restricted/forgotten/", "release/")
        assert {n: c for n, c in read_tree(place.home.root).items() if n.startswith(zones)} == {
            n: c for n, c in after.items() if n.startswith(zones)
        }
        run(safe)
        assert not (place.take("leeds/eyfsp").rows_kept - 40)


def test_a_child_of_a_later_delivery_who_was_removed(place: Place) -> None:
    """The backup has the delivery before, in which nobody can tell which row was the child's: it stays away."""
    safe = Safe.for_installation(place.root)
    tokens = place.find_own_tokens()
    safe.copy_home()
    append(place.find_file("leeds/eyfsp"), PROFILE | {"upn": "", "surname": "Somebody", "forename": "Else"})
    run(safe, *REVISION)
    forget(place.home, place.find_rows(place.find_row("leeds/eyfsp") - 1), place.keys)
    ledger = place.home.open_ledger().copy()
    records = safe.make_backup("records")
    safe.put_back()

    done = safe.restore("records", records, "--yes")

    assert "leeds/eyfsp/202425 was taken out: rows of a later delivery were removed" in done.stdout
    assert "put into landing again and run: leeds/eyfsp/202425" in done.stdout
    assert find_traces(place.home.root, tokens, set(), place.keys) == []
    assert place.home.open_ledger().copy() == ledger
    run(safe, *REVISION)  # the newest extract lies in landing: the same release, to the byte
    assert place.home.open_ledger().copy() == ledger
    assert place.find_row("leeds/eyfsp") - 1 not in place.list_rows("leeds/eyfsp")


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.run_server() as started:
        yield started


def test_a_ledger_in_postgresql(place: Place, server: postgres.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes along as lines. A server that outlived the machine, and goes further, stays as it is."""
    safe = Safe.for_installation(place.root)
    books = place.home.open_ledger().copy()
    monkeypatch.setenv("READINESS_LEDGER", server.empty())
    place.home.open_ledger().restore(books)
    for path in place.home.root.glob("ledger.sqlite*"):
        path.unlink()
    safe.copy_home()
    old = safe.make_backup("records")
    run(safe, *REVISION)
    newer, records = place.home.open_ledger().copy(), safe.make_backup("records")
    safe.put_back()

    outlived = safe.restore("records", old)
    assert outlived.exit_code == Ending.FAULT
    assert "the measurement of release 2026.11.1 was charged and is not here" in outlived.stdout
    done = safe.restore("records", records, "--yes")
    assert done.exit_code == 0, done.output
    assert place.home.open_ledger().copy() == newer
    run(safe, *REVISION)
    assert place.home.open_ledger().copy() == newer

    safe.put_back()
    server.empty()
    assert safe.restore("records", records, "--yes").exit_code == 0
    assert place.home.open_ledger().copy() == newer

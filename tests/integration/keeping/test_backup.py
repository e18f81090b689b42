"""A backup is whole, nobody else's and for other eyes; nothing is replaced, and nothing half-made is left."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.home import home_lock, paths
from assets.home.paths import MadeByLater
from assets.home.processing_log import Processing, read_entries, record
from assets.keeping import backup as backups, restore as restoring
from pipelines.commands.console import Ending
from privacy.doors.locks import hold_lock
from privacy.keys import KeyRing
from tests.support import PROJECT, areas
from tests.support.installation.backups import Safe, read_tree
from tests.support.release.anchored import COHORT, Books


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Safe:
    return Safe.for_small_installation(tmp_path_factory.mktemp("made"))


@pytest.fixture
def safe(made: Safe, tmp_path: Path) -> Safe:
    return Safe(Path(shutil.copytree(made.root, tmp_path, symlinks=True, dirs_exist_ok=True)))


def _refused(result: object, sentence: str, ending: Ending = Ending.INPUT) -> None:
    assert (result.exit_code, sentence in result.stderr) == (ending, True), result.output
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("at_usual_moment")
def test_machine_is_lost_and_all_of_it_comes_back(safe: Safe) -> None:
    before, entries_before = read_tree(safe.home.root), safe.books.ledger.list_entries()
    keys = {path.name: path.read_bytes() for path in safe.keys.iterdir()}
    safe.copy_home()
    records, held = safe.make_backup("records"), safe.make_backup("keys")
    for file in (records, held):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shutil.rmtree(safe.home.root)
    shutil.rmtree(safe.keys)
    first = safe.restore("records", records)
    _refused(first, "restore their backup first (`readiness restore keys`)")
    assert "keys create" not in first.output
    assert safe.restore("keys", held, "--yes").exit_code == 0
    assert {path.name: path.read_bytes() for path in safe.keys.iterdir()} == keys
    _refused(safe.restore("records", records), "put a copy of the home folder there first")
    safe.put_back()
    assert safe.restore("records", records).exit_code == Ending.HOLD
    assert not safe.home.ledger.exists()
    done = safe.restore("records", records, "--yes")
    assert done.exit_code == 0, done.output
    assert read_tree(safe.home.root) == before
    assert safe.books.ledger.list_entries() == entries_before
    assert (safe.home.release / "latest").readlink() == Path("2026.11.0")
    assert {stat.S_IMODE(path.stat().st_mode) for path in backups.list_record_paths(safe.home)} == {0o600}
    assert [line.what for line in read_entries(safe.home)][-2:] == [Processing.BACKUP, Processing.RESTORE]


@pytest.mark.skipif(shutil.which("age") is None, reason=areas.describe_missing("age"))
def test_stock_tools_open_it(safe: Safe) -> None:
    """And it holds no key."""
    command = f"age -d -i {safe.get_identity('operator')} {safe.make_backup('records')} | tar -t"
    names = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert (names[0], *names[-2:]) == ("ledger.json", backups.MANIFEST, backups.MAC)
    assert "restricted/processing_log.jsonl" in names
    assert not [name for name in names if name.startswith(("keys", "tokens")) or name.endswith((".key", ".lock"))]


def test_nobody_can_open_keys_and_what_they_open(safe: Safe) -> None:
    safe.make_backup("records")
    to = ("--recipient", safe.get_recipient("operator"))
    disk = safe.get_disk("keys")
    _refused(safe.run_command("backup", "keys", "--into", disk, *to), "records were backed up to that")
    safe.make_backup("keys")
    to = ("--recipient", safe.get_recipient("custodian"))
    _refused(
        safe.run_command("backup", "records", "--into", safe.get_disk("records"), *to),
        "keys were backed up to that recipient",
    )
    _refused(
        safe.run_command("backup", "records", "--into", disk, *safe.build_recipient_option("records")),
        "keys are not kept beside",
    )


def test_backups_of_two_locations_keys_say_which_is_which(safe: Safe) -> None:
    """A restore of the one where the other belongs would be noticed at the next run, perhaps long after."""
    apart = {"release": ("input-mac.key", "signing.pem", "epoch"), "restricted": ()}
    whole = {path.name for path in safe.keys.iterdir()}
    held = {location: set(names) or whole - {"signing.pem"} for location, names in apart.items()}
    for location, names in held.items():
        folder = safe.root / location
        folder.mkdir(mode=0o700)
        for name in names & whole:
            shutil.copy(safe.keys / name, folder)
        made = safe.make_backup("keys", "--keys", str(folder))
        assert made.name.startswith(f"readiness-keys-{location}-20")
        shutil.rmtree(folder)
        back = safe.restore("keys", made, "--yes", "--keys", str(folder))
        assert f"restored: the key set of the {location} location of epoch 1" in back.stdout, back.output
        assert {path.name for path in folder.iterdir()} == names & whole
    assert safe.make_backup("keys").name.startswith("readiness-keys-20")


def test_places_and_recipients_that_are_refused(safe: Safe) -> None:
    through = safe.root / "link"
    through.symlink_to(safe.home.restricted)
    lost, disk = "would be lost with it", safe.get_disk("records")
    for place, sentence in (
        (safe.home.restricted, lost),
        (safe.keys, lost),
        (through, lost),
        (safe.root / "nowhere", "is its disk mounted"),
    ):
        _refused(
            safe.run_command("backup", "records", "--into", place, *safe.build_recipient_option("records")), sentence
        )
    assert safe.run_command("backup", "records", "--into", disk).exit_code == Ending.USAGE
    _refused(safe.run_command("backup", "records", "--into", disk, "--recipient", "age1no"), "no age public key")
    assert list(disk.iterdir()) == []


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "who it is for": lambda content: _flip(content, 60),
    "the middle": lambda content: _flip(content, len(content) // 2),
    "cut in a chunk": lambda content: content[: len(content) // 2],
    "cut between chunks": lambda content: content[: len(content) - (len(content) % 65552)],
    "empty": lambda _: b"",
    "something behind": lambda content: content + b"x",
    "no backup": lambda _: b"PK\x03\x04" * 99,
}
FORGED: dict[str, tuple[str, object, str]] = {
    "an absolute name": ("_read_records", lambda _: {"/evil": b"x"}, "is not a backup"),
    "a name above": ("_read_records", lambda _: {"restricted/../../evil": b"x"}, "is not a backup"),
    "a name that is not plain": ("_read_records", lambda _: {"restricted/./evil": b"x"}, "is not a backup"),
    "no MAC of the installation": ("_compute_mac", lambda *_: "00" * 32, "was not made by the installation"),
    "other content": ("compute_sha256", lambda _: "00" * 32, "that its manifest lists"),
    "a later version": ("FORMAT", 2, "another version of the software"),
}
"""What is replaced in the software that makes it: whoever has the recipient's public key can encrypt to it."""


@pytest.mark.parametrize("what", [*DAMAGE, *FORGED])
def test_one_that_is_damaged_or_forged_changes_nothing(safe: Safe, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        if what in FORGED:
            patched.setattr(backups, *FORGED[what][:2])
        file = safe.make_backup("records")
    if what in DAMAGE:
        file.write_bytes(DAMAGE[what](file.read_bytes()))
    safe.lose_ledger()
    before = read_tree(safe.home.root)
    _refused(safe.restore("records", file, "--yes"), FORGED[what][2] if what in FORGED else file.name)
    assert (read_tree(safe.home.root), safe.home.ledger.exists()) == (before, False)
    assert not Path("/evil").exists()


def test_one_that_is_not_for_this_key_installation_or_part(safe: Safe, tmp_path: Path) -> None:
    file, keys, yes = safe.make_backup("records"), safe.make_backup("keys"), ("--yes", "--identity")
    operator, custodian = safe.get_identity("operator"), safe.get_identity("custodian")
    _refused(safe.run_command("restore", "records", file, *yes, custodian), "is not encrypted to the key you gave")
    _refused(safe.run_command("restore", "records", keys, *yes, custodian), "this is a backup of keys, not of records")
    other = Safe.for_small_installation(tmp_path / "other")
    _refused(other.run_command("restore", "records", file, *yes, operator), "are of different installations")
    operator.chmod(0o644)
    _refused(safe.restore("records", file, "--yes"), "can be read by others than its owner")


def test_keys_that_are_there_are_not_replaced(safe: Safe) -> None:
    keys = safe.make_backup("keys")
    _refused(safe.restore("keys", keys, "--yes"), "is not empty, and nothing in it is replaced")
    safe.keys.rename(safe.root / "was")
    safe.keys.mkdir()
    assert safe.restore("keys", keys, "--yes").exit_code == 0
    assert list(safe.root.glob(".keys*")) == []


@pytest.mark.parametrize("with_ledger", [True, False])
def test_an_old_copy_goes_on_with_newer_records(safe: Safe, with_ledger: bool) -> None:
    """The ledger and the measurement of a release that the old copy lacks come from the records."""
    safe.copy_home()
    if with_ledger:
        for path in safe.home.root.glob("ledger.sqlite*"):
            shutil.copy(path, safe.root / "copy")
    safe.books.measure("2026.12.0")
    record(safe.home, Processing.MEASUREMENT, cohort=COHORT)
    records, ledger = safe.make_backup("records"), safe.books.ledger.list_entries()
    kept = {name: content for name, content in read_tree(safe.home.root).items() if "measurements" in name}
    safe.put_back()
    assert safe.restore("records", records, "--yes").exit_code == 0
    assert safe.books.ledger.list_entries() == ledger
    assert kept.items() <= read_tree(safe.home.root).items()


def test_records_that_do_not_go_on_from_the_copy(safe: Safe) -> None:
    safe.copy_home()
    records = safe.make_backup("records")
    safe.put_back()
    record(safe.home, Processing.AUDIT, cohort=COHORT)
    before = read_tree(safe.home.root)
    _refused(safe.restore("records", records, "--yes"), "do not match")
    assert read_tree(safe.home.root) == before


def test_a_release_that_was_published_since_is_missed(safe: Safe) -> None:
    """With the old ledger alone the budget could be spent twice: it is said, and the command fails."""
    place = safe.root / "published"
    books = Books(safe.home, str(place))
    safe.copy_home()
    old = safe.make_backup("records")
    books.release("2026.12.0")
    books.publish("2026.12.0", str(place))
    safe.put_back()
    for yes in ([], ["--yes"]):
        done = safe.restore("records", old, "--published", place, *yes)
        assert done.exit_code == Ending.FAULT
        assert "knows nothing of release 2026.12.0, which is published at" in done.stdout


def test_the_ledger_alone(safe: Safe) -> None:
    """Lost from a home folder that is well otherwise; an old copy is seen through by what is stored."""
    old = safe.make_backup("records")
    safe.books.measure("2026.12.0")
    new, ledger = safe.make_backup("records"), safe.books.ledger.list_entries()
    safe.lose_ledger()
    before = read_tree(safe.home.root)
    assert safe.restore("records", new, "--yes").exit_code == 0
    assert (safe.books.ledger.list_entries(), read_tree(safe.home.root)) == (ledger, before)
    assert safe.restore("records", old, "--yes").exit_code == 0  # the one that is there goes further, and stays
    assert safe.books.ledger.list_entries() == ledger


def test_a_ledger_that_went_another_way_is_not_mixed(safe: Safe) -> None:
    old = safe.make_backup("records")
    safe.books.measure("2026.12.0")
    newer = safe.make_backup("records")
    safe.lose_ledger()
    for path in safe.home.restricted.glob("measurements/*/release=2026.12.0/*"):
        path.unlink()
    assert safe.restore("records", old, "--yes").exit_code == 0
    safe.books.measure("2027.01.0")
    before = safe.books.ledger.list_entries()
    _refused(safe.restore("records", newer, "--yes"), "two ledgers differ that should be one", Ending.FAULT)
    assert safe.books.ledger.list_entries() == before


def test_a_ledger_that_lacks_a_measurement_is_not_backed_up(safe: Safe) -> None:
    safe.lose_ledger()
    to = ("--into", safe.get_disk("records"), *safe.build_recipient_option("records"))
    _refused(safe.run_command("backup", "records", *to), "there is no ledger at", Ending.FAULT)
    assert not list(safe.home.root.glob("ledger.sqlite*"))
    safe.books.ledger.get_identity()  # another, begun anew
    _refused(safe.run_command("backup", "records", *to), "does not have the charge", Ending.FAULT)
    assert list(safe.get_disk("records").iterdir()) == []


def test_keys_of_before_a_rotation_stay_away(safe: Safe) -> None:
    keys = safe.make_backup("keys")
    safe.make_backup("records")
    safe.copy_home()
    KeyRing.load(safe.keys).rotate(safe.root / "keys-2")
    safe.keys.rename(safe.root / "keys-1")
    (safe.root / "keys-2").rename(safe.keys)
    records = safe.make_backup("records")
    safe.keys.rename(safe.root / "keys-2")
    _refused(safe.restore("keys", keys, "--yes"), "which replaced them")
    (safe.root / "keys-2").rename(safe.keys)
    safe.put_back()
    _refused(safe.restore("records", records, "--yes"), "before they were rotated")


_IN_USE = """
import sys, time; from pathlib import Path; from assets.home.paths import Home
from assets.home.home_lock import block_removals
with block_removals(Home(Path(sys.argv[1]))):"""


def test_a_run_and_a_backup_wait_for_each_other(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    def impatient(place: Path, **given: object) -> object:
        return hold_lock(place, **given | ({"patience": 0.1} if "patience" in given else {}))

    monkeypatch.setattr("assets.home.home_lock.hold_lock", impatient)
    code = f"{_IN_USE} print(flush=True); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", code, safe.home.root], stdout=subprocess.PIPE, cwd=PROJECT) as run:
        run.stdout.readline()
        to = ("--into", safe.get_disk("records"), *safe.build_recipient_option("records"))
        _refused(safe.run_command("backup", "records", *to), "a run is at work in it", Ending.HOLD)
        run.kill()
    safe.make_backup("records")


def test_no_run_begins_while_the_home_is_being_restored(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none after a restore that broke off, until the copy is put back."""
    safe.copy_home()
    record(safe.home, Processing.MEASUREMENT, cohort=COHORT)
    records, tried = safe.make_backup("records"), []
    safe.put_back()

    def replacing(*given: Path) -> None:
        command = [sys.executable, "-c", f"{_IN_USE} pass", safe.home.root]
        done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT)
        tried.append("BeingRestored" in done.stderr)
        raise KeyboardInterrupt

    monkeypatch.setattr(restoring, "_replace_records", replacing)
    assert safe.restore("records", records, "--yes").exit_code != 0
    monkeypatch.undo()
    assert tried == [True]
    _refused(safe.run_command("run", "--cohort", COHORT), "its restore was interrupted", Ending.HOLD)
    _refused(safe.restore("records", records, "--yes"), "its restore was interrupted", Ending.HOLD)
    safe.put_back()
    assert safe.restore("records", records, "--yes").exit_code == 0
    with home_lock.block_removals(safe.home):
        pass


def test_records_on_another_disk_are_followed(safe: Safe) -> None:
    elsewhere = safe.root / "other-disk"
    (safe.home.restricted / "measurements").rename(elsewhere)
    (safe.home.restricted / "measurements").symlink_to(elsewhere)
    assert any("measurements" in str(path) for path in backups.list_record_paths(safe.home))


def test_the_doctor_says_what_is_not_backed_up(safe: Safe) -> None:
    def said() -> list[str]:
        found = json.loads(safe.run_command("doctor", "--json").stdout)
        return [each["sentence"] for each in found if each["what"] in ("backup", "home") and each["state"] == "look"]

    record(safe.home, Processing.MEASUREMENT, cohort=COHORT)
    said_of_keys = safe.run_command(
        "backup", "keys", "--into", safe.get_disk("keys"), *safe.build_recipient_option("keys")
    ).stdout
    assert re.search(r"\.age, [1-9][\d.,]* (kB|bytes), read back", said_of_keys), said_of_keys
    assert [each.partition(" on ")[0] for each in said()] == ["something was measured"]
    safe.make_backup("records")
    safe.home.restoring.touch()
    (found,) = said()
    assert "a restore is in progress or was interrupted" in found


def test_a_home_that_a_later_version_has_worked_on_is_left_alone(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    before = read_tree(safe.home.root)
    monkeypatch.setattr(paths, "get_software_version", lambda: "0.0.9")
    with pytest.raises(MadeByLater, match=r"last worked on by readiness 0\.1\.0, and this is 0\.0\.9: install that"):
        safe.home.prepare()
    _refused(safe.run_command("run", "--cohort", COHORT), "was last worked on by readiness 0.1.0")
    assert before.items() <= read_tree(safe.home.root).items()

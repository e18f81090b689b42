"""A backup is whole, nobody else's and for other eyes; nothing is replaced, and nothing half-made is left."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.home import archive
from assets.home.at_work import alone, in_use
from assets.home.paths import BeingRestored
from assets.home.processing_log import Processing, entries, record
from assets.keeping import restore as restoring
from pipelines.ending import Ending
from privacy.doors import age
from privacy.keys import KeyRing
from tests.support import PROJECT
from tests.support.areas import lacking
from tests.support.installation.backups import Safe, tree
from tests.support.release.anchored import COHORT, Books


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Safe:
    return Safe.small(tmp_path_factory.mktemp("made"))


@pytest.fixture
def safe(made: Safe, tmp_path: Path) -> Safe:
    """A copy of a test's own."""
    return Safe(Path(shutil.copytree(made.root, tmp_path, symlinks=True, dirs_exist_ok=True)))


def _refused(result: object, sentence: str, ending: Ending = Ending.INPUT) -> None:
    assert (result.exit_code, sentence in result.stderr) == (ending, True), result.output  # type: ignore[attr-defined]
    assert "Traceback" not in result.output  # type: ignore[attr-defined]


def test_a_backup_of_keys_has_a_size(safe: Safe) -> None:
    said = safe.command("backup", "keys", "--into", safe.disk("keys"), *safe.to("keys")).stdout
    assert re.search(r"\.age, [1-9][\d.,]* (kB|bytes), read back", said), said


def test_machine_is_lost_and_all_of_it_comes_back(safe: Safe) -> None:
    before, entries_before = tree(safe.home.root), safe.books.ledger.entries()
    keys = {path.name: path.read_bytes() for path in safe.keys.iterdir()}
    home, held = safe.backup("home"), safe.backup("keys")
    for file in (home, held):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    safe.lose_machine()
    first = safe.restore("home", home)
    _refused(first, "restore their backup first (`readiness restore keys`)")
    assert "keys create" not in first.output
    assert safe.restore("keys", held, "--yes").exit_code == 0
    looked = safe.restore("home", home)
    assert (looked.exit_code, safe.home.root.exists()) == (Ending.HOLD, False)
    assert "to do: nobody knows who was removed after" in looked.stdout
    done = safe.restore("home", home, "--yes")
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_bytes() for path in safe.keys.iterdir()} == keys
    assert tree(safe.home.root) == before
    assert safe.books.ledger.entries() == entries_before
    assert (safe.home.release / "latest").readlink() == Path("2026.11.0")
    assert {stat.S_IMODE(path.stat().st_mode) for path in safe.home.restricted.rglob("*") if path.is_file()} == {0o600}
    assert stat.S_IMODE(safe.home.root.stat().st_mode) == 0o700
    assert [line.what for line in entries(safe.home)][-2:] == [Processing.BACKUP, Processing.RESTORE]
    assert [path.name for path in safe.root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.skipif(shutil.which("age") is None, reason=lacking("age"))
def test_stock_tools_open_it(safe: Safe) -> None:
    """And it holds no key."""
    command = f"age -d -i {safe.identity('operator')} {safe.backup('home')} | tar -t"
    names = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.split()
    assert (names[0], *names[-2:]) == ("ledger.json", archive.MANIFEST, archive.MAC)
    assert "home/tokens/source=eyfsp/cohort=202425/leeds.parquet" in names
    assert not [name for name in names if name.startswith("keys") or name.endswith((".key", ".lock"))]


def test_nobody_can_open_keys_and_what_they_open(safe: Safe) -> None:
    safe.backup("home")
    to = ("--recipient", safe.recipient("operator"))
    disk = safe.disk("keys")
    _refused(safe.command("backup", "keys", "--into", disk, *to), "home folder and records were backed up to that")
    safe.backup("keys")
    to = ("--recipient", safe.recipient("custodian"))
    _refused(
        safe.command("backup", "records", "--into", safe.disk("home"), *to), "keys were backed up to that recipient"
    )
    _refused(safe.command("backup", "records", "--into", disk, *safe.to("home")), "keys are kept where nothing lies")


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
        made = safe.backup("keys", "--keys", str(folder))
        assert made.name.startswith(f"readiness-keys-{location}-20")
        shutil.rmtree(folder)
        back = safe.restore("keys", made, "--yes", "--keys", str(folder))
        assert f"restored: the key set of the {location} location of epoch 1" in back.stdout, back.output
        assert {path.name for path in folder.iterdir()} == names & whole
    assert safe.backup("keys").name.startswith("readiness-keys-20")
    _refused(
        safe.command("backup", "home", "--into", safe.disk("keys"), *safe.to("home")), "keys are kept where nothing"
    )


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("home/restricted", "would be lost with it"),
        ("keys", "would be lost with it"),
        ("nowhere", "is its disk mounted"),
    ],
)
def test_places_where_none_may_lie(safe: Safe, place: str, sentence: str) -> None:
    _refused(safe.command("backup", "home", "--into", safe.root / place, *safe.to("home")), sentence)
    through = safe.root / "link"
    through.symlink_to(safe.home.restricted)
    _refused(safe.command("backup", "home", "--into", through, *safe.to("home")), "would be lost with it")


def test_without_a_recipient_there_is_none(safe: Safe) -> None:
    assert safe.command("backup", "home", "--into", safe.disk("home")).exit_code == Ending.USAGE
    _refused(safe.command("backup", "home", "--into", safe.disk("home"), "--recipient", "age1no"), "no age public key")
    assert list(safe.disk("home").iterdir()) == []


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "its first line": lambda content: _flip(content, 10),
    "who it is for": lambda content: _flip(content, 60),
    "its first chunk": lambda content: _flip(content, 400),
    "the middle": lambda content: _flip(content, len(content) // 2),
    "the last byte": lambda content: _flip(content, len(content) - 1),
    "cut in a chunk": lambda content: content[: len(content) // 2],
    "cut between chunks": lambda content: content[: len(content) - (len(content) % 65552)],
    "empty": lambda _: b"",
    "something behind": lambda content: content + b"x",
    "no backup": lambda _: b"PK\x03\x04" * 99,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_one_leaves_nothing(safe: Safe, what: str) -> None:
    file = safe.backup("home")
    file.write_bytes(DAMAGE[what](file.read_bytes()))
    safe.home.root.rename(safe.root / "was")
    _refused(safe.restore("home", file, "--yes"), file.name)
    assert not safe.home.root.exists()
    assert not safe.home.restoring.exists()


def test_another_persons_key_and_an_exposed_one(safe: Safe) -> None:
    file = safe.backup("home")
    safe.home.root.rename(safe.root / "was")
    others = ("restore", "home", file, "--yes", "--identity")
    _refused(safe.command(*others, safe.identity("custodian")), "is not encrypted to the key you gave")
    safe.identity("operator").chmod(0o644)
    _refused(safe.restore("home", file, "--yes"), "can be read by others than its owner")


def test_another_installations(safe: Safe, tmp_path: Path) -> None:
    file = safe.backup("home")
    other = Safe(tmp_path / "other")
    KeyRing.create(other.keys)
    done = other.command("restore", "home", file, "--yes", "--identity", safe.identity("operator"))
    _refused(done, "the backup of another installation")
    assert not other.home.root.exists()


def _forged(safe: Safe, place: Path, members: list[tuple[tarfile.TarInfo, bytes]], keys: KeyRing | None = None) -> Path:
    """An archive by somebody who has the public key of the operator, and no key of the installation."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for member, content in members:
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))
    with place.open("wb") as out:
        age.encrypt([raw.getvalue()], out, [safe.recipient("operator")])
    return place


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


HOSTILE = {
    "absolute": [(_member("/evil"), b"x")],
    "not plain": [(_member("home/./evil"), b"x")],
    "above": [(_member("home/../../evil"), b"x")],
    "link away": [(_member("home/evil", tarfile.SYMTYPE, "/etc"), b""), (_member("home/evil/passwd"), b"x")],
    "link above": [(_member("home/evil", tarfile.SYMTYPE, "../.."), b""), (_member("home/evil/x"), b"x")],
    "hard link": [(_member("home/evil", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    "device": [(_member("home/evil", tarfile.CHRTYPE), b"")],
    "pipe": [(_member("home/evil", tarfile.FIFOTYPE), b"")],
    "twice": [(_member("home/a"), b"x"), (_member("home/a"), b"y")],
    "no manifest": [(_member("home/a"), b"x")],
    "a manifest of nothing": [
        (_member("home/a"), b"x"),
        (_member("manifest.json"), b"[]"),
        (_member("manifest.mac"), b""),
    ],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_no_backup_holds(safe: Safe, what: str) -> None:
    safe.home.root.rename(safe.root / "was")
    file = _forged(safe, safe.root / "forged.age", HOSTILE[what])
    outside = set(safe.root.iterdir())
    _refused(safe.restore("home", file, "--yes"), "is no backup of this software")
    assert set(safe.root.iterdir()) == outside
    assert not Path("/evil").exists()


def test_one_that_somebody_else_made(safe: Safe) -> None:
    """Whoever has the public key of the recipient can encrypt to it; the MAC is of the installation's keys."""
    ring = KeyRing.load(safe.keys)
    said = archive.Manifest.of(archive.Part.HOME, ring, 0)
    members = [
        (_member(name), content) for name, content in (("manifest.json", said.document()), ("manifest.mac", b"00"))
    ]
    safe.home.root.rename(safe.root / "was")
    file = _forged(safe, safe.root / "forged.age", members)
    _refused(safe.restore("home", file, "--yes"), "was not made by the installation")


def test_of_a_later_version(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FORMAT", 2)
    file = safe.backup("home")
    monkeypatch.undo()
    safe.home.root.rename(safe.root / "was")
    _refused(safe.restore("home", file, "--yes"), "another version of the software")


def test_nothing_that_is_there_is_replaced(safe: Safe) -> None:
    file, keys = safe.backup("home"), safe.backup("keys")
    before = tree(safe.home.root)
    _refused(safe.restore("home", file, "--yes"), "is not empty, and nothing in it is replaced")
    _refused(safe.restore("keys", keys, "--yes"), "is not empty, and nothing in it is replaced")
    assert tree(safe.home.root) == before
    safe.home.root.rename(safe.root / "was")
    safe.home.root.mkdir()
    assert safe.restore("home", file, "--yes").exit_code == 0


def test_the_parts_are_not_taken_for_each_other(safe: Safe) -> None:
    keys = safe.backup("keys")
    safe.home.root.rename(safe.root / "was")
    done = safe.command("restore", "home", keys, "--identity", safe.identity("custodian"), "--yes")
    _refused(done, "this is a backup of keys, not of home")


def test_an_old_home_goes_on_with_newer_records(safe: Safe) -> None:
    """The ledger and the measurement of a release that the old backup lacks come from the records."""
    old = safe.backup("home")
    safe.books.measure("2026.12.0")
    records, ledger = safe.backup("records"), safe.books.ledger.entries()
    kept = {name: content for name, content in tree(safe.home.root).items() if "measurements" in name}
    safe.home.root.rename(safe.root / "was")
    assert safe.restore("home", old, "--records", records, "--yes").exit_code == 0
    assert safe.books.ledger.entries() == ledger
    assert kept.items() <= tree(safe.home.root).items()
    safe.home.root.rename(safe.root / "again")
    assert safe.restore("home", old, "--records", safe.root / "was", "--yes").exit_code == 0  # the folder that was
    assert safe.books.ledger.entries() == ledger


def test_records_that_do_not_go_on_from_the_backup(safe: Safe) -> None:
    records = safe.backup("records")
    home = safe.backup("home")
    safe.home.root.rename(safe.root / "was")
    _refused(safe.restore("home", home, "--records", records, "--yes"), "do not go on from this backup")
    assert not safe.home.root.exists()


def test_a_release_that_was_published_since_is_missed(safe: Safe) -> None:
    """With the old ledger alone the budget could be spent twice: it is said, and the command fails."""
    place = safe.root / "published"
    books = Books(safe.home, str(place))
    old = safe.backup("home")
    books.release("2026.12.0")
    books.publish("2026.12.0", str(place))
    safe.home.root.rename(safe.root / "was")
    for yes in ([], ["--yes"]):
        done = safe.restore("home", old, "--published", place, *yes)
        assert done.exit_code == Ending.FAULT
        assert "knows nothing of release 2026.12.0, which is published at" in done.stdout


def test_the_ledger_alone(safe: Safe) -> None:
    """Lost from a home folder that is well otherwise; an old copy is seen through by what is stored."""
    old = safe.backup("records")
    safe.books.measure("2026.12.0")
    new, ledger = safe.backup("records"), safe.books.ledger.entries()
    for path in safe.home.root.glob("ledger.sqlite*"):
        path.unlink()
    before = tree(safe.home.root)
    assert safe.restore("records", new, "--yes").exit_code == 0
    assert (safe.books.ledger.entries(), tree(safe.home.root)) == (ledger, before)
    assert safe.restore("records", old, "--yes").exit_code == 0  # the one that is there goes further, and stays
    assert safe.books.ledger.entries() == ledger


def test_a_ledger_that_went_another_way_is_not_mixed(safe: Safe) -> None:
    old = safe.backup("records")
    safe.books.measure("2026.12.0")
    newer = safe.backup("records")
    for path in safe.home.root.glob("ledger.sqlite*"):
        path.unlink()
    for path in safe.home.restricted.glob("measurements/*/release=2026.12.0/*"):
        path.unlink()
    assert safe.restore("records", old, "--yes").exit_code == 0
    safe.books.measure("2027.01.0")
    before = safe.books.ledger.entries()
    _refused(safe.restore("records", newer, "--yes"), "two ledgers differ that should be one", Ending.FAULT)
    assert safe.books.ledger.entries() == before


def test_a_ledger_that_lacks_a_measurement_is_not_backed_up(safe: Safe) -> None:
    for path in safe.home.root.glob("ledger.sqlite*"):
        path.unlink()
    to = ("--into", safe.disk("home"), *safe.to("home"))
    _refused(safe.command("backup", "home", *to), "there is no ledger at", Ending.FAULT)
    assert not list(safe.home.root.glob("ledger.sqlite*"))
    safe.books.ledger.identity()  # another, begun anew
    _refused(safe.command("backup", "home", *to), "does not have the charge", Ending.FAULT)
    assert list(safe.disk("home").iterdir()) == []


def test_keys_of_before_a_rotation_stay_away(safe: Safe) -> None:
    keys, home = safe.backup("keys"), safe.backup("home")
    KeyRing.load(safe.keys).rotate(safe.root / "keys-2")
    safe.keys.rename(safe.root / "keys-1")
    (safe.root / "keys-2").rename(safe.keys)
    safe.backup("home")
    safe.keys.rename(safe.root / "keys-2")
    _refused(safe.restore("keys", keys, "--yes"), "which replaced them")
    (safe.root / "keys-2").rename(safe.keys)
    safe.home.root.rename(safe.root / "was")
    _refused(safe.restore("home", home, "--yes"), "before they were rotated")


def test_a_run_and_a_backup_wait_for_each_other(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.home.at_work.locked", _impatient(monkeypatch))
    code = "import sys, time; from pathlib import Path; from assets.home.paths import Home\n"
    code += "from assets.home.at_work import in_use\nwith in_use(Home(Path(sys.argv[1]))):\n"
    code += " print(flush=True); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", code, safe.home.root], stdout=subprocess.PIPE, cwd=PROJECT) as run:
        assert run.stdout
        run.stdout.readline()
        to = ("--into", safe.disk("home"), *safe.to("home"))
        _refused(safe.command("backup", "home", *to), "a run is at work in it", Ending.HOLD)
        run.kill()
    safe.backup("home")


def _impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    from privacy.doors.locks import locked

    return lambda place, **given: locked(place, **given | ({"patience": 0.1} if "patience" in given else {}))


def test_no_run_begins_while_the_home_is_being_restored(safe: Safe, monkeypatch: pytest.MonkeyPatch) -> None:
    file = safe.backup("home")
    safe.home.root.rename(safe.root / "was")
    tried = []
    read = restoring.read

    def reading(*given: object, **named: object) -> object:
        for at_work in (in_use, alone):
            with pytest.raises(BeingRestored), at_work(safe.home):
                pass
        run = safe.command("run", "--cohort", COHORT)
        tried.append((run.exit_code, safe.home.root.exists()))
        _refused(safe.restore("home", file, "--yes"), "is being restored by another process")
        return read(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(restoring, "read", reading)
    monkeypatch.setattr(restoring, "_PATIENCE_SECONDS", 0.1)
    assert safe.restore("home", file, "--yes").exit_code == 0
    assert tried == [(Ending.HOLD, False)]


def test_what_leads_elsewhere_is_not_left_out_in_silence(safe: Safe) -> None:
    elsewhere = safe.root / "other-disk"
    (safe.home.root / "tokens").rename(elsewhere)
    (safe.home.root / "tokens").symlink_to(elsewhere)
    to = ("--into", safe.disk("home"), *safe.to("home"))
    _refused(safe.command("backup", "home", *to), "is a link that leads elsewhere")


def test_the_doctor_says_what_is_not_backed_up(safe: Safe) -> None:
    def said() -> list[str]:
        found = json.loads(safe.command("doctor", "--json").stdout)
        return [each["said"] for each in found if each["what"] in ("backup", "home") and each["state"] == "look"]

    record(safe.home, Processing.MEASUREMENT, cohort=COHORT)
    safe.backup("keys")
    assert [each.partition(" on ")[0] for each in said()] == ["something was measured"]
    safe.backup("records")
    safe.home.restoring.mkdir()
    (found,) = said()
    assert "a restore broke off and left" in found


def test_old_backups_are_named(safe: Safe) -> None:
    old = safe.disk("home") / "readiness-home-20250101T000000Z.age"
    old.write_bytes(b"")
    done = safe.command("backup", "home", "--into", safe.disk("home"), *safe.to("home"))
    assert f"! older than 35 days, so destroy it: {old}" in done.stdout


@pytest.mark.slow
def test_memory_does_not_grow_with_the_home(safe: Safe, tmp_path: Path) -> None:
    """In a process of its own, whose address space has no room for the file."""
    large = safe.home.root / "tokens" / "large"
    with large.open("wb") as file:
        file.truncate(256 << 20)
    code = (
        "import resource, sys; from tests.support.installation.backups import Safe; from pathlib import Path\n"
        "safe = Safe(Path(sys.argv[1])); import assets.keeping.restore\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "file = safe.backup('home'); safe.home.root.rename(safe.root / 'was')\n"
        "assert safe.restore('home', file, '--yes').exit_code == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, safe.root], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert int(done.stdout) < 64 << 10  # KiB

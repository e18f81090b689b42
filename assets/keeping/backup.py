"""Backups of an installation: its home folder, its records alone, or its keys, each encrypted to different people.

The home folder contains tokens, and the keys open them: the two are kept apart in backups as they are in the
installation. The records are what cannot be recreated and must never be older than what was published: the ledger, the
measurements, who was removed, and the logs. They are small, and are backed up after each change. Extracts in landing
are never backed up. The ledger is stored as lines, wherever it is kept, as of one moment.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from assets.home.archive import SUFFIX, Content, Manifest, Part, write
from assets.home.at_work import alone
from assets.home.paths import Home
from assets.home.processing_log import Processing, entries, record
from assets.home.retention_policy import Retention
from ndl_export.files.whole_files import steady
from privacy.doors import age
from privacy.doors.environment import settings
from privacy.doors.locks import locked
from privacy.keys import PIPELINE, RELEASE, RESTRICTED, Holder, KeyProblem, KeyRing
from privacy.release.ledger import Ledger, LedgerCopy, LedgerCorrupt
from privacy.release.store import charges

LEDGER_FILE = "ledger.json"
HOME_FOLDER, KEYS_FOLDER, SETTINGS_FOLDER = "home", "keys", "settings"
_RECORDS = (
    *("measurements/", "drawn/", "releases/", "forgotten/", "reviews/"),
    *("processing_log.", "requests.", "returns/disclosures."),
    *("series/", "share/", "missing/", "measured_from/"),  # the records of a release in homes of before
)
_NOT_KEPT = re.compile(
    r"restricted/(staging-[^/]*|turns)/.*|dagster/processes/.*|settings/.*|(.*/)?(\.[^/]*|[^/]*\.lock)"
)
_SETTINGS = ("policy", "publisher", "retention", "calendar", "councils", "agreements")
_LOCATIONS = {"restricted": RESTRICTED, "release": RELEASE}
_NAME = re.compile(rf"readiness-(home|records|keys)(?:-(?:{'|'.join(_LOCATIONS)}))?-(\d{{8}}T\d{{6}})Z\.age")
_BETWEEN_LOOKS = 0.1
_SQLITE = b"SQLite format 3\0"
_ITS_JOURNALS = ("-wal", "-shm", "-journal")
_NOTE = re.compile(r"(home|records|keys) of epoch (\d+) to ([0-9a-f ]+)")


class CannotBackUp(Exception):
    """There is nothing to back up, or the target is not allowed. The message says what to do."""


def back_up(home: Home, part: Part, keys_folder: Path, keys: KeyRing, folder: Path, recipients: Sequence[str]) -> Path:
    """Write a backup to an existing folder, encrypted to age public keys, and return its path.

    Raises `CannotBackUp`, `InUse` if a run does not end, `AgeProblem`, `LedgerError`, and what `write` raises.
    """
    _check_place(home, keys_folder, folder, part)
    to = {_fingerprint(each): str(age.recipient(each)) for each in recipients}
    place = _free_name(folder, part, location_of(keys_folder) if part is Part.KEYS else "")
    note = f"{part} of epoch {keys.epoch} to {' '.join(to)}"
    if part is Part.KEYS:
        if home.root.is_dir():
            _check_apart(home, part, to)
            record(home, Processing.BACKUP, note=note)
        held = [(f"{KEYS_FOLDER}/{path.name}", path) for path in sorted(keys_folder.iterdir()) if path.is_file()]
        write(place, Manifest.of(part, keys, 0), keys, held, list(to.values()))
        return place
    with alone(home), _still(home):
        _check_apart(home, part, to)
        ledger = copy_of_ledger(home)
        line = record(home, Processing.BACKUP, note=note)
        with home.staging() as scratch:
            found = _of_home(home, ledger, scratch, part)
            write(place, Manifest.of(part, keys, line.seq), keys, found, list(to.values()))
    return place


def past_their_time(folder: Path, policy: Retention, now: dt.datetime) -> list[Path]:
    """Return the backups in a folder that are older than the policy allows."""
    made = {path: _NAME.fullmatch(path.name) for path in sorted(folder.iterdir())}
    days = {path: _made(match[2]) for path, match in made.items() if match}
    return [path for path, when in days.items() if now - when > dt.timedelta(days=policy.backup_days)]


def is_record(name: str) -> bool:
    """Return whether a file of a backup is one of the records."""
    of = name.removeprefix(f"{HOME_FOLDER}/restricted/")
    return name == LEDGER_FILE or (of != name and of.startswith(_RECORDS))


def copy_of_ledger(home: Home) -> LedgerCopy | None:
    """Copy both chains of the ledger, checked to contain every stored measurement; None before the first release.
    Raises `LedgerError`."""
    cohorts = [path.name.removeprefix("cohort=") for path in home.restricted.glob("measurements/cohort=*")]
    kept = [each for cohort in cohorts for each in charges(home.restricted, cohort)]
    if isinstance(home.ledger, Path) and not home.ledger.exists():
        if kept:
            raise LedgerCorrupt(f"there is no ledger at {home.ledger}: restore it, or back up where it can be read")
        return None
    ledger = Ledger(home.ledger)
    ledger.check_known(kept)
    return ledger.copy()


def files_of(home: Home) -> Iterator[tuple[str, Path]]:
    """Return every file of a home folder that is backed up, by relative name, without the ledger. Raises
    `CannotBackUp` for a link that leads elsewhere."""
    ledger = str(home.ledger)
    for folder, below, names in os.walk(home.root):
        below.sort()
        for name in sorted([*names, *(each for each in below if (Path(folder) / each).is_symlink())]):
            path = Path(folder) / name
            relative = path.relative_to(home.root).as_posix()
            if path.is_symlink() and path.readlink().name != str(path.readlink()):
                raise CannotBackUp(f"{path} is a link that leads elsewhere: put what it leads to into the home folder")
            if not _NOT_KEPT.fullmatch(relative) and not str(path).startswith(ledger):
                yield relative, path


def _of_home(home: Home, ledger: LedgerCopy | None, scratch: Path, part: Part) -> Iterator[tuple[str, Content]]:
    """Return the content of a backup of a home folder, or of its records."""
    if ledger is not None:
        yield LEDGER_FILE, ledger.document()
    for relative, path in files_of(home):
        name = f"{HOME_FOLDER}/{relative}"
        if part is Part.HOME and relative.startswith("dagster/"):
            yield from _of_dagster(name, path, scratch)
        elif part is Part.HOME or is_record(name):
            yield name, path
    if part is Part.HOME:
        yield from _settings()


def _of_dagster(name: str, path: Path, scratch: Path) -> Iterator[tuple[str, Content]]:
    """Return a file of Dagster's storage; a database is copied as of one moment, because its web server may be using
    it."""
    if path.name.endswith(_ITS_JOURNALS):
        return
    with path.open("rb") as file:
        is_database = file.read(len(_SQLITE)) == _SQLITE
    if not is_database:
        yield name, path
        return
    copy = scratch / "database"
    copy.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    yield name, copy


def _settings() -> Iterator[tuple[str, Content]]:
    """Return the files that the environment names: policy, publisher, retention, calendar, council files and
    agreements."""
    for name in _SETTINGS:
        place = getattr(settings(), name)
        for path in sorted(place.rglob("*")) if place and place.is_dir() else filter(None, [place]):
            if path.is_file():
                below = path.relative_to(place) if place.is_dir() else Path(path.name)
                yield f"{SETTINGS_FOLDER}/{name}/{below.as_posix()}", path.resolve()


@contextmanager
def _still(home: Home) -> Iterator[None]:
    """Keep publishers and writers of logs out for the block."""
    with ExitStack() as held:
        held.enter_context(steady(home.release))
        for log in (home.requests, home.disclosures):
            if log.exists():
                held.enter_context(locked(log))
        yield


def _check_place(home: Home, keys: Path, folder: Path, part: Part) -> None:
    if not folder.is_dir():
        raise CannotBackUp(f"{folder} does not exist: is its disk mounted? A backup makes no folder")
    if part is not Part.KEYS and not home.root.is_dir():
        raise CannotBackUp(f"home folder {home.root} does not exist")
    place = folder.resolve()
    for what in (home.root, keys.resolve()):
        if place.is_relative_to(what):
            raise CannotBackUp(f"{folder} lies in {what}, and would be lost with it: name a folder on another disk")
    others = [path.name for path in folder.iterdir() if (of := _NAME.fullmatch(path.name)) and _is_apart(of[1], part)]
    if others:
        raise CannotBackUp(
            f"{folder} holds {others[0]}: keys are kept where nothing lies that they open; name another folder"
        )


def _check_apart(home: Home, part: Part, to: Iterable[str]) -> None:
    """Raise `CannotBackUp` if one person could open both the keys and the data they open."""
    others = {each for of in _noted(home) if _is_apart(of[1], part) for each in of[3].split()}
    if others & set(to):
        what = "home folder and records" if part is Part.KEYS else "keys"
        raise CannotBackUp(
            f"{what} were backed up to that recipient, who could then open the one with the other: name"
            " another person's key with --recipient"
        )


def latest_epoch(home: Home) -> int:
    """Return the epoch of the keys at the last backup of a home folder; 0 if there was none."""
    return max((int(of[2]) for of in _noted(home)), default=0)


def _noted(home: Home) -> list[re.Match[str]]:
    """Describe the backup for the processing log: its kind, the epoch of the keys and the recipients."""
    notes = (_NOTE.fullmatch(entry.note) for entry in entries(home) if entry.what == Processing.BACKUP)
    return [note for note in notes if note]


def location_of(keys: Path) -> str:
    """Return the code location whose keys a folder holds; empty if it holds those of both or of neither."""

    def has(holder: Holder) -> bool:
        try:
            return bool(KeyRing.load(keys, holder))
        except KeyProblem:
            return False

    return "" if has(PIPELINE) else next((name for name, holder in _LOCATIONS.items() if has(holder)), "")


def _free_name(folder: Path, part: Part, location: str) -> Path:
    """Return an unused file name: no backup is ever replaced. A backup of keys names their code location."""
    of = f"{part}-{location}" if location else str(part)
    while (place := folder / f"readiness-{of}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}{SUFFIX}").exists():
        time.sleep(_BETWEEN_LOOKS)
    return place


def _is_apart(part: str, other: str) -> bool:
    return (part == Part.KEYS) != (other == Part.KEYS)


def _fingerprint(recipient: str) -> str:
    return hashlib.sha256(recipient.encode()).hexdigest()[:16]


def _made(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)

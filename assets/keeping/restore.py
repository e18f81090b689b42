"""Restoring of an installation from backups, on this machine or another, without bringing back what was removed since.

A home folder is built beside its place, checked, and moved into place in one step. A backup still contains what was
removed later, so what the newest records list as removed, and what retention has ended, is removed again before the
move. The longest ledger counts, out of the backup, the records and a database that survived; bundles published since
are searched for.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.home.archive import Manifest, Part, read
from assets.home.at_work import alone
from assets.home.paths import Home
from assets.home.processing_log import LogEntry, Processing, entries, record, verify
from assets.home.retention_policy import retention
from assets.intake import deliveries
from assets.intake.suppressions import Objection, Suppressed, objections, suppressed
from assets.keeping.backup import (
    HOME_FOLDER,
    KEYS_FOLDER,
    LEDGER_FILE,
    SETTINGS_FOLDER,
    files_of,
    is_record,
    latest_epoch,
    location_of,
)
from assets.keeping.forgetting import remove_again
from assets.keeping.retention import expire
from assets.release.anchors import stated_charges
from ndl_export.bundle.anchors import anchors_at, anchors_in
from ndl_export.files.stores import open_store
from privacy.doors import files
from privacy.doors.environment import settings
from privacy.doors.locks import locked
from privacy.keys import FROM_BACKUP, Holder, KeyRing
from privacy.release.ledger import Ledger, LedgerCopy
from privacy.release.store import path_of

Key = tuple[str, str, str]
ANY_HOLDER = Holder(("input-mac",), remedy=FROM_BACKUP)
"""What every key set of an installation has, whoever holds it."""
_PATIENCE_SECONDS = 5.0


class CannotRestore(Exception):
    """Existing data must not be replaced, or the parts do not belong together. The message says what to do."""


@dataclass
class Restored:
    """What was restored, or would be: `done` and `to_do` are sentences; while something is `lacking`, nothing can be
    charged."""

    manifest: Manifest
    done: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


def restore_keys(home: Home, place: Path, backup: Path, identities: Sequence[Any], *, do: bool) -> Restored:
    """Restore a key set to a folder that is missing or empty.

    Raises `CannotRestore`, `UnusableBackup`, `AgeProblem` and `KeyProblem`.
    """
    with _beside(place) as folder:
        unpacked = read(backup, identities, folder)
        _check_part(unpacked.manifest, Part.KEYS)
        staged = folder / KEYS_FOLDER
        staged.chmod(files.OWNER_ONLY_FOLDER)
        ring = KeyRing.load(staged, ANY_HOLDER)
        unpacked.manifest.check_made_by(ring, unpacked.mac)
        found = Restored(unpacked.manifest, [f"the {_described(staged)} of epoch {ring.epoch}"])
        if (newest := latest_epoch(home)) > ring.epoch:
            raise CannotRestore(
                f"these keys are of epoch {ring.epoch}, and {home.root} was backed up under those of epoch {newest},"
                " which replaced them: restore the newest backup of keys, and destroy this one"
            )
        if do:
            if home.root.is_dir():
                record(home, Processing.RESTORE, note=f"keys of epoch {ring.epoch}")
            _promote(staged, place)
    return found


def _described(keys: Path) -> str:
    """Describe a key set, with its code location if it has one."""
    location = location_of(keys)
    return f"key set of the {location} location" if location else "key set"


def restore_home(
    home: Home,
    keys: KeyRing,
    backup: Path,
    records: Path | None,
    identities: Sequence[Any],
    published: str | None,
    *,
    do: bool,
) -> Restored:
    """Restore a home folder to a free place; without `do`, read the whole backup and report what a restore would do.

    `records` is a newer backup of records, or the former home folder. Raises `CannotRestore`, `UnusableBackup`,
    `AgeProblem`, `LedgerError` and `LogBroken`.
    """
    with _beside(home.root) as folder:
        unpacked = read(backup, identities, folder, lambda name: do or is_record(name))
        manifest, staged = unpacked.manifest, Home(folder / HOME_FOLDER)
        _check_part(manifest, Part.HOME)
        manifest.check_made_by(keys, unpacked.mac)
        _check_epoch(manifest, keys)
        found = Restored(manifest, [f"the home folder of {_day(manifest)}: {len(manifest.files):,} files"])
        log, lists, known = verify(staged), _lists(staged), objections(staged)
        ledger = _ledger_in(folder)
        if not records:
            found.to_do.append(
                f"nobody knows who was removed after {_day(manifest)}: give newer records with --records, or remove"
                " them again before anything is linked"
            )
        else:
            ledger = _with_records(folder, staged, keys, records, identities, ledger)
        since = _since(log, entries(staged))
        changed = {key: new for key, now in _lists(staged).items() if (new := now - lists.get(key, set()))}
        new_objections = [each for each in objections(staged) if each not in known]
        _tell(found, since, changed, new_objections)
        ledger = _furthest(ledger, found)
        was = records / "release" if records and records.is_dir() else None
        _look_for_charges(folder, staged, ledger, published, found, was)
        if do:
            _bring_up_to_date(staged, keys, changed, new_objections, found)
            _place_settings(folder, staged)
            record(staged, Processing.RESTORE, note=f"home of {_day(manifest)}")
            if ledger is not None:
                Ledger(settings().ledger or staged.root / "ledger.sqlite").restore(ledger)
            _promote(staged.root, home.root)
    return found


def restore_records(home: Home, keys: KeyRing, backup: Path, identities: Sequence[Any], *, do: bool) -> Restored:
    """Restore the ledger and missing measurements to an existing home folder.

    Raises `CannotRestore`, `InUse` if a run is in progress, `UnusableBackup`, `AgeProblem` and `LedgerError`.
    """
    if not home.root.is_dir():
        raise CannotRestore(f"{home.root} does not exist: restore a backup of the home folder")
    with alone(home), home.staging() as folder:
        unpacked = read(backup, identities, folder, is_record)
        if unpacked.manifest.part == Part.KEYS:
            _check_part(unpacked.manifest, Part.RECORDS)
        unpacked.manifest.check_made_by(keys, unpacked.mac)
        found = Restored(unpacked.manifest)
        if (copy := _ledger_in(folder)) is None:
            raise CannotRestore(f"{backup.name} has no ledger: it was made before the first release")
        ledger = _furthest(copy, found, home.ledger)
        missing = [path for path in _once_written(folder / HOME_FOLDER) if not (home.root / path).exists()]
        found.done += [f"the ledger of {_day(unpacked.manifest)}", *(f"{path}, which was gone" for path in missing)]
        _look_for_charges(folder, home, ledger, settings().publish_to, found)
        if do:
            record(home, Processing.RESTORE, note=f"records of {_day(unpacked.manifest)}")
            for path in missing:
                files.promote(folder / HOME_FOLDER / path, home.root / path)
            Ledger(home.ledger).restore(copy)
    return found


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Make a folder beside a free place, in which its content is built; no other restore and no run begins meanwhile.
    The remains of a dead restore are removed first. Raises `CannotRestore`."""
    folder = Home(place).restoring
    files.make_folder(folder)
    busy = CannotRestore(f"{place} is being restored by another process: wait until that has ended")
    with locked(folder, refusal=busy, patience=_PATIENCE_SECONDS):
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        try:
            if place.exists() and (not place.is_dir() or any(place.iterdir())):
                raise CannotRestore(
                    f"{place} is not empty, and nothing in it is replaced: move it away, or restore to another folder"
                )
            yield folder
        finally:
            shutil.rmtree(folder)


def _promote(staged: Path, place: Path) -> None:
    """Move the result into place, durable on return. Raises `CannotRestore` if something appeared there."""
    inside = [path for path in staged.rglob("*") if not path.is_symlink()]
    files.sync_all([staged, *inside])
    try:
        staged.replace(place)
    except OSError:
        raise CannotRestore(
            f"{place} could not take it: something was put there meanwhile, or it is where a volume is mounted, and"
            " then a folder in it can; nothing was restored"
        ) from None
    files.sync(place.parent)


def _check_part(manifest: Manifest, part: Part) -> None:
    if manifest.part != part:
        raise CannotRestore(f"this is a backup of {manifest.part}, not of {part}: `readiness restore {manifest.part}`")


def _check_epoch(manifest: Manifest, keys: KeyRing) -> None:
    if manifest.epoch < keys.epoch:
        raise CannotRestore(
            f"this backup is of epoch {manifest.epoch} of the keys, before they were rotated: what it holds was sealed"
            f" under keys that are no longer used. Restore one that was made under epoch {keys.epoch}, and destroy this"
        )
    if manifest.epoch > keys.epoch:
        raise CannotRestore(
            f"these keys are of epoch {keys.epoch}, and the backup of {manifest.epoch}: restore the newest keys"
        )


def _with_records(
    folder: Path, staged: Home, keys: KeyRing, records: Path, identities: Sequence[Any], ledger: LedgerCopy | None
) -> LedgerCopy | None:
    """Replace the records of a backup with newer ones, and keep the longer ledger."""
    newer = folder / "records"
    if records.is_dir():
        was = Home(records.resolve())
        if was.is_removal_unfinished:
            raise CannotRestore(f"a removal broke off in {records}: `readiness run` on it finishes it first")
        for relative, path in files_of(was):
            if is_record(name := f"{HOME_FOLDER}/{relative}"):
                files.make_folder((newer / name).parent)
                shutil.copyfile(path, newer / name)
        own = was.root / "ledger.sqlite"
        other = Ledger(own).copy() if own.exists() else None
    else:
        unpacked = read(records, identities, newer, is_record)
        if unpacked.manifest.part == Part.KEYS:
            _check_part(unpacked.manifest, Part.RECORDS)
        unpacked.manifest.check_made_by(keys, unpacked.mac)
        other = _ledger_in(newer)
    _check_goes_on(verify(staged), verify(Home(newer / HOME_FOLDER)))
    for path in list(_records_in(folder)):
        path.unlink()
    for path in list(_records_in(newer)):
        files.promote(path, folder / path.relative_to(newer))
    return other if ledger is None else ledger if other is None else ledger.newer(other)


def _check_goes_on(log: Sequence[LogEntry], newer: Sequence[LogEntry]) -> None:
    begun = [line.entry_hash for line in newer[: len(log)]]
    if begun != [line.entry_hash for line in log]:
        raise CannotRestore(
            "the records that you gave do not go on from this backup: they are older than it, or another installation's"
        )


def _records_in(folder: Path) -> Iterator[Path]:
    found = (path for path in (folder / HOME_FOLDER).rglob("*") if path.is_file())
    return (path for path in found if is_record(path.relative_to(folder).as_posix()))


def _once_written(root: Path) -> list[Path]:
    """Return records that never change once written: measurements, and what was fixed with a release."""
    found = [*root.glob("restricted/measurements/**/*.json"), *root.glob("restricted/releases/*.json")]
    return sorted(path.relative_to(root) for path in found)


def _ledger_in(folder: Path) -> LedgerCopy | None:
    path = folder / LEDGER_FILE
    return LedgerCopy.parse(path.read_bytes()) if path.exists() else None


def _furthest(ledger: LedgerCopy | None, found: Restored, place: Path | str | None = None) -> LedgerCopy | None:
    """Return the longer ledger: the backup's, or the one that is at its place."""
    there = place or settings().ledger
    is_there = there is not None and not (isinstance(there, Path) and not there.exists())
    live = Ledger(there).copy() if there is not None and is_there else None
    further = ledger.newer(live) if ledger and live else ledger or live
    if further != live or live is None:
        times = [found.manifest.made_at, *(entry.recorded_at for entry in (further.entries if further else ()))]
        found.to_do.append(
            f"if a release was measured after {_minute(max(times))} and is in no bundle found here,"
            " the ledger does not know what it cost. Earlier signatures no longer count: a named person who knows that"
            " nothing was measured since signs the next release again"
        )
    elif further != ledger:
        found.done.append("the ledger that is there stays: it goes further than the backup's")
    return further


def _look_for_charges(
    folder: Path,
    home: Home,
    ledger: LedgerCopy | None,
    published: str | None,
    found: Restored,
    was: Path | None = None,
) -> None:
    """Report charges that reachable bundles state and the ledger lacks, charges whose measurement is missing here, and
    that charges in no bundle cannot be found. `was` is a release directory other than the home's."""
    place = published or settings().publish_to
    anchors = [*anchors_in(home.release), *(anchors_in(was) if was else ())]
    stated = stated_charges([*anchors, *(anchors_at(open_store(place)) if place else ())])
    checked = Ledger(folder / "checked.sqlite")
    if ledger is not None:
        checked.restore(ledger)
    unknown: dict[str, str] = {each.release: each.place for each in checked.unknown(stated)}
    if unknown:
        named = "; ".join(f"release {each}, which is published at {at}" for each, at in sorted(unknown.items()))
        found.lacking.append(
            f"the ledger knows nothing of {named}: give a newer backup of records; until then nothing is charged or"
            " published"
        )
    ended = (charge.entry for charge in checked.charges() if charge.is_committed)
    lost = {e.release for e in ended if not path_of(home.restricted, e.cohort, e.release, e.family).exists()}
    if lost:
        found.lacking.append(
            f"the measurement of release {', '.join(sorted(lost))} was charged and is not here: give a newer backup of"
            " records, for it is never drawn again"
        )


def _lists(home: Home) -> dict[Key, set[Suppressed]]:
    """Return the rows that were removed on request, by extract."""
    found = {}
    for path in home.restricted.glob("forgotten/source=*/cohort=*/*.json"):
        source, cohort = (folder.name.partition("=")[2] for folder in (path.parent.parent, path.parent))
        key = (source, cohort, path.stem)
        found[key] = set(suppressed(home, *key))
    return found


def _since(before: Sequence[LogEntry], now: Sequence[LogEntry]) -> list[LogEntry]:
    return list(now[len(before) :])


def _tell(
    found: Restored, since: Sequence[LogEntry], changed: dict[Key, set[Suppressed]], new: list[Objection]
) -> None:
    """Report what the newest records say happened after the backup."""
    limit = retention().backup_days
    if found.manifest.age() > dt.timedelta(days=limit):
        found.to_do.append(f"the backup is older than the {limit} days that one may be kept: destroy it after this")
    if changed or new:
        found.done.append(
            f"removed again: rows of {len(changed)} extracts, and {len(new)} objections, which came after the backup"
        )
    again = {_extract(entry) for entry in since if entry.what == Processing.INTAKE}
    if again:
        found.to_do.append(f"taken in after the backup, so put into landing again and run: {', '.join(sorted(again))}")
    for entry in since:
        if entry.what == Processing.WITHDRAWAL:
            found.to_do.append(
                f"{entry.note} of {_extract(entry)} was withdrawn after the backup: do it again with `readiness parts"
                " withdraw`, before anything else"
            )


def _extract(entry: LogEntry) -> str:
    return f"{entry.council}/{entry.source}/{entry.cohort}"


def _bring_up_to_date(
    staged: Home, keys: KeyRing, changed: dict[Key, set[Suppressed]], new: Sequence[Objection], found: Restored
) -> None:
    """Remove from a restored home folder what was removed after the backup, and what may no longer be kept."""
    for key, rows in changed.items():
        quality = deliveries.current(staged, *key)
        if quality and not quality.parts and {row.file_mac for row in rows} != {quality.file_mac}:
            source, cohort, council = key
            deliveries.take_out(staged, key)
            found.to_do.append(
                f"{council}/{source}/{cohort} was taken out: rows of a later delivery were removed on request; put the"
                " newest extract into landing and run"
            )
    if changed or new:
        found.to_do += remove_again(staged, keys, list(changed), new)
    over = expire(staged, None, None, retention(), dt.datetime.now(dt.UTC)).held
    if over:
        found.done.append(f"removed, since its time is over: {len(over)} files and folders")


def _place_settings(folder: Path, staged: Home) -> None:
    """Leave the files that settings named in `settings/` of the home folder, to be put back by hand."""
    if (folder / SETTINGS_FOLDER).exists():
        (folder / SETTINGS_FOLDER).replace(staged.root / SETTINGS_FOLDER)


def _day(manifest: Manifest) -> str:
    return _minute(manifest.made_at)


def _minute(time: str) -> str:
    return time[:16].replace("T", " ") + " UTC"

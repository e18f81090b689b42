"""Restores keys and records from backups without bringing back removed data.

A home folder from a file backup is older than its newest records, and still contains data that was removed later. The
records are applied before anything else may use the folder. Rows that they list as removed, and data past its retention
period, are removed again. The longer ledger wins, and published bundles are searched for charges that it lacks.
"""

import datetime as dt
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assets.home.errors import Refused
from assets.home.home_lock import lock_home
from assets.home.paths import ExtractStore, Home
from assets.home.processing_log import LogEntry, Processing, record, verify
from assets.home.retention_policy import get_retention
from assets.intake import deliveries
from assets.intake.suppressions import Objection, Suppressed, read_objections, read_suppressed
from assets.keeping import backup
from assets.keeping.forgetting import remove_again
from assets.keeping.retention import expire
from assets.release.published_charges import read_published_charges
from privacy.doors import clock, files
from privacy.keys import FROM_BACKUP, Holder, KeyRing
from privacy.release.ledger import Ledger, LedgerCopy
from privacy.release.session import build_measurement_path

ANY_HOLDER = Holder(("input-mac",), remedy=FROM_BACKUP)
"""Holder of the key that every key set of an installation contains."""


@dataclass
class Restored:
    """Result, or preview, of a restore, in sentences. While something is `lacking`, nothing can be charged."""

    manifest: backup.BackupManifest
    done: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)


def restore_keys(home: Home, place: Path, file: Path, identities: Sequence[Any], *, do: bool) -> Restored:
    """Restore a key set to a missing or empty folder. Without `do`, only check.

    Raises `Refused` if the folder is not empty, a newer key set exists or the backup is unusable, `AgeProblem` and
    `KeyProblem`.
    """
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise Refused(
            f"{place} is not empty, and nothing in it is replaced: move it away, or restore to another folder"
        )
    archive = backup.read_archive(file, identities, "keys")
    # checked in a folder beside it, so that the keys are restored whole or not at all
    staged = files.get_unfinished_path(place)
    shutil.rmtree(staged, ignore_errors=True)
    try:
        # the last part of each name only, so that nothing is written outside the folder
        files.write_all({staged / Path(name).name: content for name, content in archive.files.items()})
        ring = KeyRing.load(staged, ANY_HOLDER)
        archive.check_made_by(ring)
        location = backup.find_key_location(staged)
        described = f"key set of the {location} location" if location else "key set"
        if (newest := backup.find_latest_epoch(home)) > ring.epoch:
            raise Refused(
                f"these keys are of epoch {ring.epoch}, and {home.root} was backed up under those of epoch {newest},"
                " which replaced them: restore the newest backup of keys, and destroy this one"
            )
        if do:
            if home.root.is_dir():
                record(home, Processing.RESTORE, note=f"keys of epoch {ring.epoch}")
            staged.replace(place)
            files.sync(place.parent)
    except OSError:
        raise Refused(
            f"the keys cannot be put at {place}: something was put there meanwhile, or it is a mounted volume, in which"
            " case name a folder in it; nothing was restored"
        ) from None
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Restored(archive.manifest, [f"the {described} of epoch {ring.epoch}"])


def restore_records(
    home: Home, keys: KeyRing, file: Path, identities: Sequence[Any], published: str | None, *, do: bool
) -> Restored:
    """Restore a home folder's lost ledger or measurements from records, or bring an older copy of it up to date.

    Without `do`, report what a restore would do. Raises `Refused` if the records and the folder do not belong
    together or the backup is unusable, `InUse` if a run is in progress, `AgeProblem`, `LedgerError` and `LogBroken`.
    """
    if not home.root.is_dir():
        raise Refused(f"{home.root} does not exist: put a copy of the home folder there first")
    archive = backup.read_archive(file, identities, "records")
    archive.check_made_by(keys)
    with lock_home(home), home.open_staging() as folder:
        files.write_all({folder / name: content for name, content in archive.files.items()})
        newest, found = Home(folder), Restored(archive.manifest)
        log, newest_log = verify(home), verify(newest)
        is_older = len(log) < len(newest_log)
        # a copy and its records belong together if one log continues the other
        if any(entry != other for entry, other in zip(log, newest_log, strict=False)):
            raise Refused(
                "the records and the home folder do not match: one of them is of another installation, or something was"
                " done in a copy"
            )
        content = archive.files.get(backup.LEDGER_FILE)
        ledger = _choose_longer_ledger(LedgerCopy.parse(content) if content else None, found, home)
        records_of = f"records of {_format_minute(archive.manifest.made_at)}"
        found.done.append(f"the {records_of}")
        if is_older:
            _check_epoch(archive.manifest, home, keys)
            known = read_objections(home)
            # rows removed on request according to the records, by extract of this home folder
            listed = {
                replace(each, home=home): read_suppressed(each) for each in newest.iter_extracts("forgotten", "json")
            }
            new_rows = {each: new for each, rows in listed.items() if (new := {*rows} - {*read_suppressed(each)})}
            new_objections = [each for each in read_objections(newest) if each not in known]
            _report_since(found, newest_log[len(log) :], new_rows, new_objections)
        # only records that never change once written; everything else here is newer than the backup
        folders = (newest.restricted / "measurements", newest.restricted / "releases")
        records = [path for path in backup.list_record_paths(newest) if any(map(path.is_relative_to, folders))]
        missing = [path for path in (each.relative_to(folder) for each in records) if not (home.root / path).exists()]
        found.done += [f"{path}, which was gone" for path in missing if not is_older]
        _look_for_charges(folder, [home, newest], ledger, published, found)
        if do:
            with home.hold_for_restore():
                if is_older:
                    _replace_records(newest, home)
                record(home, Processing.RESTORE, note=records_of)
                if is_older:
                    _bring_up_to_date(home, keys, new_rows, new_objections, found)
                else:
                    files.promote_all([(newest.root / path, home.root / path) for path in missing])
                if ledger is not None:
                    home.open_ledger().restore(ledger)
    return found


def _check_epoch(manifest: backup.BackupManifest, home: Home, keys: KeyRing) -> None:
    epoch = backup.find_latest_epoch(home)
    if epoch and epoch < keys.epoch:
        raise Refused(
            f"this copy of the home folder is of epoch {epoch} of the keys, before they were rotated: what it holds was"
            f" sealed under keys that are no longer used. Put back a copy made after the first backup of records under"
            f" epoch {keys.epoch}, and destroy this one"
        )
    if manifest.epoch > keys.epoch:
        raise Refused(
            f"these keys are of epoch {keys.epoch}, and the records of epoch {manifest.epoch}: restore the newest keys"
        )


def _replace_records(newest: Home, home: Home) -> None:
    # not one step: if it is interrupted, the marker of `hold_for_restore` keeps all other work out
    for path in backup.list_record_paths(home):
        path.unlink()
    files.promote_all([(path, home.root / path.relative_to(newest.root)) for path in backup.list_record_paths(newest)])


def _choose_longer_ledger(ledger: LedgerCopy | None, found: Restored, home: Home) -> LedgerCopy | None:
    """Return the longer of the backup's ledger and the current one."""
    live = home.open_ledger().copy() if home.has_ledger else None
    further = ledger.choose_newer(live) if ledger and live else ledger or live
    if further != live or live is None:
        times = [found.manifest.made_at, *(entry.recorded_at for entry in (further.entries if further else ()))]
        found.to_do.append(
            f"if a release was measured after {_format_minute(max(times))} and is in no bundle found here,"
            " the ledger does not know what it cost. Earlier signatures no longer count: a named person who knows that"
            " nothing was measured since signs the next release again"
        )
    elif further != ledger:
        found.done.append("the existing ledger stays: it has later entries than the backup's")
    return further


def _look_for_charges(
    folder: Path, homes: Sequence[Home], ledger: LedgerCopy | None, published: str | None, found: Restored
) -> None:
    """Report charges in reachable bundles that the ledger lacks, and charges whose measurement is in no home folder."""
    stated = read_published_charges(homes[0], place=published)
    checked = Ledger(folder / "checked.sqlite")  # a scratch copy, so that the live ledger stays unchanged
    if ledger is not None:
        checked.restore(ledger)
    unknown: dict[str, str] = {each.release: each.place for each in checked.list_unknown(stated)}
    if unknown:
        named = "; ".join(f"release {each}, which is published at {at}" for each, at in sorted(unknown.items()))
        found.lacking.append(
            f"the ledger knows nothing of {named}: give a newer backup of records; until then nothing is charged or"
            " published"
        )
    # an open charge has no measurement yet, and the next run gives it back
    ended = [charge.entry for charge in checked.list_charges() if charge.is_committed]
    places = {
        e.release: [build_measurement_path(home.restricted, e.cohort, e.release, e.family) for home in homes]
        for e in ended
    }
    lost = [release for release, paths in places.items() if not any(path.exists() for path in paths)]
    if lost:
        found.lacking.append(
            f"the measurement of release {', '.join(sorted(lost))} was charged and is not here: give a newer backup of"
            " records, because it is never drawn again"
        )


def _report_since(
    found: Restored, since: Sequence[LogEntry], new_rows: dict[ExtractStore, set[Suppressed]], new: Sequence[Objection]
) -> None:
    """Report what happened, according to the records, after the home folder was copied."""
    limit = get_retention().backup_days
    if found.manifest.compute_age() > dt.timedelta(days=limit):
        found.to_do.append(f"the backup is older than the {limit} days that one may be kept: destroy it after this")
    if new_rows or new:
        found.done.append(
            f"removed again: rows of {len(new_rows)} extracts, and {len(new)} objections, which came after the copy"
        )
    again = {_format_extract(entry) for entry in since if entry.what == Processing.INTAKE}
    if again:
        found.to_do.append(f"taken in after the copy, so put into landing again and run: {', '.join(sorted(again))}")
    for entry in since:
        if entry.what == Processing.WITHDRAWAL:
            found.to_do.append(
                f"{entry.note} of {_format_extract(entry)} was withdrawn after the copy: do it again with `readiness"
                " parts withdraw`, before anything else"
            )


def _format_extract(entry: LogEntry) -> str:
    return f"{entry.council}/{entry.source}/{entry.cohort}"


def _bring_up_to_date(
    home: Home, keys: KeyRing, new_rows: dict[ExtractStore, set[Suppressed]], new: Sequence[Objection], found: Restored
) -> None:
    """Remove data from a copied home folder that was removed after the copy, or is past its retention period."""
    for store, rows in new_rows.items():
        quality = deliveries.read_current(store)
        if quality and not quality.parts and {row.file_mac for row in rows} != {quality.file_mac}:
            deliveries.take_out(store)
            found.to_do.append(
                f"{store.name} was taken out: rows of a later delivery were removed on request; put the newest extract"
                " into landing and run"
            )
    if new_rows or new:
        found.to_do += remove_again(home, keys, list(new_rows), new)
    # without landing, which no backup contains
    over = expire(home, None, keys, clock.now()).held
    if over:
        found.done.append(f"removed, because its time is over: {len(over)} files and folders")


def _format_minute(time: str) -> str:
    return time[:16].replace("T", " ") + " UTC"

"""Removes data past its retention period (`privacy/retention.yaml`), and files from landing once ingested.

The ledger, stored measurements, releases and the processing log are never removed. Files in landing are shredded:
overwritten once, then unlinked. On flash storage and copy-on-write file systems the old bytes may survive, so removed
files are protected there only by disk encryption.
"""

import datetime as dt
import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from assets.home.home_lock import lock_home
from assets.home.paths import Home
from assets.home.processing_log import Processing, record
from assets.home.retention_policy import Retention, get_retention
from assets.intake import deliveries
from assets.intake.parts import PartStore, SortedFiles
from assets.intake.suppressions import read_objection
from assets.keeping.finding import Forgotten, find_in_no_table
from assets.keeping.forgetting import forget
from privacy.doors.regular import destroy, is_link_out
from privacy.keys import KeyRing
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped
from sources.extract.landing import (
    READY,
    SHREDDING_PREFIX,
    Landed,
    find,
    hash_content,
    list_councils,
    list_files,
    list_mixed_files,
)
from sources.reference.cohorts import Cohort, list_cohort_codes

_FOLDERS_OF_COHORTS = ("pseudonymised", "parts", "quarantine", "quality", "stopped", "history", "forgotten")
"""Folders of the restricted zone that are divided by source, then by cohort."""
_RETURN_FILES = {
    "*/*/*.age": "return",
    "*/summary-*.*": "summary of returns",
    "*/told-*.age": "receipts of who was told about rows",
    "standing-*.parquet": "dates when rows first appeared",
    "made-*.json": "what returns were made from",
}
"""Files of returns, whose names end with their cohort, and their kind in the log."""
_MULTI_COHORT_FILES = "files of several cohorts"
_HELD_ROWS = ("pseudonymised", "parts", "tokens")
_REMOVALS = ("objection", "forgotten")
"""Lists of removed rows and children. They are kept when a cohort without a Profile is removed, because more of its
files may come."""
_IN_THE_WAY = {errno.ENOENT, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}
"""Errors from renaming a file that no longer exists, or whose new name is taken by a folder."""
_NOT_TAKEN_IN = "was not taken in with its present content; it stays"
_LAST_YEAR = 2098
"""First year of the last cohort that is looked for in landing (209899)."""
_LONG_AGO = "1970-01-01T00:00:00+00:00"
"""Placeholder for the intake time of a file whose rows are no longer held, so that it counts as overdue."""


@dataclass(frozen=True, order=True)
class Due:
    """An item past its retention period: its path in the home folder, and its kind (`what`)."""

    cohort: str
    what: str
    council: str
    source: str
    path: Path


@dataclass(frozen=True)
class Shreddable:
    """A file in landing, or folder of files, whose rows are in force."""

    landed: Landed
    file_mac: str
    taken_at: str


@dataclass(frozen=True)
class LandingCheck:
    """Files in landing that may be shredded, and a sentence for each that may not."""

    ready: tuple[Shreddable, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class Expiry:
    """Items, files, and rows of children that can be in no table, which are due for removal or were removed."""

    held: tuple[Due, ...]
    landing: tuple[Shreddable, ...]
    children: tuple[Forgotten, ...]


def find_due_items(home: Home, landing: Path | None, keys: KeyRing | None, now: dt.datetime) -> Expiry:
    """Return what is kept for longer than allowed: rows of single children only if `keys` are given, and files in
    landing only if `landing` is given too."""
    policy, items = get_retention(), (*_iter_folders_and_files(home), *_iter_multi_cohort_files(home))
    codes = {entry.cohort for entry in items}
    ended = {code for code in codes if now.date() >= policy.compute_end(Cohort(code))}
    unpublished = {code for code in codes - ended if _is_unpublished_over(home, policy, Cohort(code), now)}
    with_profile = {each.cohort for each in items if each.source == "eyfsp" and each.what in _HELD_ROWS}
    without = unpublished - with_profile
    expired = [
        each for each in items if each.cohort in ended or (each.cohort in without and each.what not in _REMOVALS)
    ]
    found = sorted({*expired, *_iter_quarantines(home, policy, now)})
    files = []
    if landing and keys and landing.is_dir():
        ready = find_shreddable(landing, home, keys).ready
        files = [file for file in ready if _is_over(file.taken_at, policy.landing_days, now)]
    codes = unpublished & with_profile
    children = [find_in_no_table(home.get_cohort(code), keys) for code in sorted(codes)] if keys else []
    return Expiry(tuple(found), tuple(files), tuple(each for each in children if each.extracts))


def _is_unpublished_over(home: Home, policy: Retention, cohort: Cohort, now: dt.datetime) -> bool:
    """Return whether a cohort's records that can be in no table may no longer be kept."""
    if now.date() < policy.compute_unpublished_end(cohort, dt.date.min):
        return False
    extracts = home.iter_extracts("quality", "json", cohort.code)
    qualities = filter(None, map(deliveries.read_current, extracts))
    # Without a result of the intake, nothing says when the last delivery came.
    days = [dt.datetime.fromisoformat(quality.taken_at).date() for quality in qualities]
    return bool(days) and now.date() >= policy.compute_unpublished_end(cohort, max(days))


def expire(home: Home, landing: Path | None, keys: KeyRing | None, now: dt.datetime) -> Expiry:
    """Remove all items past their time, each recorded before it is removed. Raises `InUse` if a run is in progress."""
    with lock_home(home):
        found = find_due_items(home, landing, keys, now)
        for entry in found.held:
            record(home, Processing.EXPIRY, entry.source, entry.cohort, entry.council, note=entry.what)
            if entry.what == _MULTI_COHORT_FILES:
                sorted_files = SortedFiles(home, entry.source, entry.council)
                for mac in sorted_files.list_entries():
                    sorted_files.close(mac, entry.cohort)
            elif entry.path.is_dir():
                shutil.rmtree(entry.path)
            else:
                entry.path.unlink(missing_ok=True)
        if landing:
            _finish_shredding(home, landing)
        shredded = tuple(file for file in found.landing if keys and shred(home, keys, file))
        children = tuple(forget(home, each, keys, what=Processing.EXPIRY) for each in found.children if keys)
    return replace(found, landing=shredded, children=children)


def _iter_folders_and_files(home: Home) -> Iterator[Due]:
    """Yield an item for each file or folder kept for a cohort, except releases and entries of multi-cohort files."""
    for path in home.objections.glob("*.json"):
        yield Due(read_objection(path).cohort, "objection", "", "", path)
    for pattern, what in _RETURN_FILES.items():
        for path in home.returns.glob(pattern):
            council, source = [*path.relative_to(home.returns).parent.parts, "", ""][:2]
            yield Due(path.stem.rpartition("-")[2], what, council, source, path)
    patterns = {home.restricted / kind: "source=*/cohort=*" for kind in _FOLDERS_OF_COHORTS}
    patterns |= {home.restricted / kind: "cohort=*" for kind in ("reports", "linked", "reviews")}
    for folder, pattern in (patterns | {home.tokens_zone: "source=*/cohort=*"}).items():
        for path in folder.glob(pattern):
            source = path.parent.name.removeprefix("source=") if "=" in path.parent.name else ""
            yield Due(path.name.removeprefix("cohort="), folder.name, "", source, path)


def _iter_multi_cohort_files(home: Home) -> Iterator[Due]:
    """Yield an item for each cohort in the stored entries of multi-cohort files."""
    for path in home.restricted.glob("several/source=*/*.json"):
        source, council = path.parent.name.removeprefix("source="), path.stem
        for cohort in {
            cohort for entry in SortedFiles(home, source, council).list_entries().values() for cohort in entry.cohorts
        }:
            yield Due(cohort, _MULTI_COHORT_FILES, council, source, path)


def _iter_quarantines(home: Home, policy: Retention, now: dt.datetime) -> Iterator[Due]:
    """Yield quarantines and superseded results past their time, for cohorts that are still kept."""
    for store in {*home.iter_extracts("quality", "json"), *home.iter_extracts("parts", "d")}:
        if store.source not in CONTRACTS or now.date() >= policy.compute_end(Cohort(store.cohort)):
            continue
        parts = PartStore(store)
        results = [("quarantine", store.quarantine, deliveries.read(store.quality), policy.quarantine_days)]
        superseded = store.history.glob("*.json")
        results += [("superseded delivery", each, deliveries.read(each), policy.superseded_days) for each in superseded]
        found = [(what, path, quality.taken_at, days) for what, path, quality, days in results if quality]
        found += [
            ("quarantine", parts.get_files(part.kept_in).quarantine, part.read_at, policy.quarantine_days)
            for part in parts.list_kept()
        ]
        for what, path, since, days in found:
            if path.exists() and _is_over(since, days, now):
                yield Due(store.cohort, what, store.council, store.source, path)


def _is_over(since: str, days: int, now: dt.datetime) -> bool:
    return now - dt.datetime.fromisoformat(since) > dt.timedelta(days=days)


def find_shreddable(landing: Path, home: Home, keys: KeyRing, cohort: str | None = None) -> LandingCheck:
    """Return the files in landing that were ingested and have not changed since, for one cohort or for all."""
    found: list[Shreddable | str] = []
    for council in list_councils(landing):
        for source in CONTRACTS:
            folder = landing / council / source
            names = {path.name.partition(".")[0] for path in folder.iterdir()} if folder.is_dir() else set()
            # files of cohorts past their retention, or without a partition yet, may be in landing too
            for code in [cohort] if cohort else (code for code in list_cohort_codes(_LAST_YEAR) if code in names):
                try:
                    landed = find(landing, council, source, code)
                except ExtractStopped as stopped:
                    found.append(f"{stopped}; it stays")
                else:
                    extracts = [landed] if landed and not landed.in_parts else []
                    if landed and landed.parts:
                        extracts = [replace(landed, path=path, parts=(), several=()) for path in landed.parts]
                    found += [_check_file(home, keys, each) for each in extracts]
            found += [
                _check_multi_cohort_file(home, keys, each, cohort)
                for each in list_mixed_files(landing, council, source)
            ]
    ready = tuple(each for each in found if isinstance(each, Shreddable))
    return LandingCheck(ready, tuple(each for each in found if isinstance(each, str) and each))


def _check_multi_cohort_file(home: Home, keys: KeyRing, landed: Landed, cohort: str | None) -> Shreddable | str:
    """Return the file to shred if all its cohorts are in, or else why it stays; empty if it has no rows of `cohort`."""
    entry = SortedFiles(home, landed.source, landed.council).list_entries().get(mac := _compute_mac(keys, landed))
    if entry is None:
        return "" if cohort else f"{landed.name}: {_NOT_TAKEN_IN}"
    if cohort and cohort not in entry.cohorts:
        return ""
    if not entry.cohorts:
        return Shreddable(landed, mac, _LONG_AGO)
    checked = [_check_file(home, keys, replace(landed, cohort=each)) for each in entry.cohorts]
    kept = next((each for each in checked if isinstance(each, str)), "")
    taken = [each.taken_at for each in checked if isinstance(each, Shreddable)]
    return kept or Shreddable(replace(landed, cohort=entry.cohorts[0]), mac, max(taken))


def _compute_mac(keys: KeyRing, landed: Landed) -> str:
    """Return a file's MAC; empty, as of no delivery, if it cannot be read or is a link out of its council's folder."""
    try:
        return deliveries.compute_file_mac(keys, hash_content(landed.path, within=landed.within))
    except ExtractStopped:
        return ""


def shred_taken(landing: Path, home: Home, keys: KeyRing, cohort: str | None = None) -> LandingCheck:
    """Shred the files that `find_shreddable` returns. Raises `InUse` if a run is in progress."""
    with lock_home(home):
        found = find_shreddable(landing, home, keys, cohort)
        odd = _finish_shredding(home, landing)
        shredded = tuple(file for file in found.ready if shred(home, keys, file))
    left = [
        f"{file.landed.name} changed, or a folder is in its way; it stays"
        for file in found.ready
        if file not in shredded
    ]
    return LandingCheck(shredded, (*found.kept, *left, *odd))


def _finish_shredding(home: Home, landing: Path) -> list[str]:
    """Destroy the remains of interrupted shredding. Return a sentence for each folder that stays."""
    odd = []
    for left in sorted((*landing.glob(f"*/*/{SHREDDING_PREFIX}*"), *landing.glob(f"*/*/*/{SHREDDING_PREFIX}*"))):
        council, source = left.relative_to(landing).parts[:2]
        record(home, Processing.SHREDDING, source, council=council, note="the rest of an interrupted one")
        try:
            destroy(left)
        except IsADirectoryError:
            odd.append(f"{council}/{source}: a folder named like the rest of a shredding holds folders; it stays")
    return odd


def shred(home: Home, keys: KeyRing, file: Shreddable) -> bool:
    """Record, overwrite and unlink a file. Return False if the sender replaced it, or put a link or folder there."""
    landed = file.landed
    begun = landed.path.with_name(SHREDDING_PREFIX + landed.path.name)
    # the sender may have replaced its folder with a link since the check
    if landed.within and is_link_out(landed.path, landed.within):
        return False
    try:
        # renamed to a name that no extract has, so that `_finish_shredding` can finish an interrupted call, and that a
        # delivery that comes meanwhile is another file and stays
        landed.path.rename(begun)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        return False
    # the sender replaced it since the check: put it back, unless a newer one is there
    if _compute_mac(keys, replace(landed, path=begun)) != file.file_mac:
        if not landed.path.exists():
            begun.rename(landed.path)
        return False
    record(home, Processing.SHREDDING, *landed.key, file_mac=file.file_mac)
    landed.path.with_name(landed.path.name + READY).unlink(missing_ok=True)
    destroy(begun)
    folder = landed.path.parent
    if folder.name == landed.cohort and not any(folder.iterdir()):
        folder.rmdir()  # an empty folder would look like an extract that has not arrived yet
    return True


def _check_file(home: Home, keys: KeyRing, landed: Landed) -> Shreddable | str:
    """Return a file as shreddable, or the reason why it stays."""
    files = list_files(landed.path)
    if any(path.is_symlink() for path in (landed.path, *files)):
        return f"{landed.name} is a link; what it leads to stays"
    if any(path.stat().st_nlink > 1 for path in files):
        return f"{landed.name} has another name elsewhere, whose content would go with it; it stays"
    if landed.path.is_dir() and any(path.is_dir() for path in landed.path.iterdir()):
        return f"{landed.name} holds folders; it stays"
    store, mac = home.get_extract(*landed.key), _compute_mac(keys, landed)
    quality = deliveries.read_current(store)
    if deliveries.read_stopped(store):
        return f"{landed.name} was stopped; it stays until a good one is in"
    if quality is None or mac not in quality.part_numbers:
        return f"{landed.name}: {_NOT_TAKEN_IN}"
    return Shreddable(replace(landed, part=quality.part_numbers[mac]), mac, quality.taken_at)

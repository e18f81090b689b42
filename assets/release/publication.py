"""The publisher and day of a release, and whether a published release is up to date with its inputs.

Hashes of the bundle and of everything that decides it are kept once it is verified. A release that is up to date is not
made again, because the result would be the same bytes.
"""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain

from assets.home.paths import CohortStore, Home
from assets.linkage.inputs import hash_file
from assets.release.anchors import read_published_charges
from assets.release.fix_release import ReleaseOptions, is_current
from assets.release.record import read_record
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts.directory_files import Announced, read_calendar
from ndl_export.facts.release_facts import Publisher, Version, load_publisher
from ndl_export.facts.released import DATAPACKAGE_FILE, list_versions
from ndl_export.files.signing import fingerprint, get_public_pem
from privacy.doors import files
from privacy.doors.environment import get_settings
from privacy.doors.program import compute_program_sha256
from privacy.keys import KeyRing
from privacy.release.approval import SignOffs, is_demonstration
from privacy.release.canonical import hash_json
from privacy.release.ledger import Ledger
from privacy.release.policy import Stage, load_policy
from privacy.release.session import build_measurement_path

# intake and linkage are left out: a bundle is made from stored measurements, whatever made the tables
_CODE = ("assets/release", "ndl_export", "privacy", "sources/reference")
_LIBRARIES = ("numpy", "opendp", "pyarrow", "scipy")
_MADE_BY_ITSELF = ".duckdb"
"""Suffix of files that themselves record what they were made from."""


def is_release_current(
    store: CohortStore, keys: KeyRing, version: str, councils: Sequence[str], options: ReleaseOptions
) -> bool:
    """Return whether the release is what was asked for, and everything is as it was when it was published."""
    record = read_record(store.home, version)
    if store.cohort not in record or (options.share is not None and options.share != record[store.cohort].share):
        return False
    if not set(options.requests) <= {table.name for table in record.requested}:
        return False
    if not all(is_current(store.home.cohort(each), version, councils) for each in record.measured):
        return False
    return is_bundle_current(store.home, keys, version, councils)


def is_bundle_current(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> bool:
    """Return whether a bundle and the files next to it are as last verified, would come out the same, and are paid."""
    path = home.release_made(version)
    if not path.exists() or not (home.release / version).is_dir():
        return False
    if json.loads(path.read_bytes()) != _hash_release(home, keys, version, councils):
        return False
    # also where nothing changed here: another home may have published to the same place since
    Ledger(home.ledger).check_known(read_published_charges(home, keys))
    return True


def note_sound(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> None:
    """Keep hashes of a verified bundle and of the files next to it, for `is_bundle_current` to compare with."""
    files.write_json(home.release_made(version), _hash_release(home, keys, version, councils))


def _hash_release(home: Home, keys: KeyRing, version: str, councils: Sequence[str]) -> dict[str, object]:
    """Return hashes of everything that decides a release, and of its measurements and published files, by path."""
    ledger, releases = Ledger(home.ledger), read_record(home, version).releases
    decides = {
        "records": {
            each: {cohort: asdict(entry) for cohort, entry in read_record(home, each).items()} for each in releases
        },
        "councils": sorted(councils),
        "ledger": [line.entry_hash for line in ledger.list_entries()[-1:]],
        "signed": [line.entry_hash for line in ledger.sign_offs()[-1:]],
        "policy": load_policy().sha256,
        "publisher": get_publisher(home, keys, version).model_dump(),
        "calendar": [(each.version, str(each.date)) for each in read_calendar(get_settings().calendar)],
        "key": fingerprint(get_public_pem(keys.signing_key)),
        "program": compute_program_sha256(_CODE, _LIBRARIES),
    }
    # cohort and release are placeholders: only the folder above all measurements is wanted
    measurements, hashes = build_measurement_path(home.restricted, "c", "r", "f").parents[2], dict[str, str]()
    for path in chain(measurements.rglob("*"), home.release.rglob("*")):
        # a link by its target: `latest` leads to a bundle whose files are listed themselves
        if path.is_symlink():
            hashes[str(path.relative_to(home.root))] = f"-> {path.readlink()}"
        elif path.is_file() and path.suffix != _MADE_BY_ITSELF:
            hashes[str(path.relative_to(home.root))] = hash_file(path)
    return {"made_from": hash_json(decides), "files": hashes}


def get_publisher(home: Home, keys: KeyRing, version: str) -> Publisher:
    """Return the publisher of the release. Raises `InvalidPublisher`."""
    return load_publisher(demonstration=_is_demonstration(home, keys, version))


@dataclass(frozen=True)
class Day:
    """The day that a release carries, such as 2026-11-26, and whether it was announced."""

    day: str
    announced: bool = False


def find_release_day(home: Home, version: str, today: dt.date) -> Day:
    """Return the announced day or, if there is none or it is earlier, the day the bundle was first made; kept."""
    path, published = home.release_day(version), home.release / version / DATAPACKAGE_FILE
    kept = Day(**json.loads(path.read_bytes())) if path.exists() else None
    if kept is None and published.exists():  # published before days were kept
        kept = Day(json.loads(published.read_bytes())["created"][:10])
    # a changed calendar counts only until the publication is signed
    if kept and (published.exists() or SignOffs(Ledger(home.ledger)).list_allowed(Stage.PUBLICATION, version)):
        return kept
    # a kept day may be an announced one that is still to come
    made = min(dt.date.fromisoformat(kept.day), today) if kept else today
    days = (each.date for each in read_calendar(get_settings().calendar) if each.version == version and each.date)
    announced = next((day for day in days if day >= made), None)
    found = Day((announced or made).isoformat(), announced is not None)
    if found != kept:
        files.write_json(path, asdict(found))
    return found


def announce(home: Home, keys: KeyRing, version: str, today: dt.date) -> None:
    """Announce to readers what the calendar says or, in a demonstration without one, a release a year later."""
    path = get_settings().calendar
    if path:
        announce_upcoming(home.release, read_calendar(path), today)
    elif _is_demonstration(home, keys, version):
        newest = max([Version.parse(version), *list_versions(home.release)])
        later = Version(newest.year + 1, newest.month, 0)
        announce_upcoming(home.release, [Announced(str(later), None)], today)


def _is_demonstration(home: Home, keys: KeyRing, version: str) -> bool:
    """Return whether a demonstration's key signs the release, or signed the measurement of any of its cohorts."""
    ledger = Ledger(home.ledger)
    if keys.demonstration_key and is_demonstration(ledger, load_policy().sign_off):
        return True
    signed = SignOffs(ledger)
    measured_for = read_record(home, version).releases
    allowed = (each for release in measured_for for each in signed.list_allowed(Stage.MEASUREMENT, release))
    return any(each.is_demonstration for each in allowed)

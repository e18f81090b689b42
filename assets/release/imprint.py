"""What a release says of its own publication: by whom, and on which day; and which releases are announced after it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict, dataclass

from assets.home.paths import Home
from assets.release.record import read_record, releases_of
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts.directory_files import Announced, calendar
from ndl_export.facts.release_facts import Publisher, Version, load_publisher
from ndl_export.facts.released import DATAPACKAGE_FILE, versions
from privacy.doors import files
from privacy.doors.environment import settings
from privacy.keys import KeyRing
from privacy.release.approval import SignOffs, is_demonstration
from privacy.release.ledger import Ledger
from privacy.release.policy import Stage, load_policy


def publisher_of(home: Home, keys: KeyRing, version: str) -> Publisher:
    """Who publishes the release. Raises `InvalidPublisher`."""
    return load_publisher(demonstration=_is_demonstration(home, keys, version))


@dataclass(frozen=True)
class Day:
    """The day that a release carries, as 2026-11-26, and whether it was announced."""

    day: str
    announced: bool = False


def day_of(home: Home, version: str, today: dt.date) -> Day:
    """The day that the calendar announces, or else on which the bundle was first made, which counts as well where it is
    the later one.

    It is kept, so that the bundle is the same whenever it is made again, and follows a calendar that was changed only
    until the publication is signed. Raises `InvalidCalendar`.
    """
    path, published = home.release_day(version), home.release / version / DATAPACKAGE_FILE
    kept = Day(**json.loads(path.read_bytes())) if path.exists() else None
    if kept is None and published.exists():  # published when no day was kept
        kept = Day(json.loads(published.read_bytes())["created"][:10])
    if kept and (published.exists() or SignOffs(Ledger(home.ledger)).allowed(Stage.PUBLICATION, version)):
        return kept
    made = min(dt.date.fromisoformat(kept.day), today) if kept else today
    days = (each.date for each in calendar(settings().calendar) if each.version == version and each.date)
    announced = next((day for day in days if day >= made), None)
    found = Day((announced or made).isoformat(), announced is not None)
    if found != kept:
        files.write_json(path, asdict(found))
    return found


def announce(home: Home, keys: KeyRing, version: str, today: dt.date) -> None:
    """Tell readers what the calendar announces; in a demonstration without one, a release a year later. Raises
    `InvalidCalendar`."""
    path = settings().calendar
    if path:
        announce_upcoming(home.release, calendar(path), today)
    elif _is_demonstration(home, keys, version):
        newest = max([Version.parse(version), *versions(home.release)])
        later = Version(newest.year + 1, newest.month, 0)
        announce_upcoming(home.release, [Announced(str(later), None)], today)


def _is_demonstration(home: Home, keys: KeyRing, version: str) -> bool:
    """Whether a demonstration's key signs the release, or signed the measurement of any of its cohorts."""
    ledger = Ledger(home.ledger)
    if keys.demonstration_key and is_demonstration(ledger, load_policy().sign_off):
        return True
    signed = SignOffs(ledger)
    measured_for = releases_of(read_record(home, version), version)
    allowed = (each for release in measured_for for each in signed.allowed(Stage.MEASUREMENT, release))
    return any(each.is_demonstration for each in allowed)

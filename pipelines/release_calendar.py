"""When a release may be published: on the day that the release calendar announces, at half past nine.

As standard 3 of the Code of Practice for Statistics, edition 3.0, asks: statistics come out at a standard time, usually
09:30, on a day that was announced. Until then a release is made and held; the calendar charges nothing and draws
nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.home.paths import Home
from assets.release.anchors import check_known
from assets.release.sign_off import check_to_be_sent
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts.directory_files import TIME_OF_DAY, Announced, calendar
from ndl_export.publish.upload import Published, publish
from privacy.doors.environment import settings

TIMEZONE = "Europe/London"


class NotPublished(Exception):
    """The release is not put out; the message says why and what to do."""


def held_until(entries: Sequence[Announced], version: str, now: dt.datetime) -> dt.datetime | None:
    """When the release may be published, if the calendar names its day and that moment has not come."""
    days = (each.date for each in entries if each.version == version and each.date)
    moments = (dt.datetime.combine(day, TIME_OF_DAY, ZoneInfo(TIMEZONE)) for day in days)
    return next((moment for moment in moments if now < moment), None)


def check_may_be_published(version: str, now: dt.datetime) -> None:
    """Raise `NotPublished` before the moment that the calendar announces. Releases that it does not name pass."""
    entries = calendar(settings().calendar)
    if moment := held_until(entries, version, now):
        raise NotPublished(
            f"release {version} is announced for {moment:%d %B %Y at %H:%M}: it is held until then; to publish it at"
            " another time, change the release calendar first"
        )
    if Announced(version, None) in entries:
        raise NotPublished(
            f"release {version} is announced for a month without a day: give its day in the release calendar first"
        )


def publish_release(home: Home, version: str, url: str, signer: Path | None, tell: Callable[[str], None]) -> Published:
    """Publish a release that is due and approved: the bundle that is sent is the one that people signed.

    Raises `NotPublished`, and what `check_to_be_sent` and `upload.publish` do.
    """
    check_may_be_published(version, dt.datetime.now(dt.UTC))
    approved = check_to_be_sent(home, version)
    tell_readers(home.release)
    known = partial(check_known, home)
    return publish(home.release, version, url, known=known, approved=approved, trusted_key=signer, tell=tell)


def tell_readers(release_dir: Path) -> None:
    """Bring what leads to the releases up to the calendar, where one is given."""
    if path := settings().calendar:
        announce_upcoming(release_dir, calendar(path), dt.date.today())

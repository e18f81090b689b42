"""When a release may be published: at 09:30 on the day that the release calendar announces.

This follows standard 3 of the Code of Practice for Statistics, edition 3.0: statistics are published at a standard
time, usually 09:30, on a day announced in advance. Until then a release is made and held. The calendar never charges
budget or draws noise.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from assets.home.paths import Home
from assets.release import sign_off
from assets.release.published_charges import check_known
from assets.release.release import Release
from ndl_export.bundle.release_directory import announce_upcoming
from ndl_export.facts.directory_files import TIME_OF_DAY, Announced, read_calendar
from ndl_export.publish.upload import Upload, publish
from privacy.doors import clock
from privacy.doors.environment import get_settings

TIMEZONE = "Europe/London"


class NotPublished(Exception):
    """Raised if a release may not be published; the message says why and what to do."""


def find_release_moment(entries: Sequence[Announced], version: str, now: dt.datetime) -> dt.datetime | None:
    """Return the announced moment of a release if it is still in the future, otherwise None."""
    days = (each.date for each in entries if each.version == version and each.date)
    moments = (dt.datetime.combine(day, TIME_OF_DAY, ZoneInfo(TIMEZONE)) for day in days)
    return next((moment for moment in moments if now < moment), None)


def check_may_be_published(version: str, now: dt.datetime) -> None:
    """Raise `NotPublished` before the announced moment, or if the calendar gives a month but no day.

    Releases that the calendar does not name may be published at any time.
    """
    entries = read_calendar(get_settings().calendar)
    if moment := find_release_moment(entries, version, now):
        raise NotPublished(
            f"release {version} is announced for {moment:%d %B %Y at %H:%M}: it is held until then; to publish it at"
            " another time, change the release calendar first"
        )
    if Announced(version, None) in entries:
        raise NotPublished(
            f"release {version} is announced for a month without a day: give its day in the release calendar first"
        )


def publish_release(home: Home, version: str, url: str, signer: Path | None, tell: Callable[[str], None]) -> Upload:
    """Publish a release that is due and approved, after checking that the bundle is the one that people signed.

    Raises `NotPublished`, and the errors of `check_to_be_sent` and `upload.publish`.
    """
    check_may_be_published(version, clock.now())
    # the signed checksum is passed on, because somebody could exchange the bundle before its files are read
    approved = sign_off.check_to_be_sent(Release(home, version))
    if path := get_settings().calendar:
        announce_upcoming(home.release, read_calendar(path), clock.today())
    # a bundle at that place that the ledger does not know comes from another home, or from a newer ledger
    known = partial(check_known, home)
    return publish(home.release, version, url, known=known, approved=approved, trusted_key=signer, tell=tell)

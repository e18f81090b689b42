"""The release calendar: which release is published on which day, announced in advance, at half past nine.

As the Code of Practice for Statistics asks (T3, Orderly release): statistics come out at 09:30 on a day that was
announced. Until then a release is made and held; the calendar charges nothing and draws nothing.

    releases:
      - version: 2026.11.0
        date: 2026-11-26
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from ndl_export.facts.release_facts import InvalidVersion, Version
from privacy.doors.environment import settings

TIMEZONE = "Europe/London"
TIME_OF_DAY = dt.time(9, 30)
_KEYS = {"version", "date"}


class InvalidCalendar(ValueError):
    """A calendar that cannot be used; the message names the file and the entry."""


class NotPublished(Exception):
    """The release is not put out; the message says why and what to do."""


@dataclass(frozen=True)
class Announced:
    """A release and the day on which it is published."""

    version: str
    date: dt.date

    @property
    def moment(self) -> dt.datetime:
        """When it is published."""
        return dt.datetime.combine(self.date, TIME_OF_DAY, ZoneInfo(TIMEZONE))


def calendar(path: Path | None) -> list[Announced]:
    """The entries of the file, by date; none without a file. Raises `InvalidCalendar`."""
    if path is None:
        return []
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InvalidCalendar(f"{path} is not a readable YAML file") from None
    listed = content.get("releases") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise InvalidCalendar(f"{path} must have the key releases, a list of version and date")
    found = sorted((_entry(path, number, entry) for number, entry in enumerate(listed, 1)), key=lambda each: each.date)
    if len({each.version for each in found}) < len(found):
        raise InvalidCalendar(f"{path} names a version twice")
    return found


def held_until(entries: Sequence[Announced], version: str, now: dt.datetime) -> dt.datetime | None:
    """When the release may be published, if the calendar names it and that moment has not come."""
    moments = (each.moment for each in entries if each.version == version)
    return next((moment for moment in moments if now < moment), None)


def check_may_be_published(version: str, now: dt.datetime) -> None:
    """Raise `NotPublished` before the moment that the calendar announces. Releases that it does not name pass."""
    if moment := held_until(calendar(settings().calendar), version, now):
        raise NotPublished(
            f"release {version} is announced for {moment:%d %B %Y at %H:%M}: it is held until then; to publish it at"
            " another time, change the release calendar first"
        )


def _entry(path: Path, number: int, entry: object) -> Announced:
    where = f"{path}, entry {number}"
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise InvalidCalendar(f"{where} must have the keys version and date, and no others")
    date = entry["date"]
    if not isinstance(date, dt.date) or isinstance(date, dt.datetime):
        raise InvalidCalendar(f"{where}: date must be a day such as 2026-11-26")
    try:
        version = Version.parse(str(entry["version"]))
    except InvalidVersion as error:
        raise InvalidCalendar(f"{where}: {error}") from None
    if not version.first_day.startswith(f"{date:%Y-%m}"):
        raise InvalidCalendar(f"{where}: release {version} says {version.first_day[:7]} of itself, not {date:%Y-%m}")
    return Announced(str(version), date)

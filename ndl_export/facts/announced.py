"""Releases that are announced: the release calendar of an installation, and what readers are told of it.

As practice 3.1 of the Code of Practice for Statistics, edition 3.0, asks: a release is announced with its month twelve
months ahead, and with its day four weeks ahead where possible.

    releases:
      - version: 2026.11.0
        date: 2026-11-26
      - version: 2027.11.0      # the month that the version names; the day is given later

`upcoming.json` stands beside the bundles, as `withdrawn.json` does, and keeps of each entry the day on which it was
first told in this form.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, field_validator
from pydantic.dataclasses import dataclass as settings_dataclass

from ndl_export.facts.release_facts import Version
from ndl_export.files.whole_files import indented_json, write_whole
from ndl_export.pages.number_format import day, month
from privacy.doors.settings_file import Day, InvalidSettings, Settings, read_settings

UPCOMING_FILE = "upcoming.json"
TIME_OF_DAY = dt.time(9, 30)
_A_MONTH, _FOUR_WEEKS, _TWELVE_MONTHS = dt.timedelta(30), dt.timedelta(weeks=4), dt.timedelta(366)
NO_CALENDAR = "No release calendar has been given: months and days of further releases are not announced."
NOTHING_ANNOUNCED = "No further release is announced."


class InvalidCalendar(InvalidSettings):
    """A calendar that cannot be used."""


@settings_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Announced:
    """A release and the day on which it is published; None if only the month that its version names is known."""

    version: Annotated[str, AfterValidator(lambda text: str(Version.parse(text)))]
    date: Day | None = None

    def __post_init__(self) -> None:
        month_named = Version.parse(self.version).published_in
        if self.date and f"{self.date:%Y-%m}" != month_named:
            raise ValueError(f"release {self.version} says {month_named} of itself, not {self.date:%Y-%m}")


class _Calendar(Settings):
    releases: list[Announced]

    @field_validator("releases")
    @classmethod
    def _each_once(cls, releases: list[Announced]) -> list[Announced]:
        if len({each.version for each in releases}) < len(releases):
            raise ValueError("names a version twice")
        return releases


@dataclass(frozen=True)
class Upcoming:
    """What readers are told of a release: its version, its day as 2026-11-26, empty where only the month is known, and
    the day on which they were first told so."""

    version: str
    date: str
    announced_on: str

    @property
    def when(self) -> str:
        """`26 November 2026, 9:30am`, or `November 2026`."""
        if self.date:
            return f"{day(self.date)}, {TIME_OF_DAY.hour}:{TIME_OF_DAY.minute:02d}am"
        return month(Version.parse(self.version).published_in)

    @property
    def sentence(self) -> str:
        """What readers are told, with a full stop."""
        if self.date:
            return f"Release {self.version} is announced for {self.when}."
        return (
            f"Release {self.version} is announced for {self.when}. The day is announced at least four weeks before,"
            " where possible."
        )


def calendar(path: Path | None) -> list[Announced]:
    """The entries of the file, by version; none without a file. Raises `InvalidCalendar`."""
    if path is None:
        return []
    return sorted(
        read_settings(path, _Calendar, InvalidCalendar).releases, key=lambda each: Version.parse(each.version)
    )


def falls_short(entries: Sequence[Announced], today: dt.date) -> Iterator[str]:
    """What the calendar lacks today of what practice 3.1 asks, a sentence each."""
    first_days = {each: dt.date.fromisoformat(f"{Version.parse(each.version).published_in}-01") for each in entries}
    coming = [each for each, first in first_days.items() if today <= (each.date or first + _A_MONTH)]
    if not any((each.date or first_days[each]) <= today + _TWELVE_MONTHS for each in coming):
        yield "the release calendar announces nothing for the next twelve months: READINESS_CALENDAR names it"
    for each in coming:
        if each.date is None and first_days[each] <= today + _FOUR_WEEKS:
            yield f"release {each.version} may be four weeks away, and the release calendar has no day for it"


def announce(release_dir: Path, entries: Sequence[Announced], today: dt.date) -> bool:
    """Write down what readers are told; whether anything of it is new."""
    told = {(each.version, each.date): each for each in announced(release_dir) or ()}
    new = [Upcoming(each.version, each.date.isoformat() if each.date else "", today.isoformat()) for each in entries]
    kept = [told.get((each.version, each.date), each) for each in new]
    if announced(release_dir) == kept:
        return False
    write_whole(release_dir / UPCOMING_FILE, indented_json({"upcoming": [asdict(each) for each in kept]}))
    return True


def announced(release_dir: Path) -> list[Upcoming] | None:
    """Every entry that readers are told of, by version; None where no calendar was ever given."""
    path = release_dir / UPCOMING_FILE
    if not path.exists():
        return None
    listed: list[dict[str, Any]] = json.loads(path.read_bytes())["upcoming"]
    return [Upcoming(**each) for each in listed]


def upcoming(release_dir: Path, published: Iterable[str]) -> list[Upcoming] | None:
    """Those that are not published yet; None where no calendar was ever given."""
    found, there = announced(release_dir), set(published)
    return None if found is None else [each for each in found if each.version not in there]

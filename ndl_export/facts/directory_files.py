"""Files of a release directory that belong to no single release.

They are beside the bundles, which never change, and are not signed, so readers must trust the server they come from.

- `upcoming.json`: announced releases, from the installation's release calendar, and the day on which each entry was
  first published. Practice 3.1 of the Code of Practice for Statistics, edition 3.0, asks for the month of a release
  twelve months ahead, and its day four weeks ahead where possible.
- `requests.json`: the register of requests, with only the requesters' public texts and public sums from the ledger.
- `latest.json`, `catalogue.jsonld`, `feed.xml`: made from the bundles by `ndl_export.bundle.release_directory`.
"""

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from ndl_export.facts.on_request import get_page_name
from ndl_export.facts.release_facts import Version
from ndl_export.files.whole_files import format_json, write_whole
from ndl_export.pages.number_format import format_day, format_month
from privacy.doors.settings_file import Day, InvalidSettings, Settings, read_settings
from privacy.doors.typed import is_line
from sources.reference.cohorts import Cohort

LATEST_FILE = "latest.json"
CATALOGUE_FILE = "catalogue.jsonld"
DEVELOPED = "dataset-status/DEVELOP"
"""Status of an announced release in the catalogue."""
FEED_FILE = "feed.xml"
_STRICT = ConfigDict(extra="forbid")

UPCOMING_FILE = "upcoming.json"
# A standard time, usually 09:30: Code of Practice for Statistics 3.0, standard 3.
TIME_OF_DAY = dt.time(9, 30)
_A_MONTH, _FOUR_WEEKS, _TWELVE_MONTHS = dt.timedelta(30), dt.timedelta(weeks=4), dt.timedelta(366)
NO_CALENDAR = "No release calendar has been given: months and days of further releases are not announced."
NOTHING_ANNOUNCED = "No further release is announced."


class InvalidCalendar(InvalidSettings):
    """A release calendar that cannot be used."""


@dataclass(frozen=True, config=_STRICT)
class Announced:
    """A release and its day of publication; None if only the month is known, from its version."""

    version: Annotated[str, AfterValidator(lambda text: str(Version.parse(text)))]
    date: Day | None = None

    def __post_init__(self) -> None:
        month_named = Version.parse(self.version).published_in
        if self.date and f"{self.date:%Y-%m}" != month_named:
            raise ValueError(f"release {self.version} names the month {month_named}, not {self.date:%Y-%m}")


class _Calendar(Settings):
    releases: list[Announced]

    @field_validator("releases")
    @classmethod
    def _check_versions(cls, releases: list[Announced]) -> list[Announced]:
        if len({each.version for each in releases}) < len(releases):
            raise ValueError("names a version twice")
        return releases


@dataclass(frozen=True, config=_STRICT)
class Upcoming:
    """An announced release: version, day (2026-11-26; may be empty) and day of announcement."""

    version: str
    date: str
    announced_on: str

    @property
    def when(self) -> str:
        """`26 November 2026, 9:30am`, or `November 2026`."""
        if self.date:
            return f"{format_day(self.date)}, {TIME_OF_DAY.hour}:{TIME_OF_DAY.minute:02d}am"
        return format_month(self.month)

    @property
    def month(self) -> str:
        """Its month of publication: `2026-11`."""
        return Version.parse(self.version).published_in

    @property
    def sentence(self) -> str:
        """The sentence shown to readers, with a full stop."""
        later = "" if self.date else " The day is announced at least four weeks before, where possible."
        return f"Release {self.version} is announced for {self.when}.{later}"


def read_calendar(path: Path | None) -> list[Announced]:
    """Return the entries of the calendar file, by version; empty without a file. Raises `InvalidCalendar`."""
    if path is None:
        return []
    return sorted(
        read_settings(path, _Calendar, InvalidCalendar).releases, key=lambda each: Version.parse(each.version)
    )


def find_calendar_gaps(entries: Sequence[Announced], today: dt.date) -> Iterator[str]:
    """Yield a sentence for each way in which the calendar does not meet practice 3.1 today."""
    first_days = {each: dt.date.fromisoformat(f"{Version.parse(each.version).published_in}-01") for each in entries}
    # An entry without a day is still to come until its month is over.
    coming = [each for each, first in first_days.items() if today <= (each.date or first + _A_MONTH)]
    if not any((each.date or first_days[each]) <= today + _TWELVE_MONTHS for each in coming):
        yield "the release calendar announces nothing for the next twelve months: READINESS_CALENDAR names it"
    for each in coming:
        if each.date is None and first_days[each] <= today + _FOUR_WEEKS:
            yield f"release {each.version} may be four weeks away, and the release calendar has no day for it"


def announce(release_dir: Path, entries: Sequence[Announced], today: dt.date) -> bool:
    """Write the announcements and return whether they changed. An unchanged entry keeps its day of announcement."""
    before = {(each.version, each.date): each for each in read_announcements(release_dir) or ()}
    new = [Upcoming(each.version, each.date.isoformat() if each.date else "", today.isoformat()) for each in entries]
    # Keyed by version and day: an entry whose day changes is announced anew.
    kept = [before.get((each.version, each.date), each) for each in new]
    return write_whole(release_dir / UPCOMING_FILE, format_json({"upcoming": [asdict(each) for each in kept]}))


def read_announcements(release_dir: Path) -> list[Upcoming] | None:
    """Return every announced entry, by version, or None if no calendar was ever given."""
    path = release_dir / UPCOMING_FILE
    if not path.exists():
        return None
    return TypeAdapter(dict[str, list[Upcoming]]).validate_json(path.read_bytes())["upcoming"]


def list_upcoming(release_dir: Path, published: Iterable[str]) -> list[Upcoming] | None:
    """Return the announced releases that are not yet published, or None if no calendar was ever given."""
    found, there = read_announcements(release_dir), set(published)
    return None if found is None else [each for each in found if each.version not in there]


def is_announced(dataset: Mapping[str, Any]) -> bool:
    """Return whether a dataset of a catalogue is a release that is only announced."""
    # The catalogue may come from a place that others write to, so its form is not taken for granted.
    status = dataset.get("adms:status")
    return isinstance(status, dict) and str(status.get("@id", "")).endswith(f"/{DEVELOPED}")


REGISTER_FILE = "requests.json"


class UnreadableRegister(ValueError):
    """The file does not have the form that `write_register` writes; the message names it."""


class Status(StrEnum):
    """The outcome of a request."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"


@dataclass(frozen=True, config=_STRICT)
class AskedTable:
    """A request for a table.

    Days are written 2026-11-27. `answered_in` is the release that answered it and `reason` the reason for a refusal;
    both may be empty. `rho` is what that release charged for the table's family, by cohort. Raises ValueError for
    inconsistent values.
    """

    name: str
    title: str
    asked_by: str
    purpose: str
    asked_on: str
    cohorts: tuple[str, ...]
    status: Status
    answered_in: str
    reason: str
    rho: Mapping[str, float]

    def __post_init__(self) -> None:
        if problems := list(self._find_problems()):
            raise ValueError(f"request {self.name}: {'; '.join(problems)}")

    def _find_problems(self) -> Iterator[str]:
        for what in ("name", "title", "asked_by", "purpose"):
            if not is_line(getattr(self, what)):
                yield f"{what} is not one line of text"
        # Called for its ValueError, like `Cohort` and `Version.parse` below.
        dt.date.fromisoformat(self.asked_on)
        if not self.cohorts:
            yield "it names no cohort"
        for cohort in self.cohorts:
            Cohort(cohort)
        if bool(self.answered_in) != (self.status == Status.ANSWERED):
            yield "`answered_in` must be given if, and only if, the request was answered"
        elif self.answered_in:
            Version.parse(self.answered_in)
        if is_line(self.reason) != (self.status == Status.REFUSED):
            yield "a reason, in one line, is given for one that is refused, and for no other"
        if self.rho.keys() - set(self.cohorts) or not all(0 <= each < math.inf for each in self.rho.values()):
            yield "what was charged is a number for each of its cohorts"

    @property
    def page(self) -> str:
        """Name of the page with its figures, in the site of a release that has the table."""
        return f"{get_page_name(self.name)}.html"


@dataclass(frozen=True, config=_STRICT)
class Budget:
    """The privacy budget of one unit of a cohort: the limit, the amount spent and the amount left, in rho."""

    cohort: str
    unit: str
    cap: float
    spent: float
    left: float


@dataclass(frozen=True, config=_STRICT)
class Register:
    """Requests in the order in which they were made, and the budgets of all measured cohorts."""

    requests: tuple[AskedTable, ...]
    budgets: tuple[Budget, ...]

    @property
    def cohorts(self) -> set[str]:
        """Every cohort in the register."""
        return {each.cohort for each in self.budgets} | {cohort for each in self.requests for cohort in each.cohorts}


def write_register(release_dir: Path, entries: Sequence[AskedTable], budgets: Sequence[Budget]) -> bool:
    """Write the register into the release directory, and return whether it changed."""
    in_order = sorted(entries, key=lambda each: (each.asked_on, each.name))
    return write_whole(release_dir / REGISTER_FILE, format_json(asdict(Register(tuple(in_order), tuple(budgets)))))


def read_register(release_dir: Path) -> Register | None:
    """Return the register of the release directory, or None if there are no requests. Raises `UnreadableRegister`."""
    path = release_dir / REGISTER_FILE
    if not path.exists():
        return None
    try:
        return TypeAdapter(Register).validate_json(path.read_bytes())
    except ValidationError as error:
        raise UnreadableRegister(f"{path} is not a register of requests: {error.errors()[0]['msg']}") from None

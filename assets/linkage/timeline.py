"""Reports which records of the open cohorts are in, due and late, from birth to the end of Reception.

What is due comes from the contracts (`expected`), what is in from stored intake results. Reads no rows of an extract,
and returns dates and states, never a number of rows.
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import accumulate, count, takewhile
from pathlib import Path

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.intake.quality_report.profile import AFTER, BEFORE
from privacy.services import SERVICE_NAMES, SERVICES
from sources.contracts import CONTRACTS, RecordAtAge, RecordOnDay
from sources.contracts.model import add_months
from sources.extract.landing import list_councils
from sources.reference.cohorts import Cohort, list_open_cohorts


class Progress(StrEnum):
    """Progress of one expected record of a cohort."""

    NOT_DUE = "not due"
    CURRENT = "so far"
    """Due month by month; all that was due by now is in."""
    IN = "in"
    LATE = "late"


@dataclass(frozen=True)
class Entry:
    """One expected record of a cohort in one council.

    `since` is the day on which the first record will be due, if none is yet; the day from which a late one was due; or
    the day on which the delivery that has it was taken in.
    """

    council: str
    cohort: str
    source: str
    record: str
    progress: Progress
    since: dt.date


def build_timeline(landing: Path, home: Home, on: dt.date) -> list[Entry]:
    """Return the expected records of every open cohort on a day, by council, cohort and then age.

    A source that a council has neither a folder for nor ever sent is not expected of it.
    """
    return [entry for council in list_councils(landing) for entry in _list_entries(landing, home, council, on)]


def _list_entries(landing: Path, home: Home, council: str, on: dt.date) -> Iterator[Entry]:
    cohorts = list_open_cohorts(on)
    current = {
        (cohort, source): deliveries.read_current(home.extract(source, cohort.code, council))
        for cohort in cohorts
        for source in CONTRACTS
    }
    sent = {source for (_, source), quality in current.items() if quality}
    for cohort in cohorts:
        for source, record in _BY_AGE:
            if source in sent or (landing / council / source).is_dir():
                progress, since = judge(record, current[cohort, source], cohort, on)
                yield Entry(council, cohort.code, source, record.title, progress, since)


def judge(
    record: RecordOnDay | RecordAtAge, quality: ExtractQuality | None, cohort: Cohort, on: dt.date
) -> tuple[Progress, dt.date]:
    """Return the progress of a record on a day, and since when; `quality` is of the delivery in use."""
    first, last = record.find_window(cohort)
    taken = _find_last_read(quality) if quality else dt.date.min
    if isinstance(record, RecordOnDay):
        if taken >= record.possible.on(cohort):
            return Progress.IN, taken
        return (Progress.LATE, last) if on > last else (Progress.NOT_DUE, last)
    if on < first:
        return Progress.NOT_DUE, first
    # The last whole month whose records were due: with the month of today, a delivery would be late before it is due.
    day_after = min(on, last) + dt.timedelta(1)
    needed = add_months(day_after.replace(day=1), -record.delivered_months - 1)
    reached = find_last_month(quality, record) if quality else None
    # A file made after its last record was due has the whole cohort: a small council may have no review in that month.
    if reached is None or (reached < needed and taken <= last):
        missing_from = add_months(reached, 2 + record.delivered_months) if reached else first
        return Progress.LATE, max(first, missing_from - dt.timedelta(1))
    return (Progress.IN if on >= last else Progress.CURRENT), taken


def find_last_month(quality: ExtractQuality, record: RecordAtAge) -> dt.date | None:
    """Return the first day of the last month of which a delivery has rows, or None if it has no such record at all.

    The months are those of all records, because a monthly submission has all of its month. A month after the delivery
    is a wrong date, and does not count.
    """
    columns = quality.profile.columns
    if record.code and not columns[record.kind].groups.get(record.code):
        return None
    until = f"{_find_last_read(quality):%Y-%m}"
    months = [key for key, rows in columns[record.dated].groups.items() if rows and key not in (BEFORE, AFTER)]
    return max((dt.date.fromisoformat(f"{month}-01") for month in months if month <= until), default=None)


def compute_growth(source: str, cohort: Cohort, since: dt.date, on: dt.date) -> float:
    """Return how many times the children of a source may have grown between two days, from 1 to infinity.

    The children with reviews grow in number with births. A January census can add any number of children.
    """
    if any(
        since < record.possible.on(cohort) <= on
        for record in CONTRACTS[source].expected
        if isinstance(record, RecordOnDay)
    ):
        return math.inf
    if not any(isinstance(record, RecordAtAge) for record in CONTRACTS[source].expected):
        return 1.0
    year = (cohort.born_to - cohort.born_from).days
    before, now = (min(max((day - cohort.born_from).days, 1), year) for day in (since, on))
    return now / before


def list_able_services(cohort: Cohort, on: dt.date) -> list[str]:
    """Return the services that can have a record of every child of a cohort by a day."""
    able = {SERVICES[source] for source in SERVICES if _list_possible(source, cohort, on)}
    return [service for service in SERVICE_NAMES if service in able]


def is_in_full(service: str, cohort: Cohort, extracts: Mapping[str, ExtractQuality], on: dt.date) -> bool:
    """Return whether everything that a service can have sent by a day is in. `extracts` are a council's, by source."""
    return all(
        source in extracts and _has_everything(possible, extracts[source], cohort, on)
        for source, of in SERVICES.items()
        if of == service and (possible := _list_possible(source, cohort, on))
    )


def _has_everything(
    possible: Sequence[RecordOnDay | RecordAtAge], quality: ExtractQuality, cohort: Cohort, on: dt.date
) -> bool:
    """Return whether a delivery has the records that are possible by a day.

    Monthly deliveries must go up to that day and have at least one kind of record: some providers send two-year reviews
    only, and know every child from then on.
    """
    reaching = [replace(record, code="") if isinstance(record, RecordAtAge) else record for record in possible]
    return all(_is_sent(record, quality, cohort, on) for record in reaching) and any(
        _is_sent(record, quality, cohort, on) for record in possible
    )


def _is_sent(record: RecordOnDay | RecordAtAge, quality: ExtractQuality, cohort: Cohort, on: dt.date) -> bool:
    return judge(record, quality, cohort, on)[0] in (Progress.IN, Progress.CURRENT)


def list_complete_reviews(
    cohort: Cohort, extract: ExtractQuality, reviews: Mapping[tuple[str, str], int], on: dt.date
) -> list[str]:
    """Return the codes of the reviews possible for every child by a day of which an extract has every month.

    `reviews` counts the extract's reviews by code and month (`2022-05`).
    """
    return [
        record.code
        for record in _list_possible("hv_reviews", cohort, on)
        if isinstance(record, RecordAtAge)
        and _is_sent(record, extract, cohort, on)
        and not _lacks_a_month(record, reviews, cohort)
    ]


FEW = 0.1
"""A month lacks most of its reviews if a later one has over ten times as many. Some reviews of a month come one or two
months later: in synthetic extracts, 5%."""


def _lacks_a_month(record: RecordAtAge, reviews: Mapping[tuple[str, str], int], cohort: Cohort) -> bool:
    """Return whether an extract lacks a month in which the review was due, or most of one before a month that it has.

    Reviews made before a provider began to send, or in a file that never came, would seem never to have been made.
    """
    # Due months cannot be judged child by child, because no date of birth leaves the intake.
    first, last = (record.find_due_day(born).replace(day=1) for born in (cohort.born_from, cohort.born_to))
    due = list(takewhile(lambda month: month <= last, (add_months(first, number) for number in count())))
    latest_first = [reviews.get((record.code, f"{month:%Y-%m}"), 0) for month in (*due, add_months(last, 1))][::-1]
    most = list(accumulate(latest_first, max))
    return any(rows < max(1, FEW * later) for rows, later in zip(latest_first[1:], most[1:], strict=True))


def _list_possible(source: str, cohort: Cohort, on: dt.date) -> list[RecordOnDay | RecordAtAge]:
    """Return the records of a source that every child of a cohort can have by a day."""
    return [
        record
        for record in CONTRACTS[source].expected
        if (
            record.whole and record.possible.on(cohort) <= on
            if isinstance(record, RecordOnDay)
            else record.code and record.find_window(cohort)[1] <= on
        )
    ]


def _find_last_read(quality: ExtractQuality) -> dt.date:
    """Return the day on which the newest file of a delivery was read."""
    times = [part.read_at for part in quality.parts.parts if part.in_force] if quality.parts else []
    return dt.datetime.fromisoformat(max(times, default=quality.taken_at)).date()


_BY_AGE = sorted(
    ((source, record) for source, contract in CONTRACTS.items() for record in contract.expected),
    key=lambda pair: pair[1].find_window(Cohort("202425"))[1],
)
"""Records in the order in which they are due for the youngest child of a cohort, which is the same for each cohort."""

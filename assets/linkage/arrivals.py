"""Reports which extracts of a cohort are in, and which records of the open cohorts are in, due and late.

It looks only at the deliveries taken in, the deliveries stopped and the files in landing; due dates come from the
contracts (`expected`). It reads no rows of an extract. The timeline returns dates and states, never a number of rows.
"""

import calendar
import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import accumulate, count, product, takewhile
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from assets.intake.parts import PartStore, SortedFiles
from assets.intake.quality_report.profile import AFTER, BEFORE
from assets.linkage.inputs import PROFILE
from ndl_export.pages.number_format import format_count, format_day
from privacy.doors.counts import describe_count
from privacy.doors.files import write_json
from privacy.services import SERVICE_NAMES, SERVICES
from sources.contracts import CONTRACTS, RecordAtAge, RecordOnDay
from sources.contracts.model import add_months
from sources.errors import ExtractStopped
from sources.extract import landing as landing_folder
from sources.extract.part_names import parse_place
from sources.reference.cohorts import Cohort, list_open_cohorts
from sources.reference.places import get_place
from sources.reference.source_titles import SOURCE_TITLES


class ArrivalState(StrEnum):
    """State of the latest delivery of a source."""

    TAKEN = "taken"
    LANDED = "landed, not taken"
    STOPPED = "stopped"
    MISSING = "missing"
    NOT_DUE = "not due yet"


@dataclass(frozen=True)
class Arrival:
    """One source of one council.

    `since` is the day it was taken, landed or stopped. For a missing source it is the day it was due, and for one not
    due yet the day it will be. `in_since` and `rows` (order of magnitude) describe the delivery now in use, whatever
    happened to a newer one; None if there is none. `why` is the reason it was stopped.
    """

    council: str
    source: str
    state: ArrivalState
    since: dt.date
    in_since: dt.date | None = None
    rows: str | None = None
    why: str = ""

    @property
    def is_in(self) -> bool:
        """Whether a release made now would include the council's rows of this source."""
        return self.in_since is not None


def list_arrivals(landing: Path, home: Home, cohort: Cohort, councils: Iterable[str], today: dt.date) -> list[Arrival]:
    """Return every source of every council, by council and then in the order of the contracts."""
    return [
        _build_arrival(landing, home, cohort, council, source, today)
        for council in sorted(councils)
        for source in CONTRACTS
    ]


def describe_absent_sources(found: Sequence[Arrival]) -> list[str]:
    """Return a sentence for every source that was due but is not in: `Halton: no EYFS Profile since 31 July 2025`."""
    return [
        _describe_lack(entry, named=True) for entry in found if not entry.is_in and entry.state != ArrivalState.NOT_DUE
    ]


def describe_waiting_deliveries(found: Sequence[Arrival]) -> list[str]:
    """Return a sentence for every newer delivery that has not replaced the one in use."""
    return [_describe_lack(entry, named=True) for entry in found if entry.is_in and entry.state != ArrivalState.TAKEN]


@dataclass(frozen=True)
class LandingSeen:
    """Contents of landing other than extracts.

    `not_read` maps a folder to a sentence about the files not read there, and a hash of their sizes and times.
    `folders` lists `council/source` for every folder of a source.
    """

    not_read: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def note_landing(home: Home, landing: Path) -> None:
    """Record what landing holds other than extracts, for a release made on a machine where landing is not mounted."""
    unread = landing_folder.list_unread_entries(landing)
    not_read = {}
    for folder, paths in unread.items():
        states = sorted((0 if path.is_dir() else path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths)
        state = hashlib.sha256(json.dumps(states).encode()).hexdigest()
        not_read[folder] = landing_folder.describe_unread_folder(folder, paths), state
    folders = [f"{path.parent.name}/{path.name}" for path in landing.glob("*/*") if path.name in CONTRACTS]
    now = LandingSeen(not_read, tuple(sorted(folders)))
    if now != read_landing_seen(home):
        write_json(home.landing_seen, asdict(now))


def read_landing_seen(home: Home) -> LandingSeen | None:
    """Return what `note_landing` last recorded, or None if the record is missing or damaged."""
    try:
        return _LANDING_SEEN.validate_json(home.landing_seen.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


_LANDING_SEEN = TypeAdapter(LandingSeen)


def explain_arrivals(found: Sequence[Arrival], cohort: Cohort) -> str:
    """Explain in a sentence or two what the arrivals mean for a release of the cohort."""
    landed = [entry for entry in found if entry.state is ArrivalState.LANDED]
    lacking = [entry for entry in found if not entry.is_in and entry.state is not ArrivalState.LANDED]
    needed = [entry for entry in lacking if entry.source == PROFILE]
    others = [entry for entry in lacking if entry.source != PROFILE]
    sentences = []
    if landed:
        names = ", ".join(dict.fromkeys(get_place(entry.council).la_name for entry in landed))
        sentences.append(f"the next run takes in {format_count(len(landed), 'landed extract')} first, of: {names}")
    if needed:
        sentences.append(f"the release of {cohort.code} would need --allow-missing for: {_describe_by_council(needed)}")
    if others:
        sentences.append(f"the release of {cohort.code} would state as not sent: {_describe_by_council(others)}")
    return "\n".join(sentences) or f"every council has sent every source of {cohort.code}"


def _build_arrival(landing: Path, home: Home, cohort: Cohort, council: str, source: str, today: dt.date) -> Arrival:
    stopped_now = ""
    try:
        landed = landing_folder.find(landing, council, source, cohort.code)
    except ExtractStopped as stop:
        # What is in landing now can be unreadable before any intake has looked at it.
        landed, stopped_now = None, str(stop)
    of_several = landed and landed.in_parts and not landed.parts
    if landed and of_several and not SortedFiles(home, landed.source, landed.council).is_waiting(landed):
        landed = None
    store = home.get_extract(source, cohort.code, council)
    taken, stopped = deliveries.read_current(store), deliveries.read_stopped(store)
    state, since, why = ArrivalState.MISSING, CONTRACTS[source].get_due_day(cohort), ""
    if stopped_now:
        state, since, why = ArrivalState.STOPPED, today, stopped_now
    # Checked before the last stop: a file that arrived after it is waiting, and the stop is about an earlier file.
    elif landed and _is_newer(home, landed, taken, stopped):
        state, since = ArrivalState.LANDED, _find_last_change(landed.paths).date()
    elif stopped:
        state, since, why = ArrivalState.STOPPED, _parse_date(stopped.stopped_at), stopped.sentence
    elif taken:
        state, since = ArrivalState.TAKEN, _parse_date(taken.taken_at)
    elif not CONTRACTS[source].is_due(cohort, today):
        state = ArrivalState.NOT_DUE
    return Arrival(
        council,
        source,
        state,
        since,
        _parse_date(taken.taken_at) if taken else None,
        describe_count(taken.rows_read) if taken else None,
        why,
    )


def _is_newer(
    home: Home, landed: landing_folder.Landed, taken: ExtractQuality | None, stopped: deliveries.StoppedExtract | None
) -> bool:
    """Return whether files were written after the intake last looked, even if their content is the same."""
    store = home.get_extract(*landed.key)
    if not stopped and not taken and all(part.has_rows for part in PartStore(store).list_all()):
        return True
    # times of files alone: a clock that was put back, or a simulated date, would make old files new
    results = [store.stopped] if stopped else [store.quality] if taken else store.parts.glob("*.json")
    looked_at = dt.datetime.fromtimestamp(max(path.stat().st_mtime for path in results), dt.UTC)
    sorted_files = SortedFiles(home, landed.source, landed.council)
    of_others = [entry.state for entry in sorted_files.list_entries().values()]
    elsewhere = [path for path in landed.several if landing_folder.get_state(path) in of_others]
    return _find_last_change(path for path in landed.paths if path not in elsewhere) > looked_at


def _find_last_change(paths: Iterable[Path]) -> dt.datetime:
    """Return when the last of the files was written."""
    # The change time, because a file moved into landing keeps the modification time that it had elsewhere.
    last = max((file.stat().st_ctime for path in paths for file in landing_folder.list_files(path)), default=0)
    return dt.datetime.fromtimestamp(last, dt.UTC)


def _parse_date(time: str) -> dt.date:
    return dt.datetime.fromisoformat(time).date()


def _describe_lack(entry: Arrival, *, named: bool = False) -> str:
    title, since = SOURCE_TITLES[entry.source], format_day(entry.since.isoformat())
    lack = {ArrivalState.NOT_DUE: f"no {title}, due on {since}", ArrivalState.MISSING: f"no {title} since {since}"}
    council = f"{get_place(entry.council).la_name}: " if named else ""
    return council + lack.get(entry.state, f"{title} {entry.state} since {since}")


def _describe_by_council(entries: Sequence[Arrival]) -> str:
    by_council: dict[str, list[str]] = {}
    for entry in entries:
        by_council.setdefault(get_place(entry.council).la_name, []).append(_describe_lack(entry))
    return "; ".join(f"{name} ({', '.join(lacks)})" for name, lacks in by_council.items())


class Progress(StrEnum):
    """Progress of one expected record of a cohort."""

    NOT_DUE = "not due"
    CURRENT = "so far"
    """Due month by month; all that was due by now is in."""
    IN = "in"
    LATE = "late"
    NOT_SENT = "not sent"
    """The council sends none, and need not: the record may be kept with the mother."""


@dataclass(frozen=True)
class ExpectedRecord:
    """One expected record of a cohort in one council.

    `since` is the day on which the first record will be due, if none is yet; the day from which a late one was due; or
    the day on which the delivery that contains it was taken in.
    """

    council: str
    cohort: str
    source: str
    record: str
    progress: Progress
    since: dt.date


def build_timeline(landing: Path, home: Home, on: dt.date) -> list[ExpectedRecord]:
    """Return the expected records of every open cohort on a day, by council, cohort and then age.

    A source is not expected from a council that has no folder for it and has never sent it.
    """
    cohorts, found = list_open_cohorts(on), []
    for council in landing_folder.list_councils(landing):
        current = {
            (cohort, source): deliveries.read_current(home.get_extract(source, cohort.code, council))
            for cohort, source in product(cohorts, CONTRACTS)
        }
        sent = {source for (_, source), quality in current.items() if quality}
        for cohort, (source, record) in product(cohorts, _BY_AGE):
            if source in sent or (landing / council / source).is_dir():
                progress, since = judge(record, current[cohort, source], cohort, on)
                found.append(ExpectedRecord(council, cohort.code, source, record.title, progress, since))
    return found


def judge(
    record: RecordOnDay | RecordAtAge, quality: ExtractQuality | None, cohort: Cohort, on: dt.date
) -> tuple[Progress, dt.date]:
    """Return the progress of a record on a day, and since when; `quality` describes the delivery in use."""
    first, last = record.find_window(cohort)
    taken = _find_last_read(quality) if quality else dt.date.min
    if isinstance(record, RecordOnDay):
        if taken >= record.possible.find_date(cohort):
            return Progress.IN, taken
        return (Progress.LATE, last) if on > last else (Progress.NOT_DUE, last)
    if on < first:
        return Progress.NOT_DUE, first
    # The last whole month whose records were due. If today's month counted, a delivery would be late before it is due.
    day_after = min(on, last) + dt.timedelta(1)
    needed = add_months(day_after.replace(day=1), -record.delivered_months - 1)
    reached = find_last_month(quality, record) if quality else None
    if record.with_mother and quality and not reached:
        return Progress.NOT_SENT, taken
    # A file made after its last record was due has the whole cohort: a small council may have no review in that month.
    if reached is None or (reached < needed and taken <= last):
        missing_from = add_months(reached, 2 + record.delivered_months) if reached else first
        return Progress.LATE, max(first, missing_from - dt.timedelta(1))
    return (Progress.IN if on >= last else Progress.CURRENT), taken


def find_last_month(quality: ExtractQuality, record: RecordAtAge) -> dt.date | None:
    """Return the first day of the last month for which a delivery has rows, or None if it has no such record at all.

    A record without a code is of any kind. The months of all records count, because a monthly submission has every
    record of its month. A month after the delivery is a wrong date and does not count.
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
        since < record.possible.find_date(cohort) <= on
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
    """Return whether everything that a service can have sent by a day is in. `extracts` are a council's, by source.

    Monthly deliveries must go up to that day and have at least one kind of record: some providers send two-year reviews
    only, and know every child from then on.
    """
    for source in (source for source, of in SERVICES.items() if of == service):
        possible, quality = _list_possible(source, cohort, on), extracts.get(source)
        if possible and not (
            quality
            and all(_is_sent(record, quality, cohort, on, of_any_kind=True) for record in possible)
            and any(_is_sent(record, quality, cohort, on) for record in possible)
        ):
            return False
    return True


def _is_sent(
    record: RecordOnDay | RecordAtAge,
    quality: ExtractQuality,
    cohort: Cohort,
    on: dt.date,
    of_any_kind: bool = False,
) -> bool:
    """Return whether a record is in as far as it is due; if `of_any_kind`, records of other kinds count too."""
    if of_any_kind and isinstance(record, RecordAtAge):
        record = replace(record, code="")
    return judge(record, quality, cohort, on)[0] in (Progress.IN, Progress.CURRENT)


def list_complete_reviews(
    cohort: Cohort, extract: ExtractQuality, reviews: Mapping[tuple[str, str], int], on: dt.date
) -> list[str]:
    """Return the codes of reviews that every child can have had by a day, if an extract has every month of them.

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
"""A month lacks most of its reviews if a later one, or before the first due month an earlier one, has over ten times as
many. Some reviews of a month come one or two months later: in synthetic extracts, 5%."""


def _lacks_a_month(record: RecordAtAge, reviews: Mapping[tuple[str, str], int], cohort: Cohort) -> bool:
    """Return whether an extract lacks a month in which the review was made or due, or most of such a month.

    Reviews made before a provider began to send, or in a file that never came, would seem never to have been made.
    """
    # Months cannot be judged child by child, because no date of birth leaves the intake.
    first, last = (record.find_due_day(born).replace(day=1) for born in (cohort.born_from, cohort.born_to))
    rows = [reviews.get((record.code, f"{month:%Y-%m}"), 0) for month in _list_months(first, add_months(last, 1))]
    most_later = list(accumulate(rows[::-1], max))[::-1]
    if any(each < max(1, FEW * later) for each, later in zip(rows[:-1], most_later[:-1], strict=True)):
        return True
    # Before the first due month, reviews grow in number from a few, so each month is compared with the earlier ones.
    earliest = min(first, add_months(cohort.born_from, record.from_months).replace(day=1))
    early = [reviews.get((record.code, f"{month:%Y-%m}"), 0) for month in _list_months(earliest, first)]
    return any(each < max(1, FEW * before) for each, before in zip(early, accumulate(early, max), strict=True))


def _list_months(first: dt.date, last: dt.date) -> list[dt.date]:
    """Return the first days of the months from one to another, both included."""
    return list(takewhile(lambda month: month <= last, (add_months(first, number) for number in count())))


def _list_possible(source: str, cohort: Cohort, on: dt.date) -> list[RecordOnDay | RecordAtAge]:
    """Return the records of a source that every child of a cohort can have by a day."""
    return [
        record
        for record in CONTRACTS[source].expected
        if (
            record.whole and record.possible.find_date(cohort) <= on
            if isinstance(record, RecordOnDay)
            else not record.with_mother and record.find_window(cohort)[1] <= on
        )
    ]


def list_census_months(extracts: Mapping[tuple[str, str], ExtractQuality], cohort: Cohort) -> pa.Table:
    """Return the month of contact of the rows of each part of a census: source, council, part, census_month.

    This is the month of the last census, or of the Profile, before the part was read, so that a child at a nursery two
    years before Reception is not said to have been there last January. A part whose name has an earlier date, such as a
    census sent a year late, has the month of the last one before that date.
    """
    rows = []
    for (council, source), extract in extracts.items():
        days = [each.possible.find_date(cohort) for each in CONTRACTS[source].expected if isinstance(each, RecordOnDay)]
        named = {part.number: _find_named_day(part.file) for part in extract.parts.parts} if extract.parts else {}
        for number, read_on in extract.days_read.items():
            last = min(read_on, named.get(number) or read_on)
            if held := [day for day in days if day <= last]:
                month = f"{held[-1]:%Y-%m}"
                rows.append({"source": source, "council": council, "part": number, "census_month": month})
    return pa.Table.from_pylist(rows, _CENSUS_MONTHS)


def _find_named_day(file: str) -> dt.date | None:
    """Return the last day of the date in a file's name, or None if it has none."""
    place = parse_place(file)
    if place is None or place.form != "date":
        return None
    year, month, day = place.numbers
    last = calendar.monthrange(year, month)[1]
    return dt.date(year, month, min(day or last, last))


_CENSUS_MONTHS = pa.schema(
    [("source", pa.string()), ("council", pa.string()), ("part", pa.int64()), ("census_month", pa.string())]
)


def _find_last_read(quality: ExtractQuality) -> dt.date:
    """Return the day on which the newest file of a delivery was read."""
    newest = {part.number for part in quality.parts.parts if part.sent_last} if quality.parts else {0}
    days = quality.days_read
    return max(days[number] for number in newest or days)


_BY_AGE = sorted(
    ((source, record) for source, contract in CONTRACTS.items() for record in contract.expected),
    key=lambda pair: pair[1].find_window(Cohort("202425"))[1],
)
"""Records in the order in which they are due for the youngest child of a cohort. It is the same for every cohort."""

"""Reports which council has sent which source of a cohort, and since when.

Looks only at what was taken in, what was stopped and what is in landing. Reads no rows of an extract.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.parts import PartStore, SortedFiles
from assets.linkage.inputs import PROFILE
from ndl_export.facts.missing import SOURCES
from ndl_export.pages.number_format import day, format_count
from privacy.doors.counts import describe_count
from privacy.doors.files import write_json
from sources.contracts import CONTRACTS
from sources.errors import ExtractStopped
from sources.extract.landed import Landed, get_state, is_clutter
from sources.extract.landing_folder import describe_unread_folder, find, list_unread_entries
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place


class State(StrEnum):
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
    state: State
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
        f"{get_place(entry.council).la_name}: {_describe_lack(entry)}"
        for entry in found
        if not entry.is_in and entry.state is not State.NOT_DUE
    ]


def describe_waiting_deliveries(found: Sequence[Arrival]) -> list[str]:
    """Return a sentence for every newer delivery that has not replaced the one in use."""
    return [
        f"{get_place(entry.council).la_name}: {SOURCES[entry.source].title} {entry.state} since"
        f" {day(entry.since.isoformat())}"
        for entry in found
        if entry.is_in and entry.state is not State.TAKEN
    ]


@dataclass(frozen=True)
class LandingSeen:
    """Contents of landing other than extracts.

    `not_read` maps a folder to a sentence about what is not read and a hash of its sizes and times. `folders` lists
    `council/source` for every folder of a source.
    """

    not_read: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    folders: tuple[str, ...] = ()


def note_landing(home: Home, landing: Path) -> None:
    """Record what landing holds other than extracts, for a release made on a machine where landing is not mounted."""
    unread = list_unread_entries(landing)
    not_read = {}
    for folder, paths in unread.items():
        states = sorted((0 if path.is_dir() else path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths)
        state = hashlib.sha256(json.dumps(states).encode()).hexdigest()
        not_read[folder] = describe_unread_folder(folder, paths), state
    folders = [f"{path.parent.name}/{path.name}" for path in landing.glob("*/*") if path.name in CONTRACTS]
    now = LandingSeen(not_read, tuple(sorted(folders)))
    if now != read_landing_seen(home):
        write_json(home.landing_seen, asdict(now))


def read_landing_seen(home: Home) -> LandingSeen | None:
    """Return the latest such record, or None if it is missing or damaged."""
    try:
        return _LANDING_SEEN.validate_json(home.landing_seen.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


_LANDING_SEEN = TypeAdapter(LandingSeen)


def explain_arrivals(found: Sequence[Arrival], cohort: Cohort) -> str:
    """Explain in a sentence or two what the arrivals mean for a release of the cohort."""
    landed = [entry for entry in found if entry.state is State.LANDED]
    lacking = [entry for entry in found if not entry.is_in and entry.state is not State.LANDED]
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
        landed = find(landing, council, source, cohort.code)
    except ExtractStopped as stop:
        # What is in landing now can be unreadable before any intake has looked at it.
        landed, stopped_now = None, str(stop)
    if (
        landed
        and landed.in_parts
        and not landed.parts
        and not SortedFiles(home, landed.source, landed.council).is_waiting(landed)
    ):
        landed = None
    store = home.extract(source, cohort.code, council)
    taken, stopped = deliveries.read_current(store), deliveries.read_stopped(store)
    state, since, why = State.MISSING, CONTRACTS[source].get_due_day(cohort), ""
    if stopped_now:
        state, since, why = State.STOPPED, today, stopped_now
    # Before the last stop: a file that came in after it is waiting, and the stop is about another one.
    elif landed and _is_newer(home, landed, taken, stopped):
        state, since = State.LANDED, _find_last_change(landed.paths).date()
    elif stopped:
        state, since, why = State.STOPPED, _parse_date(stopped.stopped_at), stopped.sentence
    elif taken:
        state, since = State.TAKEN, _parse_date(taken.taken_at)
    elif since >= today:
        state = State.NOT_DUE
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
    home: Home, landed: Landed, taken: deliveries.ExtractQuality | None, stopped: deliveries.StoppedExtract | None
) -> bool:
    """Return whether files were written after the intake last looked, even if their content is the same."""
    if not stopped and not taken:
        noted = PartStore(home.extract(*landed.key)).list_all()
        empty = [dt.datetime.fromisoformat(part.read_at) for part in noted if not part.has_rows]
        return not empty or _find_last_change(landed.paths) > max(empty) + _RESOLUTION
    if stopped:
        looked_at = dt.datetime.fromisoformat(stopped.stopped_at) + _RESOLUTION
    else:
        looked_at = dt.datetime.fromtimestamp(home.extract(*landed.key).quality.stat().st_mtime, dt.UTC)
    sorted_files = SortedFiles(home, landed.source, landed.council)
    of_others = [entry.state for entry in sorted_files.list_entries().values()]
    own = [path for path in landed.paths if path not in landed.several or get_state(path) not in of_others]
    return _find_last_change(own) > looked_at


_RESOLUTION = dt.timedelta(seconds=1)
"""Stop times are recorded in whole seconds."""


def _find_last_change(paths: Iterable[Path]) -> dt.datetime:
    """Return when the last of the files was written."""
    found = list(paths)
    inside = [file for path in found for file in path.rglob("*") if not is_clutter(file.name)]
    looks = [path.stat() for path in found if not path.is_dir()] + [file.lstat() for file in inside]  # links may dangle
    # The time of change: a file moved into landing keeps the modification time that it had elsewhere.
    return dt.datetime.fromtimestamp(max((look.st_ctime for look in looks), default=0), dt.UTC)


def _parse_date(time: str) -> dt.date:
    return dt.datetime.fromisoformat(time).date()


def _describe_lack(entry: Arrival) -> str:
    title, since = SOURCES[entry.source].title, day(entry.since.isoformat())
    if entry.state is State.NOT_DUE:
        return f"no {title}, due on {since}"
    return f"no {title} since {since}" if entry.state is State.MISSING else f"{title} {entry.state} since {since}"


def _describe_by_council(entries: Sequence[Arrival]) -> str:
    by_council: dict[str, list[str]] = {}
    for entry in entries:
        by_council.setdefault(get_place(entry.council).la_name, []).append(_describe_lack(entry))
    return "; ".join(f"{name} ({', '.join(lacks)})" for name, lacks in by_council.items())

"""`readiness status`: who has sent what for a cohort, or for every open cohort, and what a release waits for."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict

from assets.home.paths import Home
from assets.linkage.arrivals import Arrival, Entry, Progress, State, explain_arrivals
from assets.linkage.inputs import NotLinked
from assets.release.holds import read_state
from ndl_export.facts.missing import SOURCES
from ndl_export.pages.number_format import format_count, format_day
from pipelines.reports.document import Grid, Report, Section
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort, list_open_cohorts
from sources.reference.places import get_place


def list_open_holds(home: Home, cohort: Cohort) -> list[str]:
    """Return the holds of a release of the linked cohort that a named person must accept; counts are in bands."""
    try:
        return [f"{hold.sentence} ({hold.name})" for hold in read_state(home, [cohort.code]).open]
    except NotLinked:
        return []


def report(found: Sequence[Arrival], cohort: Cohort, unread: Sequence[str], held: Sequence[str] = ()) -> Report:
    """Report the arrivals and their meaning for a release: holds, stopped deliveries, and files that are not read.

    A table has a line for each council and a column for each source. `unread` comes from `describe_unread_entries`.
    """
    meant = explain_arrivals(found, cohort).splitlines()
    meant += ["something in landing is not read, and may be an extract: see below"] if unread else []
    facts = {
        "cohort": cohort.code,
        "arrivals": [
            asdict(entry)
            | {"since": entry.since.isoformat(), "in_since": entry.in_since.isoformat() if entry.in_since else None}
            for entry in found
        ],
        "not_read": list(unread),
        "held": list(held),
        "meaning": meant,
    }
    stopped = [f"{entry.council}/{entry.source}: {entry.why}" for entry in found if entry.why]
    listed = (("A release is held for", held), ("Stopped, with the reason", stopped), ("Not read", unread))
    return Report(
        kind="deliveries",
        title=f"Deliveries of cohort {cohort.label}",
        outcome=[f"{sentence[0].upper()}{sentence[1:]}." for sentence in meant],
        sections=[
            *(Section(title, sentences) for title, sentences in listed if sentences),
            Section("By council", [_LEGEND], [_build_council_grid(found)]),
        ],
        facts=facts,
        good=not (held or unread) and all(entry.state in (State.TAKEN, State.NOT_DUE) for entry in found),
    )


_LEGEND = (
    "A date alone: taken in on that day. Otherwise: the state of the newest delivery and since when, and in"
    " brackets the day of the one that is in."
)


def _build_council_grid(found: Sequence[Arrival]) -> Grid:
    header = ("council", *(f"{SOURCES[source].title[0].upper()}{SOURCES[source].title[1:]}" for source in CONTRACTS))
    rows = [
        (get_place(council).la_name, *(_format_cell(entry) for entry in found if entry.council == council))
        for council in dict.fromkeys(entry.council for entry in found)
    ]
    return Grid("", header, rows)


def _format_cell(entry: Arrival) -> str:
    if entry.state is State.TAKEN:
        return entry.since.isoformat()
    older = f" (in: {entry.in_since.isoformat()})" if entry.in_since else ""
    return f"{entry.state} {entry.since.isoformat()}{older}"


def report_timeline(entries: Sequence[Entry], on: dt.date) -> Report:
    """Report the records of all open cohorts: a table per council, a row per record, a column per cohort."""
    late = [entry for entry in entries if entry.progress is Progress.LATE]
    councils = list(dict.fromkeys(entry.council for entry in entries))
    cohorts = list_open_cohorts(on)
    behind = [get_place(council).la_name for council in councils if any(entry.council == council for entry in late)]
    grids = [_build_timeline_grid(entries, council, cohorts) for council in councils]
    outcome = f"{format_count(len(late), 'record')} late, of: {', '.join(behind)}." if late else "Nothing is late."
    return Report(
        kind="timeline",
        title=f"Records of children from birth to Reception on {format_day(on.isoformat())}",
        outcome=[outcome],
        sections=[Section("By council", [_TIMELINE_LEGEND], grids)],
        facts={
            "on": on.isoformat(),
            "cohorts": [cohort.code for cohort in cohorts],
            "records": [asdict(entry) | {"since": entry.since.isoformat()} for entry in entries],
        },
        good=not late,
    )


_TIMELINE_LEGEND = (
    "A month is when the first records will be due. “so far”: records are due every month, and all due by now are in."
    " Since when a record is late is in the answer of --json."
)


def _build_timeline_grid(entries: Sequence[Entry], council: str, cohorts: Sequence[Cohort]) -> Grid:
    cells = {
        (entry.record, entry.cohort): f"{entry.since:%Y-%m}" if entry.progress is Progress.NOT_DUE else entry.progress
        for entry in entries
        if entry.council == council
    }
    records = dict.fromkeys(record for record, _ in cells)
    rows = [(record, *(cells[record, cohort.code] for cohort in cohorts)) for record in records]
    return Grid(get_place(council).la_name, ("record", *(cohort.label for cohort in cohorts)), rows)

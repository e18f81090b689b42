"""`readiness status`: who has sent what for a cohort, since when, and what that means for its release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from assets.home.paths import Home
from assets.linkage.arrivals import Arrival, State, explain_arrivals
from assets.linkage.inputs import NotLinked
from assets.release.holds import read_state
from ndl_export.facts.missing import SOURCES
from pipelines.reports.document import Grid, Report, Section
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
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

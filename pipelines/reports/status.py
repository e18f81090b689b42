"""`readiness status`: who has sent what for a cohort, or for every open cohort, and what a release waits for."""

import datetime as dt
from collections.abc import Sequence

from pydantic import TypeAdapter

from assets.home.paths import Home
from assets.linkage.arrivals import Arrival, ArrivalState, ExpectedRecord, Progress, explain_arrivals
from assets.linkage.inputs import NotLinked
from assets.release.holds import read_state
from pipelines.reports.document import Report, write_text
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort, list_open_cohorts
from sources.reference.source_titles import SOURCE_TITLES


def list_open_holds(home: Home, cohort: Cohort) -> list[str]:
    """Return the holds of a release of the linked cohort that a named person must accept; counts are in bands."""
    try:
        return [f"{hold.sentence} ({hold.name})" for hold in read_state(home, [cohort.code]).open]
    except NotLinked:
        return []


def report(found: Sequence[Arrival], cohort: Cohort, unread: Sequence[str], held: Sequence[str] = ()) -> Report:
    """Report the arrivals and their meaning for a release: holds, stopped deliveries, and files that are not read.

    `unread` comes from `describe_unread_entries`.
    """
    meant = explain_arrivals(found, cohort).splitlines()
    meant += ["something in landing is not read, and may be an extract: see below"] if unread else []
    facts = {
        "cohort": cohort.code,
        "arrivals": TypeAdapter(Sequence[Arrival]).dump_python(found, mode="json"),
        "not_read": list(unread),
        "held": list(held),
        "meaning": meant,
    }
    stopped = [f"{entry.council}/{entry.source}: {entry.why}" for entry in found if entry.why]
    titles = [SOURCE_TITLES[source] for source in CONTRACTS]
    good = not (held or unread) and all(entry.state in (ArrivalState.TAKEN, ArrivalState.NOT_DUE) for entry in found)
    return Report("deliveries", write_text("deliveries.md.j2", **facts, stopped=stopped, sources=titles), facts, good)


def report_timeline(entries: Sequence[ExpectedRecord], on: dt.date) -> Report:
    """Report the records of all open cohorts: a table per council, a row per record, a column per cohort."""
    facts = {
        "on": on.isoformat(),
        "cohorts": [cohort.code for cohort in list_open_cohorts(on)],
        "records": TypeAdapter(Sequence[ExpectedRecord]).dump_python(entries, mode="json"),
    }
    good = all(entry.progress is not Progress.LATE for entry in entries)
    return Report("timeline", write_text("timeline.md.j2", **facts), facts, good)

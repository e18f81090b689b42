"""`readiness status --timeline`: what is in, due and late for every open cohort, by council and age."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict

from assets.linkage.timeline import Entry, Progress
from ndl_export.pages.number_format import day, format_count
from pipelines.reports.document import Grid, Report, Section
from sources.reference.cohorts import Cohort, list_open_cohorts
from sources.reference.places import get_place


def report_timeline(entries: Sequence[Entry], on: dt.date) -> Report:
    """Report the records of all open cohorts: a table for each council, a row for each record, a column a cohort."""
    late = [entry for entry in entries if entry.progress is Progress.LATE]
    councils = list(dict.fromkeys(entry.council for entry in entries))
    cohorts = list_open_cohorts(on)
    behind = [get_place(council).la_name for council in councils if any(entry.council == council for entry in late)]
    outcome = f"{format_count(len(late), 'record')} late, of: {', '.join(behind)}." if late else "Nothing is late."
    return Report(
        kind="timeline",
        title=f"Records of children from birth to Reception on {day(on.isoformat())}",
        outcome=[outcome],
        sections=[
            Section("By council", [_LEGEND], [_build_grid(entries, council, cohorts) for council in councils]),
        ],
        facts={
            "on": on.isoformat(),
            "cohorts": [cohort.code for cohort in cohorts],
            "records": [asdict(entry) | {"since": entry.since.isoformat()} for entry in entries],
        },
        good=not late,
    )


_LEGEND = (
    "A month: the first records will be due in it. `so far`: due month by month, and everything due so far is in."
    " Since when a record is late is in the answer of --json."
)


def _build_grid(entries: Sequence[Entry], council: str, cohorts: Sequence[Cohort]) -> Grid:
    own = {(entry.record, entry.cohort): entry for entry in entries if entry.council == council}
    records = dict.fromkeys(record for record, _ in own)
    rows = [(record, *(_format_cell(own[record, cohort.code]) for cohort in cohorts)) for record in records]
    return Grid(get_place(council).la_name, ("record", *(cohort.label for cohort in cohorts)), rows)


def _format_cell(entry: Entry) -> str:
    return f"{entry.since:%Y-%m}" if entry.progress is Progress.NOT_DUE else entry.progress

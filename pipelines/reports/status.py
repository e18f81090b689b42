"""`readiness status`: who has sent what of a cohort, since when, what that means for its release, and what holds it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assets.home.paths import Home
from assets.linkage.arrivals import Arrival, arrivals, meaning
from assets.linkage.inputs import NotLinked
from assets.release.holds import state
from sources.contracts import CONTRACTS
from sources.extract.landed import taking_part
from sources.reference.cohorts import Cohort
from sources.reference.places import place

_SPACES_BETWEEN = 2


def status(landing: Path, home: Path, cohort: Cohort, today: dt.date) -> list[Arrival]:
    """Arrivals of every council with a folder in landing."""
    return arrivals(landing, Home(home), cohort, taking_part(landing), today)


def held(home: Path, cohort: Cohort) -> list[str]:
    """What a release of the cohort as it is linked waits for, until a named person accepts it; in bands, by name."""
    try:
        return [f"{hold.sentence} ({hold.name})" for hold in state(Home(home), [cohort.code]).open]
    except NotLinked:
        return []


def as_json(
    found: Sequence[Arrival], cohort: Cohort, unread: Sequence[str], held: Sequence[str] = ()
) -> dict[str, Any]:
    """JSON-ready; `unread` as `not_read` gives it."""
    listed = [
        asdict(entry)
        | {"since": entry.since.isoformat(), "in_since": entry.in_since.isoformat() if entry.in_since else None}
        for entry in found
    ]
    return {
        "cohort": cohort.code,
        "arrivals": listed,
        "not_read": list(unread),
        "held": list(held),
        "meaning": meaning(found, cohort).splitlines(),
    }


def render(found: Sequence[Arrival], cohort: Cohort, unread: Sequence[str], held: Sequence[str] = ()) -> str:
    """A line for each council with a column for each source; then why deliveries were stopped, what is not read, what
    holds the release, and what it all means for it."""
    rows = [["council", *CONTRACTS]]
    for council in dict.fromkeys(entry.council for entry in found):
        rows.append([place(council).la_name, *(_cell(entry) for entry in found if entry.council == council)])
    widths = [max(map(len, column)) + _SPACES_BETWEEN for column in zip(*rows, strict=True)]
    lines = ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    said = [*(f"stopped: {entry.why}" for entry in found if entry.why), *unread, *(f"held: {each}" for each in held)]
    return "\n".join([*lines, "", *said, *([""] if said else []), meaning(found, cohort)])


def _cell(entry: Arrival) -> str:
    older = entry.in_since if entry.in_since and entry.in_since != entry.since else None
    return f"{entry.state} {entry.since.isoformat()}{f' (in: {older.isoformat()})' if older else ''}"

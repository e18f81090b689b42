"""Summarises how many children of a council only one service knows: true counts, kept in the restricted zone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

import duckdb

from assets.home.paths import Home
from assets.returns.row_history import Unusual
from assets.returns.team_files import TEMPLATES
from ndl_export.pages import kit
from privacy.doors import files
from privacy.returns.agreement import Sender
from privacy.services import SERVICE_NAMES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import place

_COUNTS = Path(__file__).with_name("summary.sql")
_TITLES = {
    "education": "Schools (EYFS Profile, school census)",
    "settings": "Nurseries and childminders (early years census)",
    "health": "Health visiting (reviews)",
}


def write_summary(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    cohort: str,
    council: str,
    in_full: Collection[Sender],
    held: Mapping[str, Unusual],
) -> None:
    """Write the summary of a council as JSON and as a page, from `records` and `doubts` of `con`.

    Per service: its children; those in no other service's rows in any council (`alone`); and those who may be alone
    (`perhaps_alone`), because another service's record may be theirs, or they could not have been found. The last two
    are None if another service of the council has not sent everything. `held` are the deliveries that wait for a
    person, by source.
    """
    missing = [service for service in SERVICE_NAMES if Sender(council, service) not in in_full]
    counted = con.execute(_COUNTS.read_text(encoding="utf-8"), {"council": council}).fetchall()
    services = [
        {
            "service": service,
            "children": children,
            "alone": None if set(missing) - {service} else alone,
            "perhaps_alone": None if set(missing) - {service} else perhaps,
        }
        for service, children, alone, perhaps in counted
    ]
    waiting = {source: asdict(found) for source, found in held.items()}
    facts = {"council": council, "cohort": cohort, "services": services, "missing": missing, "held": waiting}
    page = kit.render(
        TEMPLATES,
        "summary.html.j2",
        **facts | {"council": place(council).la_name, "cohort": Cohort(cohort).label},
        titles=_TITLES,
        sources={source: CONTRACTS[source].title for source in held},
    )
    path = home.return_summary(cohort, council)
    files.write_json(path, facts)
    files.write(path.with_suffix(".html"), page.encode())


def held_mac(home: Home, cohort: str, council: str, source: str) -> str | None:
    """Return the MAC of the delivery that waits for a person, according to the latest summary."""
    path = home.return_summary(cohort, council)
    held = json.loads(path.read_bytes())["held"] if path.exists() else {}
    return str(held[source]["file_mac"]) if source in held else None

"""How many children of a council each service alone knows: true counts, which never leave the restricted zone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb

from assets.home.paths import Home
from assets.returns.standing import Unusual
from assets.returns.team_files import TEMPLATES
from ndl_export.pages import kit
from privacy.doors import files
from privacy.returns.agreement import Sender
from privacy.services import SERVICE_NAMES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import place

_COUNTS = Path(__file__).with_name("summary.sql")
SERVICE_TITLES = {
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
    """Write the summary of one council as JSON and as a page; `con` holds `records` and `doubts`. `held` are the
    deliveries that wait for a person, by source."""
    facts = summary(con, cohort, council, in_full) | {"held": {source: asdict(found) for source, found in held.items()}}
    final = home.return_summary(cohort, council)
    files.write_json(final, facts)
    files.write(final.with_suffix(".html"), render(facts).encode())


def summary(con: duckdb.DuckDBPyConnection, cohort: str, council: str, in_full: Collection[Sender]) -> dict[str, Any]:
    """Children with a row of each service; of them those in no other service's rows of any council, sure or perhaps.

    `perhaps_alone` are those of whom that cannot be said: a record of another service may be theirs, or they could not
    have been found. The last two are None where another service of the council has not sent everything.
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
    return {"council": council, "cohort": cohort, "services": services, "missing": missing}


def held_mac(home: Home, cohort: str, council: str, source: str) -> str | None:
    """The MAC of the delivery that waits for a person, by the summary that was written last."""
    path = home.return_summary(cohort, council)
    held = json.loads(path.read_bytes())["held"] if path.exists() else {}
    return str(held[source]["file_mac"]) if source in held else None


def render(facts: dict[str, Any]) -> str:
    """The page of a summary."""
    return kit.render(
        TEMPLATES,
        "summary.html.j2",
        council=place(facts["council"]).la_name,
        cohort=Cohort(facts["cohort"]).label,
        titles=SERVICE_TITLES,
        services=facts["services"],
        missing=facts["missing"],
        held=facts["held"],
        sources={source: CONTRACTS[source].title for source in facts["held"]},
    )

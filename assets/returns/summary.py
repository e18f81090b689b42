"""How many children of a council each service alone knows: true counts, which never leave the restricted zone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import duckdb

from assets.home.paths import Home
from assets.pages.page import page
from assets.pages.parts import paragraph, table
from privacy.doors import files
from privacy.returns.agreement import Sender
from privacy.services import SERVICE_NAMES
from sources.reference.cohorts import Cohort
from sources.reference.places import place

SERVICE_TITLES = {
    "education": "Schools (EYFS Profile, school census)",
    "settings": "Nurseries and childminders (early years census)",
    "health": "Health visiting (reviews)",
}
_FOOTER = (
    "This page holds true counts of linked children. It stays in the restricted zone: do not publish it, copy it out or"
    " quote its numbers. It names no child and no row."
)


def write_summary(
    con: duckdb.DuckDBPyConnection, home: Home, cohort: str, council: str, in_full: Collection[Sender]
) -> None:
    """Write the summary of one council as JSON and as a page; `con` holds `records` and `doubts`."""
    facts = summary(con, cohort, council, in_full)
    final = home.return_summary(cohort, council)
    files.write_json(final, facts)
    files.write(final.with_suffix(".html"), render(facts).encode())


def summary(con: duckdb.DuckDBPyConnection, cohort: str, council: str, in_full: Collection[Sender]) -> dict[str, Any]:
    """Children with a row of each service; of them those in no other service's rows of any council, sure or perhaps.

    `perhaps_alone` are those of whom that cannot be said: a record of another service may be theirs, or they could not
    have been found. The last two are None where another service of the council has not sent everything.
    """
    missing = [service for service in SERVICE_NAMES if Sender(council, service) not in in_full]
    counted = con.execute(_COUNTS, {"council": council}).fetchall()
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


_COUNTS = """
WITH of_child AS (
    SELECT child_id, service, bool_or(council = $council) AS here, bool_or(findable) AS findable
      FROM records GROUP BY child_id, service
), others AS (
    SELECT DISTINCT mine.child_id, mine.service, false AS perhaps
      FROM of_child AS mine JOIN of_child AS theirs USING (child_id) WHERE theirs.service <> mine.service
    UNION ALL
    SELECT DISTINCT mine.child_id, mine.service, true
      FROM of_child AS mine JOIN doubts USING (child_id) JOIN of_child AS theirs ON theirs.child_id = other_child_id
     WHERE theirs.service <> mine.service
), judged AS (
    SELECT service, findable, coalesce(bool_or(NOT perhaps), false) AS with_others,
           coalesce(bool_or(perhaps), false) AS perhaps_with_others
      FROM of_child LEFT JOIN others USING (child_id, service)
     WHERE here GROUP BY child_id, service, findable
)
SELECT service, count(*), count(*) FILTER (NOT with_others AND NOT perhaps_with_others AND findable),
       count(*) FILTER (NOT with_others AND (perhaps_with_others OR NOT findable))
  FROM judged GROUP BY service ORDER BY service
"""


def render(facts: dict[str, Any]) -> str:
    """The page of a summary."""
    title = f"{place(facts['council']).la_name}: who alone knows a child, {Cohort(facts['cohort']).label}"
    late = ", ".join(SERVICE_TITLES[service] for service in facts["missing"])
    notes = [f"Not every extract is in of: {late}. What cannot be said without it is left open."] if late else []
    rows = [
        (
            SERVICE_TITLES[row["service"]],
            *("–" if row[name] is None else f"{row[name]:,}" for name in ("children", "alone", "perhaps_alone")),
        )
        for row in facts["services"]
    ]
    return page(
        "returns",
        title,
        _FOOTER,
        paragraph("A child counts once for each service of this council that has sent a row about it."),
        *(paragraph(note) for note in notes),
        table(
            "Children by service",
            ("Service", "Children it knows", "Known to no other service", "Perhaps known to no other"),
            rows,
            numbers=3,
        ),
        paragraph(
            "Known to no other: no record of another service, in any council whose extracts are in, was linked or could"
            " be the child's. Perhaps: a record could be, or the rows say too little of the child, or the surname is"
            " too common, to be sure. Returns say it of fewer, as agreements allow, and of nobody beside whom a"
            " stranger of one name has the same date of birth or postcode."
        ),
    )

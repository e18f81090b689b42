"""How many children of a council each service alone knows: true counts, which never leave the restricted zone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import duckdb

from assets.home.paths import Home
from assets.returns.page import TEMPLATES
from ndl_export.pages import kit
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
    return kit.render(
        TEMPLATES,
        "summary.html.j2",
        council=place(facts["council"]).la_name,
        cohort=Cohort(facts["cohort"]).label,
        titles=SERVICE_TITLES,
        services=facts["services"],
        missing=facts["missing"],
    )

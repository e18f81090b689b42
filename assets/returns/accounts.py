"""Accounts of returns: receipts for the services that tell, and a summary for each council.

A receipt says who was told about a service's rows, and is encrypted to that service. For each row, it says no more than
the service's own return: which of the receivers named there were told about that row's child, and what. For receivers
that may not tell the service anything, it gives a rounded number of children. The service's new rows count in neither,
so nobody can find out about a child by sending it. For the same reason a receipt is based on links without those rows
(`make`), and can differ by a few children from what a receiver was told.

A summary says how many children of a council only one service knows: true counts, kept in the restricted zone.
"""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from assets.home.paths import CohortStore, ExtractStore
from assets.returns.row_history import Unusual
from assets.returns.team_files import TEMPLATES, WORDS
from ndl_export.pages import kit
from privacy.doors import files
from privacy.doors.sql import quote_text
from privacy.returns.agreement import Agreement, Fact, Sender, list_permitted
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

ROUNDED_TO = 10
"""Numbers of children are rounded to a multiple of this."""


def load_facts(con: duckdb.DuckDBPyConnection, facts: Mapping[tuple[str, str, str], Sequence[str]]) -> None:
    """Create `told_facts`: each receiver's row with each service named for it, from the facts of every return.

    `facts` are the JSON texts made by `find_facts`, by council, service and source.
    """
    names = ("council", "service", "source", "fact")
    rows = [dict(zip(names, (*key, fact), strict=True)) for key, of_return in facts.items() for fact in of_return]
    con.register("returned", pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in names])))
    con.execute(_TOLD)
    con.unregister("returned")


def build_receipt(con: duckdb.DuckDBPyConnection, teller: Sender) -> dict[str, Any]:
    """Return the rounded number of the teller's children by receiver, and its rows by source and number."""
    of_teller = teller._asdict()
    counted = con.sql(_COUNTED, params={**of_teller, "to": ROUNDED_TO}).to_arrow_table().to_pylist()
    return {"receivers": counted, "rows": con.sql(_ROWS, params=of_teller).to_arrow_table().to_pylist()}


def list_permitted_flows(agreements: Mapping[str, Agreement], on: dt.date) -> dict[Sender, dict[str, list[str]]]:
    """Return the facts that each service with a key may tell today, by receiver."""
    found: dict[Sender, dict[str, list[str]]] = {}
    services = [Sender(council, service) for council, each in agreements.items() for service in each.recipients]
    for receiver in services:
        for teller, facts in list_permitted(agreements, receiver, on).items():
            # A service without a key may tell others, but nothing can be encrypted to it.
            if teller in services:
                found.setdefault(teller, {})["/".join(receiver)] = sorted(fact.value for fact in facts)
    return found


_TOLD = """
CREATE OR REPLACE TEMP TABLE told_facts AS
SELECT council, service, source, row, contact.council AS teller_council, contact.service AS teller_service,
       contact.last_contact IS NOT NULL AS contact, contact.concern IS NOT NULL AS concern
  FROM (SELECT council, service, source, parsed.row, unnest(parsed.known_to) AS contact
          FROM (SELECT council, service, source, from_json(fact, '{"row": "BIGINT", "known_to": [{"council": "VARCHAR",
                "service": "VARCHAR", "last_contact": "VARCHAR", "concern": "BOOLEAN"}]}') AS parsed FROM returned))
"""
_OF_CHILD = """
    SELECT child_id, told_facts.council || '/' || told_facts.service AS receiver, bool_or(contact) AS contact,
           bool_or(told_facts.concern) AS concern
      FROM told_facts JOIN records USING (council, source, row)
     WHERE teller_council = $council AND teller_service = $service AND child_id IN (
           SELECT child_id FROM records WHERE council = $council AND service = $service
            GROUP BY child_id HAVING NOT bool_or(waiting))
     GROUP BY ALL
"""
"""SQL for what each receiver was told about the teller's children, without children who have a new row at the
teller."""
_COUNTED = f"""
SELECT receiver, (round(count(*) / $to) * $to)::BIGINT AS children_about FROM ({_OF_CHILD})
 GROUP BY receiver ORDER BY receiver
"""
_ROWS = f"""
SELECT own.source, own.row, receiver, list_sort(list_filter([
           {quote_text(Fact.KNOWN_TO)}, CASE WHEN contact THEN {quote_text(Fact.LAST_CONTACT)} END,
           CASE WHEN told.concern THEN {quote_text(Fact.CONCERN)} END], lambda fact: fact IS NOT NULL)) AS told
  FROM ({_OF_CHILD}) AS told JOIN records AS own USING (child_id)
  JOIN (SELECT council, source, row, teller_council || '/' || teller_service AS receiver
          FROM told_facts) AS named USING (council, source, row, receiver)
 WHERE own.council = $council AND own.service = $service ORDER BY ALL
"""


_COUNTS = Path(__file__).with_name("summary.sql")


def write_summary(
    con: duckdb.DuckDBPyConnection,
    store: CohortStore,
    council: str,
    missing: Sequence[str],
    held: Mapping[str, Unusual],
) -> None:
    """Write the summary of a council as JSON and as a page, from `records` and `doubts` of `con`.

    Per service: its children; those in no other service's rows in any council (`alone`); and those who may be alone
    (`perhaps_alone`), because another service's record may be theirs, or they could not have been found. The last two
    are None if another service of the council is `missing`: it has not sent all that was due, and could know children
    who seem to be known to one service only. `held` are the deliveries that wait for a person, by source.
    """
    counted = con.execute(_COUNTS.read_text(encoding="utf-8"), {"council": council}).fetchall()
    services = [
        {"service": service, "children": children}
        | dict(zip(("alone", "perhaps_alone"), (None, None) if set(missing) - {service} else alone, strict=True))
        for service, children, *alone in counted
    ]
    waiting = {source: asdict(found) for source, found in held.items()}
    facts = {"council": council, "cohort": store.cohort, "services": services, "missing": missing, "held": waiting}
    page = kit.render(
        TEMPLATES,
        "summary.html.j2",
        **facts | {"council": get_place(council).la_name, "cohort": Cohort(store.cohort).label},
        titles=WORDS["summary"],
        sources={source: CONTRACTS[source].title for source in held},
    )
    path = store.return_summary(council)
    files.write_json(path, facts)
    files.write(path.with_suffix(".html"), page.encode())


def read_held_mac(store: ExtractStore) -> str | None:
    """Return the MAC of the delivery that waits for a person, according to the latest summary."""
    path = store.cohort_store.return_summary(store.council)
    waiting = json.loads(path.read_bytes())["held"] if path.exists() else {}
    return str(waiting[store.source]["file_mac"]) if store.source in waiting else None

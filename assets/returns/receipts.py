"""Receipts: who was told about a service's rows, made for that service and encrypted to it.

For each row, a receipt says no more than the service's own return: which of the receivers named there were told about
that row's child, and what. For receivers that may not tell the service anything, it gives a rounded number of children.
The service's new rows count in neither, so nobody can find out about a child by sending it. For the same reason a
receipt is based on links without those rows (`evidence`), and can differ by a few children from what a receiver was
told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from privacy.doors.sql import quoted
from privacy.returns.agreement import Agreement, Fact, Sender, permitted

ROUNDED_TO = 10
"""Numbers of children are rounded to a multiple of this."""


def load_facts(con: duckdb.DuckDBPyConnection, facts: Mapping[tuple[str, str, str], Sequence[str]]) -> None:
    """Create `told_facts`: each receiver's row with each service named for it, from the facts of every return.

    `facts` are the JSON texts made by `facts_of`, by council, service and source.
    """
    rows = [(*key, fact) for key, of_return in facts.items() for fact in of_return]
    columns = zip(("council", "service", "source", "fact"), zip(*rows, strict=True) if rows else [()] * 4, strict=True)
    con.register("returned", pa.table({name: pa.array(values, pa.string()) for name, values in columns}))
    con.execute(_TOLD)
    con.unregister("returned")


def receipt(con: duckdb.DuckDBPyConnection, teller: Sender) -> dict[str, Any]:
    """Return the rounded number of the teller's children by receiver, and its rows by source and number."""
    given = teller._asdict()
    counted = con.execute(_COUNTED, {**given, "to": ROUNDED_TO}).fetchall()
    rows = con.execute(_ROWS, given).fetchall()
    return {
        "receivers": [{"receiver": receiver, "children_about": int(children)} for receiver, children in counted],
        "rows": [
            {"source": source, "row": row, "receiver": receiver, "told": told} for source, row, receiver, told in rows
        ],
    }


def permitted_flows(agreements: Mapping[str, Agreement], on: dt.date) -> dict[Sender, dict[str, list[str]]]:
    """Return the facts that each service with a key may tell today, by receiver."""
    found: dict[Sender, dict[str, list[str]]] = {}
    for council, agreement in agreements.items():
        for service in agreement.recipients:
            receiver = Sender(council, service)
            for teller, facts in permitted(agreements, receiver, on).items():
                found.setdefault(teller, {})["/".join(receiver)] = sorted(fact.value for fact in facts)
    return {
        teller: receivers
        for teller, receivers in sorted(found.items())
        if teller.service in agreements[teller.council].recipients
    }


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
_COUNTED = f"SELECT receiver, round(count(*) / $to) * $to FROM ({_OF_CHILD}) GROUP BY receiver ORDER BY receiver"
_ROWS = f"""
SELECT own.source, own.row, receiver, list_sort(list_filter([
           {quoted(Fact.KNOWN_TO)}, CASE WHEN contact THEN {quoted(Fact.LAST_CONTACT)} END,
           CASE WHEN told.concern THEN {quoted(Fact.CONCERN)} END], lambda fact: fact IS NOT NULL)) AS told
  FROM ({_OF_CHILD}) AS told JOIN records AS own USING (child_id)
  JOIN (SELECT council, source, row, teller_council || '/' || teller_service AS receiver
          FROM told_facts) AS named USING (council, source, row, receiver)
 WHERE own.council = $council AND own.service = $service ORDER BY ALL
"""

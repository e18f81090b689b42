"""Who was told about a service's rows: for the service that tells, encrypted to it.

By row it says no more than the service's own return says already: which of the receivers that its return names for a
row were told about that row's child, and what. Of receivers that may not tell it anything it has a number of children
alone, rounded; rows of its own that have not stood count in neither, so that nobody can find out about a child by
sending it. For the same reason it is worked out from links without those rows (`evidence`), and can differ in a few
children from what a receiver was told.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from privacy.returns.agreement import Agreement, Fact, Sender, permitted

ROUNDED_TO = 10
"""Numbers of children are multiples of it."""


def begin(con: duckdb.DuckDBPyConnection) -> None:
    """`told_facts`: each receiver's row with each sender that was named for it."""
    con.execute(
        "CREATE OR REPLACE TEMP TABLE told_facts (council VARCHAR, service VARCHAR, source VARCHAR, row BIGINT,"
        " teller_council VARCHAR, teller_service VARCHAR, contact BOOLEAN, concern BOOLEAN)"
    )


def remember(con: duckdb.DuckDBPyConnection, receiver: Sender, source: str, facts: Sequence[str]) -> None:
    """Add what is in one return."""
    con.register("returned", pa.table({"fact": pa.array(facts, pa.string())}))
    con.execute(_REMEMBERED, {**receiver._asdict(), "source": source})
    con.unregister("returned")


def told_about(con: duckdb.DuckDBPyConnection, teller: Sender) -> dict[str, Any]:
    """By receiver the number of this teller's children of whom it was told, rounded; and rows, by source and number.

    A row that has not stood is left out, and so is its child.
    """
    con.execute(_CHILDREN, teller._asdict())
    counted = con.execute(_COUNTED, {**teller._asdict(), "to": ROUNDED_TO}).fetchall()
    rows = con.execute(_ROWS, teller._asdict()).fetchall()
    con.execute("DROP TABLE teller_children")
    return {
        "receivers": [{"receiver": receiver, "children_about": int(children)} for receiver, children in counted],
        "rows": [
            {"source": source, "row": row, "receiver": receiver, "told": _told(contact, concern)}
            for source, row, receiver, contact, concern in rows
        ],
    }


def flows(agreements: Mapping[str, Agreement], on: dt.date) -> dict[Sender, dict[str, list[str]]]:
    """What each service may tell today, by receiver; only of services that have a key to be told under."""
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


def document(content: Mapping[str, Any]) -> bytes:
    """What is signed and encrypted."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()


def _told(contact: bool, concern: bool) -> list[str]:
    return sorted(
        fact.value
        for fact, told in ((Fact.KNOWN_TO, True), (Fact.LAST_CONTACT, contact), (Fact.CONCERN, concern))
        if told
    )


_REMEMBERED = """
INSERT INTO told_facts
SELECT $council, $service, $source, row, contact.council, contact.service, contact.last_contact IS NOT NULL,
       contact.concern IS NOT NULL
  FROM (SELECT row, unnest(known_to) AS contact
          FROM (SELECT unnest(from_json(fact, '{"row": "BIGINT", "known_to": [{"council": "VARCHAR",
                "service": "VARCHAR", "last_contact": "VARCHAR", "concern": "BOOLEAN"}]}')) FROM returned))
"""
_CHILDREN = """
CREATE TEMP TABLE teller_children AS
SELECT child_id FROM records WHERE council = $council AND service = $service GROUP BY child_id
HAVING NOT bool_or(waiting)
"""
_OF_CHILD = """
    SELECT child_id, told_facts.council || '/' || told_facts.service AS receiver, bool_or(contact) AS contact,
           bool_or(told_facts.concern) AS concern
      FROM told_facts JOIN records USING (council, source, row) SEMI JOIN teller_children USING (child_id)
     WHERE teller_council = $council AND teller_service = $service GROUP BY ALL
"""
_COUNTED = f"SELECT receiver, round(count(*) / $to) * $to FROM ({_OF_CHILD}) GROUP BY receiver ORDER BY receiver"
_ROWS = f"""
SELECT own.source, own.row, receiver, contact, told.concern
  FROM ({_OF_CHILD}) AS told JOIN records AS own USING (child_id)
  JOIN (SELECT council, source, row, teller_council || '/' || teller_service AS receiver
          FROM told_facts) AS named USING (council, source, row, receiver)
 WHERE own.council = $council AND own.service = $service ORDER BY ALL
"""

"""Which rows the returns of a service may rest on: those of its rows that have stood, and all rows of other services.

A sender can put in a row to find out whether another service holds what it says. So the cohort is linked again for the
returns of each service, without the rows of that service, in any council, that have not stood: they are not in the
linkage, so they take no partner from another row, join no two children, and leave none in doubt. What is returned is a
function of the rows that have stood and of what others sent. Whatever a new row says, and whoever else holds it, the
return is the same, until the row has stood.

One token depends on the other rows of its extract: that of two common names which one child alone bears there. It is
left out as well, because a new namesake would take it from a row that has stood.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import duckdb
import pyarrow as pa

from privacy.doors.database import in_memory
from privacy.linkage.rows import Extract
from privacy.pseudonyms import without_sole_bearers
from privacy.returns.agreement import Fact, First, NewChildren, Sender

_ROW = ("source", "council", "row_key")


def note_waiting(con: duckdb.DuckDBPyConnection, rules: Mapping[Sender, NewChildren], on: dt.date) -> None:
    """Create `all_records` of `con`: its `records`, and which have not stood on a day (`waiting`), and of them those to
    be `left_out`.

    `records` has council, service, first_day, deliveries and at_start, and is dropped. `rules` are those of
    the senders that receive something; rows of others wait for nothing. A rule by which new rows are told something
    leaves none out.
    """
    con.register("rules", _rules(rules, on))
    con.execute(_WAITING)
    con.unregister("rules")


def left_out(con: duckdb.DuckDBPyConnection, service: str) -> pa.Table:
    """source, council and row_key of the rows of a service to be left out."""
    rows = f"SELECT {', '.join(_ROW)} FROM all_records WHERE left_out AND service = $service"
    return con.sql(rows, params={"service": service}).to_arrow_table()


def tokens_without(sent: Extract, rows: pa.Table) -> pa.Table:
    """The tokens of one source but for some `rows` (council, row_key), as if those had never been in its extracts."""
    with in_memory() as con:
        con.register("sent", sent)
        con.register("rows", rows)
        return without_sole_bearers(con.sql("FROM sent ANTI JOIN rows USING (council, row_key)").to_arrow_table())


def _rules(rules: Mapping[Sender, NewChildren], on: dt.date) -> pa.Table:
    every = list(rules.values())
    return pa.table(
        {
            "council": pa.array([sender.council for sender in rules], pa.string()),
            "service": pa.array([sender.service for sender in rules], pa.string()),
            "since": pa.array([on - dt.timedelta(days=rule.after_days) for rule in every], pa.date32()),
            "least": pa.array([rule.after_deliveries for rule in every], pa.int64()),
            "at_once": pa.array([rule.first_delivery is First.AT_ONCE for rule in every], pa.bool_()),
            "told_early": pa.array([Fact.KNOWN_TO in rule.until_then for rule in every], pa.bool_()),
        }
    )


_WAITING = """
CREATE TEMP TABLE all_records AS
WITH judged AS (
    SELECT records.*, (at_start AND at_once) OR (first_day <= since AND records.deliveries >= least) AS stood,
           since IS NOT NULL AS ruled, told_early
      FROM records LEFT JOIN rules USING (council, service)
)
SELECT * EXCLUDE (stood, ruled, told_early), ruled AND NOT coalesce(stood, false) AS waiting,
       waiting AND NOT told_early AS left_out
  FROM judged;
DROP TABLE records;
"""

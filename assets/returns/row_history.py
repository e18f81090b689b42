"""Keeps the history of senders' rows: since when each has been unchanged, and which deliveries a person must check.

One file per cohort in the restricted zone holds, for every row of the extracts that returns are made from, the keyed
marks of what identifies its child (`privacy.returns.facts`), the day on which the sender's service first sent it, the
number of deliveries it has been in, and whether it was in the first. Marks no longer in any extract, and councils
without an agreement, are not kept.

A delivery is judged only by its content, never by what its rows were linked to: otherwise stopping it would answer a
probe.
"""

import datetime as dt
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from assets.home.paths import CohortStore
from assets.intake import deliveries
from assets.linkage.arrivals import compute_growth
from privacy.doors.database import open_in_memory
from privacy.doors.files import promote
from privacy.doors.sql import quote_parquet
from privacy.services import SERVICES
from sources.reference.cohorts import Cohort

MANY_MORE_ROWS = 1.5
"""A delivery is unusual if it has more than this many times the rows that the one before would have grown to, and at
least LEAST_NEW more than the one before. The expected growth is that of a cohort being born, or of a census
(`compute_growth`): without it, every delivery of a cohort's first year would wait for a person."""
MANY_NEW, LEAST_NEW = 0.25, 50
"""A delivery is unusual if more than this share of its rows is new, beyond the growth, and at least this many rows
are."""
MOST_ALIKE = 8
"""A delivery is unusual if more than this many marks, one of them new, share an identifier, or one name with a date
of birth or a postcode, and so look like variants of one child. All marks since the first delivery count, so that a
few in each of many deliveries add up."""
_GROUPED = ("t_surname_dob", "t_forename_dob", "t_surname_postcode", "t_forename_postcode", "t_upn", "t_nhs")
_EXTRACTS = b"extracts"
_KEY = pa.schema([("council", pa.string()), ("source", pa.string())])
_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("council", pa.string()),
        ("service", pa.string()),
        ("row_key", pa.uint64()),
        ("identity", pa.string()),
        ("names", pa.string()),
        ("first_day", pa.date32()),
        ("deliveries", pa.int64()),
        ("at_start", pa.bool_()),
    ]
)

Extracts = Mapping[tuple[str, str], deliveries.ExtractQuality]
"""Extracts by council and source."""


@dataclass(frozen=True)
class Unusual:
    """Why a delivery waits for a person: reasons without numbers, and the numbers for the person who checks it."""

    reasons: tuple[str, ...]
    file_mac: str
    rows: int
    rows_before: int
    new_rows: int
    most_alike: int


def observe(
    con: duckdb.DuckDBPyConnection, store: CohortStore, extracts: Extracts, released: Collection[str], on: dt.date
) -> dict[tuple[str, str], Unusual]:
    """Record the content of `extracts` on a day, and add the history of each row to `records` of `con`.

    `records` has source, council, service, row_key, identity, names and the columns of `_GROUPED`. `released` are the
    MACs of deliveries that a person has released. Returns the unusual deliveries by council and source. Until one is
    released, its new rows have no first day, and the history of the delivery before is kept.
    """
    noted = _load(con, store.row_history)
    macs = {key: extract.file_mac for key, extract in extracts.items()}
    before = {(council, SERVICES[source]) for council, source in noted}
    another = [noted.get(key) != mac for key, mac in macs.items()]
    first = [(council, SERVICES[source]) not in before for council, source in macs]
    delivered = _build_key_table(macs).append_column("another", pa.array(another, pa.bool_()))
    con.register("delivered", delivered.append_column("first", pa.array(first, pa.bool_())))
    con.execute(_KNOWN)
    unusual = {
        key: found
        for key, mac in macs.items()
        # A first delivery has none before it to differ from.
        if noted.get(key, mac) != mac
        and mac not in released
        and (found := _judge_delivery(con, *key, mac, Cohort(store.cohort), on)).reasons
    }
    con.register("waiting_extracts", _build_key_table(unusual))
    con.execute(_HISTORY, {"on": on})
    con.execute(_TO_KEEP)
    con.execute(_RECORDS)
    # A delivery that waits must not become the one that the next is compared with.
    _keep(con, store, macs | {key: mac for key, mac in noted.items() if key in unusual})
    return unusual


def forget_rows(store: CohortStore) -> None:
    """Remove the history of rows that are no longer in the links.

    Row keys are valid for one delivery. If another one has come in, its rows cannot be matched by them, and nothing is
    kept for that extract.
    """
    path = store.row_history
    if not path.exists():
        return
    if not store.links.exists():
        path.unlink()
        return
    with open_in_memory() as con:
        noted = _load(con, path)
        current = {
            (council, source): deliveries.read_current(store.get_extract(source, council)) for council, source in noted
        }
        still = {key: mac for key, mac in noted.items() if (now := current[key]) and now.file_mac == mac}
        con.register("still", _build_key_table(still))
        con.execute(
            "CREATE TEMP TABLE history_to_keep AS FROM recorded SEMI JOIN still USING (council, source)"
            f" SEMI JOIN {quote_parquet(store.links)} AS links USING (source, council, row_key)"
        )
        _keep(con, store, still)


def _load(con: duckdb.DuckDBPyConnection, path: Path) -> dict[tuple[str, str], str]:
    """Create `recorded`, the history recorded last, and return the MAC of each extract in it."""
    noted = pyarrow.parquet.read_table(path) if path.exists() else _SCHEMA.empty_table()
    con.register("recorded", noted)
    macs: dict[str, str] = json.loads((noted.schema.metadata or {}).get(_EXTRACTS, b"{}"))
    return {(council, source): mac for name, mac in macs.items() for council, source in [name.split("/")]}


def _build_key_table(keys: Collection[tuple[str, str]]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(_KEY.names, key, strict=True)) for key in keys], _KEY)


def _judge_delivery(
    con: duckdb.DuckDBPyConnection, council: str, source: str, file_mac: str, cohort: Cohort, on: dt.date
) -> Unusual:
    params = {"council": council, "source": source}
    before, since, rows, new, alike = con.execute(_JUDGED, params).fetchall()[0]
    growth = compute_growth(source, cohort, since, on) if since else 1.0
    most_rows, most_new = MANY_MORE_ROWS * growth * before, (1 - (1 - MANY_NEW) / growth) * rows
    reasons = {
        "it has many more rows than the delivery before": rows > most_rows and rows - before >= LEAST_NEW,
        "many of its rows are new": new >= LEAST_NEW and new > most_new,
        "many of its new rows look like variants of one child": alike > MOST_ALIKE,
    }
    return Unusual(tuple(reason for reason, found in reasons.items() if found), file_mac, rows, before, new, alike)


def _keep(con: duckdb.DuckDBPyConnection, store: CohortStore, extracts: Mapping[tuple[str, str], str]) -> None:
    """Write `history_to_keep` with the MACs of its extracts, durable on return; remove the file if there are none."""
    if not extracts:
        store.row_history.unlink(missing_ok=True)
        return
    table = con.sql("FROM history_to_keep ORDER BY ALL").to_arrow_table().cast(_SCHEMA)
    macs = json.dumps({"/".join(key): mac for key, mac in extracts.items()}, sort_keys=True)
    with store.home.open_staging() as staging:
        noted = table.replace_schema_metadata({_EXTRACTS: macs})
        pyarrow.parquet.write_table(noted, staging / "history.parquet", compression="zstd")
        promote(staging / "history.parquet", store.row_history)


_ALIKE = " UNION ALL ".join(
    f"SELECT count(DISTINCT (identity, names)) AS marks FROM later SEMI JOIN unknown USING ({name}) GROUP BY {name}"
    for name in _GROUPED
)
_KNOWN = """
CREATE TEMP TABLE known AS
SELECT council, service, identity, names, min(first_day) AS first_day, max(deliveries) AS deliveries,
       bool_or(at_start) AS at_start, names AS names_before
  FROM recorded WHERE names IS NOT NULL GROUP BY ALL
UNION ALL
SELECT council, service, identity, NULL, min(first_day), max(deliveries), bool_or(at_start),
       arg_min_null(names, first_day)
  FROM recorded GROUP BY ALL
"""
"""SQL for the known rows by their marks, and again without the mark of the names, which a namesake can remove. That
mark is kept with its first day, so that a different mark does not inherit the day of a row without one."""
_AS_KNOWN = " AND ".join(
    f"own.{name} IS NOT DISTINCT FROM known.{name}" for name in ("council", "service", "identity", "names")
)
_JUDGED = f"""
WITH own AS (
    FROM records WHERE council = $council AND source = $source
), unknown AS (
    FROM own ANTI JOIN known ON {_AS_KNOWN}
), later AS (
    FROM own ANTI JOIN (FROM known WHERE at_start) AS known ON {_AS_KNOWN}
), alike AS (
    {_ALIKE}
)
SELECT (SELECT count(*) FROM recorded WHERE council = $council AND source = $source),
       (SELECT max(first_day) FROM recorded WHERE council = $council AND source = $source), (SELECT count(*) FROM own),
       (SELECT count(*) FROM unknown), (SELECT coalesce(max(marks), 0) FROM alike)
"""
_HISTORY = f"""
CREATE TEMP TABLE history AS
WITH sent AS (
    SELECT source, council, service, row_key, identity, names, another, first
      FROM records JOIN delivered USING (council, source)
), accepted AS (
    SELECT council, service, identity, count(DISTINCT source) FILTER (another) AS more, bool_or(first) AS first
      FROM sent ANTI JOIN waiting_extracts USING (council, source) GROUP BY ALL
)
SELECT own.source, own.council, own.row_key,
       coalesce(known.first_day, CASE WHEN accepted.identity IS NOT NULL THEN $on END) AS first_day,
       coalesce(known.deliveries, 0) + coalesce(accepted.more, 0) AS deliveries,
       coalesce(known.at_start, accepted.first, false) AS at_start, names_before
  FROM sent AS own LEFT JOIN known ON {_AS_KNOWN} LEFT JOIN accepted
    ON own.council = accepted.council AND own.service = accepted.service AND own.identity = accepted.identity
"""
_RECORDS = """
CREATE OR REPLACE TEMP TABLE records AS FROM records LEFT JOIN history USING (source, council, row_key)
"""
_TO_KEEP = """
CREATE TEMP TABLE history_to_keep AS
SELECT source, council, service, row_key, identity, coalesce(names, names_before) AS names, first_day, deliveries,
       at_start
  FROM records JOIN history USING (source, council, row_key) ANTI JOIN waiting_extracts USING (council, source)
UNION ALL FROM recorded SEMI JOIN waiting_extracts USING (council, source);
"""

"""Since when each row of a sender has stood as it is, and which deliveries a person must look at first.

Kept for each cohort in one file of the restricted zone: for every row of the extracts from which returns are made, the
keyed marks of what identifies its child (`privacy.returns.rows`), the day on which the sender's service first sent
it, in how many deliveries it has been, and whether it was in the first. A mark that is in no extract any more is not
kept, and nothing is kept of a council without an agreement.

A delivery is judged by what it holds itself, never by what its rows were linked to: that it stops would answer a probe.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet

from assets.home.paths import Home
from assets.intake import deliveries
from assets.intake.deliveries import ExtractQuality
from privacy.doors.database import in_memory
from privacy.doors.files import promote
from privacy.doors.sql import parquet
from privacy.returns.facts import ALIKE_TOKENS
from privacy.services import SERVICES

MANY_MORE_ROWS = 1.5
"""A delivery of more than so many times the rows of the one before is unusual."""
MANY_NEW, LEAST_NEW = 0.25, 50
"""So is one of whose rows more than this share are new, if that are at least so many rows."""
MOST_ALIKE = 8
"""And one in which more marks than this, one of them new, share a number, or one name with a date of birth or a
postcode: variants of one child. All since the first delivery count, so that a few in each of many add up."""
_GROUPED = (*ALIKE_TOKENS, "t_upn", "t_nhs")
_EXTRACTS = b"extracts"
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

Extracts = Mapping[tuple[str, str], ExtractQuality]
"""By council and source."""


@dataclass(frozen=True)
class Unusual:
    """Why a delivery waits for a person: sentences without a number, and the numbers for whoever looks at it."""

    reasons: tuple[str, ...]
    file_mac: str
    rows: int
    rows_before: int
    new_rows: int
    most_alike: int


def observe(
    con: duckdb.DuckDBPyConnection,
    home: Home,
    cohort: str,
    extracts: Extracts,
    released: Collection[str],
    on: dt.date,
) -> dict[tuple[str, str], Unusual]:
    """Note what `extracts` hold on a day, and add to `records` of `con` since when each row has stood.

    `records` has source, council, service, row_key, identity, names and the columns of `_GROUPED`. `released` are the
    MACs of deliveries that a person has released. What is unusual is given back, by council and source: until it is
    released, its new rows have not begun to stand, and what was noted of the delivery before is kept.
    """
    noted = _load(con, home.row_history(cohort))
    macs = {f"{council}/{source}": extract.file_mac for (council, source), extract in extracts.items()}
    _describe(con, noted, macs)
    con.execute(_KNOWN)
    unusual = {
        key: found
        for key, extract in extracts.items()
        if noted.get(name := "/".join(key), macs[name]) != macs[name]
        and extract.file_mac not in released
        and (found := _unusual(con, *key, extract.file_mac)).reasons
    }
    con.register("waiting_extracts", _keys(list(unusual)))
    con.execute(_STANDING, {"on": on})
    con.execute(_TO_KEEP)
    con.execute(_RECORDS)
    kept = {name: mac for name, mac in noted.items() if name in {"/".join(key) for key in unusual}}
    _keep(con, home, cohort, {name: mac for name, mac in macs.items() if name not in kept} | kept)
    return unusual


def forget_rows(home: Home, cohort: str) -> None:
    """Keep nothing of rows that are no longer in the links. Row keys are those of a delivery: where another one is in
    by now, nobody can tell whose row is whose, and nothing of that extract is kept."""
    path = home.row_history(cohort)
    if not path.exists():
        return
    if not home.links(cohort).exists():
        path.unlink()
        return
    with in_memory() as con:
        noted = _load(con, path)
        now = {name: _mac_in_force(home, cohort, name) for name in noted}
        still = {name: mac for name, mac in noted.items() if now[name] == mac}
        con.register("still", _keys([_key(name) for name in still]))
        con.execute(
            "CREATE TEMP TABLE standing_to_keep AS FROM stood SEMI JOIN still USING (council, source)"
            f" SEMI JOIN {parquet(home.links(cohort))} AS links USING (source, council, row_key)"
        )
        _keep(con, home, cohort, still)


def _key(name: str) -> tuple[str, str]:
    council, _, source = name.partition("/")
    return council, source


def _mac_in_force(home: Home, cohort: str, name: str) -> str | None:
    council, source = _key(name)
    quality = deliveries.current(home, source, cohort, council)
    return quality.file_mac if quality else None


def _load(con: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """`stood`, what was noted last; and the MAC of each extract that it was noted of, by `council/source`."""
    con.execute(f"CREATE TEMP TABLE stood AS FROM {parquet(path)}" if path.exists() else _EMPTY)
    if not path.exists():
        return {}
    noted: dict[str, str] = json.loads(pyarrow.parquet.read_schema(path).metadata[_EXTRACTS])
    return noted


def _describe(con: duckdb.DuckDBPyConnection, noted: Mapping[str, str], macs: Mapping[str, str]) -> None:
    """`delivered`: each extract, whether it is another delivery than was noted, and whether its service never sent
    anything before."""
    before = {(council, SERVICES[source]) for council, source in map(_key, noted)}
    keys = [_key(name) for name in macs]
    con.register(
        "delivered",
        pa.table(
            {
                "council": pa.array([council for council, _ in keys], pa.string()),
                "source": pa.array([source for _, source in keys], pa.string()),
                "another": pa.array([noted.get(name) != mac for name, mac in macs.items()], pa.bool_()),
                "first": pa.array([(council, SERVICES[source]) not in before for council, source in keys], pa.bool_()),
            }
        ),
    )


def _unusual(con: duckdb.DuckDBPyConnection, council: str, source: str, file_mac: str) -> Unusual:
    given = {"council": council, "source": source}
    before, rows, new, alike = con.execute(_JUDGED, given).fetchall()[0]
    reasons = {
        "it has many more rows than the delivery before": rows > MANY_MORE_ROWS * before and rows - before >= LEAST_NEW,
        "many of its rows are new": new >= LEAST_NEW and new > MANY_NEW * rows,
        "many of its new rows look like variants of one child": alike > MOST_ALIKE,
    }
    return Unusual(tuple(reason for reason, found in reasons.items() if found), file_mac, rows, before, new, alike)


def _keys(keys: Collection[tuple[str, str]]) -> pa.Table:
    return pa.table(
        {
            "council": pa.array([council for council, _ in keys], pa.string()),
            "source": pa.array([source for _, source in keys], pa.string()),
        }
    )


def _keep(con: duckdb.DuckDBPyConnection, home: Home, cohort: str, extracts: Mapping[str, str]) -> None:
    """Write `standing_to_keep` as noted of these extracts, durable on return; no file where there is none."""
    if not extracts:
        home.row_history(cohort).unlink(missing_ok=True)
        return
    table = con.sql("FROM standing_to_keep ORDER BY ALL").to_arrow_table().cast(_SCHEMA)
    with home.staging() as staging:
        noted = table.replace_schema_metadata({_EXTRACTS: json.dumps(extracts, sort_keys=True)})
        pyarrow.parquet.write_table(noted, staging / "standing.parquet", compression="zstd")
        promote(staging / "standing.parquet", home.row_history(cohort))


_EMPTY = """
CREATE TEMP TABLE stood (source VARCHAR, council VARCHAR, service VARCHAR, row_key UBIGINT, identity VARCHAR,
                         names VARCHAR, first_day DATE, deliveries BIGINT, at_start BOOLEAN)
"""
_ALIKE = " UNION ALL ".join(
    f"SELECT count(DISTINCT (identity, names)) AS marks FROM later SEMI JOIN unknown USING ({name}) GROUP BY {name}"
    for name in _GROUPED
)
_KNOWN = """
CREATE TEMP TABLE known AS
SELECT council, service, identity, names, min(first_day) AS first_day, max(deliveries) AS deliveries,
       bool_or(at_start) AS at_start, names AS names_before
  FROM stood WHERE names IS NOT NULL GROUP BY ALL
UNION ALL
SELECT council, service, identity, NULL, min(first_day), max(deliveries), bool_or(at_start),
       arg_min_null(names, first_day)
  FROM stood GROUP BY ALL
"""
"""By its marks as they are, and without that of its names: a namesake took the token. That mark is kept with the day
since when it has stood, lest a new one got the day of a row that has none."""
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
SELECT (SELECT count(*) FROM stood WHERE council = $council AND source = $source), (SELECT count(*) FROM own),
       (SELECT count(*) FROM unknown), (SELECT coalesce(max(marks), 0) FROM alike)
"""
_STANDING = f"""
CREATE TEMP TABLE standing AS
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
CREATE OR REPLACE TEMP TABLE records AS FROM records LEFT JOIN standing USING (source, council, row_key)
"""
_TO_KEEP = """
CREATE TEMP TABLE standing_to_keep AS
SELECT source, council, service, row_key, identity, coalesce(names, names_before) AS names, first_day, deliveries,
       at_start
  FROM records JOIN standing USING (source, council, row_key) ANTI JOIN waiting_extracts USING (council, source)
UNION ALL FROM stood SEMI JOIN waiting_extracts USING (council, source);
"""

"""The records and links that returns rest on.

For each service this is the cohort's linkage, or a new one without the service's new rows (`privacy.returns.facts`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet

from assets.home.paths import Home
from assets.linkage.inputs import fingerprint, linked_with
from assets.linkage.row_numbers import RowNumbers
from assets.linkage.tokens import StoredPairs, readers
from privacy.doors.sql import parquet, quoted
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.rows import Extract
from privacy.returns.facts import Doubts, left_out, tokens_without, traits
from privacy.services import SERVICES
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort

Payload = Mapping[str, Sequence[Path]]
"""Payload files by source."""


def payload_files(home: Home, cohort: str, extracts: Collection[tuple[str, str]]) -> Payload:
    """Return the payload files of extracts, which are given by council and source."""
    return {
        source: [home.pseudonymised(source, cohort, council) for council, of in sorted(extracts) if of == source]
        for source in SERVICES
    }


def load_records(
    con: duckdb.DuckDBPyConnection, home: Home, cohort: Cohort, keys: KeyRing, payload: Payload, on: dt.date
) -> None:
    """Create `records`, as read by `privacy.returns.facts`; `row` is the number by which the sender knows a row."""
    links = pyarrow.parquet.read_table(home.links(cohort.code))
    numbers = RowNumbers(home, keys, cohort.code).numbers(links)
    con.register("links", links.append_column("row", numbers))
    con.register("traits", traits(readers(home, keys, cohort.code, payload), keys))
    selects = [
        f"SELECT {quoted(source)} AS source, council, {quoted(SERVICES[source])} AS service, row_key,"
        f" {_last_contact(source, cohort, on)} AS last_contact,"
        f" {CONTRACTS[source].concern or 'NULL::BOOLEAN'} AS concern FROM {parquet(paths, hive_partitioning=False)}"
        for source, paths in payload.items()
        if paths
    ]
    con.execute(
        f"""
        CREATE TEMP TABLE records AS
        SELECT sent.*, traits.* EXCLUDE (source, council, row_key), row, child_id,
               coalesce(match_probability, 1) AS probability
          FROM ({" UNION ALL ".join(selects)}) AS sent JOIN links USING (source, council, row_key)
          JOIN traits USING (source, council, row_key)
        """
    )


def show_cohort(con: duckdb.DuckDBPyConnection, home: Home, cohort: str) -> None:
    """Create the views `records` and `doubts` of the cohort's linkage."""
    con.execute("CREATE OR REPLACE TEMP VIEW records AS FROM all_records")
    con.execute(f"CREATE OR REPLACE TEMP VIEW doubts AS FROM {parquet(home.doubts(cohort))}")


def show_service(
    con: duckdb.DuckDBPyConnection, home: Home, cohort: str, keys: KeyRing, payload: Payload, service: str
) -> None:
    """Create the views `records` and `doubts` that the returns of a service may rest on.

    Pairs that the cohort's linkage scored are not scored again.
    """
    show_cohort(con, home, cohort)
    out = left_out(con, service)
    if not out.num_rows:
        return
    doubts, children = Doubts(), linked_with(home, cohort)[1]
    kept: dict[str, Extract] = dict(readers(home, keys, cohort, payload))
    for source in out["source"].unique().to_pylist():
        kept[source] = tokens_without(kept[source], out.filter(pc.equal(out["source"], source)))
    with StoredPairs(home, cohort, None, keys, fingerprint(children)) as cache:
        links = link(kept, watchers=[doubts], children=children, cache=cache).links
    con.register("links_without", links)
    con.register("doubts_without", doubts.children(links))
    con.execute(_WITHOUT)


_WITHOUT = """
CREATE OR REPLACE TEMP TABLE records_without AS
SELECT all_records.* EXCLUDE (child_id, probability), links_without.child_id,
       coalesce(match_probability, 1) AS probability
  FROM all_records JOIN links_without USING (source, council, row_key);
CREATE OR REPLACE TEMP VIEW records AS FROM records_without;
CREATE OR REPLACE TEMP VIEW doubts AS FROM doubts_without;
"""


def _last_contact(source: str, cohort: Cohort, on: dt.date) -> str:
    """Return SQL for the month of the service's last contact with the child, according to its record.

    This is a review's own date; for the school census January, and for the Profile June, when its assessments end, in
    the cohort's Reception year; for the early years census its census day, in the January before. Future dates are
    ignored.
    """
    match source:
        case "hv_reviews":
            return f"CASE WHEN review_date <= {quoted(on.isoformat())}::DATE THEN strftime(review_date, '%Y-%m') END"
        case "eyfsp":
            return quoted(f"{cohort.first_year + 1}-06")
        case "school_census":
            return quoted(f"{cohort.first_year + 1}-01")
        case _:
            return quoted(f"{CONTRACTS[source].due.on(cohort).year}-01")

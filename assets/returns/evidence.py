"""The links that the returns of a service rest on: those of the cohort, made again where rows have not stood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from assets.home.paths import Home
from assets.linkage.freshness import fingerprint, linked_with
from assets.linkage.pair_cache import StoredPairs
from assets.linkage.tokens import readers
from privacy.doors.sql import parquet
from privacy.keys import KeyRing
from privacy.linkage.link import link
from privacy.linkage.rows import Extract
from privacy.returns.facts import Doubts
from privacy.returns.stood import left_out, tokens_without

Payload = Mapping[str, Sequence[Path]]
"""Files of the payload by source."""


def show_cohort(con: duckdb.DuckDBPyConnection, home: Home, cohort: str) -> None:
    """Create `records` and `doubts`: all records, and the doubts of the cohort's linkage."""
    con.execute("CREATE OR REPLACE TEMP VIEW records AS FROM all_records")
    con.execute(f"CREATE OR REPLACE TEMP VIEW doubts AS FROM {parquet(home.doubts(cohort))}")


def show_service(
    con: duckdb.DuckDBPyConnection, home: Home, cohort: str, keys: KeyRing, payload: Payload, service: str
) -> None:
    """Create `records` and `doubts` as the returns of a service may rest on them (`privacy.returns.stood`)."""
    show_cohort(con, home, cohort)
    out = left_out(con, service)
    if not out.num_rows:
        return
    links, doubts = _linked_without(home, cohort, keys, payload, out)
    con.register("links_without", links)
    con.register("doubts_without", doubts)
    con.execute(_WITHOUT)


def _linked_without(
    home: Home, cohort: str, keys: KeyRing, payload: Payload, out: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Links and doubts of the cohort without some rows. Pairs that its linkage weighed are not weighed again."""
    doubts, children = Doubts(), linked_with(home, cohort)[1]
    kept: dict[str, Extract] = dict(readers(home, keys, cohort, payload))
    for source in out["source"].unique().to_pylist():
        kept[source] = tokens_without(kept[source], out.filter(pc.equal(out["source"], source)))
    with StoredPairs(home, cohort, None, keys, fingerprint(children)) as cache:
        links = link(kept, watchers=[doubts], children=children, cache=cache).links
    return links, doubts.children(links)


_WITHOUT = """
CREATE OR REPLACE TEMP TABLE records_without AS
SELECT all_records.* EXCLUDE (child_id, probability), links_without.child_id,
       coalesce(match_probability, 1) AS probability
  FROM all_records JOIN links_without USING (source, council, row_key);
CREATE OR REPLACE TEMP VIEW records AS FROM records_without;
CREATE OR REPLACE TEMP VIEW doubts AS FROM doubts_without;
"""

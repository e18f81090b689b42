"""Pairs of children that the linkage left apart, though they could be one.

Two records that would be one child with a probability above DOUBTFUL, if neither had another partner, leave it open
whether their children are one; so do two records with the same number. Who says that a child is *not* among a service's
records must know of both. A rival that took the place of one of them is no reason to be sure: a service can hold two
records of one child, and a record can have gone to the wrong twin.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from privacy.doors.database import in_memory
from privacy.linkage.link import Scored
from privacy.linkage.model import bits_of
from privacy.linkage.rows import OWN_NUMBERS

DOUBTFUL = 0.05
"""Probability from which two records that are not linked may still be one child: that they are not is then less sure
than a link of 0.95."""
_ROW = ("source", "council", "source_row")


class Doubts:
    """A watcher of `link`: remembers a row of each unit of such a pair."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if not self._pairs:
            self._remember(con, con.sql(_SAME_NUMBER).to_arrow_table())
        apart = step.decision.alone >= bits_of(DOUBTFUL)
        apart[step.decision.kept] = False
        at = np.flatnonzero(apart)
        pairs = step.pairs.select(["unit_l", "unit_r"]).take(pa.array(at))
        self._remember(con, pairs.append_column("likely", pa.array(step.decision.odds[at] >= bits_of(DOUBTFUL))))

    def _remember(self, con: duckdb.DuckDBPyConnection, doubtful: pa.Table) -> None:
        con.register("doubtful", doubtful)
        self._pairs.append(con.sql(_ROWS_OF_UNITS).to_arrow_table())
        con.unregister("doubtful")

    def children(self, links: pa.Table) -> pa.Table:
        """`child_id`, `other_child_id`, each pair both ways, and whether it is `likely`: among all rivals of both the
        probability is still above DOUBTFUL. `links` are those of the linkage that was watched."""
        with in_memory() as con:
            con.register("pairs", pa.concat_tables(self._pairs))
            con.register("links", links)
            return con.sql(_CHILDREN).to_arrow_table()


_SAME_NUMBER = " UNION ".join(
    f"""
    SELECT DISTINCT l.unit AS unit_l, r.unit AS unit_r, false AS likely
      FROM (patterns JOIN units USING (pattern)) AS l JOIN (patterns JOIN units USING (pattern)) AS r
        ON l.{number} = r.{number} AND l.unit < r.unit
    """
    for number in OWN_NUMBERS
)
_ROWS_OF_UNITS = f"""
WITH named AS (
    SELECT unit, min(row) AS row FROM units JOIN rows USING (pattern)
     WHERE unit IN (SELECT unit_l FROM doubtful UNION SELECT unit_r FROM doubtful) GROUP BY unit
)
SELECT likely, {", ".join(f"a.{part}, b.{part} AS other_{part}" for part in _ROW)}
  FROM doubtful JOIN named AS l ON l.unit = unit_l JOIN named AS r ON r.unit = unit_r
  JOIN rows AS a ON a.row = l.row JOIN rows AS b ON b.row = r.row
"""
_CHILDREN = f"""
WITH apart AS (
    SELECT a.child_id, b.child_id AS other_child_id, likely
      FROM pairs JOIN links AS a USING ({", ".join(_ROW)})
      JOIN links AS b ON {" AND ".join(f"b.{part} = other_{part}" for part in _ROW)}
     WHERE a.child_id <> b.child_id
), both_ways AS (
    FROM apart UNION ALL SELECT other_child_id, child_id, likely FROM apart
)
SELECT child_id, other_child_id, bool_or(likely) AS likely FROM both_ways GROUP BY ALL ORDER BY ALL
"""

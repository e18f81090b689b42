"""Pairs of children that the linkage left apart, though they could be one.

A pair of records that is not linked, with a posterior above DOUBTFUL, leaves it open whether the two children are one.
Who says that a child is *not* among a service's records must know of it.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage.link import Scored, bits_of

DOUBTFUL = 0.05
"""Posterior from which two records that are not linked may still be one child: that they are not is then less sure
than a link of 0.95."""
_ROW = ("source", "council", "source_row")


class Doubts:
    """A watcher of `link`: remembers a row of each unit of such a pair."""

    def __init__(self) -> None:
        self._pairs: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        doubtful = step.decision.odds >= bits_of(DOUBTFUL)
        doubtful[step.decision.kept] = False
        con.register("doubtful", step.pairs.select(["unit_l", "unit_r"]).take(pa.array(np.flatnonzero(doubtful))))
        self._pairs.append(con.sql(_ROWS_OF_UNITS).to_arrow_table())
        con.unregister("doubtful")

    def children(self, links: pa.Table) -> pa.Table:
        """`child_id`, `other_child_id`, each pair both ways; `links` are those of the linkage that was watched."""
        with duckdb.connect(config={"temp_directory": ""}) as con:
            con.register("pairs", pa.concat_tables(self._pairs))
            con.register("links", links)
            return con.sql(_CHILDREN).to_arrow_table()


_ROWS_OF_UNITS = f"""
WITH named AS (
    SELECT unit, min(row) AS row FROM units JOIN rows USING (pattern)
     WHERE unit IN (SELECT unit_l FROM doubtful UNION SELECT unit_r FROM doubtful) GROUP BY unit
)
SELECT {", ".join(f"a.{part}, b.{part} AS other_{part}" for part in _ROW)}
  FROM doubtful JOIN named AS l ON l.unit = unit_l JOIN named AS r ON r.unit = unit_r
  JOIN rows AS a ON a.row = l.row JOIN rows AS b ON b.row = r.row
"""
_CHILDREN = f"""
WITH apart AS (
    SELECT a.child_id, b.child_id AS other_child_id
      FROM pairs JOIN links AS a USING ({", ".join(_ROW)})
      JOIN links AS b ON {" AND ".join(f"b.{part} = other_{part}" for part in _ROW)}
     WHERE a.child_id <> b.child_id
)
SELECT child_id, other_child_id FROM apart
UNION SELECT other_child_id, child_id FROM apart ORDER BY ALL
"""

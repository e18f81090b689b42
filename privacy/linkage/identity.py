"""child_ids: random, and kept when a cohort is linked again."""

from __future__ import annotations

import os

import duckdb
import numpy as np
import pyarrow as pa

_BYTES = 16


def random_ids(count: int) -> pa.Array:
    """`count` ids of 32 hexadecimal digits from the operating system's generator."""
    raw = np.frombuffer(os.urandom(_BYTES * count), np.uint8).reshape(count, _BYTES)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).tobytes()
    offsets = np.arange(0, 2 * _BYTES * (count + 1), 2 * _BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def assign_ids(con: duckdb.DuckDBPyConnection, previous: pa.Table | None) -> None:
    """Create `ids` (child, child_id) from `linked` (source, council, source_row, child), `child` being 0, 1, ...

    With `previous` links, a child keeps the id that most of its rows had; an id claimed twice goes to the child
    with more of its rows, then to the one that holds the first of them.
    """
    (count,) = con.execute("SELECT coalesce(max(child) + 1, 0) FROM linked").fetchall()[0]
    con.register("fresh", pa.table({"child": pa.array(range(count), pa.int64()), "fresh_id": random_ids(count)}))
    if previous is None:
        con.execute("CREATE TABLE ids AS SELECT child, fresh_id AS child_id FROM fresh").fetchall()
        return
    con.register("previous", previous)
    con.execute(
        """
        CREATE TABLE ids AS
        WITH claims AS (
            SELECT linked.child, previous.child_id, count(*) AS n,
                   min((linked.source, linked.council, linked.source_row)) AS first_row
              FROM linked JOIN previous USING (source, council, source_row) GROUP BY 1, 2),
        favourites AS (
            SELECT * FROM claims QUALIFY row_number() OVER (PARTITION BY child ORDER BY n DESC, first_row) = 1),
        kept AS (
            SELECT * FROM favourites QUALIFY row_number() OVER (PARTITION BY child_id ORDER BY n DESC, first_row) = 1)
        SELECT child, coalesce(kept.child_id, fresh_id) AS child_id FROM fresh LEFT JOIN kept USING (child)
        """
    ).fetchall()

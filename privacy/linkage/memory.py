"""What a linkage keeps for the next one: the pairs of patterns that weighed enough, so that only pairs with a new
pattern are looked for and weighed again.

Whether a pair is looked at, and what it weighs, is decided by its two patterns, the model, this code and the published
number of children. A pattern is known by its mark: a hash of all that it says and of whether its child has a permanent
UPN, which chooses its side in the first step. A number that too many children have is taken away before the pattern is
marked, and whether a pattern is of a crowd is in its mark, so that a row elsewhere that makes it so changes the marks
of all that it changes. Rows join patterns, patterns units, and pairs links, anew each time: what follows from the same
pairs is the same, to the bit.
"""

from __future__ import annotations

from typing import Protocol

import duckdb
import numpy as np
import pyarrow as pa

from privacy.linkage.lookup import matching

MARKS = 0
"""The part that holds the marks of all patterns; steps have the parts from 1."""
PAIR = {
    "mark_l": "UBIGINT",
    "mark_r": "UBIGINT",
    "weight": "DOUBLE",
    "forename": "DOUBLE",
    "household": "BOOLEAN",
    "nhs": "BOOLEAN",
    "pattern": "FLOAT[]",
}
"""Columns of every part, and their types in DuckDB: those of a pair as `candidates.score` weighs it; of a pattern the
first alone."""


class Memory(Protocol):
    """Where a linkage finds what an earlier one with the same model, code and number of children has kept, and keeps
    its own: as tells as much as tokens, for the linkage alone to read."""

    def read(self, part: int) -> pa.RecordBatchReader | None:
        """A part as it was kept; None where nothing was."""

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        """Keep a part; each once, in the order of their numbers."""


class Nothing:
    """A memory that has nothing, and keeps nothing."""

    def read(self, part: int) -> None:
        return None

    def keep(self, part: int, rows: pa.RecordBatchReader) -> None:
        pass


def mark_patterns(con: duckdb.DuckDBPyConnection, memory: Memory) -> None:
    """Create `marks` (pattern, mark, fresh: no earlier linkage had it) of the patterns, and keep them."""
    marks = con.sql(
        """
        SELECT pattern, hash(tie, crowded, surname_band, forename_band, unit IN (FROM numbered)) AS mark
          FROM patterns JOIN units USING (pattern)
        """
    ).to_arrow_table()
    fresh, before = np.ones(marks.num_rows, bool), memory.read(MARKS)
    if before is not None:
        for known, _ in matching(marks["mark"].to_numpy(), before.read_all()["mark_l"].to_numpy()):
            fresh[known] = False
    con.register("marks", marks.append_column("fresh", pa.array(fresh)))
    nothing = ", ".join(f"NULL::{kind} AS {name}" for name, kind in PAIR.items() if name != "mark_l")
    memory.keep(MARKS, con.sql(f"SELECT mark AS mark_l, {nothing} FROM marks").to_arrow_reader())


def recall(con: duckdb.DuckDBPyConnection, memory: Memory, part: int) -> None:
    """Create `recalled` (a column each of `PAIR`), what was kept of a step."""
    kept = memory.read(part)
    if kept is None:
        columns = ", ".join(f"{name} {kind}" for name, kind in PAIR.items())
        con.execute(f"CREATE TABLE recalled ({columns})").fetchall()
        return
    con.register("kept", kept)
    con.execute(f"CREATE TABLE recalled AS SELECT {', '.join(PAIR)} FROM kept").fetchall()
    con.unregister("kept")

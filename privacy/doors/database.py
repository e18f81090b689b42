"""The one way to open a DuckDB database in memory: nothing that it holds is ever spilled to disk."""

from __future__ import annotations

import warnings

import duckdb
import pyarrow as pa

warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy")


def in_memory(**limits: str) -> duckdb.DuckDBPyConnection:
    """A database in memory that draws no progress bar and fails rather than spill: what is personal stays where it was
    put. `limits` are settings of DuckDB, such as `memory_limit="1GiB"`."""
    con = duckdb.connect(config={"temp_directory": "", "max_temp_directory_size": "0B", **limits})
    con.execute("SET enable_progress_bar = false").fetchall()
    return con


def memory_gib() -> float:
    """Memory that this process may use, in GiB: the machine's, or its container's where that is limited to less, as
    DuckDB finds it."""
    with in_memory(memory_limit="100%") as con:
        (found,) = con.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0]
    return float(found) / 2**30


def rows_of(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """What one statement gives. It is bound once, where a relation is bound twice: of a long statement over few rows
    that is a third of the time, and more than a copy of the rows takes."""
    result = con.execute(sql)
    try:
        return result.to_arrow_table()
    finally:
        result.complete()

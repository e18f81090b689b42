"""In-memory DuckDB databases, which never spill to disk."""

from __future__ import annotations

import warnings

import duckdb
import pyarrow as pa

warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy")


def open_in_memory(**limits: str) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database without progress bar that fails instead of spilling, so that personal data stays in
    memory. `limits` are DuckDB settings such as `memory_limit="1GiB"`."""
    con = duckdb.connect(config={"temp_directory": "", "max_temp_directory_size": "0B", **limits})
    con.execute("SET enable_progress_bar = false").fetchall()
    return con


def get_memory_gib() -> float:
    """Return the memory this process may use, in GiB: the machine's, or its container's limit if that is lower, as
    DuckDB detects it."""
    with open_in_memory(memory_limit="100%") as con:
        (found,) = con.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0]
    return float(found) / 2**30


def fetch_rows(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Run one statement and return its result.

    DuckDB's relation API would bind it twice; for a long statement over few rows that takes a third of the time, more
    than copying the rows.
    """
    result = con.execute(sql)
    try:
        return result.to_arrow_table()
    finally:
        result.complete()

"""DuckDB databases: in memory, which never spill to disk, and published ones, which are only read."""

import warnings
from pathlib import Path

import duckdb
import pyarrow as pa

# `fetch_rows` accepts the extra copy.
warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy")


def open_in_memory(**limits: str) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that fails instead of spilling; `limits` are settings, as `memory_limit="1GiB"`."""
    # A database that spills writes identifiers to disk, where they may remain after the file is removed.
    con = duckdb.connect(config={"temp_directory": "", "max_temp_directory_size": "0B", **limits})
    con.execute("SET enable_progress_bar = false").fetchall()
    return con


def open_read_only(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a published database that is only read."""
    return duckdb.connect(str(path), read_only=True)


def get_memory_gib() -> float:
    """Return the memory that this process may use, GiB: that of the machine, or the lower limit of its container."""
    # DuckDB's default limit is 80% of the memory that it detects.
    with open_in_memory(memory_limit="100%") as con:
        (found,) = con.execute("SELECT parse_formatted_bytes(current_setting('memory_limit'))").fetchall()[0]
    return float(found) / 2**30


def fetch_rows(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Run one statement and return its result."""
    # DuckDB's relation API would bind the statement twice. For a long statement over few rows that takes a third of the
    # time, more than the extra copy of the rows.
    result = con.execute(sql)
    try:
        return result.to_arrow_table()
    finally:
        result.complete()

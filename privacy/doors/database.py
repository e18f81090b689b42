"""The one way to open a DuckDB database in memory: nothing that it holds is ever spilled to disk."""

from __future__ import annotations

import duckdb


def in_memory(**limits: str) -> duckdb.DuckDBPyConnection:
    """A database in memory that draws no progress bar and fails rather than spill: what is personal stays where it was
    put. `limits` are settings of DuckDB, such as `memory_limit="1GiB"`."""
    con = duckdb.connect(config={"temp_directory": "", "max_temp_directory_size": "0B", **limits})
    con.execute("SET enable_progress_bar = false").fetchall()
    return con

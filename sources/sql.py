"""Text as SQL, text cells in SQL, and databases that leave nothing behind."""

from __future__ import annotations

import duckdb


def in_memory() -> duckdb.DuckDBPyConnection:
    """A database in memory that never spills to disk: what is personal stays where it was put."""
    return duckdb.connect(config={"temp_directory": ""})


def quoted(text: str) -> str:
    """`text` as an SQL string literal, whatever it holds."""
    return "'" + text.replace("'", "''") + "'"


def trimmed(cell: str) -> str:
    """The text of the SQL expression `cell` without spaces at its ends; NULL where nothing is left."""
    return f"nullif(trim({cell}, ' ' || chr(9) || chr(10) || chr(13) || chr(160)), '')"

"""What an analyst database says, apart from its bytes, which differ each time that one is built."""

from __future__ import annotations

import hashlib
from pathlib import Path

import duckdb

from privacy.doors.database import in_memory
from privacy.doors.sql import identifier, quoted

_DEFINED = """
SELECT 'table', schema_name, table_name, sql, comment FROM duckdb_tables() WHERE database_name = 'told'
UNION ALL
SELECT 'view', schema_name, view_name, sql, comment FROM duckdb_views() WHERE database_name = 'told' AND NOT internal
UNION ALL
SELECT 'column', schema_name, table_name || '.' || column_name, data_type, comment
FROM duckdb_columns() WHERE database_name = 'told' AND NOT internal
UNION ALL
SELECT 'function', schema_name, function_name, concat(parameters::VARCHAR, macro_definition), comment
FROM duckdb_functions() WHERE database_name = 'told' AND NOT internal
UNION ALL
SELECT 'type', schema_name, type_name, labels::VARCHAR, comment
FROM duckdb_types() WHERE database_name = 'told' AND NOT internal
ORDER BY ALL
"""


def same_database(one: Path, other: Path) -> bool:
    """Whether two DuckDB files define the same things with the same rows; False where one is no DuckDB file."""
    try:
        return _digest(one) == _digest(other)
    except duckdb.Error:
        return False


def _digest(path: Path) -> str:
    with in_memory() as connection:
        connection.execute(f"ATTACH {quoted(path)} AS told (READ_ONLY)")
        connection.execute("SET enable_external_access = false")
        defined = connection.execute(_DEFINED).fetchall()
        tables = [(schema, name) for kind, schema, name, *_ in defined if kind == "table"]
        rows = [
            connection.execute(
                f"SELECT count(*), sum(hash(t)::HUGEINT) FROM told.{identifier(schema)}.{identifier(name)} AS t"
            ).fetchall()
            for schema, name in tables
        ]
    return hashlib.sha256(repr((defined, rows)).encode()).hexdigest()

"""Content of the analyst database as read by a DuckDB client of any version: tables, views, macros, queries, as JSON.

python duckdb_client.py readiness.duckdb
"""

import json
import sys

import duckdb


def main() -> None:
    reader = duckdb.connect(sys.argv[1], read_only=True)

    def query_rows(query: str) -> list[str]:
        """Return each row as text, sorted, because the order of ties differs between versions."""
        found = reader.execute(query).fetchall()
        return sorted(str([round(v, 6) if isinstance(v, float) else v for v in row]) for row in found)

    named = reader.execute(
        "SELECT schema_name, table_name FROM duckdb_tables()"
        " UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE NOT internal"
    ).fetchall()
    found = {f"{schema}.{name}": len(query_rows(f"FROM {schema}.{name}")) for schema, name in named}
    answers = {}
    for table, name, query in (
        ("macros", "name", "example"),
        ("worked_queries", "title", "sql"),
        ("start", "what", "try_this"),
    ):
        for title, sql in reader.execute(f"SELECT {name}, {query} FROM help.{table}").fetchall():
            if "duckdb_" not in sql:
                answers[f"{table}: {title}"] = query_rows(sql)
    comments = reader.execute("SELECT count(comment) FROM duckdb_columns() WHERE NOT internal").fetchall()
    print(json.dumps({"version": duckdb.__version__, "rows": found, "answers": answers, "comments": comments[0][0]}))


main()

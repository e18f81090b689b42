"""Generator of docs/analyst-database.md: `python -m ndl_export.analyst_db.document`.

The text is in `templates/`; tables, macros and queries are read from the database.
"""

import re
from pathlib import Path

from ndl_export.analyst_db.build import add_all
from ndl_export.analyst_db.database import Database
from ndl_export.analyst_db.help import MACROS, WORKED_QUERIES
from ndl_export.pages import kit
from privacy.doors.database import open_in_memory


def render_analyst_database_page() -> str:
    """Render the page as Markdown."""
    with open_in_memory() as connection:
        # Without releases: the page follows from the definitions alone, so it is the same on every machine.
        add_all(Database(connection), [])
        found = connection.execute(
            "SELECT schema_name, table_name, comment FROM duckdb_tables()"
            " UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views()"
            " WHERE NOT internal AND schema_name <> 'latest' ORDER BY ALL"
        ).fetchall()
    # The first sentence of each comment, by schema.
    tables: dict[str, list[tuple[str, str]]] = {}
    for schema, name, comment in found:
        about = re.split(r"\. |, in short: ", comment.removesuffix(". All releases"))[0].replace("<", "&lt;")
        tables.setdefault(schema, []).append((f"`{name}`", about))
    tables["releases"] = [each for each in tables["releases"] if each[0] not in dict(tables["main"])]
    return kit.render(
        Path(__file__).parent / "templates",
        "analyst-database.md",
        listed={schema: kit.format_grid(("table", "what it holds"), rows) for schema, rows in tables.items()},
        dimensions=", ".join(name for name, _ in tables["dimension"]),
        macros=MACROS,
        values=", ".join(f"`{macro.call}`" for macro in MACROS if not macro.is_table),
        queries=WORKED_QUERIES,
    )


if __name__ == "__main__":
    print(render_analyst_database_page(), end="")

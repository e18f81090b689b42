"""docs/analyst-database.md, from what the database is made from: `python -m ndl_export.analyst_db.document`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import cache

from ndl_export.analyst_db.build import add_all
from ndl_export.analyst_db.help import MACROS, STEPS, WORKED_QUERIES
from ndl_export.documents.markdown import grid, page
from privacy.doors.database import in_memory

WIDTH = 120
SCHEMAS = {
    "releases": "All releases. Rows of a release have its `release_version`; `releases.release` says what each is"
    " about.",
    "latest": "Views of the same names with the newest release that is not withdrawn.",
    "dimension": "What codes and categories stand for, with labels and order, and every name that the macros"
    " understand.",
    "official": "What the Department for Education has published of the same cohorts, without noise.",
    "help": "Where to start, the macros, the worked queries.",
}


def analyst_database_page() -> str:
    tools = [macro for macro in MACROS if not macro.is_table]
    parts = (
        "# The analyst database",
        "For analysts. `release/readiness.duckdb` holds every release in one file, for DuckDB 1.2 and later. This"
        " page is"
        " made from the code (`make docs`); everything in it stands in the file too, in `help` and in comments.",
        "    duckdb -readonly release/readiness.duckdb",
        "The macros need the file to be the current database: open it as above, or `ATTACH` it and `USE` it.",
        "## Ten steps to begin with",
        *(_step(f"{number}. ", *step) for number, step in enumerate(STEPS, start=1)),
        "## Schemas",
        *(part for schema, about in SCHEMAS.items() for part in _schema(schema, about)),
        "## Keys, order, several cohorts",
        "Every table has a primary key. A published table's is release, cohort, level, area and its filters; its"
        " release is"
        " a foreign key. `dimension` is joined by columns of the same names (foreign keys do not cross schemas in"
        " DuckDB)."
        " Columns of categories and flags are ENUMs: they sort in the order of the definitions, quintile 1 first.",
        "A release may hold several cohorts. `time_period` tells them apart in every table, `latest_cohort()` is the"
        " newest"
        " in `latest`. Macros take a cohort by name (`cohort := '2024/25'`) and otherwise the newest; for each"
        " cohort they"
        " use the newest release that is not withdrawn (`releases.current`).",
        "## Macros",
        "Names of areas, cohorts, characteristics and groups are found whatever their letter case and punctuation; a"
        " name"
        " that is not there is an error that says which are near. Arguments with `:=` are given by name.",
        *(part for macro in MACROS if macro.is_table for part in _macro(macro.name)),
        "Values for use within queries:",
        grid(("macro", "what it is for"), [(f"`{m.call}`", f"{m.answers} {m.method}") for m in tools]),
        "## Worked queries",
        "`SELECT sql FROM help.worked_queries WHERE title = ...` gives the query.",
        *(f"**{query.title}.** {query.question} {query.meaning}" for query in WORKED_QUERIES),
        "## A notebook",
        "[notebook/questions.py](notebook/questions.py) answers five questions with charts from the file alone. It is a"
        " marimo notebook with its packages in its first lines:",
        "    uvx marimo run --sandbox docs/notebook/questions.py -- --database release/readiness.duckdb",
        "## How the file is replaced",
        "After every release, and when one is withdrawn, the whole file is built beside the old one and renamed over"
        " it. A"
        " reader never sees half a file; one that has the old file open keeps it until it opens the path anew. A"
        " build that"
        " is killed leaves the old file as it was; the next one removes what it left behind.",
    )
    return page(*(_wrapped(part) for part in parts))


def _wrapped(part: str) -> str:
    """Prose in lines of the usual length; everything else as it is."""
    return (
        part if part.startswith(("#", "|", " ")) or "\n" in part else textwrap.fill(part, WIDTH, break_on_hyphens=False)
    )


def _step(number: str, what: str, query: str) -> str:
    indent = " " * len(number)
    text = textwrap.fill(what, WIDTH, initial_indent=number, subsequent_indent=indent, break_on_hyphens=False)
    return f"{text}\n\n{indent}    {query}"


def _schema(schema: str, about: str) -> Iterator[str]:
    yield f"**`{schema}`.** {about}"
    listed = _listed().get(schema, [])
    if listed:
        yield grid(
            ("table", "what it holds"), [(f"`{name}`", comment.replace("<", "&lt;")) for name, comment in listed]
        )


def _macro(name: str) -> Iterator[str]:
    macro = next(macro for macro in MACROS if macro.name == name)
    yield f"### `{macro.call}`"
    yield macro.answers
    yield f"    {macro.example}"
    yield macro.method


@cache
def _listed() -> dict[str, list[tuple[str, str]]]:
    """Tables with their comments by schema, those of the views `latest` left out."""
    with in_memory() as connection:
        add_all(connection, [])
        found = connection.execute(
            "SELECT schema_name, table_name, comment FROM duckdb_tables()"
            " UNION ALL SELECT schema_name, view_name, comment FROM duckdb_views()"
            " WHERE NOT internal AND schema_name <> 'latest' ORDER BY ALL"
        ).fetchall()
    tables: dict[str, list[tuple[str, str]]] = {}
    for schema, name, comment in found:
        tables.setdefault(schema, []).append((name, comment.removesuffix(". All releases")))
    return tables


if __name__ == "__main__":
    print(analyst_database_page(), end="")

"""Schema `help` and the macros: where to start, descriptions, and example queries.

The SQL is in `macros.sql`, `start.sql` and `worked_queries.sql`, where an analyst can read it; the text above each
statement is its description in the database.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ndl_export.analyst_db.database import Database, read_statements

_MACRO = re.compile(r"CREATE MACRO ((\w+)\([^)]*\)) AS (TABLE\n)?")


@dataclass(frozen=True)
class Macro:
    """A macro: its call, what it answers, how its figures are calculated, and an example that runs unchanged."""

    name: str
    call: str
    is_table: bool
    answers: str
    method: str
    example: str


@dataclass(frozen=True)
class WorkedQuery:
    """A query to start from, which runs unchanged, and how to read its answer."""

    title: str
    question: str
    sql: str
    meaning: str


def _read_macros() -> Iterator[Macro]:
    for (answers, method, example), definition in read_statements("macros.sql"):
        found = _MACRO.match(definition)
        assert found is not None, definition
        yield Macro(found[2], found[1], found[3] is not None, answers, method, example)


MACROS = tuple(_read_macros())
WORKED_QUERIES = tuple(
    WorkedQuery(title.removeprefix("# "), question, sql, meaning)
    for (title, question, meaning), sql in read_statements("worked_queries.sql")
)
STEPS = tuple((what, sql) for (what,), sql in read_statements("start.sql"))
"""First steps, each with a query."""


def add_help(database: Database, notices: Iterable[str]) -> None:
    """Fill the tables of `help`; the notices of releases come before the first step."""
    # Notices have the steps 0 and below, so that the first step is 1 with and without them.
    first = [(notice, "SELECT release_version, notice FROM releases.release;") for notice in notices]
    database.fill("help.start", ((n, *step) for n, step in enumerate((*first, *STEPS), start=1 - len(first))))
    queries = ((query.title, query.question, query.sql.strip(), query.meaning) for query in WORKED_QUERIES)
    database.fill("help.worked_queries", queries)
    macros = sorted(MACROS, key=lambda macro: not macro.is_table)
    rows = ((m.name, m.call, "table" if m.is_table else "value", m.answers, m.method, m.example) for m in macros)
    database.fill("help.macros", rows)

"""Schema `help` and the macros: what the database says of itself, where to start, and queries to begin from.

The SQL stands in `macros.sql`, `start.sql` and `worked_queries.sql`, where an analyst can read it; what is said above
each statement there is its description in the database.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import duckdb

from ndl_export.analyst_db.ddl import comment_on, fill_table, statements

_MACRO = re.compile(r"CREATE MACRO ((\w+)\([^)]*\)) AS (TABLE\n)?")


@dataclass(frozen=True)
class Macro:
    """`call` is its name with its arguments; `answers` says what it is for, `method` how its figures are made;
    `example` runs as it stands."""

    name: str
    call: str
    is_table: bool
    definition: str
    answers: str
    method: str
    example: str


@dataclass(frozen=True)
class WorkedQuery:
    """`sql` runs as it stands in the database; `meaning` says how to read the answer, and what not to make of it."""

    title: str
    question: str
    sql: str
    meaning: str


def _macros() -> Iterator[Macro]:
    for (answers, method, example), definition in statements("macros.sql"):
        found = _MACRO.match(definition)
        assert found is not None, definition
        yield Macro(found[2], found[1], found[3] is not None, definition, answers, method, example)


def _worked_queries() -> Iterator[WorkedQuery]:
    for (title, question, meaning), sql in statements("worked_queries.sql"):
        yield WorkedQuery(title.removeprefix("# "), question, sql, meaning)


MACROS = tuple(_macros())
WORKED_QUERIES = tuple(_worked_queries())
STEPS = tuple((what, sql) for (what,), sql in statements("start.sql"))
"""What to begin with, and a query for it."""


def add_macros(connection: duckdb.DuckDBPyConnection, names: Collection[str] = ()) -> None:
    """Into the schema `main`, so that they are called by their bare names: all of them, or those of these names."""
    for macro in (macro for macro in MACROS if not names or macro.name in names):
        connection.execute(macro.definition)
        kind = "MACRO TABLE" if macro.is_table else "MACRO"
        comment_on(connection, kind, macro.name, f"{macro.answers} {macro.method}")


def add_help(connection: duckdb.DuckDBPyConnection, notices: Iterable[str]) -> None:
    """`notices` that stand above releases are told before the first step."""
    told = [(notice, "SELECT release_version, notice FROM releases.release;") for notice in notices]
    fill_table(connection, "help.start", ((n, *step) for n, step in enumerate((*told, *STEPS), start=1 - len(told))))
    queries = ((query.title, query.question, query.sql.strip(), query.meaning) for query in WORKED_QUERIES)
    fill_table(connection, "help.worked_queries", queries)
    macros = sorted(MACROS, key=lambda macro: not macro.is_table)
    rows = ((m.name, m.call, "table" if m.is_table else "value", m.answers, m.method, m.example) for m in macros)
    fill_table(connection, "help.macros", rows)

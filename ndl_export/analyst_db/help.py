"""Schema `help` and the macros: what the database says of itself, where to start, and queries to begin from.

The SQL stands in `macros.sql` and `worked_queries.sql`, where an analyst can read it; what is said above each statement
there is its description in the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
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


def add_macros(connection: duckdb.DuckDBPyConnection) -> None:
    """Into the schema `main`, so that they are called by their bare names."""
    for macro in MACROS:
        connection.execute(macro.definition)
        kind = "MACRO TABLE" if macro.is_table else "MACRO"
        comment_on(connection, kind, macro.name, f"{macro.answers} {macro.method}")


STEPS = (
    (
        "Ask for a council's figure by name. Every figure comes with its 95% interval: quote both.",
        "FROM gld_rate('Leeds', 'FSM eligibility')",
    ),
    (
        "More questions of this kind, with the arguments each macro takes, and how its figures are made.",
        "SELECT call, answers, example FROM help.macros WHERE gives = 'table'",
    ),
    (
        "Questions that analysts ask, each with its query and how to read the answer. Copy one and change it.",
        "SELECT title, question, sql, meaning FROM help.worked_queries",
    ),
    (
        "The published tables: in the schema latest the newest release, in releases all of them, by release_version;"
        " official.gld has the Department for Education's own figures to compare with.",
        "SELECT table_name, title, filters, population FROM dimension.published_table",
    ),
    (
        "Every table, view, column and macro has a comment that says what it holds.",
        "SELECT column_name, data_type, comment FROM duckdb_columns()"
        " WHERE schema_name = 'latest' AND table_name = 'gld_headline'",
    ),
    (
        "A row is a total unless a filter says otherwise: set every filter, or totals and their parts come together.",
        "SELECT area_name, gld_children_percent, gld_children_percent_lower_ci, gld_children_percent_upper_ci"
        " FROM latest.gld_headline WHERE breakdown = 'Total' AND sex = 'Total'",
    ),
    (
        "Look at the flag before you use a figure: empty is fine, anything else has a reason.",
        "SELECT flag, meaning, is_usable FROM dimension.flag",
    ),
    (
        "Never add up counts as shown: add up the columns that end in _estimate. Two figures of one release share"
        " noise:"
        " take the interval of a difference from gld_differences or gld_difference, not from their two intervals.",
        "FROM gld_difference('Leeds', 'Total', 'Wirral', 'Total')",
    ),
    (
        "Codes, labels and order of every category, question and area. Columns of categories sort in that order.",
        "SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = 'dimension'",
    ),
    (
        "What each release is about, who had not sent what, and whether it has been withdrawn and why.",
        "SELECT release_version, cohorts, missing, withdrawn_because FROM releases.release",
    ),
)


def add_help(connection: duckdb.DuckDBPyConnection) -> None:
    fill_table(connection, "help.start", ((number, *step) for number, step in enumerate(STEPS, start=1)))
    queries = ((query.title, query.question, query.sql.strip(), query.meaning) for query in WORKED_QUERIES)
    fill_table(connection, "help.worked_queries", queries)
    macros = sorted(MACROS, key=lambda macro: not macro.is_table)
    rows = ((m.name, m.call, "table" if m.is_table else "value", m.answers, m.method, m.example) for m in macros)
    fill_table(connection, "help.macros", rows)

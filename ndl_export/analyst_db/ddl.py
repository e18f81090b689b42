"""Tables, views and types of the database, each made together with the comments on it and its columns.

What need not be derived is written out in files of SQL; what is said there above a statement or a column is its comment
in the database.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from privacy.doors.sql import identifier, quoted

_STATEMENT = re.compile(r"((?:^--.*\n)+)((?:^(?!--).*\n)+)", re.MULTILINE)
_TABLE = re.compile(r"CREATE TABLE (\S+) ")
_ROWS_AT_ONCE = 100
_COLUMN = re.compile(r"((?:^    --.*\n)+)    (.* AS \w+|\w+ )", re.MULTILINE)


def statements(file: str) -> Iterator[tuple[list[str], str]]:
    """What is said above each statement of a file, by paragraph, and the statement without its semicolon."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    for said, sql in _STATEMENT.findall(text.partition("\n\n")[2]):
        yield [_joined(paragraph) for paragraph in re.split(r"^--\n", said, flags=re.MULTILINE)], sql.strip()[:-1]


def create_written_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """The tables of `tables.sql`, empty; their types must be there."""
    for (description,), sql in statements("tables.sql"):
        found = _TABLE.match(sql)
        assert found is not None, sql
        connection.execute(sql)
        _describe(connection, "TABLE", found[1], description, described_columns(sql))


def described_columns(sql: str) -> dict[str, str]:
    """Columns of a statement that creates a table or a view, with what is said above each."""
    return {column.split()[-1]: _joined(said) for said, column in _COLUMN.findall(sql)}


def create_table(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    description: str,
    columns: Mapping[str, tuple[str, str]],
    constraints: Sequence[str],
) -> None:
    """A table with columns of these types and descriptions; `name` and `constraints` as SQL writes them."""
    lines = [*(f"{identifier(column)} {kind}" for column, (kind, _) in columns.items()), *constraints]
    connection.execute(f"CREATE TABLE {name} ({', '.join(lines)})")
    _describe(connection, "TABLE", name, description, {column: said for column, (_, said) in columns.items()})


def fill_table(connection: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Sequence[Any]]) -> None:
    """Put rows into a table; values in order of its columns."""
    values = [tuple(row) for row in rows]
    for first in range(0, len(values), _ROWS_AT_ONCE):
        some = values[first : first + _ROWS_AT_ONCE]
        row = f"({', '.join('?' * len(some[0]))})"
        connection.execute(f"INSERT INTO {name} VALUES {', '.join([row] * len(some))}", list(chain.from_iterable(some)))


def create_view(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, description: str, columns: Mapping[str, str]
) -> None:
    """`columns`: what each column of the view holds; `name` as SQL writes it."""
    connection.execute(f"CREATE VIEW {name} AS {query}")
    _describe(connection, "VIEW", name, description, columns)


def create_enum(connection: duckdb.DuckDBPyConnection, name: str, values: Iterable[str], description: str) -> None:
    """A type that sorts as `values` stand."""
    connection.execute(f"CREATE TYPE {name} AS ENUM ({', '.join(quoted(value) for value in values)})")
    comment_on(connection, "TYPE", name, description)


def comment_on(connection: duckdb.DuckDBPyConnection, kind: str, name: str, text: str) -> None:
    connection.execute(f"COMMENT ON {kind} {name} IS {quoted(text)}")


def _describe(
    connection: duckdb.DuckDBPyConnection, kind: str, name: str, text: str, columns: Mapping[str, str]
) -> None:
    comment_on(connection, kind, name, text)
    for column, meaning in columns.items():
        comment_on(connection, "COLUMN", f"{name}.{identifier(column)}", meaning)


def _joined(comment: str) -> str:
    """The words of a comment over several lines."""
    return " ".join(" ".join(line.strip().removeprefix("--") for line in comment.splitlines()).split())

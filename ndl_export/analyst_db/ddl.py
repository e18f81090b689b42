"""Tables, views and types of the database, each made together with the comments on it and its columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from privacy.doors.sql import quoted


@dataclass(frozen=True)
class Field:
    """A column of a table: its name, DuckDB type, and what it holds."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class TableShape:
    """A table with its primary key and further constraints, as DuckDB writes them; `name` with its schema."""

    name: str
    description: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    constraints: tuple[str, ...] = ()


def create_table(connection: duckdb.DuckDBPyConnection, shape: TableShape) -> None:
    lines = [f"{field.name} {field.type}" for field in shape.fields]
    lines += [f"PRIMARY KEY ({', '.join(shape.key)})", *shape.constraints]
    connection.execute(f"CREATE TABLE {shape.name} ({', '.join(lines)})")
    _describe(connection, "TABLE", shape.name, shape.description, {f.name: f.description for f in shape.fields})


def fill_table(connection: duckdb.DuckDBPyConnection, shape: TableShape, rows: Iterable[Sequence[Any]]) -> None:
    """Create the table with these rows; values in order of its fields."""
    create_table(connection, shape)
    values = [tuple(row) for row in rows]
    if values:
        connection.executemany(f"INSERT INTO {shape.name} VALUES ({', '.join('?' * len(shape.fields))})", values)


def create_view(
    connection: duckdb.DuckDBPyConnection, name: str, query: str, description: str, columns: Mapping[str, str]
) -> None:
    """`columns`: what each column of the view holds."""
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
        comment_on(connection, "COLUMN", f"{name}.{column}", meaning)

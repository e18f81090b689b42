"""The database while it is being built: each statement runs at once, with its comments, and is kept for a script.

SQL that does not follow from definitions is in files. The text above a statement or a column there is its comment in
the database.
"""

import datetime as dt
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from privacy.doors.sql import quote_identifier, quote_text

FLAG_TYPE, LEVEL_TYPE = "dimension.flag_type", "dimension.geographic_level_type"
_STATEMENT = re.compile(r"((?:^--.*\n)+)((?:^(?!--).*\n)+)", re.MULTILINE)
_COLUMN = re.compile(r"((?:^    --.*\n)+)    (.* AS \w+|\w+ )", re.MULTILINE)
_CREATED = re.compile(r"CREATE (TABLE|VIEW|MACRO) ([\w.]+)(?:\([^)]*\) AS( TABLE\n)?)?")
_ROWS_AT_ONCE = 100


def read_statements(file: str) -> Iterator[tuple[list[str], str]]:
    """Yield the paragraphs above each statement of an SQL file, and the statement without its semicolon."""
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    for comment, sql in _STATEMENT.findall(text.partition("\n\n")[2]):  # the first comment is about the file
        yield (
            [_join_lines(paragraph) for paragraph in re.split(r"^--\n", comment, flags=re.MULTILINE)],
            sql.strip()[:-1],
        )


class Database:
    """A connection to the database being built, and the statements that built it; names are as SQL writes them.

    Without `comments`, the statements that comment are kept but do not run: they are a third of the time, and only a
    file's readers see them.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, *, comments: bool = True) -> None:
        self.connection = connection
        self.statements: list[str] = []
        self._comments = comments

    def execute(self, statement: str) -> None:
        self.statements.append(statement)
        self.connection.execute(statement)

    def create_written(self, file: str, names: Collection[str] = ()) -> None:
        """Create the tables, views and macros of a file: all of them, or only those in `names`."""
        for paragraphs, sql in read_statements(file):
            found = _CREATED.match(sql)
            assert found is not None, sql
            kind, name, gives_rows = found.groups()
            if not names or name in names:
                written = () if kind == "MACRO" else _COLUMN.findall(sql)
                columns = {column.split()[-1]: _join_lines(comment) for comment, column in written}
                # The third paragraph above a macro is its example, which is in help.macros instead.
                self._create(sql, kind + (" TABLE" if gives_rows else ""), name, " ".join(paragraphs[:2]), columns)

    def create_table(
        self, name: str, description: str, columns: Mapping[str, tuple[str, str]], constraints: Sequence[str]
    ) -> None:
        """Create a table; `columns` gives the type and the description of each."""
        lines = [*(f"{quote_identifier(column)} {kind}" for column, (kind, _) in columns.items()), *constraints]
        described = {column: meaning for column, (_, meaning) in columns.items()}
        self._create(f"CREATE TABLE {name} ({', '.join(lines)})", "TABLE", name, description, described)

    def create_view(self, name: str, query: str, description: str, columns: Mapping[str, str]) -> None:
        """Create a view; `columns` gives the description of each."""
        self._create(f"CREATE VIEW {name} AS {query}", "VIEW", name, description, columns)

    def create_enum(self, name: str, values: Iterable[str], description: str) -> None:
        """Create a type that sorts in the order of `values`."""
        listed = ", ".join(quote_text(value) for value in values)
        self._create(f"CREATE TYPE {name} AS ENUM ({listed})", "TYPE", name, description, {})

    def fill(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Insert rows into a table; values are in the order of its columns."""
        # Literals instead of parameters, because the statement is also kept for the script.
        values = [f"({', '.join(map(_format_literal, row))})" for row in rows]
        for first in range(0, len(values), _ROWS_AT_ONCE):
            self.execute(f"INSERT INTO {name} VALUES {', '.join(values[first : first + _ROWS_AT_ONCE])}")

    def insert_file(self, name: str, file: str, rows: pa.Table, selected: str = "*") -> None:
        """Insert the rows of a Parquet file into a table."""
        # Registered under the file's name, so the same statement works in the script, where DuckDB opens the file.
        self.connection.register(file, rows)
        self.execute(f"INSERT INTO {name} BY NAME SELECT {selected} FROM {quote_identifier(file)}")
        self.connection.unregister(file)

    def _create(self, sql: str, kind: str, name: str, description: str, columns: Mapping[str, str]) -> None:
        self.execute(sql)
        self._comment(f"{kind} {name}", description)
        for column, meaning in columns.items():
            self._comment(f"COLUMN {name}.{quote_identifier(column)}", meaning)

    def _comment(self, what: str, words: str) -> None:
        statement = f"COMMENT ON {what} IS {quote_text(words)}"
        if self._comments:
            self.execute(statement)
        else:
            self.statements.append(statement)


def _join_lines(comment: str) -> str:
    """Return the lines of a comment as one line."""
    return " ".join(" ".join(line.strip().removeprefix("--") for line in comment.splitlines()).split())


def _format_literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_format_literal, value))}]"
    return quote_text(value.isoformat() if isinstance(value, dt.date) else str(value))

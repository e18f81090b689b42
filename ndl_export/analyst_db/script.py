"""What a bundle has for analysts: `database.sql` and `questions.py`.

`database.sql` makes the analyst database of one release from the Parquet files beside it: what the database of the
release directory has, a bundle alone has by `duckdb -init database.sql` in its folder. The statements are those that
`build.add_all` executes, written down as they are executed; where rows of a table come from memory, they come from its
file instead.
"""

from __future__ import annotations

import datetime as dt
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import duckdb
import pyarrow as pa

from ndl_export.analyst_db.build import add_all
from ndl_export.facts.missing import MissingByCohort
from ndl_export.facts.noisy_counts import NOISE_COVARIANCE_FILE
from ndl_export.facts.on_request import RequestedTable
from ndl_export.facts.release_facts import ReleaseFacts, Version
from ndl_export.pages.words import said
from ndl_export.tables import Table
from privacy.doors.database import in_memory
from privacy.doors.sql import quoted

SCRIPT_FILE, NOTEBOOK_FILE = "database.sql", "questions.py"
_HOW = (
    "The analyst database of this release, from the Parquet files beside this one. In this folder, with DuckDB 1.2 or"
    " newer: duckdb -init database.sql. Then: SHOW TABLES;"
)


def analyst_files(facts: ReleaseFacts, script: str) -> dict[str, bytes]:
    """The files of a bundle that are for analysts, by name: the script, and a notebook that asks its database."""
    notebook = (Path(__file__).parent / "templates" / NOTEBOOK_FILE).read_text(encoding="utf-8")
    notice = f"# {facts.notice}\n" if facts.notice else ""
    return {SCRIPT_FILE: script.encode(), NOTEBOOK_FILE: f"{notice}{notebook}".encode()}


@contextmanager
def analyst_database(
    facts: ReleaseFacts, tables: Mapping[str, pa.Table]
) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Makes the database of a bundle of these facts and tables in memory, with the script that makes it again."""
    release = _InMaking(facts, tables)
    with in_memory() as connection:
        script = _Script(connection, release.files)
        add_all(cast(duckdb.DuckDBPyConnection, script), [release])
        head = textwrap.fill(said(facts.notice, _HOW), 118, initial_indent="-- ", subsequent_indent="-- ")
        text = f"{head}\n\n" + "".join(f"{statement};\n" for statement in script.statements)
        yield connection, text


@dataclass(frozen=True)
class _InMaking:
    """A release that has no folder yet, as `published.Release` shows one that has."""

    facts: ReleaseFacts
    tables: Mapping[str, pa.Table]
    withdrawal: None = None
    files: dict[int, tuple[str, pa.Table]] = field(default_factory=dict)
    """By identity of what was handed out, the file that will hold it."""

    @property
    def version(self) -> Version:
        return Version.parse(self.facts.version)

    @property
    def cohorts(self) -> tuple[str, ...]:
        return tuple(sorted(self.facts.cohorts))

    @property
    def councils(self) -> tuple[str, ...]:
        return tuple(sorted(self.facts.councils))

    @property
    def published_on(self) -> str:
        return self.facts.published_on

    @property
    def notice(self) -> str:
        return self.facts.notice

    @property
    def missing(self) -> MissingByCohort:
        return self.facts.missing

    @property
    def privacy_record(self) -> Mapping[str, Any]:
        return self.facts.privacy_record

    @property
    def requested(self) -> tuple[RequestedTable, ...]:
        return self.facts.on_request.tables

    def rows(self, table: Table, names: Iterable[str] | None = None) -> pa.Table:
        data = self.tables[table.name]
        return self._handed_out(f"{table.name}.parquet", data if names is None else data.select(list(names)))

    def noise_covariance(self) -> pa.Table:
        return self._handed_out(NOISE_COVARIANCE_FILE, self.facts.noise_covariance)

    def _handed_out(self, file: str, rows: pa.Table) -> pa.Table:
        self.files[id(rows)] = file, rows
        return rows


@dataclass
class _Script:
    """A connection that writes down what changes the database."""

    connection: duckdb.DuckDBPyConnection
    files: Mapping[int, tuple[str, pa.Table]]
    statements: list[str] = field(default_factory=list)
    _registered: dict[str, str] = field(default_factory=dict)

    def execute(self, query: str, parameters: Sequence[Any] | None = None) -> duckdb.DuckDBPyConnection:
        if not query.startswith("SELECT"):
            self.statements.append(self._from_files(_filled_in(query, parameters)))
        return self.connection.execute(query, parameters)

    def register(self, name: str, rows: pa.Table) -> None:
        self._registered[name] = self.files[id(rows)][0]
        self.connection.register(name, rows)

    def unregister(self, name: str) -> None:
        del self._registered[name]
        self.connection.unregister(name)

    def _from_files(self, query: str) -> str:
        for name, file in self._registered.items():
            query = re.sub(rf"\bFROM {name}\b", f"FROM read_parquet({quoted(file)})", query)
        return query


def _filled_in(query: str, parameters: Sequence[Any] | None) -> str:
    """The statement with values where its question marks were: all of them are placeholders where there are values."""
    if not parameters:
        return query
    parts = query.split("?")
    return "".join(part + value for part, value in zip(parts, (*map(_literal, parameters), ""), strict=True))


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    return quoted(value.isoformat() if isinstance(value, dt.date) else str(value))

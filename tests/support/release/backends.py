"""The two ledger backends with one interface, so that every rule is tested on both."""

import sqlite3
from contextlib import closing
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from privacy.release.ledger import Ledger
from privacy.release.ledger_storage import Entry
from tests.support.release import postgres

COLUMNS = ", ".join(f.name for f in fields(Entry))
_UPSERT = "INSERT INTO {0} SELECT * FROM {0} ON CONFLICT (seq) DO UPDATE SET recorded_at = ''"


class SQLite:
    """A ledger file, and raw access to it."""

    verbs = ("INSERT INTO {} ", "INSERT OR REPLACE INTO {} ", "INSERT OR IGNORE INTO {} ", "REPLACE INTO {} ")
    refused = sqlite3.IntegrityError
    changes = ("UPDATE {} SET recorded_at = ''", "DELETE FROM {}", "UPDATE OR REPLACE {} SET seq = 1 WHERE seq = 2")

    def __init__(self, folder: Path) -> None:
        self.location = folder / "home" / "ledger.sqlite"

    def execute_raw(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        with closing(sqlite3.connect(self.location)) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    def drop(self, trigger: str, table: str = "entries") -> None:
        self.execute_raw(f"DROP TRIGGER {'' if table == 'entries' else f'{table}_'}{trigger}")

    def insert(self, entry: Entry, verb: str) -> None:
        marks = ", ".join("?" * len(fields(Entry)))
        self.execute_raw(f"{verb.format('entries')}({COLUMNS}) VALUES ({marks})", astuple(entry))


class PostgreSQL:
    """A ledger in a database, and raw access to it as the owner of the schema."""

    verbs = (
        "INSERT INTO {} ",
        "SET session_replication_role = replica; INSERT INTO {} ",
        "INSERT INTO {} ... ON CONFLICT DO NOTHING",
        "INSERT INTO {} ... ON CONFLICT ON CONSTRAINT entries_pkey DO NOTHING",
    )
    changes = ("UPDATE {} SET recorded_at = ''", "DELETE FROM {}", "TRUNCATE {}", _UPSERT)

    def __init__(self, location: str) -> None:
        import psycopg2

        self.location = location
        self.refused = psycopg2.IntegrityError

    def execute_raw(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        return postgres.execute(self.location, f"SET search_path = readiness_ledger; {statement}", parameters)

    def drop(self, trigger: str, table: str = "entries") -> None:
        self.execute_raw(f"DROP TRIGGER {trigger} ON {table}")

    def insert(self, entry: Entry, verb: str) -> None:
        marks = ", ".join(["%s"] * len(fields(Entry)))
        before, _, conflict = verb.format("entries").partition("...")
        self.execute_raw(f"{before} ({COLUMNS}) VALUES ({marks}) {conflict}", astuple(entry))


def approve_budget(backend: SQLite | PostgreSQL) -> Ledger:
    """Return the ledger, with a budget of rho 0.3 for cohort 202425."""
    ledger = Ledger(backend.location)
    ledger.approve("202425", 0.30, note="signed by the privacy lead")
    return ledger

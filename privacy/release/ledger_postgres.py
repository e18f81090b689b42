"""The budget ledger in a PostgreSQL server, for workers on several machines.

Each database has one ledger, in the schema `readiness_ledger`.

Advisory locks do the work of SQLite's `BEGIN IMMEDIATE` and lock file: writers queue, and the server releases the lock
of a measuring process when its connection ends. Triggers enforce the rules of `ledger_storage` and fire in every
session (`ENABLE ALWAYS`). Two writers that ignore the lock collide on the primary key: both would add the same next
number, and one of them fails. A worker's role needs SELECT and INSERT on `readiness_ledger.entries` and
`readiness_ledger.sign_offs` and nothing more; the role that opens the ledger first must own the schema.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from typing import Any

from privacy.doors.sql import quote_text
from privacy.release.ledger_storage import TABLES, LedgerUnavailable, Logs, Storage, build_table_sql, iter_rules_sql

try:
    import psycopg2
    from psycopg2 import errors, extensions
except ImportError as error:
    raise LedgerUnavailable(
        "a ledger in PostgreSQL needs the extra `postgres`: uv sync --inexact --extra postgres"
    ) from error

LOCK_SECONDS = 60
"""How long a writer waits for another."""
_POLL_SECONDS = 0.2

# Two locks, because a process that measures also writes, over other connections.
_WRITING, _MEASURING = (0x5EAD, 1), (0x5EAD, 2)
"""Advisory locks, as (class, number): for a write transaction, and for a process that measures."""

_SCHEMA = "readiness_ledger"

_TRIGGERS = ("only_append", "never_update", "never_delete", "never_truncate")

_PLACE = """
SELECT concat_ws(' ', system_identifier, timeline_id, 'readiness_ledger.entries'::regclass::oid)
  FROM pg_control_system(), pg_control_checkpoint()
"""

_CHECKS = resources.files("privacy.release").joinpath("ledger_postgres.sql").read_text(encoding="utf-8")


class _Connection(extensions.connection):
    """A connection that runs statements itself, as SQLite's does; a `with` block is one transaction."""

    def execute(self, statement: str, values: tuple[Any, ...] | None = None) -> extensions.cursor:
        cursor = self.cursor()
        cursor.execute(statement, values)
        return cursor


class PostgresStorage(Storage):
    """The ledger in the database at a libpq URL. Raises LedgerUnavailable if it is out of reach, unsafe or altered."""

    def __init__(self, url: str) -> None:
        self._url = url
        with self._connect() as connection, connection:
            _lock_for_writing(connection)
            for table in TABLES:
                _create_table(connection, table)
            for table in TABLES:
                _check_fitness(connection, table)

    @contextmanager
    def begin_reading(self) -> Iterator[Logs]:
        with self._connect() as connection, connection:
            # By default each statement sees its own snapshot, and the two chains are read by two statements.
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield Logs(connection, f"{_SCHEMA}.", "%s")

    @contextmanager
    def begin_writing(self) -> Iterator[Logs]:
        with self._connect() as connection, connection:
            _lock_for_writing(connection)
            yield Logs(connection, f"{_SCHEMA}.", "%s")

    def find_place(self) -> str:
        """Return the server's identifier, its timeline (a new one after a restore), and the table's OID."""
        with self._connect() as connection:
            return f"postgresql {_fetch_value(connection, _PLACE)}"

    @contextmanager
    def lock_exclusively(self) -> Iterator[None]:
        with self._connect() as connection:
            # Polled, because a measurement may take hours and a signal must be able to end the wait for it: psycopg2
            # handles none during a statement.
            while not _fetch_value(connection, f"SELECT pg_try_advisory_lock{_MEASURING}"):
                time.sleep(_POLL_SECONDS)
            yield

    @contextmanager
    def _connect(self) -> Iterator[_Connection]:
        try:
            connection = psycopg2.connect(self._url, connection_factory=_Connection)
        except psycopg2.OperationalError as error:
            raise LedgerUnavailable(
                f"the ledger's database cannot be reached; run the same again when it is back: {_format_error(error)}"
            ) from None
        try:
            with closing(connection):
                # With autocommit, only `with connection` begins a transaction.
                connection.autocommit = True
                # A database or role may have it set to off, and a crash of the server may then lose a finished charge.
                connection.execute("SET synchronous_commit = 'on'")
                connection.execute(f"SET lock_timeout = {quote_text(f'{LOCK_SECONDS}s')}")
                yield connection
        except errors.InsufficientPrivilege as error:
            raise LedgerUnavailable(
                "the ledger's database does not let this role in: grant it SELECT and INSERT on "
                f"readiness_ledger.entries and readiness_ledger.sign_offs ({_format_error(error)})"
            ) from None
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise LedgerUnavailable(
                f"the ledger's database broke off: {_format_error(error)}; what it has recorded is kept, and the same "
                "release run again finds out"
            ) from None


def _create_table(connection: _Connection, table: str) -> None:
    """Create a table and its triggers if it is missing. Raises LedgerUnavailable if this role may not."""
    place = f"{_SCHEMA}.{table}"
    # Checked first, because a worker's role may not create anything.
    if _fetch_value(connection, f"SELECT to_regclass({quote_text(place)})") is not None:
        return
    cases = " ".join(
        f"WHEN {condition} THEN {quote_text(wrong)}" for _, wrong, condition in iter_rules_sql(table, place)
    )
    try:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        connection.execute(build_table_sql(table, place, "BIGINT"))
        checks = _CHECKS.replace("CASES", cases).replace("TABLE", table).replace("CHECK", f"check_{table}")
        connection.execute(checks)
    except errors.InsufficientPrivilege:
        raise LedgerUnavailable(
            f"the ledger has no table {table} yet: have the owner of the schema {_SCHEMA} open it once, as "
            "with readiness budget"
        ) from None
    for trigger in _TRIGGERS:
        # An ordinary trigger does not fire in a session that sets session_replication_role to replica.
        connection.execute(f"ALTER TABLE {place} ENABLE ALWAYS TRIGGER {trigger}")


def _check_fitness(connection: _Connection, table: str) -> None:
    """Raise LedgerUnavailable if the server may lose a finished transaction or the table lacks a trigger."""
    if _fetch_value(connection, "SHOW fsync") != "on":
        raise LedgerUnavailable("the ledger's database runs with fsync off and may forget a charge; switch it on")
    armed = connection.execute(
        f"SELECT tgname FROM pg_trigger WHERE tgrelid = {quote_text(f'{_SCHEMA}.{table}')}::regclass AND tgenabled ="
        " 'A'"
    )
    if missing := sorted(set(_TRIGGERS) - {name for (name,) in armed}):
        raise LedgerUnavailable(
            f"the ledger's table {table} has lost its trigger {missing[0]}; restore it before anything else"
        )


def _format_error(error: psycopg2.Error) -> str:
    return " ".join(str(error).split())


def _lock_for_writing(connection: _Connection) -> None:
    connection.execute(f"SELECT pg_advisory_xact_lock{_WRITING}")


def _fetch_value(connection: _Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None

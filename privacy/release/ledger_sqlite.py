"""The budget ledger in an SQLite file: durable, one writer at a time, and unwilling to forget.

Write-ahead log, `synchronous = FULL` (a finished transaction survives a power cut), `BEGIN IMMEDIATE` (readers of a
balance hold the write lock until they have spent it). The triggers repeat the ledger's rules in SQL, so that no other
program can change, remove, replace or overspend through the database either. They run before conflict handling, which
also stops INSERT OR REPLACE and INSERT OR IGNORE. What triggers cannot stop, dropping them, the hash chain shows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from pathlib import Path

from privacy.doors.locks import locked
from privacy.doors.sql import quoted
from privacy.release.ledger_storage import TABLE, Entry, LedgerUnavailable, Log, rules

BUSY_SECONDS = 60

_TRIGGERS = """
CREATE TRIGGER IF NOT EXISTS never_update BEFORE UPDATE ON entries BEGIN
    SELECT RAISE(ABORT, 'the budget ledger is append-only: no entry may be changed');
END;

CREATE TRIGGER IF NOT EXISTS never_delete BEFORE DELETE ON entries BEGIN
    SELECT RAISE(ABORT, 'the budget ledger is append-only: no entry may be removed');
END;
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE INSERT ON entries BEGIN"
    f" SELECT RAISE(ABORT, {quoted(wrong)}) WHERE {condition}; END;\n"
    for name, (wrong, condition) in rules("entries").items()
)

_TABLE = TABLE.format(table="entries", integer="INTEGER", options=" STRICT")

_COLUMNS = ", ".join(column.name for column in fields(Entry))

_OF_BEFORE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'entries' AND sql NOT LIKE '%''VOID''%'"
"""Whether the file has a table of before charges could be given back."""

_CONVERSION = (
    "".join(f"DROP TRIGGER IF EXISTS {name}; " for name in ("never_update", "never_delete", *rules("entries")))
    + "".join(f"DROP INDEX IF EXISTS {name}; " for name in ("one_approval", "one_charge", "one_end"))
    + f"ALTER TABLE entries RENAME TO entries_before; {_TABLE} "
    f"INSERT INTO entries ({_COLUMNS}) SELECT {_COLUMNS} FROM entries_before ORDER BY seq; DROP TABLE entries_before; "
)
"""The same entries, to the last byte, in a table that takes every kind of today."""


class SQLiteStorage:
    """Entries in the SQLite file at `path`, created with its folder on first use; a lock file stands beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._usable(), closing(self._connect()) as connection:
            converted = _CONVERSION if connection.execute(_OF_BEFORE).fetchone() else ""
            connection.executescript(f"BEGIN IMMEDIATE; {converted} {_TABLE} {_TRIGGERS} COMMIT;")
            _log(connection).entries()

    def read(self) -> list[Entry]:
        """All entries, in order."""
        with self._usable(), closing(self._connect()) as connection:
            return _log(connection).entries()

    @contextmanager
    def writing(self) -> Iterator[Log]:
        """A write transaction that no other overlaps; undone if the block raises."""
        with self._usable(), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield _log(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """A lock across processes and threads, let go by the kernel when its holder dies."""
        with locked(self._path.with_name(self._path.name + ".lock")):
            yield

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Say in one sentence what is wrong with the file; what a trigger refuses passes."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise LedgerUnavailable(f"the ledger {self._path} cannot be opened: {error}; {_advice(error)}") from None


_ADVICE = {
    "locked": "another program holds it: close that, and run again",
    "disk I/O error": "its disk may be full, or fail: free some space, and run again",
    "full": "free space on its disk, and run again",
    "readonly": "give the account that runs the pipeline the right to write to it and to its folder, and run again",
    "unable to open": "give the account that runs the pipeline the right to write to its folder, and run again",
    "no such column": "another version of this software made it: run that version, or restore the newest copy",
}


def _advice(error: sqlite3.DatabaseError) -> str:
    """What a person must do; a file that is damaged is only ever restored."""
    found = (advice for said, advice in _ADVICE.items() if said in str(error))
    return next(found, "restore the newest copy: without it nothing is charged or drawn")


def _log(connection: sqlite3.Connection) -> Log:
    return Log(connection, "entries", "?")

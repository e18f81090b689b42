"""The budget ledger in an SQLite file: durable, one writer at a time, and unwilling to forget.

Write-ahead log, `synchronous = FULL` (a finished transaction survives a power cut), `BEGIN IMMEDIATE` (readers of a
balance hold the write lock until they have spent it). The triggers repeat the ledger's rules in SQL, so that no other
program can change, remove, replace or overspend through the database either. They run before conflict handling, which
also stops INSERT OR REPLACE and INSERT OR IGNORE. What triggers cannot stop, dropping them, the hash chain shows.
"""

from __future__ import annotations

import ctypes
import os
import sqlite3
import struct
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from privacy.doors.locks import locked
from privacy.doors.sql import quoted
from privacy.release.ledger_storage import (
    ONLY_APPEND,
    SIGN_OFFS,
    TABLE,
    Entry,
    LedgerUnavailable,
    Line,
    Log,
    SignOffLine,
    rules,
)

BUSY_SECONDS = 60


def _triggers(table: str, prefix: str, names: Collection[str]) -> str:
    """Triggers that let lines only be added, and only where these rules hold."""
    refused = {"update": "changed", "delete": "removed"}
    kept = (
        f"CREATE TRIGGER IF NOT EXISTS {prefix}never_{what} BEFORE {what.upper()} ON {table} BEGIN"
        f" SELECT RAISE(ABORT, 'the budget ledger is append-only: no entry may be {done}'); END;"
        for what, done in refused.items()
    )
    held = (
        f"CREATE TRIGGER IF NOT EXISTS {prefix}{name} BEFORE INSERT ON {table} BEGIN"
        f" SELECT RAISE(ABORT, {quoted(wrong)}) WHERE {condition}; END;"
        for name, (wrong, condition) in rules(table).items()
        if name in names
    )
    return "\n".join((*kept, *held))


_TRIGGERS = _triggers("entries", "", rules("entries")) + _triggers("sign_offs", "sign_offs_", [ONLY_APPEND])

_TABLE = TABLE.format(table="entries", integer="INTEGER", options=" STRICT")
_SIGN_OFFS = SIGN_OFFS.format(table="sign_offs", integer="INTEGER", options=" STRICT")


class SQLiteStorage:
    """Entries in the SQLite file at `path`, created with its folder on first use; a lock file stands beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._usable(), closing(self._connect()) as connection:
            connection.executescript(f"BEGIN IMMEDIATE; {_TABLE} {_SIGN_OFFS} {_TRIGGERS} COMMIT;")
            _entries(connection).entries()

    def read(self) -> list[Entry]:
        """All entries, in order."""
        with self._usable(), closing(self._connect()) as connection:
            return _entries(connection).entries()

    def writing(self) -> AbstractContextManager[Log[Entry]]:
        """A write transaction that no other overlaps; undone if the block raises."""
        return self._transaction(_entries)

    def read_sign_offs(self) -> list[SignOffLine]:
        """All that people have signed, in order."""
        with self._usable(), closing(self._connect()) as connection:
            return _sign_offs(connection).entries()

    def signing(self) -> AbstractContextManager[Log[SignOffLine]]:
        """As `writing`, for what people sign."""
        return self._transaction(_sign_offs)

    def read_both(self) -> tuple[list[Entry], list[SignOffLine]]:
        """All entries and all that people have signed, as of one moment."""
        with self._usable(), closing(self._connect()) as connection:
            connection.execute("BEGIN")
            return _entries(connection).entries(), _sign_offs(connection).entries()

    def place(self) -> str:
        """The file's inode and time of birth, which a copy cannot have; the same for whoever mounts the file system.

        A snapshot of the whole disk has both, and a file system that knows no times of birth gives 0.
        """
        return f"sqlite {self._path.stat().st_ino} {_born(self._path)}"

    @contextmanager
    def _transaction(self, log: Callable[[sqlite3.Connection], Log[Line]]) -> Iterator[Log[Line]]:
        with self._usable(), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield log(connection)
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


_STATX_BTIME, _AT_FDCWD = 0x800, -100


def _born(path: Path) -> str:
    """Seconds and nanoseconds at which a file was made, by Linux's statx, which `os.stat` lacks before Python 3.15."""
    found = ctypes.create_string_buffer(256)
    failed = ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found)
    if failed or not struct.unpack_from("I", found)[0] & _STATX_BTIME:
        return "0"
    return "{}.{}".format(*struct.unpack_from("qI", found, 80))


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


def _entries(connection: sqlite3.Connection) -> Log[Entry]:
    return Log(connection, Entry, "entries", "?")


def _sign_offs(connection: sqlite3.Connection) -> Log[SignOffLine]:
    return Log(connection, SignOffLine, "sign_offs", "?")

"""The ledger's entries, their table and their rules in SQL, and their storage in an SQLite file.

The file is durable, has one writer at a time and is append-only: write-ahead log, `synchronous = FULL` (a finished
transaction survives a power cut), `BEGIN IMMEDIATE` (whoever reads a balance holds the write lock until it has spent).
The triggers repeat the ledger's rules in SQL, so no other program can change, remove, replace or overspend through the
database either. They run before conflict handling, which also stops INSERT OR REPLACE and INSERT OR IGNORE. A program
could drop the triggers, but the hash chain would show the change.
"""

import ctypes
import os
import sqlite3
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from privacy.doors.locks import hold_lock
from privacy.doors.shipped import read_yaml
from privacy.doors.sql import quote_text
from privacy.release.canonical import hash_json

GENESIS = "0" * 64
"""`previous_hash` of the first entry."""
CHILD = "child"
"""The unit of every family except those of responses."""
_FOLDER = resources.files("privacy.release")


class LedgerError(Exception):
    """A refusal by the ledger; the message says what it refuses, and what would be possible."""


class LedgerUnavailable(LedgerError):
    """A ledger that cannot be opened, or a server that is not fit to keep one."""


class EntryKind(StrEnum):
    """Kinds of ledger entries."""

    APPROVE = "APPROVE"
    RESERVE = "RESERVE"
    COMMIT = "COMMIT"
    VOID = "VOID"


@dataclass(frozen=True)
class Chained:
    """A line of the table `table` that carries the hash of the one before."""

    table: ClassVar[str]

    def compute_hash(self) -> str:
        """Return the SHA-256 of the canonical JSON of every field except `entry_hash`."""
        return hash_json({name: value for name, value in asdict(self).items() if name != "entry_hash"})


@dataclass(frozen=True)
class Entry(Chained):
    """A line of the ledger: `nano_rho` is the cap in an APPROVE, otherwise the charge; `unit` decides whose account."""

    table: ClassVar[str] = "entries"
    seq: int
    kind: str
    cohort: str
    release: str
    family: str
    nano_rho: int
    plan_sha256: str = ""
    input_mac: str = ""
    measurement_sha256: str = ""
    note: str = ""
    unit: str = CHILD
    recorded_at: str = ""
    previous_hash: str = ""
    entry_hash: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it charges: cohort, release and family."""
        return self.cohort, self.release, self.family


@dataclass(frozen=True)
class SignOffLine(Chained):
    """One signature, or what signatures allowed, as JSON `content`; a separate chain beside the entries."""

    table: ClassVar[str] = "sign_offs"
    seq: int
    content: str
    recorded_at: str = ""
    previous_hash: str = ""
    entry_hash: str = ""


Line = TypeVar("Line", Entry, SignOffLine)
_RULES = read_yaml(_FOLDER.joinpath("ledger_rules.yaml"))
TABLES = {"entries": ("ledger_table.sql", tuple(_RULES)), "sign_offs": ("ledger_sign_offs.sql", ("only_append",))}
"""Each table's file of SQL, and the rules that hold for it."""


def build_table_sql(table: str, place: str, integer: str, options: str = "") -> str:
    """Return SQL that creates a table under the name `place`; `integer` is the type of 64-bit integers."""
    sql = _FOLDER.joinpath(TABLES[table][0]).read_text(encoding="utf-8")
    return sql.format(table=place, integer=integer, options=options)


def iter_rules_sql(table: str, place: str) -> Iterator[tuple[str, str, str]]:
    """Yield the rules for triggers on a table: name, message, and the condition in SQL that breaks the rule."""
    for name in TABLES[table][1]:
        yield name, _RULES[name]["wrong"], _RULES[name]["condition"].format(table=place, genesis=GENESIS)


class Logs:
    """The ledger's two chains as one transaction sees them; `mark` is the placeholder of SQL parameters."""

    def __init__(self, connection: Any, schema: str, mark: str) -> None:
        self._connection, self._schema, self._mark = connection, schema, mark

    def read(self, kind: type[Line]) -> list[Line]:
        """Return all lines of a kind, in order."""
        columns = ", ".join(column.name for column in fields(kind))
        rows = self._connection.execute(f"SELECT {columns} FROM {self._schema}{kind.table} ORDER BY seq")
        return [kind(*row) for row in rows]

    def append(self, line: Chained) -> None:
        """Add one line. Raises the database's own IntegrityError if a trigger refuses it."""
        values = asdict(line)
        columns, marks = ", ".join(values), ", ".join([self._mark] * len(values))
        table = f"{self._schema}{line.table}"
        self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", tuple(values.values()))


class Storage(ABC):
    """Storage of a ledger: durable once a transaction ends; it refuses changes, removals and overspending by itself."""

    @abstractmethod
    def begin_reading(self) -> AbstractContextManager[Logs]:
        """Open a transaction that sees the lines of one moment."""

    @abstractmethod
    def begin_writing(self) -> AbstractContextManager[Logs]:
        """Open an exclusive write transaction; rolled back if the block raises."""

    @abstractmethod
    def find_place(self) -> str:
        """Return text that identifies this storage but no copy of it."""

    @abstractmethod
    def lock_exclusively(self) -> AbstractContextManager[None]:
        """Hold a lock across processes during the `with` block; it is released if its holder dies."""


BUSY_SECONDS = 60


def _iter_schema_sql() -> Iterator[str]:
    """Yield the tables, with triggers that allow only appending, and only lines that meet the rules."""
    for table, prefix in (("entries", ""), ("sign_offs", "sign_offs_")):
        # STRICT, because SQLite otherwise stores text in a column of integers.
        yield build_table_sql(table, table, "INTEGER", " STRICT")
        refused = [
            (f"never_{what}", what, f"the budget ledger is append-only: no entry may be {done}", "true")
            for what, done in (("update", "changed"), ("delete", "removed"))
        ]
        rules = [(name, "insert", wrong, condition) for name, wrong, condition in iter_rules_sql(table, table)]
        for name, event, wrong, condition in (*refused, *rules):
            yield (
                f"CREATE TRIGGER IF NOT EXISTS {prefix}{name} BEFORE {event.upper()} ON {table} BEGIN"
                f" SELECT RAISE(ABORT, {quote_text(wrong)}) WHERE {condition}; END;"
            )


class SQLiteStorage(Storage):
    """The ledger in the SQLite file at `path`, created with its folder on first use, with a lock file beside it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._translate_errors(), closing(self._connect()) as connection:
            # Under the write lock, because two processes may open a new ledger at once.
            connection.executescript("\n".join(("BEGIN IMMEDIATE;", *_iter_schema_sql(), "COMMIT;")))
            # Fails here, and not halfway through a release, if another version of the software made the table.
            Logs(connection, "", "?").read(Entry)

    @contextmanager
    def begin_reading(self) -> Iterator[Logs]:
        with self._translate_errors(), closing(self._connect()) as connection:
            connection.execute("BEGIN")
            yield Logs(connection, "", "?")

    @contextmanager
    def begin_writing(self) -> Iterator[Logs]:
        with self._translate_errors(), closing(self._connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Logs(connection, "", "?")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def find_place(self) -> str:
        """Return the file's inode and creation time, which only a snapshot of the whole disk shares."""
        return f"sqlite {self._path.stat().st_ino} {_read_creation_time(self._path)}"

    @contextmanager
    def lock_exclusively(self) -> Iterator[None]:
        with hold_lock(self._path.with_name(self._path.name + ".lock")):
            yield

    def _connect(self) -> sqlite3.Connection:
        # Without isolation_level=None the module would begin and end transactions by itself.
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Turn database errors into one sentence saying what is wrong with the file; pass on refusals by triggers."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            found = (advice for problem, advice in _ADVICE.items() if problem in str(error))
            # A damaged file can only be restored.
            advice = next(found, "restore the newest copy: without it nothing is charged or drawn")
            raise LedgerUnavailable(f"the ledger {self._path} cannot be opened: {error}; {advice}") from None


# Constants of statx(2): the mask of the creation time, and "relative to the current folder"
_STATX_BTIME, _AT_FDCWD = 0x800, -100


def _read_creation_time(path: Path) -> str:
    """Return a file's creation time by Linux's statx, because `os.stat` lacks it before Python 3.15."""
    found = ctypes.create_string_buffer(256)
    failed = ctypes.CDLL(None).statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found)
    if failed or not struct.unpack_from("I", found)[0] & _STATX_BTIME:
        return "0"
    # stx_btime is at byte 80 of struct statx
    return "{}.{}".format(*struct.unpack_from("qI", found, 80))


_ADVICE = {
    "locked": "another program holds it: close that, and run again",
    "disk I/O error": "its disk may be full, or fail: free some space, and run again",
    "full": "free space on its disk, and run again",
    "readonly": "give the account that runs the pipeline the right to write to it and to its folder, and run again",
    "unable to open": "give the account that runs the pipeline the right to write to its folder, and run again",
    "no such column": "another version of this software made it: run that version, or restore the newest copy",
}

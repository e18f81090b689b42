"""What the budget ledger is made of, and what it needs from wherever it is kept: entries, their table, the seam."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass, fields
from enum import StrEnum
from importlib import resources
from typing import Any, Generic, Protocol, TypeVar

import yaml

from privacy.release.canonical import canonical_json, sha256_hex

GENESIS = "0" * 64
"""`previous_hash` of the first entry."""
CHILD = "child"
"""The unit of every family but those of responses."""
_FOLDER = resources.files("privacy.release")


class LedgerError(Exception):
    """Something the ledger refuses. The message says what, and what would be possible."""


class LedgerUnavailable(LedgerError):
    """A ledger that cannot be opened, or that is not fit to be one."""


class EntryKind(StrEnum):
    """What an entry records."""

    APPROVE = "APPROVE"
    RESERVE = "RESERVE"
    COMMIT = "COMMIT"
    VOID = "VOID"


@dataclass(frozen=True)
class Chained:
    """A line that carries the hash of the one before."""

    def hashed(self) -> dict[str, Any]:
        """What the hash covers: every field but `entry_hash`, the previous line's hash among them."""
        content = asdict(self)
        del content["entry_hash"]
        return content

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of what it covers."""
        return sha256_hex(canonical_json(self.hashed()))


@dataclass(frozen=True)
class Entry(Chained):
    """One line of the ledger. `nano_rho` is the cap in an APPROVE, the amount charged in every other kind.

    `unit` is what one row of the charged table stands for, and so whose account the line is of.
    """

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


@dataclass(frozen=True)
class SignOffLine(Chained):
    """One line of what people have signed, and what that allowed: `content` is JSON. A chain of its own, beside the
    entries."""

    seq: int
    content: str
    recorded_at: str = ""
    previous_hash: str = ""
    entry_hash: str = ""


Line = TypeVar("Line", Entry, SignOffLine)
SIGN_OFFS = _FOLDER.joinpath("ledger_sign_offs.sql").read_text(encoding="utf-8")
"""SQL of the table of signatures, as `TABLE`."""
TABLE = _FOLDER.joinpath("ledger_table.sql").read_text(encoding="utf-8")
"""SQL of the table of entries, for a name, the database's type of 64-bit integers, and its options."""

ONLY_APPEND = "only_append"
"""The rule that holds for signatures as well."""
_RULES = yaml.safe_load(_FOLDER.joinpath("ledger_rules.yaml").read_text(encoding="utf-8"))


def rules(table: str) -> dict[str, tuple[str, str]]:
    """The ledger's rules in SQL, for triggers on a table of this name: what is wrong with an entry, and the condition
    under which it is."""
    return {
        name: (rule["wrong"], rule["condition"].format(table=table, genesis=GENESIS)) for name, rule in _RULES.items()
    }


class Log(Generic[Line]):
    """The lines of a kind as one connection of a database sees them; its parameters are marked by `mark`."""

    def __init__(self, connection: Any, kind: type[Line], table: str, mark: str) -> None:
        self._connection, self._table, self._mark = connection, table, mark
        self._kind: type[Line] = kind
        self._columns = ", ".join(column.name for column in fields(kind))

    def entries(self) -> list[Line]:
        """All lines, in order."""
        rows = self._connection.execute(f"SELECT {self._columns} FROM {self._table} ORDER BY seq")
        return [self._kind(*row) for row in rows]

    def append(self, entry: Line) -> None:
        """Add one line. Raises the database's own IntegrityError where a trigger refuses it."""
        values = astuple(entry)
        marks = ", ".join([self._mark] * len(values))
        self._connection.execute(f"INSERT INTO {self._table} ({self._columns}) VALUES ({marks})", values)


class Storage(Protocol):
    """Where entries live: durable once a transaction ends, and itself refusing change, removal and overspending."""

    def read(self) -> list[Entry]:
        """All entries, in order."""

    def writing(self) -> AbstractContextManager[Log[Entry]]:
        """A write transaction that no other overlaps; undone if the block raises."""

    def read_sign_offs(self) -> list[SignOffLine]:
        """All that people have signed, in order."""

    def signing(self) -> AbstractContextManager[Log[SignOffLine]]:
        """As `writing`, for what people sign."""

    def read_both(self) -> tuple[list[Entry], list[SignOffLine]]:
        """All entries and all that people have signed, as of one moment."""

    def place(self) -> str:
        """Text that names where the lines are kept, and no copy of them elsewhere."""

    def exclusive(self) -> AbstractContextManager[None]:
        """A lock across processes, held for the block and let go when its holder dies."""

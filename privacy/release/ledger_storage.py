"""What the budget ledger is made of, and what it needs from wherever it is kept: entries, their table, the seam."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, astuple, dataclass, fields
from enum import StrEnum
from typing import Any, Protocol

from privacy.release.canonical import canonical_json, sha256_hex

GENESIS = "0" * 64
"""`previous_hash` of the first entry."""


class LedgerError(Exception):
    """Something the ledger refuses. The message says what, and what would be possible."""


class LedgerUnavailable(LedgerError):
    """A ledger that cannot be opened, or that is not fit to be one."""


class EntryKind(StrEnum):
    """What an entry records."""

    APPROVE = "APPROVE"
    RESERVE = "RESERVE"
    COMMIT = "COMMIT"
    WRITE_OFF = "WRITE_OFF"


@dataclass(frozen=True)
class Entry:
    """One line of the ledger. `nano_rho` is the cap in an APPROVE, the amount charged in every other kind."""

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
    recorded_at: str = ""
    previous_hash: str = ""
    entry_hash: str = ""

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of every other field, the previous entry's hash among them."""
        content = asdict(self)
        del content["entry_hash"]
        return sha256_hex(canonical_json(content))


TABLE = """
CREATE TABLE IF NOT EXISTS {table} (
    seq                {integer} PRIMARY KEY,
    kind               TEXT NOT NULL CHECK (kind IN ('APPROVE', 'RESERVE', 'COMMIT', 'WRITE_OFF')),
    cohort             TEXT NOT NULL CHECK (cohort <> ''),
    release            TEXT NOT NULL,
    family             TEXT NOT NULL,
    nano_rho           {integer} NOT NULL CHECK (nano_rho > 0),
    plan_sha256        TEXT NOT NULL,
    input_mac          TEXT NOT NULL,
    measurement_sha256 TEXT NOT NULL,
    note               TEXT NOT NULL,
    recorded_at        TEXT NOT NULL,
    previous_hash      TEXT NOT NULL,
    entry_hash         TEXT NOT NULL UNIQUE
){options};

CREATE UNIQUE INDEX IF NOT EXISTS one_approval ON {table} (cohort) WHERE kind = 'APPROVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_charge ON {table} (cohort, release, family) WHERE kind = 'RESERVE';
CREATE UNIQUE INDEX IF NOT EXISTS one_end ON {table} (cohort, release, family) WHERE kind IN ('COMMIT', 'WRITE_OFF');
"""
"""SQL of the table of entries, for a name, the database's type of 64-bit integers, and its options."""

_RULES = {
    "only_append": (
        "an entry must follow the last one",
        """
        coalesce(NEW.seq, 0) <> (SELECT coalesce(max(seq), 0) + 1 FROM {table})
        OR coalesce(NEW.previous_hash, '') <>
           coalesce((SELECT entry_hash FROM {table} ORDER BY seq DESC LIMIT 1), '{genesis}')
        """,
    ),
    "approve_once": (
        "the budget of a cohort is approved once",
        "NEW.kind = 'APPROVE' AND EXISTS (SELECT 1 FROM {table} WHERE kind = 'APPROVE' AND cohort = NEW.cohort)",
    ),
    "charge_once": (
        "a family is charged once per release",
        """
        NEW.kind = 'RESERVE' AND EXISTS (
            SELECT 1 FROM {table} WHERE kind = 'RESERVE'
               AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family))
        """,
    ),
    "never_overspend": (
        "the charge would overspend the approved budget",
        """
        NEW.kind = 'RESERVE' AND NEW.nano_rho
        + coalesce((SELECT sum(nano_rho) FROM {table} WHERE kind = 'RESERVE' AND cohort = NEW.cohort), 0)
        > coalesce((SELECT nano_rho FROM {table} WHERE kind = 'APPROVE' AND cohort = NEW.cohort), 0)
        """,
    ),
    "end_once": (
        "an end must match one open charge",
        """
        NEW.kind IN ('COMMIT', 'WRITE_OFF') AND (
            NOT EXISTS (
                SELECT 1 FROM {table} WHERE kind = 'RESERVE'
                   AND (cohort, release, family, nano_rho, plan_sha256, input_mac)
                     = (NEW.cohort, NEW.release, NEW.family, NEW.nano_rho, NEW.plan_sha256, NEW.input_mac))
            OR EXISTS (
                SELECT 1 FROM {table} WHERE kind IN ('COMMIT', 'WRITE_OFF')
                   AND (cohort, release, family) = (NEW.cohort, NEW.release, NEW.family)))
        """,
    ),
}


def rules(table: str) -> dict[str, tuple[str, str]]:
    """The ledger's rules in SQL, for triggers on a table of this name: what is wrong with an entry, and the condition
    under which it is."""
    return {
        name: (wrong, condition.format(table=table, genesis=GENESIS)) for name, (wrong, condition) in _RULES.items()
    }


class Log:
    """The entries as one connection of a database sees them; its parameters are marked by `mark`."""

    def __init__(self, connection: Any, table: str, mark: str) -> None:
        self._connection, self._table, self._mark = connection, table, mark
        self._columns = ", ".join(column.name for column in fields(Entry))

    def entries(self) -> list[Entry]:
        """All entries, in order."""
        rows = self._connection.execute(f"SELECT {self._columns} FROM {self._table} ORDER BY seq")
        return [Entry(*row) for row in rows]

    def append(self, entry: Entry) -> None:
        """Add one entry. Raises the database's own IntegrityError where a trigger refuses it."""
        values = astuple(entry)
        marks = ", ".join([self._mark] * len(values))
        self._connection.execute(f"INSERT INTO {self._table} ({self._columns}) VALUES ({marks})", values)


class Storage(Protocol):
    """Where entries live: durable once a transaction ends, and itself refusing change, removal and overspending."""

    def read(self) -> list[Entry]:
        """All entries, in order."""

    def writing(self) -> AbstractContextManager[Log]:
        """A write transaction that no other overlaps; undone if the block raises."""

    def exclusive(self) -> AbstractContextManager[None]:
        """A lock across processes, held for the block and let go when its holder dies."""

"""What the budget ledger is made of, and what it needs from wherever it is kept: entries, and the storage seam."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol

from privacy.release.canonical import canonical_json, sha256_hex


class LedgerError(Exception):
    """Something the ledger refuses. The message says what, and what would be possible."""


class LedgerUnavailable(LedgerError):
    """A ledger that cannot be opened, or that is not fit to be one."""


class Kind(StrEnum):
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
    plan_sha256: str
    input_mac: str
    measurement_sha256: str
    note: str
    recorded_at: str
    previous_hash: str
    entry_hash: str

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of every other field, the previous entry's hash among them."""
        content = asdict(self)
        del content["entry_hash"]
        return sha256_hex(canonical_json(content))


class Log(Protocol):
    """The ledger inside one exclusive write transaction."""

    def entries(self) -> list[Entry]: ...
    def append(self, entry: Entry) -> None: ...


class Storage(Protocol):
    """Where entries live: durable once a transaction ends, and itself refusing change, removal and overspending."""

    def read(self) -> list[Entry]:
        """All entries, in order."""

    def writing(self) -> AbstractContextManager[Log]:
        """A write transaction that no other overlaps; undone if the block raises."""

    def exclusive(self) -> AbstractContextManager[None]:
        """A lock across processes, held for the block and let go when its holder dies."""

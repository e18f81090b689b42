"""The public register of requests: what was asked for, what became of it, what it cost and what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from ndl_export.files.whole_files import indented_json

REGISTER_FILE = "requests.json"


class Status(StrEnum):
    """What became of a request."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"


@dataclass(frozen=True)
class AskedTable:
    """A request: days as '2026-11-27'; the release that answered it and the reason of a refusal, empty where there is
    none; by cohort, what that release charged for its family, rho."""

    name: str
    title: str
    asked_by: str
    purpose: str
    asked_on: str
    cohorts: tuple[str, ...]
    status: Status
    answered_in: str
    reason: str
    rho: Mapping[str, float]


@dataclass(frozen=True)
class Budget:
    """What may be spent of one unit of a cohort, what was, and what is left, rho."""

    cohort: str
    unit: str
    cap: float
    spent: float
    left: float


def write_register(release_dir: Path, entries: Sequence[AskedTable], budgets: Sequence[Budget]) -> None:
    """Write the register into the release directory."""
    document = {"requests": [asdict(each) for each in entries], "budgets": [asdict(each) for each in budgets]}
    (release_dir / REGISTER_FILE).write_bytes(indented_json(document))

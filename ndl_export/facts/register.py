"""The public register of requests: what was asked for, what became of it, what it cost and what is left.

`requests.json` stands beside the bundles, which never change, and is not signed: whoever serves the directory answers
for it. It holds public words of whoever asked and public sums of the ledger, and nothing else.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ndl_export.facts.on_request import page_of_table
from ndl_export.facts.release_facts import Version
from ndl_export.files.whole_files import indented_json, write_whole
from privacy.doors.typed import is_line
from sources.reference.cohorts import Cohort

REGISTER_FILE = "requests.json"


class UnreadableRegister(ValueError):
    """The file is not as `write_register` writes it; the message names it."""


class Status(StrEnum):
    """What became of a request."""

    ASKED = "asked"
    ANSWERED = "answered"
    REFUSED = "refused"


@dataclass(frozen=True)
class AskedTable:
    """A request: days as '2026-11-27'; the release that answered it and the reason of a refusal, empty where there is
    none; by cohort, what that release charged for its family, rho. Raises ValueError for what cannot be."""

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

    def __post_init__(self) -> None:
        if problems := list(self._problems()):
            raise ValueError(f"request {self.name}: {'; '.join(problems)}")

    def _problems(self) -> Iterator[str]:
        for what in ("name", "title", "asked_by", "purpose"):
            if not is_line(getattr(self, what)):
                yield f"{what} is not one line of text"
        dt.date.fromisoformat(self.asked_on)
        if not self.cohorts:
            yield "it is of no cohort"
        for cohort in self.cohorts:
            Cohort(cohort)
        if bool(self.answered_in) != (self.status == Status.ANSWERED):
            yield "a release is named for one that is answered, and for no other"
        elif self.answered_in:
            Version.parse(self.answered_in)
        if is_line(self.reason) != (self.status == Status.REFUSED):
            yield "a reason, in one line, is given for one that is refused, and for no other"
        if self.rho.keys() - set(self.cohorts) or not all(0 <= each < math.inf for each in self.rho.values()):
            yield "what was charged is a number for each of its cohorts"

    @property
    def page(self) -> str:
        """Name of the file with its figures, in the page of a release that has the table."""
        return f"{page_of_table(self.name)}.html"


@dataclass(frozen=True)
class Budget:
    """What may be spent of one unit of a cohort, what was, and what is left, rho."""

    cohort: str
    unit: str
    cap: float
    spent: float
    left: float


@dataclass(frozen=True)
class Register:
    """Requests in the order in which they were asked, and the budgets of all cohorts that were measured."""

    requests: tuple[AskedTable, ...]
    budgets: tuple[Budget, ...]

    @property
    def cohorts(self) -> set[str]:
        """Every cohort that it names."""
        return {each.cohort for each in self.budgets} | {cohort for each in self.requests for cohort in each.cohorts}

    def of(self, status: str) -> tuple[AskedTable, ...]:
        return tuple(each for each in self.requests if each.status == status)


def write_register(release_dir: Path, entries: Sequence[AskedTable], budgets: Sequence[Budget]) -> bool:
    """Write the register into the release directory; whether anything of it is new."""
    asked = sorted(entries, key=lambda each: (each.asked_on, each.name))
    content = indented_json(
        {"requests": [asdict(each) for each in asked], "budgets": [asdict(each) for each in budgets]}
    )
    path = release_dir / REGISTER_FILE
    if path.exists() and path.read_bytes() == content:
        return False
    write_whole(path, content)
    return True


def register(release_dir: Path) -> Register | None:
    """The register of the release directory; None where nobody ever asked. Raises `UnreadableRegister`."""
    path = release_dir / REGISTER_FILE
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        return Register(tuple(map(_asked, document["requests"])), tuple(Budget(**each) for each in document["budgets"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableRegister(f"{path} is not a register of requests: {error}") from None


def _asked(entry: Mapping[str, Any]) -> AskedTable:
    return AskedTable(**{**entry, "cohorts": tuple(entry["cohorts"]), "status": Status(entry["status"])})

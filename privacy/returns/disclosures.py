"""The disclosure log: every return that was made, for whom, what kinds of facts, how many rows, under which agreement.

It holds no row, no child and no fact. Lines are added before a return is put in place; `chained_log` says how a line
that was changed or removed is seen.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path

from privacy import chained_log


class ReturnState(StrEnum):
    """What became of a return."""

    MADE = "made"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Disclosure:
    """One line. `tells` are the kinds of facts by teller; `agreements` the version of each agreement by council;
    `return_mac` tells returns of other content apart; `file_sha256` is that of the encrypted file."""

    what: str
    cohort: str
    council: str
    source: str
    service: str
    recipient: str
    recipient_name: str
    tells: dict[str, list[str]]
    rows: int
    agreements: dict[str, str]
    extract_mac: str
    return_mac: str
    file_sha256: str
    reason: str
    software: str


def record(path: Path, disclosure: Disclosure) -> None:
    """Add a line, durable on return. Raises `LogBroken`."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    chained_log.append(path, {"time": now, "by": chained_log.account(), **asdict(disclosure)})


@dataclass(frozen=True)
class Told:
    """What was disclosed until now: the newest line about each return of a cohort, by council and source, and the day
    (UTC) of the log's last line."""

    newest: dict[tuple[str, str], Disclosure]
    last_day: dt.date | None


def told(path: Path, cohort: str) -> Told:
    """Looks at every line once; a run asks once, before it discloses anything. Raises `LogBroken`."""
    known = {field.name for field in fields(Disclosure)}
    lines = chained_log.entries(path)
    newest = {
        (line["council"], line["source"]): Disclosure(**{key: value for key, value in line.items() if key in known})
        for line in lines
        if line["cohort"] == cohort
    }
    return Told(newest, dt.datetime.fromisoformat(lines[-1]["time"]).date() if lines else None)

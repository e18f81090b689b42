"""The disclosure log: every return that was made, for whom, what kinds of facts, how many rows, under which agreement.

It holds no row, no child and no fact. Lines are added before a return is put in place; `chained_log` says how a line
that was changed or removed is seen.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from privacy import chained_log


class ReturnState(StrEnum):
    """What became of a return."""

    MADE = "made"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    """A person has looked at an unusual delivery: returns may be made of it."""
    TOLD = "told"
    """A service was told who was told about its rows."""


@dataclass(frozen=True)
class Disclosure:
    """One line. `tells` are the kinds of facts by teller; `agreements` the version of each agreement by council;
    `return_mac` tells returns of other content apart; `file_sha256` is that of the encrypted file; `serial` counts the
    returns of a cohort, council and source, from 1."""

    what: str
    cohort: str
    council: str
    source: str
    service: str
    software: str
    recipient: str = ""
    recipient_name: str = ""
    tells: dict[str, list[str]] = field(default_factory=dict)
    rows: int = 0
    agreements: dict[str, str] = field(default_factory=dict)
    extract_mac: str = ""
    return_mac: str = ""
    file_sha256: str = ""
    reason: str = ""
    serial: int = 0


def record(path: Path, disclosure: Disclosure) -> dict[str, Any]:
    """Add a line, durable on return, and give it back with its number and hash. Raises `LogBroken`."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return chained_log.append(path, {"time": now, "by": chained_log.account(), **asdict(disclosure)})


@dataclass(frozen=True)
class Told:
    """What was disclosed until now of a cohort: the newest line about each return, and how many were made, by council
    and source; the MACs of deliveries that a person has released; and the day (UTC) of the log's last line."""

    newest: dict[tuple[str, str], Disclosure]
    made: Counter[tuple[str, str]]
    released: frozenset[str]
    last_day: dt.date | None


def told(path: Path, cohort: str) -> Told:
    """Looks at every line once; a run asks once, before it discloses anything. Raises `LogBroken`."""
    known = {each.name for each in fields(Disclosure)}
    lines = chained_log.entries(path)
    own = [line for line in lines if line["cohort"] == cohort]
    return Told(
        newest={
            (line["council"], line["source"]): Disclosure(**{key: value for key, value in line.items() if key in known})
            for line in own
            if line["what"] != ReturnState.RELEASED
        },
        made=Counter((line["council"], line["source"]) for line in own if line["what"] == ReturnState.MADE),
        released=frozenset(line["extract_mac"] for line in own if line["what"] == ReturnState.RELEASED),
        last_day=dt.datetime.fromisoformat(lines[-1]["time"]).date() if lines else None,
    )

"""The disclosure log: every return made or withdrawn, its recipient, kinds of facts, number of rows and agreements.

It contains no rows, children or facts. A line is added before a return is put in place, and anchored in the processing
log. If the log is lost, cut short or replaced by an older copy, it lacks a line that the processing log knows.
`privacy.chained_log` detects a line that was changed or removed.
"""

import datetime as dt
import re
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum

from assets.home import processing_log
from assets.home.paths import CohortStore, Home
from assets.home.processing_log import Processing
from privacy import chained_log

# The recipient's name before it is free text, so the anchor is read off the end.
_ANCHOR = re.compile(r".*; line (\d+) ([0-9a-f]{64})", re.DOTALL)


class ReturnState(StrEnum):
    """What happened to a return."""

    MADE = "made"
    WITHDRAWN = "withdrawn"
    RELEASED = "released"
    """A person has looked at an unusual delivery: returns may be made from it."""
    TOLD = "told"
    """A service received a receipt: who was told about its rows."""


@dataclass(frozen=True)
class LogEntry:
    """One line of the log.

    `tells` are the kinds of facts by teller, `agreements` the version of each agreement by council. `return_mac`
    identifies the content, `file_sha256` the encrypted file. `serial` counts the returns of a cohort, council and
    source from 1.
    """

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


@dataclass(frozen=True)
class LogState:
    """What has been disclosed about a cohort so far.

    By council and source, `newest` is the last entry about each return, and `made` the number made. `released` are the
    MACs of deliveries that a person released, and `last_day` (UTC) is the day of the log's last line.
    """

    newest: dict[tuple[str, str], LogEntry]
    made: Counter[tuple[str, str]]
    released: frozenset[str]
    last_day: dt.date | None


def read_state(store: CohortStore) -> LogState:
    """Read every line of the log. Raises `LogBroken`."""
    # A line also has its time, its account and its place in the chain.
    known = {each.name for each in fields(LogEntry)}
    lines = chained_log.read_entries(store.home.disclosures)
    own = [line for line in lines if line["cohort"] == store.cohort]
    return LogState(
        newest={
            (line["council"], line["source"]): LogEntry(**{key: value for key, value in line.items() if key in known})
            for line in own
            if line["what"] != ReturnState.RELEASED
        },
        made=Counter((line["council"], line["source"]) for line in own if line["what"] == ReturnState.MADE),
        released=frozenset(line["extract_mac"] for line in own if line["what"] == ReturnState.RELEASED),
        # Of any cohort, because it is compared with the clock.
        last_day=dt.datetime.fromisoformat(lines[-1]["time"]).date() if lines else None,
    )


def record(home: Home, entry: LogEntry) -> None:
    """Add a line and its anchor in the processing log, durable on return. Raises `LogBroken`."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    # The line first: without its anchor it passes the check, while an anchor without its line stops every return.
    line = chained_log.append(home.disclosures, {"time": now, "by": chained_log.get_account_name(), **asdict(entry)})
    processing_log.record(
        home,
        Processing.RETURN,
        entry.source,
        entry.cohort,
        entry.council,
        file_mac=entry.extract_mac,
        note=f"{entry.what}: {entry.recipient_name}; line {line['seq']} {line['entry_hash']}",
    )


def check_anchored(home: Home) -> int:
    """Check that the log is unbroken and has every line that the processing log knows; return the number of lines.

    Raises `LogBroken`.
    """
    hashes = [line["entry_hash"] for line in chained_log.read_entries(home.disclosures)]
    notes = (entry.note for entry in processing_log.verify(home) if entry.what == Processing.RETURN)
    for number, known in (anchor.groups() for note in notes if (anchor := _ANCHOR.fullmatch(note))):
        if hashes[int(number) - 1 : int(number)] != [known]:
            raise chained_log.LogBroken(
                f"{home.disclosures}: it lacks line {number}, which the processing log knows: it was removed, or"
                " this is an old copy. Restore the newest copy of the log from a backup, with its head; until then no"
                " return is made or withdrawn"
            )
    return len(hashes)

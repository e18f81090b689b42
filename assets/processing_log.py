"""The access and processing log: what was done with personal data, on what, when and by whom.

One JSON object a line, added before the thing is done. Each line holds the hash of the one before, and a file beside
the log the hash of the last: a line that was changed or removed is seen, at the end too. Holds names of councils and
sources, MACs of files and versions; no identifier, no row number, no count.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import getpass
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from assets.home import Home, write_json
from assets.software import software
from privacy.release.canonical import canonical_json, sha256_hex

_NO_HASH = "0" * 64


class LogBroken(Exception):
    """A processing log with a line changed, removed or unreadable; the message says where."""


class What(StrEnum):
    """What is done with personal data."""

    INTAKE = "extract taken in"
    LINKAGE = "cohort linked"
    MEASUREMENT = "cohort measured for a release, or its measurement read back"
    EXPLANATION = "link of two rows explained"
    RETURN = "return made for a service under a sharing agreement"
    FORGETTING = "rows removed on request"
    EXPIRY = "removed at the end of its retention"
    SHREDDING = "landing file shredded"


@dataclass(frozen=True)
class LogEntry:
    """One line. `time` is ISO 8601 in UTC; `run_id` is Dagster's, where a run did it; what does not apply is empty."""

    seq: int
    time: str
    who: str
    run_id: str
    what: str
    cohort: str
    council: str
    source: str
    file_mac: str
    release: str
    note: str
    software: str
    previous_hash: str
    entry_hash: str

    def computed_hash(self) -> str:
        """SHA-256 of the canonical JSON of every other field."""
        content = asdict(self)
        del content["entry_hash"]
        return sha256_hex(canonical_json(content))


def record(
    home: Home,
    what: What,
    *,
    cohort: str = "",
    council: str = "",
    source: str = "",
    file_mac: str = "",
    release: str = "",
    note: str = "",
) -> LogEntry:
    """Add a line, durable on return. Raises `LogBroken` where the log is not the one that was last written to."""
    home.prepare()
    with _writing(home) as log:
        last = _last(home, log)
        entry = LogEntry(
            seq=last.seq + 1 if last else 1,
            time=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            who=_who(),
            run_id=_run_id(),
            what=what.value,
            cohort=cohort,
            council=council,
            source=source,
            file_mac=file_mac,
            release=release,
            note=note,
            software=software(),
            previous_hash=last.entry_hash if last else _NO_HASH,
            entry_hash="",
        )
        entry = LogEntry(**asdict(entry) | {"entry_hash": entry.computed_hash()})
        os.pwrite(log, json.dumps(asdict(entry)).encode() + b"\n", os.fstat(log).st_size)
        os.fsync(log)
        write_json(_head(home), {"seq": entry.seq, "entry_hash": entry.entry_hash})
    return entry


def entries(home: Home) -> list[LogEntry]:
    """Every line, oldest first; none where nothing was recorded. Raises `LogBroken` for a line that is none."""
    path = home.processing_log
    lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
    return [_parsed(line, number) for number, line in enumerate(lines[:-1], 1)]


def verify(home: Home) -> list[LogEntry]:
    """Every line, after each was found in its place and unchanged; raises `LogBroken`."""
    found, previous = entries(home), _NO_HASH
    for number, entry in enumerate(found, 1):
        if (entry.seq, entry.previous_hash) != (number, previous):
            raise LogBroken(f"{home.processing_log}: something was removed or put in before line {number}")
        if entry.computed_hash() != entry.entry_hash:
            raise LogBroken(f"{home.processing_log}: line {number} was changed")
        previous = entry.entry_hash
    last = found[-1] if found else None
    if not _follows(home, last):
        raise LogBroken(f"{home.processing_log}: lines at the end were removed; restore the log from a backup")
    return found


@contextmanager
def _writing(home: Home) -> Iterator[int]:
    """The log, open and locked; what a death while writing left of a line is gone."""
    log = os.open(home.processing_log, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
        size = os.fstat(log).st_size
        tail = os.pread(log, _LONGEST, max(0, size - _LONGEST))
        os.ftruncate(log, size - (len(tail) - (tail.rfind(b"\n") + 1)))
        yield log
    finally:
        os.close(log)


_LONGEST = 1 << 16
"""No line is longer, in bytes."""


def _last(home: Home, log: int) -> LogEntry | None:
    size = os.fstat(log).st_size
    tail = os.pread(log, _LONGEST, max(0, size - _LONGEST)).split(b"\n")
    last = _parsed(tail[-2], None) if size else None
    if not _follows(home, last):
        raise LogBroken(f"{home.processing_log}: lines at the end were removed; restore the log from a backup")
    return last


def _follows(home: Home, last: LogEntry | None) -> bool:
    """Whether the log ends where its head says, or one line later, as after a death between the two."""
    head = _head(home)
    known = json.loads(head.read_text(encoding="utf-8")) if head.exists() else {"seq": 0, "entry_hash": _NO_HASH}
    if last is None:
        return known["seq"] == 0
    return (last.seq, last.entry_hash) == (known["seq"], known["entry_hash"]) or (
        last.previous_hash == known["entry_hash"]
    )


def _head(home: Home) -> Path:
    return home.processing_log.with_suffix(".head.json")


def _parsed(line: bytes, number: int | None) -> LogEntry:
    try:
        content: Any = json.loads(line)
        if set(content) != {field.name for field in fields(LogEntry)}:
            raise ValueError
        return LogEntry(**content)
    except (TypeError, ValueError):
        where = f"line {number}" if number else "the last line"
        raise LogBroken(f"{where} of the processing log is not one of its entries; restore it from a backup") from None


def _who() -> str:
    """The account of the operating system; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _run_id() -> str:
    """Of the Dagster run whose step this is; empty outside of one."""
    if "dagster" not in sys.modules:
        return ""
    import dagster as dg

    try:
        return dg.OpExecutionContext.get().run_id
    except dg.DagsterInvariantViolationError:
        return ""

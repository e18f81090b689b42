"""Processing log: what was done to which personal data, when and by whom.

A line is added before the action. `chained_log` describes how changed or removed lines are detected. Lines contain
names of councils and sources, MACs of files and versions, but no identifiers, row numbers or counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from assets.home.paths import Home
from assets.home.signers import check_clock
from assets.home.software import get_software_version
from privacy import chained_log
from privacy.doors import clock
from privacy.doors.locks import hold_lock

Key = tuple[str, str, str]
"""Source, cohort and council of an extract."""
_run_id: ContextVar[str] = ContextVar("run_id", default="")


class Processing(StrEnum):
    """Actions on personal data."""

    INTAKE = "extract taken in"
    STOPPED = "extract stopped"
    LINKAGE = "cohort linked"
    MEASUREMENT = "cohort measured for a release, or its measurement read back"
    EXPLANATION = "link of two rows explained"
    AUDIT = "links written out for an audit"
    REVIEW = "clerical review of links drawn or taken in"
    RETURN = "return under a sharing agreement made, withdrawn or released"
    FORGETTING = "rows removed on request"
    EXPIRY = "removed at the end of its retention"
    SHREDDING = "landing file shredded"
    WITHDRAWAL = "part of an extract withdrawn"
    BACKUP = "backup made"
    RESTORE = "restored from a backup"


@dataclass(frozen=True)
class LogEntry:
    """One line of the log. `time` is ISO 8601 in UTC; `run_id` is a Dagster run. Fields that do not apply are empty."""

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


@contextmanager
def attribute_to_run(run_id: str) -> Iterator[None]:
    """Attribute lines recorded in the block to this Dagster run."""
    token = _run_id.set(run_id)
    try:
        yield
    finally:
        _run_id.reset(token)


def record(
    home: Home,
    what: Processing,
    source: str = "",
    cohort: str = "",
    council: str = "",
    *,
    file_mac: str = "",
    release: str = "",
    note: str = "",
) -> LogEntry:
    """Append a line, durable on return.

    Raises `LogBroken` if the log was replaced since it was last written to, and `DateIsSimulated`.
    """
    check_clock(home)
    home.prepare()
    content = {
        "time": clock.format_now(),
        "who": chained_log.get_account_name(),
        "run_id": _run_id.get(),
        "what": what.value,
        "cohort": cohort,
        "council": council,
        "source": source,
        "file_mac": file_mac,
        "release": release,
        "note": note,
        "software": get_software_version(),
    }
    return _parse_entry(home, chained_log.append(home.processing_log, content))


def read_entries(home: Home) -> list[LogEntry]:
    """Return all lines, oldest first. Raises `LogBroken` if one is malformed."""
    return [_parse_entry(home, line) for line in chained_log.read_unchecked_entries(home.processing_log)]


def find_last_restore(home: Home) -> LogEntry | None:
    """Return the line of the last restore of the home folder or its records, or None."""
    # restored keys change neither ledger nor measurements
    restored = (
        line for line in read_entries(home) if line.what == Processing.RESTORE and not line.note.startswith("keys")
    )
    return max(restored, key=lambda line: line.seq, default=None)


def verify(home: Home) -> list[LogEntry]:
    """Return all lines, oldest first. Raises `LogBroken` if one was changed, moved or removed."""
    return [_parse_entry(home, line) for line in chained_log.read_entries(home.processing_log)]


def list_intakes(home: Home) -> Mapping[Key, Sequence[LogEntry]]:
    """Return the lines of ingested and stopped deliveries by extract, oldest first. Raises what `verify` raises."""
    if not home.processing_log.exists():
        return {}
    stat = home.processing_log.stat()
    return _read_intakes(home, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _read_intakes(home: Home, size: int, mtime_ns: int) -> Mapping[Key, Sequence[LogEntry]]:
    """Return the lines for `list_intakes`, cached by the log's size and time: a release reads them once per family."""
    found: dict[Key, list[LogEntry]] = {}
    with hold_lock(home.processing_log, shared=True):  # a run of another cohort may be adding lines
        lines = verify(home)
    for line in lines:
        is_part = line.what == Processing.INTAKE and line.note  # a part is not a delivery of the whole extract
        if line.what in (Processing.INTAKE, Processing.STOPPED) and not is_part:
            found.setdefault((line.source, line.cohort, line.council), []).append(line)
    return found


def _parse_entry(home: Home, line: dict[str, Any]) -> LogEntry:
    try:
        return LogEntry(**line)
    except TypeError:
        where = f"{home.processing_log}: line {line['seq']}"
        raise chained_log.LogBroken(f"{where} is not one of its entries; restore it from a backup") from None

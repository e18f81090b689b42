"""The one clock: no other module asks the system for the time or date.

Every time and date is UTC, so that a line of a log, a release's day and a person's last day never differ by the time
zone of a machine. `READINESS_SIMULATED_DATE` replaces the date; what is made under it says so (`describe_simulation`),
and outside a demonstration nothing is recorded under it (`assets.home.signers.check_clock`).

Files keep the times of the file system, which are never simulated: compare them with each other, or with
`read_file_time`.
"""

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from privacy.doors import environment

SIMULATION = "The date is simulated."
"""The sentence on everything that is made under a simulated date; without the date, so that pages stay the same."""
_held_day: ContextVar[dt.date | None] = ContextVar("held_day", default=None)


def read_machine_time() -> dt.datetime:
    """Return the machine's time in UTC, also if the date is simulated."""
    return dt.datetime.now(dt.UTC)


def now() -> dt.datetime:
    """Return the current time in UTC."""
    machine_time = read_machine_time()
    simulated = environment.get_simulated_date(machine_time)
    return simulated.start + (machine_time - simulated.began) if simulated else machine_time


def format_now() -> str:
    """Return the current time in UTC as ISO 8601, in whole seconds, as every log has it."""
    return now().isoformat(timespec="seconds")


def today() -> dt.date:
    """Return the current day in UTC, or the day on which the enclosing `hold_day` began."""
    return _held_day.get() or now().date()


@contextmanager
def hold_day(run_id: str = "") -> Iterator[None]:
    """Keep `today` the same in a block and, in this process, in every block of the same run, if it is named.

    A run over midnight thus takes the version of its release, and every date in it, from one day.
    """
    token = _held_day.set(_held_day.get() or (_read_first_day(run_id) if run_id else today()))
    try:
        yield
    finally:
        _held_day.reset(token)


@lru_cache(maxsize=8)
def _read_first_day(run_id: str) -> dt.date:
    return now().date()


def read_file_time() -> float:
    """Return the machine's time in seconds since 1970, for comparison with the times of files."""
    return time.time()


def is_simulated() -> bool:
    """Return whether the date is simulated."""
    return environment.get_simulated_date(read_machine_time()) is not None


def describe_simulation() -> str:
    """Return a sentence that says that the date is simulated; empty if it is not."""
    return SIMULATION if is_simulated() else ""

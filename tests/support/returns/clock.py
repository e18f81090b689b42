"""A clock for deliveries and the disclosure log, so that years of nights can be replayed."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

from assets.intake import ingest, part_reader
from assets.returns import accounts


@contextmanager
def set_clock(day: dt.date) -> Iterator[None]:
    """Let deliveries and the disclosure log have the time of a day."""
    moment = dt.datetime.combine(day, dt.time(6), dt.UTC)

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return moment

    clock = SimpleNamespace(**{name: getattr(dt, name) for name in ("date", "timedelta", "UTC")}, datetime=Clock)
    text = moment.isoformat(timespec="seconds")
    with (
        patch.object(accounts, "dt", clock),
        patch.object(part_reader, "format_now", lambda: text),
        patch.object(ingest, "format_now", lambda: text),
    ):
        yield

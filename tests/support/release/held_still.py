"""What differs between two releases of one input, held still: the noise, identity and place of the ledger, and times
of charges and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from unittest.mock import patch

from privacy.release import approval, ledger, session
from privacy.release.mechanism import OPENDP
from tests.support.release.doubles import OneByOne, RecordedNoise


class SameNoise(RecordedNoise):
    """Passes for OpenDP, and adds to the counts what depends on nothing but the number of the draw."""

    name = OPENDP

    def __init__(self, rho: float) -> None:
        super().__init__(5)


class _FixedTime(datetime):
    @classmethod
    def now(cls, tz: object = None) -> _FixedTime:
        return cls(2026, 11, 1, tzinfo=UTC)


@contextmanager
def held_still(noise: type[OneByOne] = SameNoise) -> Iterator[None]:
    """Releases within are a function of their input, policy and keys."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(session, "OpenDPNoise", noise))
        stack.enter_context(patch.object(ledger, "datetime", _FixedTime))
        stack.enter_context(patch.object(ledger, "_nonce", lambda: "0" * 32))
        stack.enter_context(patch.object(ledger.Ledger, "place", lambda _: "one place"))
        stack.enter_context(patch.object(approval, "_now", lambda: _FixedTime.now(UTC).isoformat()))
        yield

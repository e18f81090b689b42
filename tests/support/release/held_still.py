"""Makes releases reproducible by fixing everything that differs between releases of one input: noise, the ledger's
nonce and location, and times of charges and signatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np

from privacy.release import approval, ledger, session
from privacy.release.mechanism import OPENDP
from tests.support.release.doubles import Integers, OneByOne


class SameNoise(OneByOne):
    """A noise source that poses as OpenDP, with rounded normal noise that depends only on the number of the draw."""

    name = OPENDP

    def __init__(self, rho: float) -> None:
        self._generator = np.random.default_rng(5)

    def drawn(self, counts: Integers, sigma: float) -> Integers:
        return counts + np.rint(self._generator.normal(0, sigma, counts.shape)).astype(np.int64)


class _FixedTime(datetime):
    @classmethod
    def now(cls, tz: object = None) -> _FixedTime:
        return cls(2026, 11, 1, tzinfo=UTC)


@contextmanager
def held_still(noise: type[OneByOne] = SameNoise) -> Iterator[None]:
    """Make releases in the block depend only on their input, policy and keys."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(session, "OpenDPNoise", noise))
        stack.enter_context(patch.object(ledger, "datetime", _FixedTime))
        stack.enter_context(patch.object(ledger, "_make_nonce", lambda: "0" * 32))
        stack.enter_context(patch.object(ledger.Ledger, "place", lambda _: "one place"))
        stack.enter_context(patch.object(approval, "_format_now", lambda: _FixedTime.now(UTC).isoformat()))
        yield

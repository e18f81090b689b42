"""Functions that the session tests run in separate processes: measurements that crash or race with others.

Processes are started by `multiprocessing` with the spawn method, so only files are shared with the test.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from privacy.release import session
from privacy.release.ledger import BudgetExceeded, Ledger
from privacy.release.mechanism import Measurement, NoiseSource, OpenDPNoise, charge
from privacy.release.session import measure_once
from tests.support.release.examples import small_plan


def measure_here(
    home: Path, noise: NoiseSource | None = None, count: Callable[[], object] | None = None
) -> Measurement:
    """Run the measurement that all these tests use."""
    plan = small_plan()
    counts = {a: np.full(plan.family.shape(a), 7, dtype=np.int64) for a in plan.sigmas}
    return measure_once(
        Ledger(home / "ledger.sqlite"),
        home / "restricted",
        cohort="202425",
        release="2026.11.0",
        family="small",
        plan=plan,
        input_mac="a" * 64,
        count=count or (lambda: counts),
        published=tuple,
        noise=noise,
    )


def faulting(home: Path) -> None:
    """Measure, and crash by reading invalid memory during the draw."""
    with patch.object(session, "OpenDPNoise", _FaultyNoise):
        measure_here(home)


def racing(barrier: Barrier, home: Path) -> None:
    """Wait for the other processes, measure, and record every draw."""
    barrier.wait()
    measure_here(home, NotingNoise(home / "draws"))


def spending(barrier: Barrier, location: str, release: str, rho: float) -> None:
    """Wait for the other processes and charge; exit with 1 if the budget does not allow it."""
    ledger = Ledger(location)
    barrier.wait()
    try:
        ledger.reserve("202425", release, "pupil", rho, "p" * 64, "m" * 64)
    except BudgetExceeded:
        sys.exit(1)


def holding(held: Event, location: str) -> None:
    """Take the lock of a measuring process, signal that, and hold it until killed."""
    with Ledger(location).exclusive():
        held.set()
        signal.pause()


class NotingNoise:
    """OpenDP noise that records which process draws."""

    name = OpenDPNoise.name

    def __init__(self, notes: Path) -> None:
        self._noise = OpenDPNoise(charge(small_plan()))
        self._notes = notes

    def add(self, vectors: Sequence[NDArray[np.int64]], sigmas: Sequence[float]) -> list[NDArray[np.int64]]:
        with self._notes.open("a") as notes:
            notes.write(f"{os.getpid()}\n")
        return self._noise.add(vectors, sigmas)


class _FaultyNoise(OpenDPNoise):
    def add(self, vectors: Sequence[NDArray[np.int64]], sigmas: Sequence[float]) -> list[NDArray[np.int64]]:
        super().add(vectors, sigmas)
        ctypes.string_at(0)
        raise AssertionError("it should have crashed")

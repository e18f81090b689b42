"""G. No draw ends its process: not under load, and not when a signal raises an exception in the middle of it."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import numpy as np

from privacy.release.mechanism import OpenDPNoise, charge, measure
from tests.support.release.examples import small_plan

SPAWN = multiprocessing.get_context("spawn")


class Interrupt(BaseException):
    """What a handler of a signal raises."""


def check_draws_under_load(draws: int) -> None:
    """Raises AssertionError unless two processes for each core make so many draws together, with nothing left over."""
    workers = 2 * (os.cpu_count() or 1)
    _check_all_end_well([SPAWN.Process(target=_draw, args=(draws // workers,)) for _ in range(workers)])


def check_interrupted_draws(every: int) -> None:
    """Raises AssertionError unless a process survives an exception at each of these lines of OpenDP's Python: of
    some 5,400 that a draw of the small plan runs, one in `every`."""
    _check_all_end_well([SPAWN.Process(target=_draw_interrupted, args=(every,))])


def _check_all_end_well(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _drawn() -> None:
    plan = small_plan()
    counts = {a: np.full(plan.family.shape(a), 7, dtype=np.int64) for a in plan.sigmas}
    measure(plan, counts, OpenDPNoise(charge(plan)))


def _draw(draws: int) -> None:
    faulthandler.enable()
    for _ in range(draws):
        _drawn()


def _draw_interrupted(every: int) -> None:
    """Interrupt one draw at one moment, the next a little later, until a draw is over before its moment comes."""
    faulthandler.enable()
    sys.unraisablehook = lambda _: None  # an interrupt in a destructor is told there, hundreds of times
    _drawn()
    moment = _Moment(0)
    while moment.has_come:
        moment = _Moment(moment.line + every)
        sys.settrace(moment)
        with suppress(Interrupt, Exception):  # whatever it ends as, no noise was seen
            _drawn()
        sys.settrace(None)


class _Moment:
    """Raises `Interrupt` once, at a line of OpenDP's Python or of the mechanism."""

    def __init__(self, line: int) -> None:
        self.line, self._lines, self.has_come = line, 0, not line

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if not any(part in frame.f_code.co_filename for part in ("/opendp/", "release/mechanism")):
            return None
        self._lines += event == "line"
        if self._lines == self.line:
            self.has_come = True
            raise Interrupt
        return self

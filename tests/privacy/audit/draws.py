"""G. No draw ends its process, under load or when a signal handler raises an exception during the draw."""

import faulthandler
import multiprocessing
import os
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

import numpy as np

from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from tests.support.release.examples import make_small_plan

SPAWN = multiprocessing.get_context("spawn")


class Interrupt(BaseException):
    """The exception raised by a signal handler."""


def check_draws_under_load(draws: int) -> None:
    """Raise AssertionError unless two processes per core together make this many draws and end normally."""
    workers = 2 * (os.cpu_count() or 1)
    _check_all_end_well([SPAWN.Process(target=_draw, args=(draws // workers,)) for _ in range(workers)])


def check_interrupted_draws(every: int) -> None:
    """Raise AssertionError unless a process survives an exception at one in `every` lines of OpenDP's Python, of about
    5,400 that a draw of the small plan runs."""
    _check_all_end_well([SPAWN.Process(target=_draw_interrupted, args=(every,))])


def _check_all_end_well(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def _drawn() -> None:
    plan = make_small_plan()
    counts = {a: np.full(plan.family.get_shape(a), 7, dtype=np.int64) for a in plan.sigmas}
    measure(plan, counts, OpenDPNoise(compute_charge(plan)))


def _draw(draws: int) -> None:
    faulthandler.enable()
    for _ in range(draws):
        _drawn()


def _draw_interrupted(every: int) -> None:
    """Interrupt successive draws, each a little later, until a draw ends before its interrupt."""
    faulthandler.enable()
    sys.unraisablehook = lambda _: None  # interrupts in destructors are reported there, hundreds of times
    _drawn()
    moment = _Moment(0)
    while moment.has_come:
        moment = _Moment(moment.line + every)
        sys.settrace(moment)
        with suppress(Interrupt, Exception):  # no noise was visible, however the draw ends
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

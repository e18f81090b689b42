"""Kills a process at any of the steps that change a disk."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.installation.rig import KILLED, KILLS
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM

_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "sqlite3.connect"}
"""Python's audit events for operations that change a disk, raised before the operation."""


def _kill_at(step: int, root: Path, act: Callable[[Path], int]) -> None:
    """Run `act` in this process, and kill it when it begins the given step below a folder."""
    left, below = step, str(root)

    def watch(event: str, given: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS and given and str(given[0]).startswith(below):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.exit(act(root))


def kill_at_steps(
    copy: Callable[[str], Path], act: Callable[[Path], int], check: Callable[[Path], None], furthest: int
) -> None:
    """Kill `act` at steps from first to last, each in a copy of a folder, and check what is left.

    Every step is tried if READINESS_AUDIT_FAULTS is set, otherwise at least one in `furthest`. `act` returns an exit
    status, and must be a module's function (or a partial of one), so that a new process can import it.
    """
    chosen, step = random.Random("steps"), 0
    died = 0
    while True:
        root = copy(f"step{step}")
        process = WARM.Process(target=_kill_at, args=(step, root, act))
        process.start()
        process.join(PATIENCE)
        assert process.exitcode in (KILLED, 0)
        check(root)
        shutil.rmtree(root)
        if process.exitcode == 0:
            break
        died += 1
        step += 1 if KILLS else chosen.randint(1, furthest)
    assert died > 3

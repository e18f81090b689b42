"""What a process does on a disk, step by step, and a death at any of them."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.installation.rig import KILLED, KILLS, WARM
from tests.support.waiting import PATIENCE

_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "sqlite3.connect"}
"""What Python tells of, as it begins, that leaves something on a disk."""


def _dies_at(step: int, root: Path, act: Callable[[Path], int]) -> None:
    """Act in this process, which is killed when it begins that step below a folder."""
    left, below = step, str(root)

    def watch(event: str, given: tuple[object, ...]) -> None:
        nonlocal left
        if event in _STEPS and given and str(given[0]).startswith(below):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    sys.exit(act(root))


def killed_at_steps(
    copy: Callable[[str], Path], act: Callable[[Path], int], check: Callable[[Path], None], furthest: int
) -> None:
    """Kill `act` at steps from its first to its last, each in a copy of a folder, and check what is left: at every step
    where READINESS_AUDIT_FAULTS is set, else at one in `furthest` at least.

    `act` is a function of a module, or a part of one, which a new process can import; it gives an exit status.
    """
    chosen, step = random.Random("steps"), 0
    died = 0
    while True:
        root = copy(f"step{step}")
        process = WARM.Process(target=_dies_at, args=(step, root, act))
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

"""Collects what a process that is killed would leave on disk, after every step that changes it."""

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from tests.support.installation.rig import KILLS
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM

_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "sqlite3.connect"}
"""Python's audit events around operations that change a disk, raised before the operation."""
_Seen: TypeAlias = dict[str, tuple[int, int, int, int]]


def _look(root: Path) -> _Seen:
    """Return what tells apart two states of a folder: inode, mode, size and time of each file, by path."""
    found: _Seen = {}
    for folder, _, names in os.walk(root):
        for path in (folder, *(os.path.join(folder, name) for name in names)):  # noqa: PTH118 - a tenth of the time
            stat = os.lstat(path)
            is_folder = path == folder
            found[path] = (stat.st_ino, stat.st_mode, *((0, 0) if is_folder else (stat.st_size, stat.st_mtime_ns)))
    return found


def _copy_states(root: Path, act: Callable[[Path], int], into: Path, furthest: int) -> None:
    """Run `act` in this process, and copy a folder whenever it has changed since the last step, or some of the times.

    A copy is what a kill at that step leaves.
    """
    chosen, seen, busy, left = random.Random("steps"), _look(root), False, 0

    def watch(event: str, _: tuple[object, ...]) -> None:
        nonlocal busy, seen, left
        if event not in _STEPS or busy:
            return
        busy = True
        try:
            now = _look(root)
            if now != seen:
                seen = now
                left -= 1
                if left < 0:
                    left = 0 if KILLS else chosen.randrange(furthest)
                    shutil.copytree(root, into / str(len(os.listdir(into))), symlinks=True)  # noqa: PTH208
        finally:
            busy = False

    sys.addaudithook(watch)
    sys.exit(act(root))

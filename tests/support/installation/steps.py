"""Collects what a process would leave on disk if it were killed at any of its writes."""

import os
import random
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.support.installation.rig import KILLS
from tests.support.waiting import PATIENCE
from tests.support.warm import WARM

_STEPS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "sqlite3.connect"}
"""Python's audit events around writes, raised before each. DuckDB and Arrow write their files between two of them."""


def kill_at_steps(
    copy: Callable[[str], Path], act: Callable[[Path], int], check: Callable[[Path], None], furthest: int
) -> None:
    """Check what is left in a folder if `act` is killed: before it begins, at its writes, and after its end.

    `act` runs once, in a process of its own that copies the folder at each write, as a kill at that moment leaves it:
    at every write if READINESS_AUDIT_FAULTS is set, otherwise at least at one in `furthest`. It returns an exit status,
    and must be a module's function (or a partial of one), so that a new process can import it.
    """
    root = copy("acted")
    left_by_kills = root.with_name("left")
    left_by_kills.mkdir()
    process = WARM.Process(target=_copy_at_writes, args=(root, act, left_by_kills, furthest))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == 0
    killed = sorted(left_by_kills.iterdir(), key=lambda path: int(path.name))
    assert len(killed) > 3
    for folder in (*killed, root):
        check(folder)
        shutil.rmtree(folder)
    left_by_kills.rmdir()


def _copy_at_writes(root: Path, act: Callable[[Path], int], into: Path, furthest: int) -> None:
    """Run `act` in this process, and copy a folder to `into` before it begins and at writes below it."""
    chosen, skipped, number, seen = random.Random("steps"), 0, 0, _look(root)

    def watch(event: str, _: tuple[object, ...]) -> None:
        nonlocal skipped, number, seen
        # reading and copying a folder raises events too
        if event not in _STEPS or number < 0 or (now := _look(root)) == seen:
            return
        seen, skipped = now, skipped - 1
        if skipped < 0:
            skipped = 0 if KILLS else chosen.randrange(furthest)
            copied, number = number, -1
            shutil.copytree(root, into / str(copied), symlinks=True)
            number = copied + 1

    shutil.copytree(root, into / "0", symlinks=True)
    number = 1
    sys.addaudithook(watch)
    sys.exit(act(root))


def _look(root: Path) -> dict[str, tuple[int, ...]]:
    """Return what tells two states of a folder apart: mode and inode of each path, and of files size and time."""
    found = {}
    for folder, _, names in os.walk(root):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            # another thread may have moved it away
            with suppress(FileNotFoundError):
                stat = os.lstat(path)
                of_file = () if path == folder else (stat.st_size, stat.st_mtime_ns)
                found[path] = (stat.st_mode, stat.st_ino, *of_file)
    return found

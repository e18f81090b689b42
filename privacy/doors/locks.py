"""Locks held by the kernel (`flock`) on a file or folder, released when the holder dies, so none is ever stale.

Windows has no such locks; nothing that runs at a sender imports this.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from privacy.doors.files import OWNER_ONLY_FILE

PATIENCE_SECONDS = 600.0
"""Default time that a process waits for a lock."""
_LOOK_AGAIN_SECONDS = 0.1


@contextmanager
def hold_lock(
    place: Path, *, shared: bool = False, refusal: Exception | None = None, patience: float = PATIENCE_SECONDS
) -> Iterator[int]:
    """Hold the lock on `place` for the block and yield its descriptor. A missing file is created.

    Raises `refusal` if others hold the lock for longer than `patience` seconds; without `refusal`, it waits for ever.
    Any number of holders may have a `shared` lock; an exclusive lock has a single holder.
    """
    flags = os.O_RDONLY if place.is_dir() else os.O_CREAT | os.O_RDWR
    handle = os.open(place, flags | os.O_CLOEXEC, OWNER_ONLY_FILE)
    try:
        _take(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, refusal, patience)
        yield handle
    finally:
        os.close(handle)


def is_held(place: Path) -> bool:
    """Return whether anyone holds the lock on a file or folder; False if it does not exist."""
    handle = take_if_free(place)
    if handle is not None:
        os.close(handle)
    return handle is None and place.exists()


def take_if_free(place: Path) -> int | None:
    """Return the descriptor of a lock on `place`, which the caller closes; None if it is held or does not exist."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def clear_scratch(folder: Path, prefix: str) -> None:
    """Remove temporary folders in `folder` that `open_scratch` created for processes that died."""
    for left in folder.glob(f"{prefix}*"):
        # The process that created a folder holds its lock for as long as it runs.
        if (handle := take_if_free(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(handle)


@contextmanager
def open_scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """Create a temporary folder in `folder` for the block; first remove those of processes that died."""
    # Until the new folder has its own lock, another process would take it for one left behind, and remove it.
    with hold_lock(folder):
        clear_scratch(folder, prefix)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        mine = take_if_free(made)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if mine is not None:
            os.close(mine)


def _take(handle: int, kind: int, refusal: Exception | None, patience: float) -> None:
    if refusal is None:
        return fcntl.flock(handle, kind)
    # flock has no time limit, so the lock is tried repeatedly.
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise refusal from None
            time.sleep(_LOOK_AGAIN_SECONDS)

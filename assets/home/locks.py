"""Locks of the kernel (`flock`) on files and folders of a home folder, let go when their holder dies: none is stale."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 600.0
"""How long one process waits for another."""
_LOOK_AGAIN_SECONDS = 0.1


@contextmanager
def locked(place: Path, kind: int, refusal: Exception, patience: float) -> Iterator[None]:
    """Hold the lock on the file `place` for the block, of the `kind` `LOCK_SH` or `LOCK_EX`.

    Raises `refusal` where others hold it for longer than `patience` seconds.
    """
    handle = os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        _wait(handle, kind, refusal, patience)
        yield
    finally:
        os.close(handle)


@contextmanager
def scratch(folder: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `folder`, gone afterwards; those of processes that died are cleared away first."""
    with _only_one(folder):
        for left in folder.glob(f"{prefix}*"):
            if (handle := _free(left)) is not None:
                shutil.rmtree(left, ignore_errors=True)
                os.close(handle)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
        mine = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(mine, fcntl.LOCK_EX)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(mine)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _free(folder: Path) -> int | None:
    """A lock on a folder that nobody holds; None where its maker is alive."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _wait(handle: int, kind: int, refusal: Exception, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise refusal from None
            time.sleep(_LOOK_AGAIN_SECONDS)

"""Whose turn it is: one process at a time works on a cohort, and what dead ones left half-made is cleared away.

The locks are the kernel's (`flock`), on files and folders of the restricted zone, and are let go when their holder
dies: none is ever stale, and none is to be removed by hand.
"""

from __future__ import annotations

import fcntl
import functools
import inspect
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from assets.home import Home

PATIENCE_SECONDS = 600.0
"""How long a step waits for another process that works on its cohort."""
_LOOK_AGAIN_SECONDS = 0.1

P = ParamSpec("P")
R = TypeVar("R")


class Busy(Exception):
    """Another process works on the cohort, and did not come to an end."""


@contextmanager
def turn(home: Home, cohorts: Iterable[str]) -> Iterator[None]:
    """Keep every other process that works on these cohorts out for the block; raises `Busy`.

    Waits for `PATIENCE_SECONDS`: the second of two runs of a partition then finds what the first has made.
    """
    home.prepare()
    with ExitStack() as held:
        for cohort in sorted(set(cohorts)):
            place = home.restricted / "turns" / f"cohort={cohort}"
            place.parent.mkdir(exist_ok=True)
            handle = os.open(place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            held.callback(os.close, handle)
            _wait(handle, f"another run works on cohort {cohort} in {home.root}: wait until it has ended")
        yield


def in_turn(step: Callable[P, R]) -> Callable[P, R]:
    """A function of `home` and `cohort` that no two processes run at once for one cohort."""
    signature = inspect.signature(step)

    @functools.wraps(step)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        with turn(given["home"], [given["cohort"]]):
            return step(*args, **kwargs)

    return waiting


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


def _wait(handle: int, sentence: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(f"{sentence}, and run again") from None
            time.sleep(_LOOK_AGAIN_SECONDS)

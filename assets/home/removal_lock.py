"""Who is at work in the restricted zone: many steps side by side, or one that removes rows or files, alone.

Whoever comes after a removal that broke off finishes it, before anything else is read.
"""

from __future__ import annotations

import fcntl
import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Concatenate, ParamSpec, TypeVar

from assets.home.locks import PATIENCE_SECONDS, locked
from assets.home.paths import Home

_REMOVING = "rows or files of it are being removed"
_held: ContextVar[bool] = ContextVar("held", default=False)

P = ParamSpec("P")
R = TypeVar("R")


class InUse(Exception):
    """Others are at work in the home folder, and did not come to an end."""


@contextmanager
def in_use(home: Home) -> Iterator[None]:
    """Keep removals out for the block; raises `InUse` where one does not end."""
    if _held.get():
        yield
        return
    if home.unfinished_removal.exists():
        from assets.keeping.forgetting import finish  # which itself links again, and so is in use

        finish(home)
    with _locked(home, fcntl.LOCK_SH, _REMOVING):
        if home.unfinished_removal.exists():
            raise InUse(f"{home.root}: {_REMOVING}; try again when that has ended")
        yield


@contextmanager
def alone(home: Home, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep everyone else out for the block, with nothing left of steps that died; raises `InUse`."""
    if _held.get():
        yield
        return
    with _locked(home, fcntl.LOCK_EX, "a run is at work in it", patience):
        token = _held.set(True)
        try:
            _clear(home)
            yield
        finally:
            _held.reset(token)


def while_in_use(step: Callable[Concatenate[Home, P], R]) -> Callable[Concatenate[Home, P], R]:
    """A function of a home folder during which nothing is removed from it."""

    @functools.wraps(step)
    def kept(home: Home, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with in_use(home):
            return step(home, *args, **kwargs)

    return kept


@contextmanager
def _locked(home: Home, kind: int, why: str, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    home.prepare()
    refusal = InUse(f"{home.root}: {why}; try again when that has ended")
    with locked(home.lock, kind, refusal, patience):
        yield


def _clear(home: Home) -> None:
    """Remove what steps that died have left half-made."""
    for folder in home.restricted.glob("staging-*"):
        shutil.rmtree(folder)
    for kind in ("pseudonymised", "quarantine", "quality", "history", "stopped", "reports", "linked"):
        for path in (home.restricted / kind).rglob("*.new"):
            path.unlink()

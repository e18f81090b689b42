"""Who is at work in the restricted zone. No lock is to be removed by hand.

Many steps go side by side, but one at a time on a cohort, and in its intake one at a time on a council's extracts; one
that removes rows or files goes alone. Nothing is read while a removal is unfinished: whoever opens the home folder
finishes it first (`pipelines.opening`).
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from assets.home.paths import Home
from privacy.doors.locks import PATIENCE_SECONDS, locked

_REMOVAL_AT_WORK = "rows or files of it are being removed"
_held: ContextVar[bool] = ContextVar("held", default=False)
_mine: ContextVar[frozenset[Path]] = ContextVar("mine", default=frozenset())

P = ParamSpec("P")
R = TypeVar("R")


class InUse(Exception):
    """Others are at work in the home folder, and did not come to an end."""


class RemovalUnfinished(InUse):
    """A removal has begun and has not been finished: its process is still at it, or died."""


class Busy(Exception):
    """Another process works on the cohort, and did not come to an end."""


@contextmanager
def in_use(home: Home, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep removals out for the block. Raises `InUse` where one does not end within `patience` seconds, and
    `RemovalUnfinished` where one broke off."""
    if _held.get():
        yield
        return
    home.prepare()
    with locked(home.lock, shared=True, refusal=InUse(_refusal(home, _REMOVAL_AT_WORK)), patience=patience):
        if home.is_removal_unfinished:
            raise RemovalUnfinished(_refusal(home, _REMOVAL_AT_WORK))
        yield


@contextmanager
def alone(home: Home, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Keep everyone else out for the block, with nothing left of steps that died; raises `InUse`."""
    if _held.get():
        yield
        return
    home.prepare()
    with locked(home.lock, refusal=InUse(_refusal(home, "a run is at work in it")), patience=patience):
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
def turn(home: Home, cohorts: Iterable[str]) -> Iterator[None]:
    """Keep every other process that works on these cohorts out for the block; raises `Busy`.

    Waits as long as every lock does: the second of two runs of a partition then finds what the first has made. A
    block within another has the turns of both.
    """
    home.prepare()
    mine = _mine.get()
    with ExitStack() as held:
        places = [_take(held, home, cohort, mine) for cohort in sorted(set(cohorts))]
        token = _mine.set(mine | set(places))
        try:
            yield
        finally:
            _mine.reset(token)


@contextmanager
def turn_of_senders(home: Home, senders: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Keep out for the block whoever takes in extracts of these (council, cohort), or works on a whole cohort of them;
    other councils' extracts are taken in beside it. Raises `Busy`."""
    home.prepare()
    mine, ordered = _mine.get(), sorted({(cohort, council) for council, cohort in senders})
    with ExitStack() as held:
        for cohort in sorted({cohort for cohort, _ in ordered}):
            _take(held, home, cohort, mine, shared=True)
        for cohort, council in ordered:
            _take(held, home, cohort, mine, council)
        yield


def _take(
    held: ExitStack, home: Home, cohort: str, mine: frozenset[Path], council: str = "", *, shared: bool = False
) -> Path:
    """The place whose lock is held until `held` ends, of a cohort or of one council's part in it."""
    place = home.restricted / "turns" / f"cohort={cohort}{f'.{council}' if council else ''}"
    if place not in mine:
        place.parent.mkdir(exist_ok=True)
        of = f"{council} of cohort {cohort}" if council else f"cohort {cohort}"
        busy = Busy(f"another run works on {of} in {home.root}: wait until it has ended, and run again")
        held.enter_context(locked(place, shared=shared, refusal=busy, patience=PATIENCE_SECONDS))
    return place


def in_turn(step: Callable[Concatenate[Home, str, P], R]) -> Callable[Concatenate[Home, str, P], R]:
    """A function of a home folder and a cohort that no two processes run at once for one cohort."""

    @functools.wraps(step)
    def waiting(home: Home, cohort: str, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with turn(home, [cohort]):
            return step(home, cohort, *args, **kwargs)

    return waiting


def _refusal(home: Home, why: str) -> str:
    return f"{home.root}: {why}; try again when that has ended"


def _clear(home: Home) -> None:
    """Remove what steps that died have left half-made."""
    for folder in home.restricted.glob("staging-*"):
        shutil.rmtree(folder)
    kinds = (
        "pseudonymised",
        "parts",
        "several",
        "quarantine",
        "quality",
        "history",
        "stopped",
        "reports",
        "linked",
        "forgotten",
    )
    for folder in (home.tokens_zone, *(home.restricted / kind for kind in kinds)):
        for left in ("*.new", ".*.unfinished"):  # the first is what earlier releases left
            for path in folder.rglob(left):
                path.unlink()

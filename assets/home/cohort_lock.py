"""Whose turn it is: one process at a time works on a cohort. No lock is to be removed by hand."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import ParamSpec, TypeVar

from assets.home.paths import Home
from privacy.doors.locks import PATIENCE_SECONDS, locked

_mine: ContextVar[frozenset[Path]] = ContextVar("mine", default=frozenset())

P = ParamSpec("P")
R = TypeVar("R")


class Busy(Exception):
    """Another process works on the cohort, and did not come to an end."""


@contextmanager
def turn(home: Home, cohorts: Iterable[str]) -> Iterator[None]:
    """Keep every other process that works on these cohorts out for the block; raises `Busy`.

    Waits as long as every lock does: the second of two runs of a partition then finds what the first has made. A
    block within another has the turns of both.
    """
    home.prepare()
    places = {cohort: home.restricted / "turns" / f"cohort={cohort}" for cohort in sorted(set(cohorts))}
    mine = _mine.get()
    with ExitStack() as held:
        for cohort, place in places.items():
            if place not in mine:
                place.parent.mkdir(exist_ok=True)
                at_work = f"another run works on cohort {cohort} in {home.root}"
                busy = Busy(f"{at_work}: wait until it has ended, and run again")
                held.enter_context(locked(place, refusal=busy, patience=PATIENCE_SECONDS))
        token = _mine.set(mine | set(places.values()))
        try:
            yield
        finally:
            _mine.reset(token)


def in_turn(step: Callable[P, R]) -> Callable[P, R]:
    """A function of `home` and `cohort` that no two processes run at once for one cohort."""
    signature = inspect.signature(step)

    @functools.wraps(step)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        with turn(given["home"], [given["cohort"]]):
            return step(*args, **kwargs)

    return waiting

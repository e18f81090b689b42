"""Locks of the restricted zone, which decide what may run at the same time. They never need removing by hand.

Steps run in parallel, but only one at a time for a cohort or, during intake, for a council's extracts of a cohort. A
removal of rows or files runs alone. No step reads while a removal is unfinished: opening the home folder finishes it
first (`assets.keeping.withdrawing.open_home`).
"""

import functools
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from assets.home.paths import CohortStore, Home
from privacy.doors.locks import PATIENCE_SECONDS, hold_lock

_WRITTEN_BY_STEPS = (
    *("pseudonymised", "parts", "several", "quarantine", "quality", "history", "stopped", "reports"),
    *("linked", "forgotten"),
)
_REMOVAL_AT_WORK = "{}: rows or files of it are being removed; try again when that has ended"
_INTERRUPTED = (
    "{}: a removal of rows was interrupted, and these keys cannot finish it: `readiness run`, with the keys of intake"
    " and linkage, does"
)
_RUN_AT_WORK = "{}: a run is at work in it; try again when that has ended"
_held: ContextVar[bool] = ContextVar("held", default=False)
_mine: ContextVar[frozenset[Path]] = ContextVar("mine", default=frozenset())

P = ParamSpec("P")
R = TypeVar("R")


class Lockable(Protocol):
    """Something of a cohort in a home folder, such as a `CohortStore`."""

    @property
    def home(self) -> Home: ...
    @property
    def cohort(self) -> str: ...


S = TypeVar("S", bound=Lockable)


class InUse(Exception):
    """Raised if another process works on the home folder or cohort for too long, or a removal was interrupted."""


@contextmanager
def block_removals(home: Home, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Prevent removals during the block. Raises `InUse` if one does not end in time, or was interrupted."""
    if _held.get():
        yield
        return
    home.prepare()
    with hold_lock(home.lock, shared=True, refusal=InUse(_REMOVAL_AT_WORK.format(home.root)), patience=patience):
        # no removal is at work, because whoever removes holds the lock
        if home.is_removal_unfinished:
            raise InUse(_INTERRUPTED.format(home.root))
        yield


@contextmanager
def lock_home(home: Home, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Clean up after steps that died, and prevent all other work. Raises `InUse` if that does not end in time."""
    if _held.get():
        yield
        return
    home.prepare()
    with hold_lock(home.lock, refusal=InUse(_RUN_AT_WORK.format(home.root)), patience=patience):
        token = _held.set(True)
        try:
            # nobody else is at work, so whatever is unfinished belongs to a process that died
            for folder in home.restricted.glob("staging-*"):
                shutil.rmtree(folder)
            for folder in (home.tokens_zone, *(home.restricted / kind for kind in _WRITTEN_BY_STEPS)):
                for path in folder.rglob(".*.unfinished"):
                    path.unlink()
            yield
        finally:
            _held.reset(token)


def with_removals_blocked(step: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a function of a cohort or an extract to prevent removals while it runs."""
    return _hold(lambda store: block_removals(store.home), step)


@contextmanager
def lock_cohorts(home: Home, cohorts: Iterable[str]) -> Iterator[None]:
    """Lock these cohorts during the block. Raises `InUse` if another process does not release one in time.

    Because it waits, the second of two runs of a partition finds the first one's results. A nested block holds its
    locks in addition to the outer ones.
    """
    home.prepare()
    with ExitStack() as held:
        # always in the same order, so that no two processes wait for each other
        places = [_take(held, home.get_cohort(cohort)) for cohort in sorted(set(cohorts))]
        token = _mine.set(_mine.get() | set(places))
        try:
            yield
        finally:
            _mine.reset(token)


@contextmanager
def lock_senders(home: Home, senders: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Lock the extracts of these (council, cohort) pairs during the block.

    The lock keeps out other intakes of these extracts and work on the whole cohorts. Other councils' extracts can still
    be ingested in parallel. Raises `InUse` as `lock_cohorts` does.
    """
    home.prepare()
    ordered = sorted({(cohort, council) for council, cohort in senders})
    with ExitStack() as held:
        # shared: keeps out work on the whole cohort, but not intakes of other councils
        for cohort in sorted({cohort for cohort, _ in ordered}):
            _take(held, home.get_cohort(cohort), shared=True)
        for cohort, council in ordered:
            _take(held, home.get_cohort(cohort), council)
        yield


def _take(held: ExitStack, store: CohortStore, council: str = "", *, shared: bool = False) -> Path:
    """Lock a cohort, or one council's part of it, until `held` closes, and return the lock's path."""
    place = store.home.restricted / "turns" / f"cohort={store.cohort}{f'.{council}' if council else ''}"
    # opening the lock file again would make this process wait for its own lock
    if place not in _mine.get():
        place.parent.mkdir(exist_ok=True)
        of = f"{council} of cohort {store.cohort}" if council else f"cohort {store.cohort}"
        busy = InUse(f"another run works on {of} in {store.home.root}: wait until it has ended, and run again")
        held.enter_context(hold_lock(place, shared=shared, refusal=busy, patience=PATIENCE_SECONDS))
    return place


def with_cohort_lock(step: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a function of a cohort or an extract, so that only one process at a time runs it for a cohort."""
    return _hold(lambda store: lock_cohorts(store.home, [store.cohort]), step)


def _hold(
    lock: Callable[[S], AbstractContextManager[None]], step: Callable[Concatenate[S, P], R]
) -> Callable[Concatenate[S, P], R]:
    @functools.wraps(step)
    def run_locked(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with lock(store):
            return step(store, *args, **kwargs)

    return run_locked

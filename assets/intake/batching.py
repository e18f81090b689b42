"""Many extracts at once, each on a way of its own (`take_in`), and what they share because it costs the same for many.

A way stops where its rows want types and tokens, where what was written is to be counted, which one statement does for
several small extracts, and where it is to be judged, which one run of the suites does for many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event
from typing import Any, Generic, TypeAlias, TypeVar

from assets.intake.profile import Uncounted
from assets.intake.quality import Finding, ValidationRequest
from assets.pseudonymise.stream_extract import Untokenised, prefetch

GROUPS_AT_ONCE = 2
"""While the rows of one are given tokens those of another can be read."""
EXTRACTS_SETTLED_AT_ONCE = 4
"""ValidationRequest extracts put in place: they wait for the disk, and never for one that is being read."""
EXTRACTS_JUDGED_TOGETHER = 64
"""At least, or a quarter of all: a run of the suites takes a fifth of a second whatever it looks at."""
EXTRACTS_TOGETHER = 32
BYTES_TOGETHER = 4 << 20
"""Of the files of extracts that go through one statement together: the rows of each group are held in memory."""

R = TypeVar("R")
T = TypeVar("T")
Wanted: TypeAlias = Untokenised | Uncounted | ValidationRequest
Way: TypeAlias = Generator[Wanted, Any, R]
"""What is yielded waits for others; what is sent back is the rows with tokens, the counts, the findings."""
Judge: TypeAlias = Callable[[Sequence[ValidationRequest]], Sequence[tuple[Finding, ...]]]
Answers: TypeAlias = Mapping[type, Callable[[Sequence[Any]], Sequence[Any]]]
"""By what is wanted before a judgement, in this order, what gives it to several extracts."""


@dataclass(eq=False)
class _Underway(Generic[R]):
    """An extract on its way: the bytes of its file, what it waits for, and in the end what became of it."""

    size: int
    way: Way[R]
    waits_for: Wanted | None = None
    outcome: R = field(init=False)

    def go_on(self, answer: Any = None) -> None:
        """To the next point at which it waits, or to its end. An answer that is an exception is raised on the way."""
        try:
            self.waits_for = self.way.throw(answer) if isinstance(answer, Exception) else self.way.send(answer)
        except StopIteration as end:
            self.waits_for, self.outcome = None, end.value


def run_batches(ways: Iterable[tuple[int, Way[R]]], answers: Answers, judge: Judge) -> Iterator[R]:
    """What became of each extract, in their order; each is given as the bytes of its file and its way."""
    underway = [_Underway(size, way) for size, way in ways]
    at_least = min(EXTRACTS_JUDGED_TOGETHER, len(underway) // 4)
    with (
        ThreadPoolExecutor(GROUPS_AT_ONCE) as reading,
        ThreadPoolExecutor(EXTRACTS_SETTLED_AT_ONCE) as settling,
    ):
        for group, findings in prefetch(_judged(_as_they_come(_read(reading, underway, answers), at_least), judge)):
            settled = {
                extract: settling.submit(copy_context().run, extract.go_on, found)  # the log asks whose run this is
                for extract, found in findings
            }
            for extract in group:
                if extract in settled:
                    settled[extract].result()
                yield extract.outcome


def _judged(
    read: Iterable[list[_Underway[R]]], judge: Judge
) -> Iterator[tuple[list[_Underway[R]], list[tuple[_Underway[R], Any]]]]:
    """The extracts, and what was found of those in them that wait to be judged."""
    for group in read:
        waiting = [
            (extract, extract.waits_for) for extract in group if isinstance(extract.waits_for, ValidationRequest)
        ]
        found = judge([judged for _, judged in waiting]) if waiting else []
        yield group, [(extract, each) for (extract, _), each in zip(waiting, found, strict=True)]


def _read(pool: Executor, underway: Sequence[_Underway[R]], answers: Answers) -> Iterator[list[_Underway[R]]]:
    """Groups of extracts, in their order, each of which waits to be judged or has ended."""
    at_work: deque[Future[list[_Underway[R]]]] = deque()
    for group in _by_size(underway):
        at_work.append(pool.submit(_as_far_as_it_goes, group, answers))
        if len(at_work) > GROUPS_AT_ONCE:
            yield at_work.popleft().result()
    yield from (group.result() for group in at_work)


def _as_they_come(groups: Iterator[list[T]], at_least: int) -> Iterator[list[T]]:
    """The members of the groups, which are made in a thread: each time all that were made while the last were in use,
    but so many at least."""
    made: SimpleQueue[list[T] | None] = SimpleQueue()
    stop = Event()

    def make() -> None:
        try:
            for group in groups:
                made.put(group)
                if stop.is_set():
                    return
        finally:
            made.put(None)

    with ThreadPoolExecutor(1) as pool:
        making, waiting = pool.submit(make), list[T]()
        try:
            while (group := made.get()) is not None:
                waiting += group
                if made.empty() and len(waiting) >= at_least:
                    yield waiting
                    waiting = []
            if waiting:
                yield waiting
        finally:
            stop.set()
        making.result()


def _as_far_as_it_goes(group: list[_Underway[R]], answers: Answers) -> list[_Underway[R]]:
    """The extracts, which got all that they want but a judgement."""
    for extract in group:
        extract.go_on()
    for kind, answer in answers.items():
        waiting = [(extract, extract.waits_for) for extract in group if isinstance(extract.waits_for, kind)]
        given = _given(answer, [wanted for _, wanted in waiting]) if waiting else []
        for (extract, _), each in zip(waiting, given, strict=True):
            extract.go_on(each)
    return group


def _given(answer: Callable[[Sequence[Any]], Sequence[Any]], wanted: Sequence[Any]) -> Sequence[Any]:
    """What is wanted, or why it cannot be given. Where it cannot be given to all together, each is given its own."""
    try:
        return answer(wanted)
    except Exception as failure:
        return [failure] if len(wanted) == 1 else [each for one in wanted for each in _given(answer, [one])]


def _by_size(extracts: Sequence[_Underway[R]]) -> Iterator[list[_Underway[R]]]:
    """The extracts in their order, as many at a time as are small enough together, or leave some for others that read
    meanwhile; a large one alone."""
    most = min(BYTES_TOGETHER, sum(each.size for each in extracts) // (2 * GROUPS_AT_ONCE))
    together: list[_Underway[R]] = []
    for extract in extracts:
        size = sum(each.size for each in together) + extract.size
        if together and (size > most or len(together) == EXTRACTS_TOGETHER):
            yield together
            together = []
        together.append(extract)
    if together:
        yield together

"""Many extracts at once, each on a way of its own (`take_in`), and what they share because it costs the same for many.

A way stops at two points: where its rows want tokens, which one statement gives to several small extracts, and where
it is to be judged, which one run of the suites does for many. In between, extracts go on in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeAlias, TypeVar

import pyarrow as pa

from assets.intake.one_pass import Untokenised, ahead
from assets.intake.quality import Finding, Judged

EXTRACTS_READ_AT_ONCE = 2
"""While one is read inside DuckDB another can be parsed."""
EXTRACTS_SETTLED_AT_ONCE = 4
"""Judged extracts put in place: they wait for the disk, and never for one that is being read."""
EXTRACTS_JUDGED_TOGETHER = 64
BYTES_TOKENISED_TOGETHER = 8 << 20
"""Of the files of extracts that are given tokens together: their rows, and those of the next, are held in memory."""

R = TypeVar("R")
Way: TypeAlias = Generator[Untokenised | Judged, Any, R]
"""What is yielded waits for others; what is sent back is the rows with tokens, then the findings."""
GiveTokens: TypeAlias = Callable[[Sequence[Untokenised]], Sequence[pa.Table | Exception]]
Judge: TypeAlias = Callable[[Sequence[Judged]], Sequence[tuple[Finding, ...]]]


@dataclass(eq=False)
class _Underway(Generic[R]):
    """An extract on its way: the bytes of its file, what it waits for, and in the end what became of it."""

    size: int
    way: Way[R]
    waits_for: Untokenised | Judged | None = None
    outcome: R = field(init=False)

    def go_on(self, answer: Any = None) -> None:
        """To the next point at which it waits, or to its end. An answer that is an exception is raised on the way."""
        try:
            self.waits_for = self.way.throw(answer) if isinstance(answer, Exception) else self.way.send(answer)
        except StopIteration as end:
            self.waits_for, self.outcome = None, end.value


def side_by_side(ways: Iterable[tuple[int, Way[R]]], give_tokens: GiveTokens, judge: Judge) -> Iterator[R]:
    """What became of each extract, in their order; each is given as the bytes of its file and its way."""
    underway = (_Underway(size, way) for size, way in ways)
    with (
        ThreadPoolExecutor(EXTRACTS_READ_AT_ONCE) as reading,
        ThreadPoolExecutor(EXTRACTS_SETTLED_AT_ONCE) as settling,
    ):
        for group, findings in ahead(_judged(ahead(_read(reading, underway, give_tokens)), judge)):
            settled = {
                extract: settling.submit(copy_context().run, extract.go_on, found)  # the log asks whose run this is
                for extract, found in findings
            }
            for extract in group:
                if extract in settled:
                    settled[extract].result()
                yield extract.outcome


def _judged(
    groups: Iterable[list[_Underway[R]]], judge: Judge
) -> Iterator[tuple[list[_Underway[R]], list[tuple[_Underway[R], Any]]]]:
    """Each group, and what was found of those in it that wait to be judged."""
    for group in groups:
        waiting = [(extract, extract.waits_for) for extract in group if isinstance(extract.waits_for, Judged)]
        found = judge([judged for _, judged in waiting]) if waiting else []
        yield group, [(extract, each) for (extract, _), each in zip(waiting, found, strict=True)]


def _read(pool: Executor, underway: Iterator[_Underway[R]], give_tokens: GiveTokens) -> Iterator[list[_Underway[R]]]:
    """The extracts, as many together as are judged together, each of which waits for that or has ended."""
    while group := list(islice(underway, EXTRACTS_JUDGED_TOGETHER)):
        for begun in ahead(_begun(pool, group)):
            waiting = [(extract, extract.waits_for) for extract in begun if isinstance(extract.waits_for, Untokenised)]
            made = give_tokens([untokenised for _, untokenised in waiting]) if waiting else []
            list(pool.map(_Underway.go_on, [extract for extract, _ in waiting], made))
        yield group


def _begun(pool: Executor, group: Sequence[_Underway[R]]) -> Iterator[list[_Underway[R]]]:
    """The extracts, as many together as fit into memory with their rows, each of which was read as far as it goes."""
    for together in _by_size(group):
        list(pool.map(_Underway.go_on, together))
        yield together


def _by_size(group: Iterable[_Underway[R]]) -> Iterator[list[_Underway[R]]]:
    """The extracts in their order, as many at a time as are small enough together; a large one alone."""
    together: list[_Underway[R]] = []
    for extract in group:
        if together and sum(each.size for each in together) + extract.size > BYTES_TOKENISED_TOGETHER:
            yield together
            together = []
        together.append(extract)
    yield together

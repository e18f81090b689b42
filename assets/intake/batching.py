"""Runs many extracts at once and batches work that costs the same for many as for one.

The steps of an extract pause where its rows need types and tokens, and where what was written is to be counted: one
statement does that for several small extracts. They pause again for validation: one run of the suites does for many.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from threading import Semaphore
from typing import Any, Generic, TypeAlias, TypeVar

from assets.intake.quality import Finding, ValidationRequest
from assets.intake.quality_report.profile import Uncounted
from assets.pseudonymise.stream_extract import Untokenised

GROUPS_READ_AT_ONCE = 2
"""While the rows of one group are given tokens, those of another can be read."""
GROUPS_AT_ONCE = 4
"""Groups that are read, validated or put in place: the last two wait for another process and for the disk."""
EXTRACTS_TOGETHER = 32
BYTES_TOGETHER = 4 << 20
"""Of the files of extracts that go through one statement together: the rows of each group are held in memory."""

R = TypeVar("R")
Wanted: TypeAlias = Untokenised | Uncounted | ValidationRequest
Steps: TypeAlias = Generator[Wanted, Any, R]
"""Yields what it needs; receives the rows with tokens, the counts, the findings."""
Judge: TypeAlias = Callable[[Sequence[ValidationRequest]], Sequence[tuple[Finding, ...]]]
Answers: TypeAlias = Mapping[type, Callable[[Sequence[Any]], Sequence[Any]]]
"""By kind of request before validation, in this order, the function that answers several extracts at once."""


@dataclass(eq=False)
class _Job(Generic[R]):
    """An extract that is being processed: the bytes of its file, what it waits for, and its outcome."""

    size: int
    steps: Steps[R]
    waits_for: Wanted | None = None
    outcome: R = field(init=False)

    def go_on(self, answer: Any = None) -> None:
        """Run to the next request, or to the end. An answer that is an exception is raised there."""
        try:
            self.waits_for = self.steps.throw(answer) if isinstance(answer, Exception) else self.steps.send(answer)
        except StopIteration as end:
            self.waits_for, self.outcome = None, end.value


def run_batches(jobs: Iterable[tuple[int, Steps[R]]], answers: Answers, judge: Judge) -> Iterator[R]:
    """Yield the outcome of each extract, in order; each is given as the bytes of its file and its steps.

    Groups of extracts run side by side: while some are validated and put in place, others are read.
    """
    reading = Semaphore(GROUPS_READ_AT_ONCE)

    def finish(group: list[_Job[R]]) -> list[R]:
        with reading:
            for job in group:
                job.go_on()
            for kind, answer in answers.items():
                _give(answer, kind, group)
        _give(judge, ValidationRequest, group)
        return [job.outcome for job in group]

    groups = _by_size([_Job(size, steps) for size, steps in jobs])
    with ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
        made = [pool.submit(copy_context().run, finish, group) for group in groups]  # the log asks whose run this is
        try:
            for group in made:
                yield from group.result()
        finally:
            for group in made:
                group.cancel()


def _give(answer: Callable[[Sequence[Any]], Sequence[Any]], kind: type, group: list[_Job[R]]) -> None:
    """Answer the extracts of a group that wait for something of this kind, all with one call."""
    waiting = [(job, job.waits_for) for job in group if isinstance(job.waits_for, kind)]
    given = _given(answer, [wanted for _, wanted in waiting]) if waiting else []
    for (job, _), each in zip(waiting, given, strict=True):
        job.go_on(each)


def _given(answer: Callable[[Sequence[Any]], Sequence[Any]], wanted: Sequence[Any]) -> Sequence[Any]:
    """Return what is wanted, or the error. If all together fail, each is tried alone."""
    try:
        return answer(wanted)
    except Exception as failure:
        return [failure] if len(wanted) == 1 else [each for one in wanted for each in _given(answer, [one])]


def _by_size(extracts: Sequence[_Job[R]]) -> Iterator[list[_Job[R]]]:
    """Group the extracts in order, as many as are small enough together while others are read; a large one alone."""
    most = min(BYTES_TOGETHER, sum(each.size for each in extracts) // (2 * GROUPS_READ_AT_ONCE))
    together: list[_Job[R]] = []
    for extract in extracts:
        size = sum(each.size for each in together) + extract.size
        if together and (size > most or len(together) == EXTRACTS_TOGETHER):
            yield together
            together = []
        together.append(extract)
    if together:
        yield together

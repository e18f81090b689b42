"""Processes extracts concurrently and batches the steps whose cost does not depend on the number of extracts.

An extract's generator yields when its rows need types and tokens, and again when the written rows need counting: one
SQL statement then serves several small extracts. It yields once more for validation: one run of the suites serves many.
"""

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
"""One group can be read while another is tokenised."""
GROUPS_AT_ONCE = 4
"""Groups being read, validated or promoted. Validation waits for another process, and promotion for the disk."""
EXTRACTS_TOGETHER = 32
"""Most extracts in one group."""
BYTES_TOGETHER = 4 << 20
"""Most bytes of files in one group of several extracts (4 MiB), because a group's rows are held in memory."""

R = TypeVar("R")
Wanted: TypeAlias = Untokenised | Uncounted | ValidationRequest
Steps: TypeAlias = Generator[Wanted, Any, R]
"""Generator of one extract's steps: yields requests, and receives rows with tokens, counts or findings."""
Judge: TypeAlias = Callable[[Sequence[ValidationRequest]], Sequence[tuple[Finding, ...]]]
Answers: TypeAlias = Mapping[type, Callable[[Sequence[Any]], Sequence[Any]]]
"""Functions that answer several requests at once, by type of request, in the order of the steps before validation."""


@dataclass(eq=False)
class _Job(Generic[R]):
    """An extract being processed: its file size in bytes, its pending request and its outcome."""

    size: int
    steps: Steps[R]
    waits_for: Wanted | None = None
    outcome: R = field(init=False)

    def go_on(self, answer: Any = None) -> None:
        """Run to the next request or to the end. An answer that is an exception is raised inside the generator."""
        try:
            self.waits_for = self.steps.throw(answer) if isinstance(answer, Exception) else self.steps.send(answer)
        except StopIteration as end:
            self.waits_for, self.outcome = None, end.value


def run_batches(jobs: Iterable[tuple[int, Steps[R]]], answers: Answers, judge: Judge) -> Iterator[R]:
    """Yield the outcome of each extract, in order. A job is the size of the extract's file in bytes, and its steps.

    Groups of extracts run concurrently: some are read while others are validated and promoted.
    """
    reading = Semaphore(GROUPS_READ_AT_ONCE)

    def finish(group: list[_Job[R]]) -> list[R]:
        with reading:
            for job in group:
                job.go_on()
            for kind, answer in answers.items():
                _answer(answer, kind, group)
        # outside the semaphore, so that another group can be read during validation
        _answer(judge, ValidationRequest, group)
        return [job.outcome for job in group]

    groups = _group_by_size([_Job(size, steps) for size, steps in jobs])
    with ThreadPoolExecutor(GROUPS_AT_ONCE) as pool:
        # each thread gets a copy of the context, because the log reads from it who started the run
        running = [pool.submit(copy_context().run, finish, group) for group in groups]
        try:
            for group in running:
                yield from group.result()
        finally:
            for group in running:  # groups that have not started, if one failed
                group.cancel()


def _answer(answer: Callable[[Sequence[Any]], Sequence[Any]], kind: type, group: list[_Job[R]]) -> None:
    """Answer all requests of this type in a group with one call."""
    # requests differ, because extracts stop early and a tokens file has no rows to tokenise
    waiting = [job for job in group if isinstance(job.waits_for, kind)]
    answers = _answer_all(answer, [job.waits_for for job in waiting]) if waiting else []
    for job, each in zip(waiting, answers, strict=True):
        job.go_on(each)


def _answer_all(answer: Callable[[Sequence[Any]], Sequence[Any]], wanted: Sequence[Any]) -> Sequence[Any]:
    """Return an answer or an error for each request. If a joint call fails, retry each request alone."""
    try:
        return answer(wanted)
    except Exception as failure:
        return [failure] if len(wanted) == 1 else [each for one in wanted for each in _answer_all(answer, [one])]


def _group_by_size(extracts: Sequence[_Job[R]]) -> Iterator[list[_Job[R]]]:
    """Yield groups of consecutive extracts, each within the limits on bytes and number; a large extract goes alone."""
    # two groups for each reader, so that one is read while another is tokenised
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

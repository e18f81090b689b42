"""What goes round the body of every asset and op: errors in plain words, and whose run it is in the processing log."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

from assets.home.errors import plainly
from assets.home.processing_log import of_run

STOPPED = "The step stopped: "
"""How the sentence begins that says in a run's log why a step failed."""

F = TypeVar("F", bound=Callable[..., Any])


def speaks_plainly(step: F) -> F:
    """The body of an asset or op, within `plainly`; the sentence of an error stands in the run's log."""

    @functools.wraps(step)
    def whole(*args: Any, **kwargs: Any) -> Any:
        with _in_a_run():
            return step(*args, **kwargs)

    @functools.wraps(step)
    def stepwise(*args: Any, **kwargs: Any) -> Any:
        with _in_a_run():
            yield from step(*args, **kwargs)

    return stepwise if inspect.isgeneratorfunction(step) else whole  # type: ignore[return-value]


@contextmanager
def _in_a_run() -> Iterator[None]:
    """An error in the block is a line of the run's log, where otherwise it stands between two stack traces."""
    try:
        with of_run(_run_id()), plainly():
            yield
    except Exception as error:
        dg.get_dagster_logger().error(f"{STOPPED}{error}")
        raise


def _run_id() -> str:
    """Of the run whose step this is; empty where a test calls the body by itself."""
    try:
        return dg.OpExecutionContext.get().run_id
    except dg.DagsterInvariantViolationError:
        return ""

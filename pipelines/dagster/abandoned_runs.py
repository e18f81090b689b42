"""Runs that a command started and did not live to end: Dagster's storage would show them as at work for ever, and its
queue would wait for them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from privacy.doors.locks import is_held, locked

PROCESS = "readiness/process"
"""Tag of a run that a command works off itself: the name of a file that is locked as long as the command lives."""
_SUFFIX = ".alive"
_OPEN = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@contextmanager
def alive(folder: Path) -> Iterator[dict[str, str]]:
    """Tags for the runs of this process, by which others see that it lives. `folder` is for files of such processes."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
    unlocked = place.with_suffix("")
    with locked(unlocked):
        try:
            unlocked.rename(place)
            yield {PROCESS: place.name}
        finally:
            place.unlink(missing_ok=True)


def end_left_over(instance: dg.DagsterInstance, folder: Path) -> None:
    """Mark as failed the runs of processes that are gone."""
    for run in instance.get_runs(dg.RunsFilter(statuses=_OPEN)):
        if (name := run.tags.get(PROCESS)) and not is_held(folder / name):
            instance.report_run_failed(run, "The process of this run ended before it did. The next one picks it up.")
    for place in folder.glob(f"*{_SUFFIX}"):
        if not is_held(place):
            place.unlink(missing_ok=True)

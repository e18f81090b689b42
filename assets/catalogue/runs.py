"""What every run has: the partition that it is of, its tags, and, round the body of every asset and op, errors in
plain words.

Partitions are council x cohort for what is about one sender, cohort for everything after linkage. Tags say who started
a run, why, and what it spends: the list of runs in Dagster can be searched by them.
"""

from __future__ import annotations

import functools
import getpass
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

from assets.home.errors import plainly
from assets.home.processing_log import of_run
from sources.reference.cohorts import Cohort, cohort_codes
from sources.reference.places import place, places

LAST_COHORT_YEAR = 2030

COHORTS = dg.StaticPartitionsDefinition(cohort_codes(LAST_COHORT_YEAR))
COUNCILS = dg.DynamicPartitionsDefinition(name="councils")
"""Those that take part: each is added when it first has a folder in landing."""
COUNCIL_COHORTS = dg.MultiPartitionsDefinition({"cohort": COHORTS, "council": COUNCILS})

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

BY, WHY = "readiness/by", "readiness/why"
RELEASE, SHARE = "readiness/release", "readiness/share"
SPENDS_BUDGET = "spends_budget"

STOPPED = "The step stopped: "
"""How the sentence begins that says in a run's log why a step failed."""


def council_cohort(council: str, cohort: str) -> str:
    """Key of one sender's partition."""
    return str(dg.MultiPartitionKey({"cohort": cohort, "council": council}))


def parts(key: str) -> tuple[str, str]:
    """(council, cohort) of a partition key; dimensions stand in order of their names.

    Raises `UnknownCouncil` and `InvalidCohort`: a launch may name any partition, and folders are called by them.
    """
    cohort, council = key.split("|")
    return place(council).council, Cohort(cohort).code


def note_councils(instance: dg.DagsterInstance, councils: Iterable[str]) -> list[str]:
    """Make sure that there are partitions of these councils; all that there are, in their order.

    Partitions that are no council's, which anyone can add in the UI, are removed: a range of councils may span them.
    """
    name = str(COUNCILS.name)
    for stray in instance.get_dynamic_partitions(name):
        if stray not in places():
            instance.delete_dynamic_partition(name, stray)
    known = instance.get_dynamic_partitions(name)
    if new := [council for council in councils if council not in known]:
        instance.add_dynamic_partitions(name, new)
        known = instance.get_dynamic_partitions(name)
    return list(known)


def one_run(councils: Iterable[str], cohort: str, known: Sequence[str]) -> dict[str, str]:
    """Run tags that ask for the smallest range of partitions holding these councils of a cohort, as one run; `known`
    are all councils in the order of their partitions."""
    positions = [known.index(council) for council in councils]
    return {
        RANGE_START: council_cohort(known[min(positions)], cohort),
        RANGE_END: council_cohort(known[max(positions)], cohort),
    }


def started_by_command(command: str) -> dict[str, str]:
    """Tags of a run that a person started with a command: the account of the operating system, and the command."""
    return {BY: getpass.getuser(), WHY: command}


def of_release(version: str, share: float | None) -> dict[str, str]:
    """Tags that say which release is made, and which share of the policy's split it may spend."""
    return {RELEASE: version, SHARE: "as begun, else 1" if share is None else f"{share:g}"}


def versioned(data: str, code: str) -> dict[str, str]:
    """Tags of a materialisation that a step reports besides its own: the versions by which Dagster compares them."""
    return {"dagster/data_version": data, "dagster/code_version": code}


F = TypeVar("F", bound=Callable[..., Any])


def redact_errors(step: F) -> F:
    """The body of an asset or op, of a partition that there is and within `plainly`; the sentence of an error stands in
    the run's log."""

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
        run = _run()
        with of_run(run.run_id if run else ""), plainly():
            if run and (key := run.tags.get(PARTITION)):
                parts(key) if "|" in key else Cohort(key)
            yield
    except Exception as error:
        dg.get_dagster_logger().error(f"{STOPPED}{error}")
        raise


def _run() -> dg.DagsterRun | None:
    """The run whose step this is; None where a test calls the body by itself."""
    try:
        return dg.OpExecutionContext.get().run
    except dg.DagsterInvariantViolationError:
        return None

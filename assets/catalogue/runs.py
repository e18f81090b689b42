"""Partitions, freshness, automation, run tags and error handling shared by all runs.

Assets about one sender are partitioned by council and cohort; assets from the linkage on, by cohort. Tags record who
started a run, why, and what it spends, so that the list of runs in Dagster is searchable. Every asset and op body is
wrapped so that its errors hold no values.

Dagster judges a partitioned asset by its newest materialisation in any partition. A source's freshness policy is
therefore on its landing asset, which is materialised only when every participating council has delivered. The
linkage's policy shows whether any cohort was linked. The check `arrivals` reports which council and cohort is late.
Release assets have neither a freshness policy nor an automation condition.
"""

import datetime as dt
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

from assets.home.errors import translate_errors
from assets.home.processing_log import attribute_to_run
from privacy.doors import clock
from sources.contracts import SourceContract
from sources.reference.cohorts import Cohort, list_cohort_codes
from sources.reference.places import get_place, load_places

LAST_COHORT_YEAR = 2035
"""First year of the last cohort that has a partition (2035/36), whose children are born from September 2030. Partitions
do not depend on the date: a code server that runs for months would not see a new one."""

COHORTS = dg.StaticPartitionsDefinition(list_cohort_codes(LAST_COHORT_YEAR))
COUNCILS = dg.DynamicPartitionsDefinition(name="councils")
"""Participating councils. Each is added when its folder first appears in landing."""
COUNCIL_COHORTS = dg.MultiPartitionsDefinition({"cohort": COHORTS, "council": COUNCILS})

WINDOW = dt.timedelta(days=180)
"""Period before the due date in which an accepted extract counts as this year's."""
LINKED_FRESHNESS = dg.FreshnessPolicy.time_window(
    fail_window=dt.timedelta(days=160), warn_window=dt.timedelta(days=155)
)
"""Stale if no cohort has been linked since the last term. The longest gap, from April to September, is 153 days."""
LINK_AT = "0 4 * * *"
"""04:00 every day, after the nightly intake has ended."""
_TIMEZONE = "Europe/London"

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"

BY, WHY = "readiness/by", "readiness/why"
"""Tags for the account that started a run with a command, and for the command or other reason."""
RELEASE, SHARE = "readiness/release", "readiness/share"
SPENDS_BUDGET = "spends_budget"

WAITS = "readiness/waits"
"""Tag of a run whose release waits for people: what for, and the command to give."""

WAITING = "The release waits: "
"""Start of the sentence in a run's log, and in the asset's metadata, that says the same."""
STOPPED = "The step stopped: "
"""Start of the sentence in a run's log that gives the reason for a failed step."""


def build_partition_key(council: str, cohort: str) -> str:
    """Return the partition key of one sender."""
    return str(dg.MultiPartitionKey({"cohort": cohort, "council": council}))


def parse_partition_key(key: str) -> tuple[str, str]:
    """Return (council, cohort) from a partition key, in which dimensions are sorted by name.

    Raises `UnknownCouncil` or `InvalidCohort` if either does not exist: a launch may name any partition, and both
    become names of folders.
    """
    cohort, council = key.split("|")
    return get_place(council).council, Cohort(cohort).code


class WrongPartitions(Exception):
    """Raised if the tags of a run name a partition and a range that differ."""


def list_partition_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the partition keys of a run over senders, of which the tags may name one or a range.

    Raises `WrongPartitions`. A backfill of a job leaves the tags of its first partition beside those of the range, and
    Dagster's own `partition_keys` then has the first alone.
    """
    named, tags = list(context.partition_keys), context.run.tags
    if RANGE_START not in tags and RANGE_END not in tags:
        return named
    whole = dg.PartitionKeyRange(tags.get(RANGE_START, ""), tags.get(RANGE_END, ""))
    keys = list(COUNCIL_COHORTS.get_partition_keys_in_range(whole, dynamic_partitions_store=context.instance))
    if named not in (keys, keys[:1]):
        raise WrongPartitions(
            f"the tags of the run name the partition {', '.join(named)} and the range {whole.start} to {whole.end}:"
            " nothing was taken in; launch it again for one of them"
        )
    return keys


def note_councils(instance: dg.DagsterInstance, councils: Iterable[str]) -> list[str]:
    """Add missing partitions for these councils, remove any that is not a council, and return all of them in order."""
    name = str(COUNCILS.name)
    # anyone can add a partition in the UI, and a range of councils could include it
    for stray in instance.get_dynamic_partitions(name):
        if stray not in load_places():
            instance.delete_dynamic_partition(name, stray)
    known = instance.get_dynamic_partitions(name)
    if new := [council for council in councils if council not in known]:
        instance.add_dynamic_partitions(name, new)
        known = instance.get_dynamic_partitions(name)
    return list(known)


def tag_partition_range(councils: Iterable[str], cohort: str, known: Sequence[str]) -> dict[str, str]:
    """Return tags of a run over the smallest range of `known`, all councils in order, that includes these councils."""
    positions = [known.index(council) for council in councils]
    return {
        RANGE_START: build_partition_key(known[min(positions)], cohort),
        RANGE_END: build_partition_key(known[max(positions)], cohort),
    }


def tag_release(version: str, share: float | None) -> dict[str, str]:
    """Return tags with the release version and the share of the policy's split that it may spend."""
    return {RELEASE: version, SHARE: "as begun, else 1" if share is None else f"{share:g}"}


def tag_versions(data: str, code: str) -> dict[str, str]:
    """Return data and code version tags for a materialisation that a step reports itself."""
    return {"dagster/data_version": data, "dagster/code_version": code}


def build_due_freshness(contract: SourceContract) -> dg.FreshnessPolicy:
    """Return a policy that is stale from the source's yearly due date until every participating council has sent it."""
    due = contract.get_due_day(Cohort(COHORTS.get_partition_keys()[0]))
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"59 23 {due.day} {due.month} *", lower_bound_delta=WINDOW, timezone=_TIMEZONE
    )


def build_night_condition() -> dg.AutomationCondition:
    """Return a condition to link a cohort at night if its extracts changed and no intake or linkage of it runs."""
    changed = dg.AutomationCondition.any_deps_updated().since_last_handled()
    # extracts arrive one by one over weeks: linking after each would link a cohort about forty times
    tonight = dg.AutomationCondition.cron_tick_passed(LINK_AT, _TIMEZONE)
    at_work = dg.AutomationCondition.any_deps_in_progress() | dg.AutomationCondition.in_progress()
    return (changed & tonight & ~at_work).with_label("extracts changed since the last linkage, at 04:00")


F = TypeVar("F", bound=Callable[..., Any])


def redact_errors(step: F) -> F:
    """Decorate the body of an asset or op: check its partition, and log errors as one sentence without values."""

    if not inspect.isgeneratorfunction(step):
        return _log_errors()(step)

    # Dagster handles generator functions differently, so the wrapper of one is another
    @functools.wraps(step)
    def run_stepwise(*args: Any, **kwargs: Any) -> Any:
        with _log_errors():
            yield from step(*args, **kwargs)

    return run_stepwise  # type: ignore[return-value]


@contextmanager
def _log_errors() -> Iterator[None]:
    """Log an error in the block on a separate line, because Dagster itself shows it only between two stack traces."""
    try:
        run = _get_run()
        run_id = run.run_id if run else ""
        with clock.hold_day(run_id), attribute_to_run(run_id), translate_errors():
            if run and (key := run.tags.get(PARTITION)):
                parse_partition_key(key) if "|" in key else Cohort(key)
            yield
    except Exception as error:
        dg.get_dagster_logger().error(f"{STOPPED}{error}")
        raise


def _get_run() -> dg.DagsterRun | None:
    """Return the current run; None if a test calls the body directly."""
    try:
        return dg.OpExecutionContext.get().run
    except dg.DagsterInvariantViolationError:
        return None

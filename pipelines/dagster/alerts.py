"""When a run fails: one sentence in the daemon's log, and, where the environment asks, to a webhook or a program.

The sentence names job, partition, step and kind of error, and where to read on. It repeats no message: what leaves the
machine holds no identifier and no count, whatever went wrong.
"""

import json
import subprocess
import urllib.request
from collections.abc import Iterator

import dagster as dg

from privacy.doors.environment import ALERT, settings

_PARTITION = "dagster/partition"
_RANGE = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_PATIENCE_SECONDS = 10
_WHAT_NOW = {
    "intake": "Nothing that was in is lost. Correct or replace the extract; its intake starts by itself, or at night.",
    "linkage": "The tables of the last linkage stand. Do what the log says, and start the linkage again.",
    "release": "Start the same release again: it finds what was drawn. If a charge was lost, the log says so.",
    "republish": "Nothing was spent. Do what the log says, and start it again.",
    "publication": "Readers see what they saw before. Do what the log says, and start it again.",
}
_OTHERWISE = "Do what the log says, and start it again."


def sentence(run: dg.DagsterRun, steps: list[tuple[str, str]]) -> str:
    """What failed and what to do; `steps` are those that failed, with the kinds of their errors."""
    partition = run.tags.get(_PARTITION) or "..".join(run.tags[tag] for tag in _RANGE if tag in run.tags)
    of = f" of {partition}" if partition else ""
    at = "; ".join(f"{step} ({kind})" for step, kind in steps) or "before its first step"
    return (
        f"The run {run.run_id[:8]}, {run.job_name}{of}, failed at {at}. Its log in Dagster says why."
        f" {_WHAT_NOW.get(run.job_name, _OTHERWISE)}"
    )


def alert(text: str, to: str) -> None:
    """Send `text` to a URL, as JSON `{"text": ...}`, or to the standard input of a program."""
    if to.startswith(("https://", "http://")):
        body = json.dumps({"text": text}).encode()
        request = urllib.request.Request(to, body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS).close()
    else:
        subprocess.run([to], input=text.encode(), timeout=_PATIENCE_SECONDS, check=True)


@dg.run_failure_sensor(
    name="failed_runs",
    default_status=dg.DefaultSensorStatus.RUNNING,
    monitor_all_code_locations=True,
    description=(
        "Says in one sentence which run failed, in any code location, and what to do: in the daemon's log, and to the"
        " URL or program of READINESS_ALERT. No identifier, no count and no text of an error is in it."
    ),
)
def failed_runs(context: dg.RunFailureSensorContext) -> Iterator[dg.SkipReason]:
    failed = [(event.step_key or "", _kind(event)) for event in context.get_step_failure_events()]
    said = sentence(context.dagster_run, failed)
    context.log.error(said)
    if to := settings().alert:
        try:
            alert(said, to)
        except (OSError, subprocess.SubprocessError) as error:
            context.log.error(f"{ALERT} could not be told of it ({type(error).__name__})")
    yield dg.SkipReason(said)


def _kind(event: dg.DagsterEvent) -> str:
    error = event.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return (error.cls_name or "an error").rpartition(".")[2] if error else "an error"

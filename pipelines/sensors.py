"""The landing sensor: an extract that has arrived whole starts the intake of its council and cohort."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.installation import Installation
from assets.partitions import COHORTS, council_cohort
from pipelines.jobs import intake_job
from sources.contracts import CONTRACTS
from sources.extract.landed import files_in, files_of, taking_part

INTERVAL_SECONDS = 60


@dg.sensor(
    job=intake_job,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Starts the intake of a council and cohort when one of its files is new or changed and has kept its size over"
        " two looks, so that a half-written file is left alone."
    ),
)
def landing_sensor(
    context: dg.SensorEvaluationContext, installation: Installation
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    landing = installation.landing_folder
    if not landing.is_dir():
        yield dg.SkipReason(f"{landing} does not exist")
        return
    earlier = json.loads(context.cursor) if context.cursor else {}
    now = states(landing)
    requested = dict(earlier.get("requested", {}))
    for partition, files in now.items():
        settled = files == earlier.get("seen", {}).get(partition)
        if settled and files != requested.get(partition):
            requested[partition] = files
            yield dg.RunRequest(run_key=f"{partition}:{_identity(files)}", partition_key=partition)
    context.update_cursor(json.dumps({"seen": now, "requested": requested}, sort_keys=True))


def states(landing: Path) -> dict[str, dict[str, list[int]]]:
    """By partition, each file's size and time of change: cheap to look at, and enough to tell that it moved."""
    found: dict[str, dict[str, list[int]]] = {}
    cohorts = COHORTS.get_partition_keys()
    for council in taking_part(landing):
        for source in CONTRACTS:
            for cohort in cohorts:
                for path in files_of(landing, council, source, cohort):
                    files = found.setdefault(council_cohort(council, cohort), {})
                    for file in files_in(path):
                        state = file.stat() if file.exists() else file.lstat()
                        files[str(file.relative_to(landing / council))] = [state.st_size, state.st_mtime_ns]
    return found


def _identity(files: dict[str, list[int]]) -> str:
    return json.dumps(files, sort_keys=True)

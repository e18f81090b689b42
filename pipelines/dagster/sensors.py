"""Sensors: an extract that has arrived whole starts the intake of its council and cohort; linkage by condition."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from assets.catalogue.installation import Installation
from assets.catalogue.partitions import COHORTS, council_cohort
from assets.catalogue.run_tags import WHY
from assets.linkage.assets import GROUP as LINKAGE
from pipelines.dagster.arriving import Look, looks
from pipelines.dagster.jobs import intake_job

INTERVAL_SECONDS = 60

Identities = dict[str, dict[str, str]]
"""By partition, the identity of each of its extracts."""


@dg.sensor(
    job=intake_job,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Starts the intake of a council and cohort when one of its extracts is new or changed and all of them have kept"
        " size and time of change over two looks, or have a `.ready` marker beside them: a half-written file is left"
        " alone, and several files of a council give one run."
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
    seen: Identities = {}
    requested: Identities = dict(earlier.get("requested", {}))
    for partition, extracts in _by_partition(landing).items():
        before = earlier.get("seen", {}).get(partition, {})
        now = seen[partition] = {look.landed.name: look.identity for look in extracts}
        whole = all(look.is_whole(before.get(look.landed.name)) for look in extracts)
        if whole and not now.items() <= requested.get(partition, {}).items():
            new = now.items() - requested.get(partition, {}).items()
            requested[partition] = now
            yield dg.RunRequest(
                run_key=f"{partition}:{_run_identity(now)}",
                partition_key=partition,
                tags={WHY: f"landed: {', '.join(sorted(name for name, _ in new))}"},
            )
    context.update_cursor(json.dumps({"seen": seen, "requested": requested}, sort_keys=True))


def _by_partition(landing: Path) -> dict[str, list[Look]]:
    cohorts, found = set(COHORTS.get_partition_keys()), dict[str, list[Look]]()
    for look in looks(landing):
        if look.landed.cohort in cohorts:
            found.setdefault(council_cohort(look.landed.council, look.landed.cohort), []).append(look)
    return found


def _run_identity(identities: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()


restricted_automation = dg.AutomationConditionSensorDefinition(
    "restricted_automation",
    target=dg.AssetSelection.groups(LINKAGE),
    default_status=dg.DefaultSensorStatus.STOPPED,
    run_tags={WHY: "extracts changed since the last linkage"},
    description="Links a cohort at 04:00 where its extracts changed since it was last linked. Spends nothing.",
)

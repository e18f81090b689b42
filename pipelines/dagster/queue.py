"""The queue of runs, and the tags that it refuses: the coordinator that every `dagster.yaml` of the project names."""

from typing import Any

import dagster as dg

_NAMESPACES = {"readiness", "dagster", ".dagster", "docker"}
"""`docker` is the launcher's own, which a run that is executed again inherits; it is overwritten at the launch."""


class TagsRefused(Exception):
    """A run with tags by which a launcher or executor may be told what the run's container holds."""


class TagCheckingCoordinator(dg.QueuedRunCoordinator):
    """Dagster's own queue, which takes no run with a tag of another namespace, such as `dagster-k8s/config`.

    Whoever starts a run writes its tags. Some integrations read image, secrets, mounts or environment from them.
    """

    def submit_run(self, context: Any) -> dg.DagsterRun:
        foreign = sorted(
            tag for tag in context.dagster_run.tags if "/" in tag and tag.partition("/")[0] not in _NAMESPACES
        )
        if foreign:
            raise TagsRefused(
                f"The run was not queued: its tags {', '.join(foreign)} could change where it runs and what it reaches."
                " Start it without them."
            )
        return super().submit_run(context)

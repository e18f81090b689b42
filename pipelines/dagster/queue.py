"""The queue of runs, and the tags that it refuses: the coordinator that every `dagster.yaml` of the project names."""

from typing import Any

import dagster as dg

_NAMESPACES = {"readiness", "dagster", ".dagster", "docker"}
"""`docker` is the launcher's own tag: a run that is executed again inherits it, and the launch overwrites it."""


class TagsRefused(Exception):
    """Raised for tags through which a launcher or executor could change the contents of the run's container."""


class TagCheckingCoordinator(dg.QueuedRunCoordinator):
    """Dagster's own queue, which refuses runs with tags of other namespaces, such as `dagster-k8s/config`.

    Anyone who starts a run can write its tags, and some integrations read image, secrets, mounts or environment from
    them.
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

"""The queue of runs that every `dagster.yaml` of the project names, and the launcher that `in_place.yaml` names."""

from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult

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


_LOST = CheckRunHealthResult(WorkerStatus.FAILED, "its code location ended, or was started again, and the run with it")


class WatchedLauncher(dg.DefaultRunLauncher):
    """Dagster's own launcher, which also reports a run as lost if its code server was replaced and does not know it.

    With Dagster's own launcher, such a run counts as started until the time limit of runs, and no other run begins.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return the health of a run that has started."""
        server = self._get_grpc_client_for_termination(run.run_id)
        if server is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = server.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id), timeout=10)
        except DagsterUserCodeUnreachableError as unreachable:
            # a server at an address is asked again later; a local socket that cannot be reached has no server
            is_gone = server.socket and "UNAVAILABLE" in str(unreachable)
            return _LOST if is_gone else CheckRunHealthResult(WorkerStatus.RUNNING)
        if dg.deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return _LOST

"""Runs in the process of their code location: the launcher that `packaging/containers/dagster/in_place.yaml` names."""

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult

_LOST = CheckRunHealthResult(WorkerStatus.FAILED, "its code location ended, or was started again, and the run with it")


class WatchedLauncher(dg.DefaultRunLauncher):
    """Dagster's own launcher, which also reports a run as lost if its code server was replaced and does not know it.

    With Dagster's own launcher such a run counts as started for as long as runs may last, and no other run begins.
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
            # a server at an address is asked again later; behind a local socket that cannot be reached there is none
            is_gone = server.socket and "UNAVAILABLE" in str(unreachable)
            return _LOST if is_gone else CheckRunHealthResult(WorkerStatus.RUNNING)
        if dg.deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return _LOST

"""Runs in separate containers: the launcher that `packaging/containers/dagster/in_containers.yaml` names."""

from contextlib import suppress

import dagster as dg
import docker.errors
from dagster._core.launcher import LaunchRunContext
from dagster_docker import DockerRunLauncher

_RUN = "dagster/run_id"
_ENDED = ["created", "exited"]
"""Docker's status `dead` is left out, because Podman answers it with an error."""


class TidyLauncher(DockerRunLauncher):
    """Dagster's own launcher, which also removes containers of ended runs that the engine left behind.

    Containers are created with `auto_remove`, but the engine does not remove one that never started because the daemon
    was killed first, and Podman does not remove one that a power cut ended.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        self._remove_exited_containers(context.dagster_run)
        super().launch_run(context)

    def _remove_exited_containers(self, run: dg.DagsterRun) -> None:
        client = self._get_client(self.get_container_context(run))
        with suppress(docker.errors.DockerException):  # a failed clean-up must not prevent a launch
            filters = {"label": _RUN, "status": _ENDED}
            for container in client.containers.list(all=True, filters=filters, ignore_removed=True):
                ended = self._instance.get_run_by_id(container.labels[_RUN])
                if ended is not None and ended.is_finished:
                    with suppress(docker.errors.APIError):  # the engine has removed it, or is about to
                        container.remove(force=True)

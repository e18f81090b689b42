"""Runs in containers of their own: the launcher that `packaging/containers/dagster/in_containers.yaml` names."""

from __future__ import annotations

from contextlib import suppress

import dagster as dg
import docker.errors
from dagster._core.launcher import LaunchRunContext
from dagster_docker import DockerRunLauncher

_RUN = "dagster/run_id"
_ENDED = ["created", "exited"]
"""Podman answers another status of Docker's, `dead`, with an error."""


class TidyLauncher(DockerRunLauncher):
    """Dagster's own launcher, which also removes the containers of ended runs that their engine left behind.

    Containers are created with `auto_remove`, but the engine does not remove one that was never started because the
    daemon was killed in between, and Podman does not remove one that a power cut ended.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        self._remove_ended(context.dagster_run)
        super().launch_run(context)

    def _remove_ended(self, run: dg.DagsterRun) -> None:
        client = self._get_client(self.get_container_context(run))
        with suppress(docker.errors.DockerException):  # no launch fails because the engine could not be tidied
            asked = {"label": _RUN, "status": _ENDED}
            for container in client.containers.list(all=True, filters=asked, ignore_removed=True):
                ended = self._instance.get_run_by_id(container.labels[_RUN])
                if ended is not None and ended.is_finished:
                    with suppress(docker.errors.APIError):  # the engine removed it, or is about to
                        container.remove(force=True)

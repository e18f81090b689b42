"""Containers that their engine left behind are removed when the next run is launched."""

import uuid
from types import SimpleNamespace
from typing import Any

import dagster as dg
import docker.errors
import pytest
from dagster_docker import DockerRunLauncher

from pipelines.dagster.in_containers import TidyLauncher


class Engine:
    """An engine with ended containers, the first of which it removes itself in the meantime."""

    def __init__(self, *runs: str) -> None:
        self.left = [SimpleNamespace(labels={"dagster/run_id": run}, remove=self._removes(run)) for run in runs]
        self.removed: list[str] = []
        self.containers = SimpleNamespace(list=self._list)

    def _list(self, **asked: Any) -> list[Any]:
        filters = {"label": "dagster/run_id", "status": ["created", "exited"]}
        assert asked == {"all": True, "filters": filters, "ignore_removed": True}
        if not self.left:
            raise docker.errors.APIError("this engine lists nothing")
        return self.left

    def _removes(self, run: str) -> Any:
        def remove(*, force: bool) -> None:
            if self.left[0].labels["dagster/run_id"] == run:
                raise docker.errors.NotFound("gone")
            self.removed.append(run)

        return remove


def test_containers_of_ended_runs_alone_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def begun(status: dg.DagsterRunStatus) -> dg.DagsterRun:
            return instance.add_run(dg.DagsterRun(job_name="intake", run_id=str(uuid.uuid4()), status=status))

        ended = [begun(dg.DagsterRunStatus.FAILURE), begun(dg.DagsterRunStatus.SUCCESS)]
        starting = begun(dg.DagsterRunStatus.STARTING)
        engine = Engine(*(run.run_id for run in (*ended, starting)), "a run of another deployment")
        launched: list[Any] = []
        monkeypatch.setattr(DockerRunLauncher, "launch_run", lambda _, context: launched.append(context))
        monkeypatch.setattr(TidyLauncher, "_get_client", lambda *_: engine)
        monkeypatch.setattr(TidyLauncher, "get_container_context", lambda *_: None)
        launcher = TidyLauncher()
        launcher.register_instance(instance)
        context: Any = SimpleNamespace(dagster_run=starting)
        launcher.launch_run(context)
        removed = list(engine.removed)
        engine.left.clear()
        launcher.launch_run(context)
    assert removed == [ended[1].run_id]
    assert launched == [context, context]

"""Launchers: one removes containers that their engine left behind, one finds runs lost whose server is another one."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import docker.errors
import pytest
from dagster._core.launcher import WorkerStatus
from dagster_docker import DockerRunLauncher

from pipelines.dagster.in_containers import TidyLauncher
from tests.support import PROJECT, find_free_port
from tests.support.waiting import wait_until


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


CODE = """
import time
import dagster as dg

@dg.op
def waits():
    time.sleep(3600)

@dg.job
def waiting():
    waits()

defs = dg.Definitions(jobs=[waiting])
"""
SETTINGS = """
run_launcher: {module: pipelines.dagster.launching, class: WatchedLauncher}
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
telemetry: {enabled: false}
"""
WORKSPACE = "load_from: [{grpc_server: {%s, location_name: waits}}]\n"


def dagster(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"DAGSTER_HOME": str(folder), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-W", "ignore", "-m", "dagster", *words]
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)


@contextmanager
def code_server(folder: Path, *where: str) -> Iterator[None]:
    """Killed with its runs, as the container that it is the first process of."""
    server = dagster(folder, "api", "grpc", *where, "--python-file", "waits.py")
    try:
        wait_until(lambda: dagster(folder, "api", "grpc-health-check", *where).wait() == 0, of=server)
        yield
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow
@pytest.mark.parametrize("behind", ["an address", "a socket"])
def test_a_run_of_a_server_that_was_started_again_is_lost(tmp_path: Path, behind: str) -> None:
    """While none answers at its address nobody knows; behind a socket there is none."""
    port = find_free_port()
    place, where = f"host: 127.0.0.1, port: {port}", ("--host", "127.0.0.1", "--port", str(port))
    if behind == "a socket":
        place, where = f"socket: {tmp_path}/waits.sock", ("--socket", f"{tmp_path}/waits.sock")
    (tmp_path / "waits.py").write_text(CODE)
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    (tmp_path / "workspace.yaml").write_text(WORKSPACE % place)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:

        def status() -> WorkerStatus:
            (run,) = instance.get_runs()
            return instance.run_launcher.check_run_worker_health(run).status

        with code_server(tmp_path, *where):
            assert dagster(tmp_path, "job", "launch", "-w", "workspace.yaml", "-j", "waiting").wait() == 0
            wait_until(lambda: instance.get_runs()[0].status is dg.DagsterRunStatus.STARTED)
            assert instance.run_launcher.supports_check_run_worker_health
            assert status() is WorkerStatus.RUNNING
        assert status() is (WorkerStatus.RUNNING if behind == "an address" else WorkerStatus.FAILED)
        with code_server(tmp_path, *where):
            assert status() is WorkerStatus.FAILED

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
from unittest.mock import Mock, call

import dagster as dg
import docker.errors
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.launcher import WorkerStatus
from dagster_docker import DockerRunLauncher

from pipelines.dagster.in_containers import TidyLauncher
from tests.support import PROJECT, find_free_port
from tests.support.waiting import wait_until


def test_containers_of_ended_runs_alone_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their engine has removed the first meanwhile, and one that lists nothing keeps no run from starting."""
    with dg.DagsterInstance.ephemeral() as instance:

        def begun(status: Status) -> dg.DagsterRun:
            return instance.add_run(dg.DagsterRun(job_name="intake", run_id=str(uuid.uuid4()), status=status))

        gone, ended, starting = map(begun, (Status.FAILURE, Status.SUCCESS, Status.STARTING))
        runs = (gone.run_id, ended.run_id, starting.run_id, "a run of another deployment")
        left = [Mock(labels={"dagster/run_id": run}) for run in runs]
        left[0].remove.side_effect = docker.errors.NotFound("gone")
        listed, launched = Mock(side_effect=[left, docker.errors.APIError("this engine lists nothing")]), Mock()
        engine = SimpleNamespace(containers=SimpleNamespace(list=listed))
        monkeypatch.setattr(DockerRunLauncher, "launch_run", launched)
        monkeypatch.setattr(TidyLauncher, "_get_client", lambda *_: engine)
        monkeypatch.setattr(TidyLauncher, "get_container_context", lambda *_: None)
        launcher = TidyLauncher()
        launcher.register_instance(instance)
        context: Any = SimpleNamespace(dagster_run=starting)
        for _ in range(2):
            launcher.launch_run(context)
    filters = {"label": "dagster/run_id", "status": ["created", "exited"]}
    listed.assert_called_with(all=True, filters=filters, ignore_removed=True)
    assert [each.remove.called for each in left] == [True, True, False, False]
    assert launched.call_args_list == [call(context)] * 2


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
            wait_until(lambda: instance.get_runs()[0].status is Status.STARTED)
            assert instance.run_launcher.supports_check_run_worker_health
            assert status() is WorkerStatus.RUNNING
        assert status() is (WorkerStatus.RUNNING if behind == "an address" else WorkerStatus.FAILED)
        with code_server(tmp_path, *where):
            assert status() is WorkerStatus.FAILED

"""Runs in the process of their code location, whose server may be another one by the time somebody asks."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from tests.support import PROJECT, find_free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow
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

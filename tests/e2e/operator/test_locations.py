"""`readiness ui` on a new home folder, and restricted and release work as two code locations of one server."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from assets.home.paths import Home
from pipelines.dagster.instance import open_instance
from tests.support import PROJECT, find_free_port
from tests.support.installation.commands import READINESS
from tests.support.installation.rig import COHORT, Site
from tests.support.installation.server import Server, serve_site
from tests.support.waiting import PATIENCE, wait_until

pytestmark = pytest.mark.slow

ASKED = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus } } } }"


@contextmanager
def started(home: Path, said: Path) -> Iterator[str]:
    """The address that `readiness ui` answers at, until it is interrupted."""
    port = find_free_port()
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    command = [READINESS, "ui", "--home", home, "--landing", home / "landing", "--keys", home / "keys"]
    with said.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=home.parent,
            preexec_fn=_can_be_interrupted,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) is not None


def _can_be_interrupted() -> None:
    """As in a terminal: what a shell starts in the background ignores an interruption, and so would this process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_a_fresh_home_is_made_ready_and_served(tmp_path: Path) -> None:
    home, said = tmp_path / "O'Brien's 100% höme", tmp_path / "said.txt"
    with started(home, said) as url:
        wait_until(lambda: f"{url}  (home" in said.read_text(), every=0.5)
        (entry,) = Server(url).ask(ASKED)["workspaceOrError"]["locationEntries"]
    assert entry == {"name": "readiness", "loadStatus": "LOADED"}
    settings = (home / "dagster" / "dagster.yaml").read_text()
    assert settings == (PROJECT / "pipelines" / "dagster" / "dagster.yaml").read_text()
    assert yaml.safe_load(settings)["telemetry"] == {"enabled": False}
    assert not (home / "dagster" / ".telemetry").exists()
    assert not re.search("Traceback|[Ss]upersed", said.read_text())


RUNS = "{ runsOrError { ... on Runs { results { status jobName } } } }"
SENSORS = """query S($in: RepositorySelector!) { sensorsOrError(repositorySelector: $in) {
  ... on Sensors { results { name } } } }"""
TICKS = """query T($in: SensorSelector!) { sensorOrError(sensorSelector: $in) {
  ... on Sensor { sensorState { ticks(limit: 10) { timestamp status } } } } }"""


def test_a_failed_run_of_either_is_told_once(tmp_path: Path, hook: tuple[str, list[bytes]]) -> None:
    url, got = hook
    site = Site.create(tmp_path)
    with open_instance(Home(site.home)):
        pass
    workspace = tmp_path / "workspace.yaml"
    names = ("restricted", "release")
    modules = [
        {"python_module": {"module_name": "pipelines.definitions", "attribute": name, "location_name": name}}
        for name in names
    ]
    workspace.write_text(yaml.safe_dump({"load_from": modules}))
    with serve_site(site, workspace=workspace, settings={"READINESS_ALERT": url}) as server:
        found = {
            name: server.ask(SENSORS, **{"in": {"repositoryName": "__repository__", "repositoryLocationName": name}})
            for name in names
        }
        told_by = [n for n, said in found.items() if "failed_runs" in str(said)]
        assert told_by == ["release"]
        server.launch("restricted", "linkage", {"dagster/partition": COHORT})
        config = {"config": {"version": "2026.11.0"}}
        ops = {"ops": {"release__measurements": config, "release__bundle": config}}
        server.launch("release", "release", {"dagster/partition": COHORT}, ops)
        server.query_until(RUNS, lambda runs: [r["status"] for r in runs["runsOrError"]["results"]] == ["FAILURE"] * 2)
        wait_until(lambda: len(got) >= 2)
        told = time.time()
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "release",
            "sensorName": "failed_runs",
        }
        server.query_until(
            TICKS,
            lambda found: any(
                tick["timestamp"] > told and tick["status"] != "STARTED"
                for tick in found["sensorOrError"]["sensorState"]["ticks"]
            ),
            **{"in": selector},
        )
    assert sorted(json.loads(body)["text"].split(",")[1].strip() for body in got) == [
        f"linkage of {COHORT}",
        f"release of {COHORT}",
    ]

"""Restricted and release work as two code locations of one server and daemon."""

import json
import time
from pathlib import Path

import pytest
import yaml

from assets.home.paths import Home
from pipelines.dagster.instance import open_instance
from tests.support.installation.rig import COHORT, Site
from tests.support.installation.server import serve_site
from tests.support.waiting import wait_until

RUNS = "{ runsOrError { ... on Runs { results { status jobName } } } }"
SENSORS = """query S($in: RepositorySelector!) { sensorsOrError(repositorySelector: $in) {
  ... on Sensors { results { name } } } }"""
TICKS = """query T($in: SensorSelector!) { sensorOrError(sensorSelector: $in) {
  ... on Sensor { sensorState { ticks(limit: 10) { timestamp status } } } } }"""


@pytest.mark.slow
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

"""Dagster's web server and daemon for an installation, in separate processes."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support import PROJECT, find_free_port
from tests.support.installation.commands import build_settings
from tests.support.installation.rig import Site
from tests.support.waiting import PATIENCE, is_answering, wait_until

_LAUNCH = """mutation L($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
  ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
WORKSPACE = PROJECT / "workspace.yaml"


@dataclass(frozen=True)
class Server:
    """A server's address, and the seconds to wait for a response, because a starting server may give none."""

    url: str
    seconds: float = PATIENCE

    def ask(self, query: str, **variables: Any) -> Any:
        """Return the data of a GraphQL query; fail if it has errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=self.seconds) as answer:
            content = json.loads(answer.read())
        assert "errors" not in content, content
        return content["data"]

    def launch(self, location: str, job: str, tags: Mapping[str, str], config: Mapping[str, Any] | None = None) -> str:
        params = {
            "selector": {"repositoryName": "__repository__", "repositoryLocationName": location, "jobName": job},
            "runConfigData": json.dumps(config or {}),
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        answer = self.ask(_LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def query_until(self, query: str, good: Any, **variables: Any) -> Any:
        """Repeat a query until its answer is `good`, and return it."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [self.ask(query, **variables)]
            return bool(good(*found))

        wait_until(look, every=0.5)
        return found[0]


@contextmanager
def serve_site(
    site: Site, *, workspace: Path = WORKSPACE, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    port = find_free_port()
    own = {"DAGSTER_HOME": str(site.home / "dagster"), "PYTHONPATH": str(PROJECT)}
    environment = os.environ | build_settings(site.root) | own | dict(settings or {})
    programs = [
        ["dagster-webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)],
        ["dagster-daemon", "run", "-w", str(workspace)],
    ]
    said = (site.root / "servers.txt").open("wb")
    processes = [
        subprocess.Popen(
            [Path(sys.executable).with_name(name), *options], cwd=PROJECT, env=environment, stdout=said, stderr=said
        )
        for name, *options in programs
    ]
    try:
        wait_until(lambda: is_answering(port), of=processes[0], said=site.root / "servers.txt")
        yield Server(f"http://127.0.0.1:{port}")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE)

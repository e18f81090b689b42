"""The deployment in docs/deployment.md: runs its commands as written there, in the test's own folders and engine."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import PROJECT, find_free_port
from tests.support.installation.engine import BASE, COMPOSE, ENGINE, Engine
from tests.support.installation.server import Server
from tests.support.waiting import wait_until

PAGE = PROJECT / "docs" / "deployment.md"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
SERVICES = ("postgres", "restricted", "release", "webserver", "daemon")
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
_RUNS = "{ runsOrError { ... on Runs { results { runId status jobName startTime endTime tags { key value } } } } }"
_LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename } } } } }"
_EVENTS = """query E($run: ID!) { runOrError(runId: $run) { ... on Run { eventConnection { events {
  ... on MessageEvent { timestamp message level } } } } } }"""
_SENSOR = "mutation S($in: SensorSelector!) { startSensor(sensorSelector: $in) { __typename } }"
_PARTITION = """mutation P($in: RepositorySelector!, $key: String!) {
  addDynamicPartition(repositorySelector: $in, partitionsDefName: "councils", partitionKey: $key) { __typename } }"""


def read_command(heading: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```bash\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert blocks, heading
    return "\n".join(blocks)


@dataclass
class Deployment:
    """A deployment in `root`, whose containers, networks and volume have names that begin with `name`."""

    root: Path
    name: str
    port: int = field(default_factory=find_free_port)
    tls_port: int = field(default_factory=find_free_port)
    in_containers: bool = False

    @property
    def engine(self) -> Engine:
        return Engine(self.root, self.name)

    @property
    def data(self) -> Path:
        return self.root / "srv" / "data"

    def run_commands(self, heading: str, folder: str = ".", further: Mapping[str, str] | None = None) -> str:
        """Run the commands below a heading of the page in a folder, with the words of `further` replaced."""
        commands = read_command(heading)
        build = f"{ENGINE} build --network host --build-arg BASE={BASE}"
        if CERTIFICATES.exists():
            build += f" --secret id=ca,src={CERTIFICATES}"
        places = {
            "/srv/readiness:/srv": f"{self.root}/srv:/srv",
            "/srv/readiness": f"{self.root}/srv",
            "localhost/readiness": f"localhost/{self.name}",
            "podman build": build,
            "podman compose": f"{COMPOSE} -p {self.name}",
            "podman run": f"{ENGINE} run",
            "ada.": f"{self.root}/ada.",
            "systemctl enable": "true",
            "/mnt/": f"{self.root}/",
            **(further or {}),
        }
        for theirs, ours in places.items():
            commands = commands.replace(theirs, ours)
        return self.engine.do(["bash", "-euo", "pipefail", "-c", commands], cwd=PROJECT / folder)

    def fill_in(self) -> None:
        """Fill in the file of settings as a person would."""
        path = self.root / "srv" / "deployment.env"
        changed = {
            "READINESS_DATA": self.data,
            "READINESS_SECRETS": self.root / "srv" / "secrets",
            "READINESS_IMAGE": f"localhost/{self.name}:latest",
            "READINESS_POSTGRES_IMAGE": f"localhost/{self.name}-postgres:latest",
            "READINESS_PORT": self.port,
            "READINESS_PROXY_IMAGE": f"localhost/{self.name}-proxy:latest",
            "READINESS_TLS_PORT": self.tls_port,
            "READINESS_NETWORK": self.name,
            "READINESS_ENGINE_SOCKET": self.engine.socket,
            "READINESS_ENGINE_GROUP": self.engine.socket.stat().st_gid,
        }
        text = path.read_text()
        for name, value in changed.items():
            text = re.sub(rf"^{name}=.*$", f"{name}={value}", text, flags=re.MULTILINE)
        path.write_text(text)

    def compose(self, *words: str) -> str:
        more = ["-f", "compose.runs.yaml"] if self.in_containers else []
        env = str(self.root / "srv" / "deployment.env")
        command = [*COMPOSE.split(), "-p", self.name, "--env-file", env, "-f", "compose.yaml", *more, *words]
        return self.engine.do(command, cwd=PROJECT / "packaging" / "containers")

    def find_container(self, service: str) -> str:
        between = {"podman": "_", "docker": "-"}[ENGINE]
        return between.join((self.name, service, "1"))

    def run_inside(self, service: str, *command: str, given: str | None = None) -> str:
        return self.engine.ask("exec", "-i", self.find_container(service), *command, input=given)

    def run_alone(self, folder: Path, *words: str) -> str:
        """Run a command in a single container, with the home and keys in a folder, and return its output."""
        volumes = (f"{self.data}/landing:/data/landing", f"{self.data}/settings:/etc/readiness:ro", f"{folder}:/one")
        settings = {
            "READINESS_HOME": "/one/home",
            "READINESS_KEYS": "/one/keys",
            "READINESS_POLICY": "/etc/readiness/policy.yaml",
            "READINESS_PUBLISHER": "/etc/readiness/publisher.yaml",
        }
        given = [word for volume in volumes for word in ("--volume", volume)]
        given += [word for name, value in settings.items() for word in ("--env", f"{name}={value}")]
        image = f"localhost/{self.name}:latest"
        return self.engine.ask("run", "--rm", "--network", "none", *given, image, "readiness", *words)

    @property
    def server(self) -> Server:
        return Server(f"http://127.0.0.1:{self.port}")

    @property
    def starting_server(self) -> Server:
        """The same server for use while it may be restarting: it may take 60 seconds to respond."""
        return Server(f"http://127.0.0.1:{self.port}", 60)

    def wait_until_loaded(self, patience: float = 1200) -> None:
        """Wait until both code locations and the database respond."""
        deadline, found = time.monotonic() + patience, None
        while time.monotonic() < deadline:
            with suppress(OSError, AssertionError):
                found = self.starting_server.ask(_LOCATIONS)["workspaceOrError"]["locationEntries"]
                if [each["locationOrLoadError"]["__typename"] for each in found] == ["RepositoryLocation"] * 2:
                    self.list_runs()
                    return
            time.sleep(1)
        said = {each: self.engine.ask("logs", "--tail", "20", self.find_container(each)) for each in SERVICES}
        raise AssertionError(f"{found}\n{said}")

    def wait_until_healthy(self, service: str) -> None:
        """Wait until a service's health check passes; run it here, because Podman's timers need systemd."""
        container = self.find_container(service)
        ask = {
            "podman": ("healthcheck", "run", container),
            "docker": ("inspect", "--format", "{{.State.Health.Status}}", container),
        }[ENGINE]

        def look() -> bool:
            with suppress(AssertionError):
                return self.engine.ask(*ask) in ("", "healthy")
            return False

        wait_until(look, every=2)

    def list_runs(self) -> list[dict[str, Any]]:
        found = self.starting_server.ask(_RUNS)["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in found]

    def launch(self, location: str, job: str, partition: str, config: Mapping[str, Any] | None = None) -> str:
        tags = {"dagster/partition": partition}
        if "|" in partition:
            tags["dagster/partition/cohort"], tags["dagster/partition/council"] = partition.split("|")

        def look() -> str:
            with suppress(OSError):  # a restarting code server does not know the job yet
                return self.server.launch(location, job, tags, config)
            return ""

        return wait_until(look, every=1)

    def add_council(self, council: str) -> None:
        selector = {"repositoryName": "__repository__", "repositoryLocationName": "restricted"}
        self.server.ask(_PARTITION, **{"in": selector, "key": council})

    def start_sensor(self, location: str, sensor: str) -> None:
        selector = {"repositoryName": "__repository__", "repositoryLocationName": location, "sensorName": sensor}
        assert self.server.ask(_SENSOR, **{"in": selector})["startSensor"]["__typename"] == "Sensor"

    def list_status(self, *ids: str) -> list[str]:
        found = {run["runId"]: run["status"] for run in self.list_runs()}
        return [found[each] for each in ids]

    def wait_until_started(self, run: str) -> None:
        def look() -> bool:
            status = self.list_status(run)
            assert not ENDED.intersection(status), self.server.ask(_EVENTS, run=run)
            return status == ["STARTED"]

        wait_until(look)

    def wait_until_ended(self, *ids: str, patience: float = 3600) -> list[str]:
        deadline, status = time.monotonic() + patience, list[str]()
        while time.monotonic() < deadline:
            with suppress(OSError, AssertionError):
                status = self.list_status(*ids)
                if set(status) <= ENDED:
                    return status
            time.sleep(1)
        raise AssertionError(status)

    def run(self, location: str, job: str, partition: str, config: Mapping[str, Any] | None = None) -> None:
        """Start a run, wait for it, and check that it succeeded."""
        run = self.launch(location, job, partition, config)
        assert self.wait_until_ended(run) == ["SUCCESS"], self.server.ask(_EVENTS, run=run)

    def run_containers(self, run: str = "", *, all_of_them: bool = False) -> list[str]:
        """Return the ids of the containers of a run, or of all runs; `all_of_them` includes those that do not run."""
        of = ["--filter", f"network={self.name}-inside", "--filter", f"label=dagster/run_id{'=' if run else ''}{run}"]
        return self.engine.ask("ps", "--quiet", *of, *(["--all"] if all_of_them else [])).split()

    def kill(self, container: str) -> bool:
        """Kill a container's first process from outside, as in a machine failure; return False if it has ended."""
        with suppress(AssertionError, ProcessLookupError, ValueError):
            if pid := int(self.engine.ask("inspect", "--format", "{{.State.Pid}}", container)):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def kill_one_at_random(self, chance: random.Random) -> str:
        """Kill the container of a run or of a service, and return which; "" if it had ended."""
        runs = self.run_containers()
        if runs and chance.random() < 0.7:
            return "a run" if self.kill(chance.choice(runs)) else ""
        service = chance.choice([each for each in SERVICES if each != "webserver"])
        return service if self.kill(self.find_container(service)) else ""

    @contextmanager
    def run_engine(self) -> Iterator[None]:
        """Run an engine for the block; afterwards only the deployment's files are left."""
        with self.engine.hold_running():
            try:
                yield
            finally:
                self._clear()

    def _clear(self) -> None:
        with suppress(AssertionError):
            for container in self.run_containers(all_of_them=True):
                self.engine.ask("rm", "--force", container)
            self.compose("down", "--volumes", "--timeout", "5")

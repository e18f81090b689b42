"""A container engine (Podman or Docker) for one test, which can simulate a power cut."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import get_environment_without_settings
from tests.support.areas import describe_missing
from tests.support.waiting import wait_until

ENGINE = os.environ.get("READINESS_TEST_ENGINE", "podman")
"""podman, or docker."""
COMPOSE = {"podman": "podman-compose", "docker": "docker compose"}[ENGINE]
BASE = "localhost/debian:trixie-slim"
_NEEDED = ("mmdebstrap", *{"podman": ("podman", COMPOSE, "runc", "nft"), "docker": ("docker", "dockerd")}[ENGINE])
_NAMES = Path("/run/containers/networks/aardvark-dns")
"""Folder in which Podman keeps the names in the networks of all engines on a machine."""
_NETWORKS = Path("/etc/containers/networks")
_OF_RUNC = Path("/run/runc")
_RESTART_UNIT = Path("/usr/lib/systemd/system/podman-restart.service")


def explain_absence() -> str:
    """Return why no containers can be run here; empty if they can."""
    missing = [name for name in _NEEDED if not shutil.which(name)]
    if ENGINE == "podman" and not _RESTART_UNIT.exists():
        missing.append(_RESTART_UNIT.name)
    if missing:
        return describe_missing("deployment", f"{', '.join(missing)} cannot be found")
    return "" if os.getuid() == 0 else describe_missing("deployment", "this is not root")


@dataclass
class Engine:
    """An engine whose images and containers are in `root`, separate from this machine's own."""

    root: Path
    name: str

    @property
    def stored(self) -> Path:
        return self.root / "images"

    @property
    def running(self) -> Path:
        """Folder that lasts until the machine is switched off; its path may have at most 50 characters."""
        return Path("/run") / self.name

    @property
    def socket(self) -> Path:
        return self.root / "engine.sock"

    @property
    def environment(self) -> dict[str, str]:
        kept = get_environment_without_settings()
        here = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = {
            "CONTAINERS_CONF": str(self.root / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.root / "storage.conf"),
            "DOCKER_HOST": f"unix://{self.socket}",
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
            "TMPDIR": str(self.root / "building"),
        }
        return kept | {"PATH": here} | own

    def do(self, command: list[str], **given: Any) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, **given)
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def ask(self, *words: str, **given: Any) -> str:
        return self.do([ENGINE, *words], **given)

    def _configure(self) -> None:
        """Write the configuration that Podman needs in a sandbox: limits of this account, folders, file locks."""
        limits = [
            f'"{name}={hard}:{hard}"'
            for name, of in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
            if (hard := resource.getrlimit(of)[1]) != resource.RLIM_INFINITY
        ]
        (self.root / "containers.conf").write_text(
            f"[containers]\ndefault_ulimits = [{', '.join(limits)}]\n"
            f'[engine]\nruntime = "runc"\nlock_type = "file"\ntmp_dir = "{self.running}/libpod"\n'
        )
        (self.root / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{self.stored}"\nrunroot = "{self.running}"\n'
        )
        (self.root / "building").mkdir()

    @contextmanager
    def hold_running(self) -> Iterator[None]:
        """Run the engine for the block, with a base image of Debian packages, and remove everything afterwards.

        Skips the test if no container can be run.
        """
        self._configure()
        self.start()
        try:
            self._import_base()
            yield
        finally:
            with suppress(AssertionError):
                self.cut_power()
            for network in _NETWORKS.glob(f"{self.name}-*.json"):
                network.unlink()
            for folder in (self.stored, self.root / "building"):
                shutil.rmtree(folder, ignore_errors=True)

    def _import_base(self) -> None:
        archive = self.root / "base.tar"
        self.do(["mmdebstrap", "--variant=minbase", "trixie", str(archive)])
        self.ask("import", str(archive), BASE)
        archive.unlink()
        self.ask("network", "create", "--internal", self.name)
        trial = [ENGINE, "run", "--rm", "--network", self.name, BASE, "true"]
        done = subprocess.run(trial, env=self.environment, capture_output=True, text=True)
        self.ask("network", "rm", self.name)
        if done.returncode:
            pytest.skip(
                describe_missing("deployment", f"containers do not run: {done.stderr.strip().splitlines()[-1]}")
            )

    def start(self) -> None:
        """Start the engine with its socket, and the containers that start with the machine, as systemd does."""
        places = {"--data-root": self.stored, "--exec-root": self.running, "--pidfile": self.root / "dockerd.pid"}
        command = {
            "podman": ["podman", "system", "service", "--time", "0", f"unix://{self.socket}"],
            "docker": ["dockerd", "--bridge", "none", "--host", f"unix://{self.socket}"]
            + [str(word) for place in places.items() for word in place],
        }[ENGINE]
        with (self.root / "engine.log").open("a") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_until(self.socket.exists, of=process, said=self.root / "engine.log")
        self.socket.chmod(0o660)
        if ENGINE == "podman":
            (words,) = re.findall(r"^ExecStart=(.*)", _RESTART_UNIT.read_text(), re.MULTILINE)
            self.do([word for word in words.split() if word != "$LOGGING"])

    def cut_power(self) -> None:
        """Kill everything at once, and remove what a machine does not keep: mounts, networks, `/run`."""
        kept = "{{.Id}} {{.State.Pid}} {{.NetworkSettings.SandboxKey}}"
        found = self.ask("ps", "--quiet").split()
        told = [line.split() for line in self.ask("inspect", "--format", kept, *found).splitlines()] if found else []
        self._kill(int(pid) for _, pid, *_ in told)
        for container, _, *network in told:
            shutil.rmtree(_OF_RUNC / container, ignore_errors=True)
            for place in network:
                subprocess.run(["umount", "--lazy", place], check=False)
                Path(place).unlink(missing_ok=True)
        self._let_go()
        self._close_ports()
        for names in _NAMES.glob(f"{self.name}-*"):
            names.unlink()
        self.socket.unlink(missing_ok=True)
        (self.root / "dockerd.pid").unlink(missing_ok=True)

    def _close_ports(self) -> None:
        """Remove Podman's rules for published ports; Docker removes its own when it starts."""
        for network in _NETWORKS.glob(f"{self.name}-*.json"):
            (subnet,) = (each["subnet"] for each in json.loads(network.read_text())["subnets"])
            of_subnet = subnet.replace(".", "_").replace("/", "_nm")
            for chain in re.findall(rf"chain (nv_\w+_{of_subnet}_dnat)", self.do(["nft", "list", "chains"])):
                self.do(["nft", "flush", "chain", "inet", "netavark", chain])

    def _kill(self, containers: Iterable[int] = ()) -> None:
        """Kill the engine, the processes that monitor containers, and those in containers."""
        ours = {str(self.root).encode(), str(self.running).encode()}
        watching = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes()
                if any(each in command for each in ours) and int(process.name) != os.getpid():
                    watching.append(int(process.name))
        for pid in (*watching, *containers):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _let_go(self) -> None:
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for place in sorted(mounted, reverse=True):
            if Path(place).is_relative_to(self.stored) or Path(place).is_relative_to(self.running):
                subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self.running, ignore_errors=True)

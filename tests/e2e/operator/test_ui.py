"""`readiness ui` on a home folder that nobody made: it is prepared, and Dagster answers under our settings."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.support import PROJECT, find_free_port
from tests.support.installation.commands import READINESS
from tests.support.installation.server import Server
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

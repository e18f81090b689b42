"""An empty installation, a webhook, and the command in this process, or in a separate one as people type it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from assets.home.installation import Installation
from assets.home.paths import Home
from pipelines.cli import main
from tests.support import serve
from tests.support.warm import WARM, become_command

READINESS = Path(sys.executable).with_name("readiness")


def build_settings(root: Path, **settings: object) -> dict[str, str]:
    """Return the settings of the installation with the folders landing, home and keys in `root`, and further ones."""
    folders = {name: root / name for name in ("landing", "home", "keys")}
    return {f"READINESS_{name.upper()}": str(value) for name, value in (folders | settings).items()}


def invoke(*words: object, tool: click.Group = main, **options: Any) -> Result:
    """Run a command of `tool` in this process; `options` are those of click's runner, such as `env`."""
    return CliRunner().invoke(tool, [str(word) for word in words], **options)


def run_readiness(
    root: Path, *words: object, given: str | None = None, **settings: object
) -> subprocess.CompletedProcess[str]:
    """Run a command for the installation in `root`, in a forked process; `given` is its standard input."""
    command, environment = list(map(str, words)), os.environ | build_settings(root, **settings)
    with ExitStack() as held:
        files = [held.enter_context(TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
        files[0].write(given or "")
        files[0].seek(0)
        # a connection is the one thing whose open file a forked process gets
        handles = [Connection(os.dup(file.fileno())) for file in files]
        process = WARM.Process(target=become_command, args=(command, environment, root, handles))
        process.start()
        process.join()
        for file in files:
            file.seek(0)
        _, said, wrong = (file.read() for file in files)
    return subprocess.CompletedProcess(command, process.exitcode, said, wrong)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """Return an installation with a landing folder, and without home and keys."""
    (tmp_path / "landing").mkdir()
    return Installation(landing=tmp_path / "landing", home=Home(tmp_path / "home"), keys=tmp_path / "keys")


@pytest.fixture
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the address of a webhook, and the bodies posted there."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

    with serve(Handler) as address:
        yield f"{address}/secret", got

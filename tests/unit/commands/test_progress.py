"""What takes long says what it is at, on standard error; what is quick says nothing. The clock is the tests' own."""

import io
import re
import socket
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import main
from pipelines.commands import console
from pipelines.commands.console import show_progress
from pipelines.ending import Ending


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a teller of progress moves by waiting, up to the time at which the work is `over`."""

    def __init__(self, work_takes: float) -> None:
        self.time, self.ends, self.over = 0.0, work_takes, threading.Event()

    def now(self) -> float:
        return self.time

    def wait(self, done: threading.Event, seconds: float) -> bool:
        if self.time + seconds > self.ends:
            self.over.set()
            return done.wait()
        self.time += seconds
        return False


@pytest.mark.parametrize("terminal", [False, True])
def test_nobody_waits_ten_seconds_for_a_sign(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """117 seconds of silence were measured. Work that prints lines itself has lines on a terminal too."""
    said, clock = Terminal() if terminal else io.StringIO(), Clock(work_takes=117)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(console, "SILENCE_SECONDS", 2.0)
    with show_progress("Counting", in_lines=terminal, now=clock.now, wait=clock.wait):
        clock.over.wait()
    assert said.getvalue().startswith("Counting: 2 s\nCounting: 7 s\n")
    signs = [0.0, *(float(each) for each in re.findall(r"(\d+) s$", said.getvalue(), re.MULTILINE)), 117.0]
    assert max(after - before for before, after in pairwise(signs)) < 10


def test_a_port_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["ui", "--home", str(tmp_path / "home"), "--port", port])
    assert done.exit_code == Ending.INPUT
    assert f"Something listens at http://127.0.0.1:{port} already" in done.stderr
    assert not (tmp_path / "home").exists()

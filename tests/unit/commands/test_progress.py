"""What takes long says what it is at, on standard error; what is quick says nothing. The clock is the tests' own."""

import io
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from assets.home.paths import Home
from pipelines import run
from pipelines.cli import main
from pipelines.commands import console
from pipelines.commands.console import show_progress
from pipelines.ending import Ending

LONGEST_SILENCE = 10.0
"""Seconds, of whoever waits."""


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

    @property
    def at_work(self) -> Any:
        return partial(show_progress, now=self.now, wait=self.wait)


@pytest.fixture(autouse=True)
def _as_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SILENCE_SECONDS", 2.0)


def silences(said: str, until: float) -> Iterator[float]:
    """Seconds between one sign and the next, and up to the end of the work."""
    times = [0.0, *(float(each) for each in re.findall(r"(\d+) s$", said, re.MULTILINE)), until]
    return (after - before for before, after in pairwise(times))


@pytest.mark.parametrize("terminal", [False, True])
def test_nobody_waits_ten_seconds_for_a_sign(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    """117 seconds of silence were measured. Work that prints lines itself has lines on a terminal too."""
    said, clock = Terminal() if terminal else io.StringIO(), Clock(work_takes=117)
    monkeypatch.setattr(sys, "stderr", said)
    with clock.at_work("Counting", in_lines=terminal):
        clock.over.wait()
    assert said.getvalue().startswith("Counting: 2 s\nCounting: 7 s\n")
    assert max(silences(said.getvalue(), 117)) < LONGEST_SILENCE


def test_every_step_of_a_run_gives_signs_of_life(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intake, linkage and release, whether a step looks for changes or makes something."""
    home = Home(tmp_path / "home")
    home.prepare()
    clocks = {"Intake": Clock(60), "Linkage": Clock(117), "Release 2026.11.0": Clock(90)}
    monkeypatch.setattr(run, "show_progress", lambda on, **how: clocks[on.strip()].at_work(on, **how))
    executing = SimpleNamespace(open_jobs=lambda _: nullcontext())
    monkeypatch.setitem(sys.modules, "pipelines.dagster.executing", cast(Any, executing))
    looks, links, measures = (clock.over.wait for clock in clocks.values())
    steps = [
        run._Step("intake", "Intake: read, check", looks, lambda _: None),
        run._Step("linkage", "Linkage: who is who", lambda: False, lambda _: cast(None, links())),
        run._Step("release", "Release 2026.11.0: add noise", lambda: False, lambda _: cast(None, measures())),
    ]
    run._run_steps(cast(Any, SimpleNamespace(home=home)), steps, print)
    said = capsys.readouterr()
    assert (said.out.count("unchanged"), said.out.count("done in")) == (1, 2)
    for title, clock in clocks.items():
        own = "".join(line for line in said.err.splitlines(keepends=True) if line.startswith(f"      {title}: "))
        assert max(silences(own, clock.ends)) < LONGEST_SILENCE


def test_a_port_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(main, ["ui", "--home", str(tmp_path / "home"), "--port", port])
    assert done.exit_code == Ending.INPUT
    assert f"Something listens at http://127.0.0.1:{port} already" in done.stderr
    assert not (tmp_path / "home").exists()

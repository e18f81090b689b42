"""What takes long says what it is at, on standard error, and what is quick says nothing."""

from __future__ import annotations

import io
import re
import sys

import pytest

from pipelines.commands import console
from pipelines.commands.console import at_work
from tests.support.waiting import until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SILENCE_SECONDS", 2.0)
    with at_work("Counting"):
        pass
    assert capsys.readouterr() == ("", "")


def test_what_takes_long_says_so_in_a_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "SILENCE_SECONDS", 0.02)
    said = ""

    def heard() -> str:
        nonlocal said
        said += capsys.readouterr().err
        return said

    with at_work("Counting"):
        until(heard, every=0.01)
    assert re.fullmatch(r"Counting: \d s\n", said)


def test_on_a_terminal_it_is_one_line_which_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "SILENCE_SECONDS", 0.02)
    with at_work("Counting"):
        until(terminal.getvalue, every=0.01)
    assert re.fullmatch(r"(\rCounting: \d s)+\r\x1b\[K", terminal.getvalue())

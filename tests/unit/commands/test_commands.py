"""What all commands have in common: the meaning of options, exit statuses, and signs of life on standard error."""

import io
import re
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest

from assets.home.errors import PACKAGES
from assets.home.home_lock import InUse
from assets.home.progress import count_done, describe_progress
from assets.linkage.link import NotEnoughMemory
from ndl_export.answers.claims import Claim
from ndl_export.publish.one_publisher import PlaceInUse
from pipelines.cli import main
from pipelines.commands import console
from pipelines.commands.console import HELP, Ending, PlainGroup, RunStopped, show_progress
from pipelines.council_cli import main as council_main
from privacy.keys import KeyProblem
from privacy.release.approval import WaitsForApproval
from privacy.release.ledger import BudgetExceeded, LedgerCorrupt, ReleaseConflict
from tests.support import PROJECT
from tests.support.installation.commands import invoke

ASKS_FOR_YES = {"restore", "forget", "shred", "retention", "parts withdraw", "publish", "withdraw", "synth"}
"""Commands that remove, replace or put out what cannot be taken back."""
PAGES = {"plan", "budget", "log", "status", "doctor", "request check", "pseudonymise"}


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words, groups too."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        yield f"{before}{name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")


def options(command: click.Command) -> Iterator[click.Option]:
    return (each for each in command.params if isinstance(each, click.Option))


def meaning(option: click.Option) -> tuple[object, ...]:
    """What it is and what it is of, up to where the help says what that means for one command."""
    # a signer is a file, or the fingerprint that is in it
    kind = "place" if {"--out", "--signer"} & {*option.opts} else option.type.name
    # a hold may be accepted of several councils at once, and a reader may trust several publishers
    several = option.multiple and not {"--council", "--signer"} & {*option.opts}
    return re.split(r"[;:.,] ?", option.help or "")[0], kind, several, option.is_flag


def test_an_option_means_the_same_wherever_it_is() -> None:
    """But for the parts of a claim, which have the names that they have in a file and in the tool of the MCP server."""
    meanings = defaultdict(set)
    for group in (main, council_main):
        for words, command in commands(group):
            parts = Claim.model_fields if words == "check-claim" else {}
            for option in options(command):
                if option.name in parts:
                    continue
                meanings[option.opts[0]].add(meaning(option))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}
    assert all(words for ((words, *_),) in meanings.values())


@pytest.mark.parametrize(("option", "wanted"), [("--html", PAGES), ("--yes", ASKS_FOR_YES)])
def test_which_commands_write_a_page_and_which_ask(option: str, wanted: set[str]) -> None:
    found = {words for words, command in commands() if any(option in each.opts for each in options(command))}
    assert found == wanted


def classes() -> set[str]:
    sources = (path for package in PACKAGES for path in (PROJECT / package).rglob("*.py"))
    return {name for path in sources for name in re.findall(r"^class (\w+)\(", path.read_text(), re.MULTILINE)}


def test_every_error_that_has_an_ending_is_one_of_the_code_and_has_one() -> None:
    named = [name for names in console.ENDINGS.values() for name in names]
    assert sorted(set(named)) == sorted(named)
    assert set(named) <= classes()


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (KeyProblem("x"), Ending.INPUT),
        (ReleaseConflict("x"), Ending.INPUT),
        (BudgetExceeded("x", requested=1.0, left=0.0), Ending.BUDGET),
        (WaitsForApproval("x"), Ending.HOLD),
        (InUse("x"), Ending.HOLD),
        (PlaceInUse("x"), Ending.HOLD),
        (LedgerCorrupt("x"), Ending.FAULT),
        (NotEnoughMemory("x"), Ending.FAULT),
        (RunStopped("x", Ending.HOLD), Ending.HOLD),
        (OSError(28, "No space left on device"), Ending.FAULT),
        (ZeroDivisionError(), Ending.FAULT),
    ],
)
def test_a_command_ends_as_its_error_asks(error: Exception, ending: Ending) -> None:
    @click.group(cls=PlainGroup, context_settings=HELP)
    def group() -> None: ...

    @group.command()
    def fails() -> None:
        raise error

    done = invoke("fails", tool=group)
    assert done.exit_code == ending == console.find_ending(error)
    assert done.stderr.startswith("readiness: ")
    assert done.stderr.count("\n") == 1
    if not isinstance(error, (RunStopped, OSError, ZeroDivisionError)):
        assert console.find_ending_by_name(type(error).__name__) == ending


def test_what_is_asked_wrongly_is_told_from_what_is_sent_wrongly() -> None:
    for wrong in (["plan"], ["plan", "--home", "h", "--cohort", "2024"], ["no-such-command"], ["budget", "--jsno"]):
        assert invoke(*wrong).exit_code == Ending.USAGE
    assert invoke("budget", "--home", "/nowhere").exit_code == Ending.INPUT


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


def test_work_that_counts_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    said, clock = io.StringIO(), Clock(work_takes=3)
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(console, "SILENCE_SECONDS", 2.0)
    for number in count_done(range(40), 40, "extracts"):
        if number == 11:
            with show_progress("Intake", now=clock.now, wait=clock.wait):
                clock.over.wait()
    assert said.getvalue() == "Intake, 12 of 40 extracts: 2 s\n"
    assert describe_progress() == ""


def test_a_port_that_is_taken_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = invoke("ui", "--home", tmp_path / "home", "--port", port)
    assert done.exit_code == Ending.INPUT
    assert f"Something listens at http://127.0.0.1:{port} already" in done.stderr
    assert not (tmp_path / "home").exists()

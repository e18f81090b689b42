"""Parts that commands share: exit statuses, the group that loads commands, forms of output, and signs of progress."""

import atexit
import gc
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from assets.home.progress import describe_progress
from assets.home.software import pause_garbage_collection
from privacy.doors import clock, environment

if TYPE_CHECKING:
    from pipelines.reports.document import Report

HELP = {"help_option_names": ["-h", "--help"]}


class Ending(IntEnum):
    """Exit status of a command that did not finish its work; 0 means that it did."""

    INPUT = 1
    USAGE = 2
    BUDGET = 3
    HOLD = 4
    FAULT = 5


class RunStopped(Exception):
    """Raised if a run cannot continue; the message says why and what to do."""

    def __init__(self, message: str, ending: Ending = Ending.INPUT) -> None:
        super().__init__(message)
        self.ending = ending


ENDINGS = {
    Ending.BUDGET: ("BudgetExceeded", "BudgetNotApproved", "NotAccurateEnough", "AccuracyOutOfReach"),
    Ending.HOLD: (
        *("WaitsForApproval", "WaitsForAcceptance", "NotPublished", "NotAsSigned"),
        *("InUse", "BeingRestored", "PlaceInUse"),
    ),
    Ending.FAULT: (
        *("StepFailed", "NotEnoughMemory", "Damaged", "LogBroken", "StoreError"),
        *("UnreadableRegister", "UnreadableWithdrawals", "UnreadableAnchor"),
        *("LedgerError", "LedgerCorrupt", "LedgerUnavailable"),
    ),
    Ending.USAGE: ("NoSuchCohort",),
    Ending.INPUT: ("ReleaseConflict", "UnusableAddress"),
}
"""Class names of errors by exit status. They are names so that no command imports what it does not use. Any other error
of the project is about the input; all other errors are faults."""


def find_ending_by_name(error: str) -> Ending:
    """Return the exit status of a run stopped by a project error with this class name."""
    return next((ending for ending, names in ENDINGS.items() if error in names), Ending.INPUT)


def find_ending(error: Exception) -> Ending:
    """Return the exit status of an error, by the nearest of its classes in `ENDINGS`."""
    from assets.home.errors import is_own

    if isinstance(error, RunStopped):
        return error.ending
    if not is_own(error):
        return Ending.FAULT
    named = {name: ending for ending, names in ENDINGS.items() for name in names}
    return next((named[each.__name__] for each in type(error).__mro__ if each.__name__ in named), Ending.INPUT)


def stop(message: str, ending: Ending = Ending.INPUT) -> NoReturn:
    """End the command with one sentence on standard error and this exit status."""
    click.echo(f"readiness: {message}", err=True)
    sys.exit(int(ending))


UsedBy = Mapping[str, Mapping[str, tuple[str, str]]]
_OBJECTS_BETWEEN_SEARCHES = 50_000
"""New objects between garbage collections; with Python's default of 700, a release takes a tenth longer."""


class PlainGroup(click.Group):
    """Commands that always end with one sentence and an exit status that says why, listed by their users.

    `used_by` has, by user and name, a command's place in `pipelines.commands` and its summary: the module is imported
    only when the command is called. Unforeseen errors are not printed, because they and their stack traces may quote a
    row.
    """

    def __init__(self, *args: Any, used_by: UsedBy = MappingProxyType({}), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.used_by = used_by
        self.places = {name: place for own in used_by.values() for name, (place, _) in own.items()}
        shown: dict[str, Any] = {"is_flag": True, "is_eager": True, "expose_value": False, "callback": _show_version}
        self.params.append(click.Option(["--version"], help="Show the version and exit.", **shown))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.places, *(name for name in self.commands if name not in self.places)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.places and cmd_name not in self.commands:
            module, _, name = self.places[cmd_name].partition(".")
            with pause_garbage_collection():
                found = import_module(f"pipelines.commands.{module}")
            self.add_command(getattr(found, name), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        wide = max(map(len, self.places))
        for title, own in self.used_by.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{wide}}", summary) for name, (_, summary) in own.items()])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run as a program: collect garbage less often, and not at exit, when the memory is freed anyway."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # Windows pipes use cp1252, which lacks letters in headings
        gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
        atexit.register(gc.freeze)
        return super().__call__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        # click reports its own errors, and a broken pipe means that the reader, such as `head`, has seen enough
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            from assets.home.errors import describe_error

            stop(describe_error(error), find_ending(error))


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from assets.home.software import get_software_version

        click.echo(f"readiness {get_software_version()}")
        ctx.exit()


def answer(facts: Any, text: Callable[[], str], *, waits: bool = False) -> None:
    """Print what a command found: as text, or as one JSON document with --json.

    If the command `waits` for --yes, it ends here.
    """
    click.echo(json.dumps(facts, indent=1) if is_json_wanted() else text())
    if waits:
        wait_for_yes()


def show(report: "Report") -> None:
    """Print a report as text or as one JSON document; with --html write it as a page."""
    page = write_page(report)
    answer(report.facts, lambda: f"Page: {page}" if page else report.render_text())


def write_page(report: "Report") -> Path | None:
    """Write a report as a page to the file of --html, and return the file; None without the option."""
    page: Path | None = click.get_current_context().meta["html"]
    if page:
        from privacy.doors import files

        files.write(page, report.render_page().encode())
    return page


def is_json_wanted() -> bool:
    """Check whether the running command was called with --json."""
    return bool(click.get_current_context().meta.get("json"))


def wait_for_yes() -> NoReturn:
    """End a command that has only said what it would do."""
    stop("nothing was done yet: run the same command with --yes to do it", Ending.HOLD)


def end(ending: Ending) -> NoReturn:
    """End a command that has already printed its answer."""
    sys.exit(int(ending))


SILENCE_SECONDS, BETWEEN_SIGNS = 2.0, 5.0
"""Seconds before a command says what it is doing, and between repeats if it cannot count seconds on a terminal.

Nobody should wait more than ten seconds for a sign of life. Half of that leaves time for a busy processor.
"""


@contextmanager
def show_progress(
    on: str,
    *,
    in_lines: bool = False,
    now: Callable[[], float] = time.monotonic,
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
) -> Iterator[None]:
    """Say on standard error what the command is doing, from two seconds after its start until it ends.

    On a terminal this is one line that counts the seconds. Elsewhere, and if the work prints lines itself (`in_lines`),
    it is a line every five seconds. Work that counts says how far it is (`assets.home.progress`). `now` and `wait` are
    the clock.
    """
    done, lines, began = threading.Event(), in_lines or not sys.stderr.isatty(), now()

    def tell() -> None:
        pause = SILENCE_SECONDS
        while not wait(done, pause):
            far = f", {done_so_far}" if (done_so_far := describe_progress()) else ""
            line = f"{on}{far}: {now() - began:.0f} s"
            click.echo(line if lines else f"\r{line}\033[K", err=True, nl=lines)
            pause = BETWEEN_SIGNS if lines else 1.0

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        if not lines and now() - began > SILENCE_SECONDS:
            click.echo("\r\033[K", err=True, nl=False)


def stop_for_problems(path: Path, problems: Sequence[Any], before: str = "", facts: Any = None) -> NoReturn:
    """End the command with a line for each problem of a file or folder, or with --json, with `facts` about them."""
    if is_json_wanted():
        answer({"problems": facts or [str(each) for each in problems]}, str)
        end(Ending.INPUT)
    things = f"{len(problems)} thing{'s' if len(problems) > 1 else ''} to change"
    stop("\n".join([f"{path}: {things}{before}", *map(str, problems)]))


def check_environment() -> None:
    """Stop if an environment variable cannot be used; warn of those that nothing reads, and of a simulated date."""
    environment.get_settings()
    if simulated := clock.describe_simulation():
        click.echo(f"readiness: {simulated} Today is {clock.today()} ({environment.SIMULATED_DATE})", err=True)
    for sentence in environment.list_unknown_variables():
        click.echo(f"readiness: {sentence}", err=True)

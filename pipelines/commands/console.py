"""What the commands share: kinds of argument, common options, and how a command that cannot continue ends."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from privacy.doors import environment

if TYPE_CHECKING:
    from sources.reference.cohorts import Cohort

HELP = {"help_option_names": ["-h", "--help"]}
FOLDER = click.Path(path_type=Path, file_okay=False)


class _HomeFolder(click.Path):
    """A home folder, whose path must be one that all its databases can open."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        with stopping_at(environment.InvalidSettings):
            return environment.check_home(Path(str(super().convert(value, param, ctx))))


HOME_FOLDER = _HomeFolder(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
OUT = click.Path(path_type=Path, dir_okay=False)
FILE_OR_FOLDER = click.Path(path_type=Path, exists=True, dir_okay=True)


def stop(message: str, status: int = 1) -> NoReturn:
    """End the command with one sentence and an exit status that is not 0."""
    click.echo(f"readiness: {message}", err=True)
    sys.exit(status)


@contextmanager
def stopping_at(*problems: type[Exception]) -> Iterator[None]:
    """Stop with the message of an error of these kinds."""
    try:
        yield
    except problems as problem:
        stop(str(problem))


_OBJECTS_BETWEEN_SEARCHES = 50_000
"""New objects after which Python looks for garbage in cycles; after its own 700, a release takes a tenth longer."""


class PlainGroup(click.Group):
    """Commands that end with one sentence whatever happens: an error that none of them foresaw may quote a row, and so
    may its stack trace."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As a program, which has the process to itself: it looks for garbage less often, and not when it ends, where
        what is left goes anyway."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # Windows pipes in cp1252, which lacks letters that headings have
        gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
        atexit.register(gc.freeze)
        return super().__call__(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            from assets.home.errors import sentence_of

            stop(sentence_of(error))


def things_to_change(problems: Sized) -> str:
    """Their number, in words."""
    return f"{len(problems)} thing{'s' if len(problems) > 1 else ''} to change"


def check_environment() -> None:
    """Stop where a variable of the environment cannot be used; say which ones nothing reads."""
    with stopping_at(environment.InvalidSettings):
        environment.settings()
    for sentence in environment.unknown():
        click.echo(f"readiness: {sentence}", err=True)


class Checked(click.ParamType):
    """A value that `read` makes from a text; if it raises ValueError, the command stops with that message."""

    name = "text"

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        with stopping_at(ValueError):
            return self.read(value)


def _cohort(code: str) -> Cohort:
    from sources.reference.cohorts import Cohort

    return Cohort(code)


def _council(name: str) -> str:
    from sources.reference.places import resolve

    return resolve(name).council


def _source(name: str) -> str:
    from sources.contracts import CONTRACTS

    if name not in CONTRACTS:
        raise ValueError(f"{name!r} is not a source; sources are {', '.join(CONTRACTS)}")
    return name


def _row(text: str) -> int:
    from privacy.row_keys import number_of

    if not (number := number_of(text)):
        raise ValueError(f"{text!r} is not a row: write 17, or 3:17 for row 17 of part 3")
    return number


ROW = Checked(_row)
"""The number of a row in its extract, by its number in the file or in a part."""
COHORT = Checked(_cohort)
"""A `Cohort`, by its code."""
COUNCIL = Checked(_council)
"""The name of a council's folders, given that name, the full name, or the DfE or ONS code."""
SOURCE = Checked(_source)
"""The name of a source."""


allow_missing = click.option(
    "--allow-missing", is_flag=True, help="Release without the councils that have sent no EYFS Profile."
)
share = click.option(
    "--share", type=float, help="Spend this share of the policy's split, as 0.2 for a revision; 1 by default."
)
with_cohorts = click.option(
    "--with-cohort",
    "with_cohorts",
    type=COHORT,
    multiple=True,
    metavar="COHORT",
    help="Publish this cohort beside it, as a time series; may be repeated. What an earlier release measured is used"
    " again and costs nothing; a cohort that was never measured is taken in and measured too.",
)
reuse = click.option(
    "--reuse", is_flag=True, help="Measure nothing, --cohort neither: publish what was measured before."
)
cohort = click.option("--cohort", type=COHORT, required=True, help="Academic year of the assessment, as 202425.")
as_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def home(holds: str, **further: Any) -> Callable[..., Any]:
    """The home folder; `holds` says what of it the command uses."""
    given: dict[str, Any] = {"envvar": environment.HOME, "required": True, "help": f"Holds {holds}."} | further
    return click.option("--home", type=HOME_FOLDER, **given)


def landing(**further: Any) -> Callable[..., Any]:
    """The folder of extracts as they were sent."""
    given: dict[str, Any] = {"envvar": environment.LANDING, "help": "Where extracts lie."} | further
    return click.option("--landing", type=FOLDER, **given)


def keys(meaning: str = "Directory of keys; the project's keys/ by default.", **further: Any) -> Callable[..., Any]:
    """The folder of a key set."""
    return click.option("--keys", type=FOLDER, **({"envvar": environment.KEYS, "help": meaning} | further))


def public_key(purpose: str = "") -> Callable[..., Any]:
    """The key that a bundle's signature is checked with."""
    return click.option("--key", type=FILE_OR_FOLDER, help=f"The publisher's public key (PEM){purpose}.")

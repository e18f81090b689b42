"""Types of argument, and options with one meaning in every command."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from pipelines.commands.console import Ending, stop
from privacy.doors import clock, environment
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort, list_cohort_codes
from sources.reference.places import load_places, resolve

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
OUT = click.Path(path_type=Path, dir_okay=False)
FILE_OR_FOLDER = click.Path(path_type=Path, exists=True, dir_okay=True)


class Checked(click.ParamType):
    """A value that `read` makes from text.

    If `read` raises ValueError, the command stops with its message. A shell completes the text from `known`.
    """

    def __init__(self, name: str, read: Callable[[str], Any], known: Callable[[], Iterable[str]] = tuple) -> None:
        self.name, self.read, self.known = name, read, known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self.read(value)
        except ValueError as problem:
            stop(str(problem), Ending.USAGE)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(each) for each in self.known() if each.startswith(incomplete)]


def _parse_source(name: str) -> str:
    if name not in CONTRACTS:
        raise ValueError(f"{name!r} is not a source; sources are {', '.join(CONTRACTS)}")
    return name


def _parse_row(text: str) -> int:
    # imported here because it loads NumPy, which most commands do not need
    from privacy.row_keys import parse_row_number

    if not (number := parse_row_number(text)):
        raise ValueError(f"{text!r} is not a row: write 17, or 3:17 for row 17 of part 3")
    return number


ROW = Checked("row", _parse_row)
"""The number of a row in its extract, given as its number in the file or in a part."""
COHORT = Checked("cohort", Cohort.parse, lambda: list_cohort_codes(clock.today().year))
"""A `Cohort`, in the forms that people write."""
COUNCIL = Checked("council", lambda name: resolve(name).council, load_places)
"""The name of a council's folders, given as that name, the full name, or the DfE or ONS code."""
SOURCE = Checked("source", _parse_source, lambda: CONTRACTS)
"""The name of a source."""


as_json = click.option(
    "--json",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: ctx.meta.update(json=wanted),
    help="Answer with one JSON document.",
)
as_html = click.option(
    "--html",
    type=OUT,
    expose_value=False,
    callback=lambda ctx, _, file: ctx.meta.update(html=file),
    help="Write the answer as a page, to read, print or sign, to this file.",
)
everything = click.option("--all", "everything", is_flag=True, help="Show everything, not only the first lines.")
yes = click.option("--yes", is_flag=True, help="Go ahead. Without it, the command only says what it would do.")

_OPTIONS: Mapping[str, tuple[click.ParamType, str, dict[str, Any]]] = {
    "--cohort": (COHORT, "Academic year of the assessment, as 202425 or 2024/25{}.", {}),
    "--council": (COUNCIL, "Name or code of a council, as leeds{}.", {}),
    "--source": (SOURCE, "Name of a source, as hv_reviews{}.", {}),
    "--reason": (click.STRING, "Why, in a sentence{}.", {"metavar": "TEXT", "required": True}),
    "--landing": (FOLDER, "Folder of the extracts as they were sent{}.", {"envvar": environment.LANDING}),
    "--keys": (
        click.Path(path_type=Path, file_okay=False, resolve_path=True),
        "Folder of the key set{}.",
        {"envvar": environment.KEYS, "default": lambda: environment.get_settings().keys},
    ),
    "--signer": (FILE, "Public key (PEM) of the expected signer, obtained by another channel{}.", {}),
    "--council-file": (FILE, "Your own council file (YAML){}.", {}),
}
"""Options with one meaning in every command: type, help with a place for what the command adds, and settings."""


def add_option(name: str, further: str = "", **more: Any) -> Callable[..., Any]:
    """Return an option of `_OPTIONS`, with `further` words in its help, which also names its environment variable.

    A cohort is required unless `further` says when it is not.
    """
    kind, words, settings = _OPTIONS[name]
    options: dict[str, Any] = {
        "type": kind,
        "help": words.format(further),
        "required": name == "--cohort" and not further,
    }
    options |= settings | more
    return click.option(name, show_envvar=bool(options.get("envvar")), **options)


def add_listening_options(port: int) -> Callable[..., Any]:
    """Return the options --host and --port of a server; `port` is the default."""
    host = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
    ports = click.IntRange(1, 65_535)
    return lambda command: host(
        click.option("--port", default=port, show_default=True, type=ports, help="Port to listen at.")(command)
    )


own_key = click.option("--key", "key_file", type=FILE, help="File of your own private key.", required=True)

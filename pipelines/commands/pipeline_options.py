"""Options of commands that work on an installation; the tool for councils has none of them."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from assets.home.installation import Installation
from assets.home.paths import Home
from pipelines.commands.console import stop
from pipelines.commands.options import COHORT, add_option
from privacy.doors import environment


class _HomeFolder(click.Path):
    """A `Home` with a path that all its databases can open; with `exists`, the command stops if it does not exist."""

    def __init__(self, exists: bool) -> None:
        super().__init__(path_type=Path, file_okay=False)
        self.must_exist = exists

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        folder = environment.check_home(Path(str(super().convert(value, param, ctx))))
        if self.must_exist and not folder.is_dir():
            stop(f"home folder {folder} does not exist")
        return Home(folder.resolve())


def add_home_option(*, exists: bool = False, **more: Any) -> Callable[..., Any]:
    """Return the option for the home folder, passed on as `Home`."""
    options: dict[str, Any] = {
        "envvar": environment.HOME,
        "required": True,
        "help": "Home folder of the installation.",
    } | more
    return click.option("--home", type=_HomeFolder(exists), show_envvar=bool(options["envvar"]), **options)


def require_ledger(home: Home) -> None:
    """Stop the command if nothing was ever charged from a home folder."""
    if not home.has_ledger:
        stop(f"{home.ledger} does not exist: no release has been made in this home folder")


def gather(name: str, build: Callable[..., Any], *options: Callable[..., Any]) -> Callable[..., Any]:
    """Return one decorator for several options; the command gets what `build` makes of their values, as `name`.

    The parameters of `build` are names of options, either these or others of the command.
    """

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**values: Any) -> Any:
            own = {each: values.pop(each) for each in inspect.signature(build).parameters}
            return command(**values, **{name: build(**own)})

        # reversed, because decorators apply from the last to the first, and `--help` is to list options in this order
        return functools.reduce(lambda inner, option: option(inner), reversed(options), run)

    return add


def add_cohort_options(*, exists: bool = False) -> Callable[..., Any]:
    """Return the options for a home folder and a cohort, passed on as one `CohortStore`, `store`."""
    options = add_home_option(exists=exists), add_option("--cohort")
    return gather("store", lambda home, cohort: home.get_cohort(cohort.code), *options)


def add_extract_options(council: str, source: str) -> Callable[..., Any]:
    """Return the options for an extract, passed on with --home as one `ExtractStore`, `store`."""
    return gather(
        "store",
        lambda home, cohort, council, source: home.get_extract(source, cohort.code, council),
        add_option("--cohort"),
        add_option("--council", council, required=True),
        add_option("--source", source, required=True),
    )


as_installation = gather("folders", lambda landing, home, keys: Installation.build(landing, home.root, keys))
"""Passes --landing, --home and --keys on as one `Installation`, `folders`."""
share = click.option(
    "--share", type=float, metavar="SHARE", help="Share of the policy's split to spend, as 0.2 for a revision; else 1."
)


class Choices(NamedTuple):
    """Choices about a release, in the order of `ReleaseOptions`, which has the meaning of each."""

    allow_missing: bool
    share: float | None
    others: tuple[str, ...]
    reuse: bool


choices = gather(
    "choices",
    lambda allow_missing, share, with_cohorts, reuse: Choices(
        allow_missing, share, tuple(each.code for each in with_cohorts), reuse
    ),
    click.option("--allow-missing", is_flag=True, help="Release without the councils that have sent no EYFS Profile."),
    share,
    click.option(
        "--with-cohort",
        "with_cohorts",
        type=COHORT,
        multiple=True,
        help="Publish this cohort beside it, as a time series; may be repeated. What an earlier release measured is"
        " used again and costs nothing; a cohort that was never measured is taken in and measured too.",
    ),
    click.option("--reuse", is_flag=True, help="Measure nothing, not even --cohort: publish what was measured before."),
)

"""The option for the home folder; the tool for councils has none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from pipelines.commands.console import stop
from privacy.doors import environment


class _HomeFolder(click.Path):
    """A `Home` with a path that all its databases can open; with `exists`, the command stops if there is none."""

    def __init__(self, exists: bool) -> None:
        super().__init__(path_type=Path, file_okay=False)
        self.must_exist = exists

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from assets.home.paths import Home

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

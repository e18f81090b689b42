"""What the commands share: kinds of argument, and how a command ends that cannot go on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from privacy.doors import environment

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, exists=True, dir_okay=True)
HELP = {"help_option_names": ["-h", "--help"]}


def stop(message: str) -> NoReturn:
    """One sentence, exit status 1."""
    click.echo(f"readiness: {message}", err=True)
    sys.exit(1)


def check_environment() -> None:
    """Stop where a variable of the environment cannot be used; say which ones nothing reads."""
    try:
        environment.settings()
    except environment.InvalidSettings as problem:
        stop(str(problem))
    for sentence in environment.unknown():
        click.echo(f"readiness: {sentence}", err=True)

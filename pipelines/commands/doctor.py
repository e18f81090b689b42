"""`readiness doctor`: what is right and what is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from pipelines.commands.console import FOLDER


@click.command()
@click.option("--home", type=FOLDER, help="Holds restricted/, release/; READINESS_HOME by default.")
@click.option("--landing", type=FOLDER, help="Where extracts lie; READINESS_LANDING by default.")
@click.option("--keys", type=FOLDER, help="Directory of keys; READINESS_KEYS by default.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(home: Path | None, landing: Path | None, keys: Path | None, as_json: bool) -> None:
    """What this installation has, and what a run would miss; exit status 1 where it would miss something.

    Changes nothing but the ledger's own housekeeping.
    """
    from pipelines.reports.doctor import State, examine, render

    found = examine(home, landing, keys)
    click.echo(json.dumps([asdict(entry) for entry in found], indent=1) if as_json else render(found))
    sys.exit(1 if any(entry.state is State.MISSING for entry in found) else 0)

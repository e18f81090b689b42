"""`readiness request`: tables that somebody asks for, from the file to fill in to what it would cost."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands import console
from pipelines.commands.console import at_work, end, stop
from pipelines.commands.release_option import VERSION
from pipelines.commands.showing import as_html, show
from pipelines.ending import Ending


@click.group()
def request() -> None:
    """Tables on request: draft one, and see what answers it."""


@request.command()
@click.option("--out", type=console.OUT, help="Where to write; a file that is new.")
def new(out: Path | None) -> None:
    """Print a request to fill in."""
    from assets.release.requests.request import TEMPLATE
    from pipelines.reports.request import template_note
    from privacy.doors import files

    content = TEMPLATE.read_bytes()
    if out is None:
        click.echo(content.decode(), nl=False)
        return
    if out.exists():
        stop(f"{out} is there already: give a new file")
    files.write(out, content)
    click.echo(template_note(out))


@request.command()
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
@console.home()
@click.option(
    "--release",
    "version",
    type=VERSION,
    help="Version such as 2026.11.0; by default the newest release that has the cohorts.",
)
@as_html
@console.as_json
def check(file: tuple[Path, ...], home: Path, version: str | None, html: Path | None, as_json: bool) -> None:
    """What answers a request, before anything is spent.

    What is published already, what can be had for nothing, what measuring the table would cost and whether that fits,
    and what would cost less. From public facts: reads no confidential table. Of several files, also what they cost
    together. Exit status 1 where a file is no request, 3 where one does not fit the cohort's budget.
    """
    from assets.home.paths import Home
    from assets.release.requests.check import check_requests
    from assets.release.requests.request import read_requests
    from pipelines.reports.request import report

    location = Home(home).ledger
    requests = read_requests(file)
    if isinstance(location, Path) and not location.exists():
        stop(f"{location} does not exist: no release has been made in this home folder")
    with at_work("Checking"):
        found = report(check_requests(Home(home), requests, version))
    show(found, as_json=as_json, html=html)
    if not found.good:
        end(Ending.BUDGET)

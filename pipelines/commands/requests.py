"""`readiness request`: tables on request, from the file to fill in to the release that has the table."""

from pathlib import Path

import click

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.release.fix_release import ReleaseOptions, choose_request_release
from assets.release.release import Release
from assets.release.requests import register as book
from assets.release.requests.check import can_be_had, check_requests
from assets.release.requests.register import Registered, find_base_release, read_registered_requests
from assets.release.requests.request import TEMPLATE, read_requests
from ndl_export.facts.synthetic_folder import QUALITY_FILE
from ndl_export.tables.pupil import FAMILY
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, show, show_progress, stop
from pipelines.commands.pipeline_options import add_home_option, as_installation, require_ledger
from pipelines.commands.runs import VERSION, release, report_release
from pipelines.reports.document import Report, write_text
from pipelines.run import run_cohort
from privacy.doors import clock, files
from sources.reference.cohorts import Cohort

_MOST_ROWS = 12
"""Rows of synthetic children that the answer to a request shows."""


@click.group()
def request() -> None:
    """Tables on request: draft one, and see how to answer it."""


@request.command()
@click.option("--out", type=options.OUT, help="Where to write; a file that is new.")
def new(out: Path | None) -> None:
    """Print a request to fill in."""
    content = TEMPLATE.read_bytes()
    if out is None:
        click.echo(content.decode(), nl=False)
        return
    if out.exists():
        stop(f"{out} is there already: give a new file")
    files.write(out, content)
    click.echo(f"{out} is a request to fill in. Then: readiness request check {out} --home HOME")


@request.command()
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
@add_home_option()
@click.option(
    "--release",
    "version",
    type=VERSION,
    help="Version such as 2026.11.0; by default the newest release that has the cohorts.",
)
@options.as_html
@options.as_json
def check(file: tuple[Path, ...], home: Home, version: str | None) -> None:
    """Show how a request could be answered, before any budget is spent.

    What is published already, what is free, what measuring the table would cost and whether that fits, and what would
    cost less. Uses public facts: reads no confidential table. For several files, also what they cost together. Exit
    status 1 if a file is not a request, 3 if one does not fit the cohort's budget.
    """
    requests = read_requests(file)
    require_ledger(home)
    with show_progress("Checking"):
        found = check_requests(home, requests, version)
    good = can_be_had(found)
    text = write_text("request.md.j2", **found, pupil=FAMILY.name, quality_file=QUALITY_FILE, most=_MOST_ROWS)
    show(Report("request", text, found, good, public=True))
    if not good:
        end(Ending.BUDGET)


@request.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@add_home_option()
@options.as_json
def register(files: tuple[Path, ...], home: Home) -> None:
    """Add requests to the public register, as they were asked.

    It spends nothing. Check a request first: what it would cost depends on what is measured, not on who asks.
    """
    found = [book.register(home, each, clock.today()) for each in read_requests(files)]
    book.publish_register(home)
    answer(
        [{"name": each.name, "asked_on": each.asked_on} for each in found],
        lambda: "\n".join(f"{each.name}: registered on {each.asked_on}" for each in found),
    )


@request.command("list")
@add_home_option()
@options.as_json
def list_requests(home: Home) -> None:
    """List the requests, and what became of each."""
    found = list(read_registered_requests(home).values())
    answer(
        [
            {"name": each.name, "asked_on": each.asked_on, "asked_by": each.request.asked_by, "state": each.state}
            for each in found
        ],
        lambda: "\n".join(map(_format_line, found)) or "No table was requested.",
    )


def _format_line(each: Registered) -> str:
    return f"{each.name}: {each.request.title}\n  asked by {each.request.asked_by} on {each.asked_on}; {each.state}"


@request.command()
@click.argument("name")
@add_home_option()
@click.option("--reason", required=True, help="Why; published in the register.")
def refuse(name: str, home: Home, reason: str) -> None:
    """Note in the public register that a request will not be answered, and why."""
    try:
        book.refuse(home, name, reason, clock.today())
    except ValueError as error:
        stop(f"--reason: {error}", Ending.USAGE)
    book.publish_register(home)
    click.echo(f"{name}: refused")


@request.command()
@click.argument("names", nargs=-1, required=True)
@options.add_option("--landing", required=True)
@add_home_option()
@options.add_option("--keys")
@release
@as_installation
@clock.hold_day()
def fulfil(names: tuple[str, ...], folders: Installation, version: str | None) -> None:
    """Measure the requested tables, and publish them with all that was published before.

    The requests are planned together. Nothing is charged until the people named in the policy have signed the
    measurement (readiness approve), and nothing is published until they have signed the bundle. Run it again after
    each.

    \b
    Exit status:
      0  the release with the tables is complete
      1  an input is missing or wrong
      3  the budget does not allow it
      4  it waits for people (readiness approve)
      5  a fault of the machine
    """
    folders.load_keys()  # a wrong set stops the command before anything is looked up
    base, cohorts = find_base_release(folders.home, names)
    newest, *others = cohorts
    # the release whose noisy counts are used has already settled which councils are missing
    options = ReleaseOptions(allow_missing=True, others=others, reuse=True, requests=names)
    release = version or choose_request_release(Release(folders.home, base), names)
    report_release(folders, run_cohort(folders, Cohort(newest), release, options, click.echo))

"""`readiness review`: a clerical review of links, drawn and collected at the pipeline, opened by the services."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import FILE, FOLDER, OUT, show_progress, stop
from pipelines.commands.home_option import add_home_option
from privacy.doors import environment

if TYPE_CHECKING:
    from assets.home.paths import Home
    from sources.reference.cohorts import Cohort


@click.group()
def review() -> None:
    """Have people review a sample of links."""


@review.command()
@add_home_option()
@console.add_cohort_option()
@click.option(
    "--agreements", type=FOLDER, envvar=environment.AGREEMENTS, required=True, help="Folder of sharing agreements."
)
@console.add_keys_option()
def sample(home: Home, cohort: Cohort, agreements: Path, keys: Path) -> None:
    """Draw a sample of some 500 pairs, and seal to each sender a sheet with its own row numbers.

    Asked again for the same links, it keeps the sample and seals new sheets.
    """
    from assets.linkage.review import draw_review
    from assets.returns.agreements import load_all
    from pipelines.opening import opened
    from privacy.keys import REVIEW, KeyRing

    known, ring = load_all(agreements), KeyRing.load(keys, REVIEW)
    with show_progress("Linking again"):
        number, sheets = draw_review(opened(home, keys).cohort(cohort.code), known, ring, dt.date.today())
    lines = sheets or ["No sheet: no agreement lets two services compare a pair of this sample."]
    click.echo("\n".join([f"Sample {number} of cohort {cohort.code}.", *lines]))
    click.echo("Send each sheet to its recipient. Then: readiness review take DECISIONS.csv ...")


@review.command("open")
@click.argument("file", type=FILE)
@console.add_own_key_option(required=True)
@console.add_signer_option("; here the pipeline's", required=True)
@click.option("--out", type=OUT, required=True, help="Where to write: a CSV file.")
def open_sheet(file: Path, key_file: Path, signer: Path, out: Path) -> None:
    """Open a sheet at a service: decrypt it, check who made it, and write it as CSV to fill in."""
    from assets.linkage.review import open_sheet as opened
    from privacy.doors import files

    if out.exists():
        stop(f"{out} is there already; it is not replaced")
    files.write(out, opened(file, key_file, signer))
    click.echo(f"{out}: fill in decision (match, not a match, cannot tell) and reviewer (a code, no name)")


@review.command()
@add_home_option()
@console.add_cohort_option()
@click.argument("decisions", type=FILE, nargs=-1, required=True)
def take(home: Home, cohort: Cohort, decisions: tuple[Path, ...]) -> None:
    """Take in the decisions of all reviewers, from sheets saved as CSV.

    Name every file: they replace what was taken in before. The tallies enter the next release that is measured, with
    noise, for a budget of their own that people sign with it. True tallies are in the restricted report alone.
    """
    from assets.linkage.review import take_review
    from assets.release.record import find_measuring_release
    from pipelines.opening import opened

    found = opened(home)
    # a sample is measured once: with other decisions its noisy counts would be of something else
    if release := find_measuring_release(found.cohort(cohort.code)):
        stop(f"Release {release} has measured this sample. Nothing was taken in: its decisions are final.")
    report = take_review(found.cohort(cohort.code), decisions)
    click.echo(f"Taken in. The next release measured from the same links uses them. Restricted report: {report}")

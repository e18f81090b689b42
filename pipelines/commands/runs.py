"""What a data engineer runs: `readiness synth`, `run`, `status` and `doctor`."""

from __future__ import annotations

import datetime as dt
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import FOLDER, Checked, stop, stopping_at
from privacy.doors.environment import settings

if TYPE_CHECKING:
    from sources.reference.cohorts import Cohort


def _version(text: str) -> str:
    from ndl_export.facts.release_facts import Version

    Version.parse(text)
    return text


@click.command()
@click.option("--landing", type=FOLDER, required=True, help="Where to write the extracts.")
@console.cohort
@click.option("--scale", default=1.0, show_default=True, help="Share of the cohort's real size.")
@click.option("--seed", type=int, help="The same seed gives the same extracts.")
@click.option("--england", is_flag=True, help="All 153 authorities instead of the eight pilot councils.")
@click.option("--contract-names", is_flag=True, help="Contract column names instead of each council's dialect.")
def synth(landing: Path, cohort: Cohort, scale: float, seed: int | None, england: bool, contract_names: bool) -> None:
    """Write synthetic extracts, with the truth beside the landing folder."""
    from sources.synthetic import DEFAULT_SEED, generate

    generate(
        landing,
        cohort.code,
        scale=scale,
        seed=DEFAULT_SEED if seed is None else seed,
        councils="england" if england else "pilot",
        contract_names=contract_names,
    )
    click.echo(f"Extracts are in {landing}; the truth is beside it, in {landing.resolve().parent}/truth*.parquet")


@click.command()
@console.landing(required=True)
@console.home("restricted/, release/, ledger.sqlite")
@console.cohort
@console.keys()
@click.option(
    "--release",
    "version",
    type=Checked(_version),
    help="Version such as 2026.11.0; by default the cohort's own, or this month's.",
)
@click.option("--allow-missing", is_flag=True, help="Release without the councils that have sent no EYFS Profile.")
@click.option(
    "--accept-fewer",
    multiple=True,
    metavar="COUNCIL/SOURCE",
    help="Take this extract though it has far fewer rows than the last delivery; may be repeated.",
)
@click.option(
    "--share", type=float, help="Spend this share of the policy's split, as 0.2 for a revision; 1 by default."
)
@click.option(
    "--with-cohort",
    "with_cohorts",
    type=console.COHORT,
    multiple=True,
    metavar="COHORT",
    help="Publish this cohort beside it, as a time series; may be repeated. What an earlier release measured is used"
    " again and costs nothing; a cohort that was never measured is taken in and measured too.",
)
@click.option("--reuse", is_flag=True, help="Measure nothing, --cohort neither: publish what was measured before.")
@click.option("--create-keys", is_flag=True, help="Make a key set first, if there is none.")
def run(
    landing: Path,
    home: Path,
    cohort: Cohort,
    keys: Path | None,
    version: str | None,
    allow_missing: bool,
    accept_fewer: tuple[str, ...],
    share: float | None,
    with_cohorts: tuple[Cohort, ...],
    reuse: bool,
    create_keys: bool,
) -> None:
    """Intake, linkage, release: from landing to a signed bundle and the analyst database."""
    if reuse and version is None:
        stop("--reuse makes a release of its own: name its version with --release")
    from assets.home.paths import Home
    from assets.intake import judging
    from privacy.keys import KeyProblem, KeyRing

    directory = (keys or settings().keys).resolve()
    with stopping_at(KeyProblem):
        if create_keys and not directory.exists():
            KeyRing.create(directory)
        KeyRing.load(directory)
    if not Home(home).any_taken(cohort.code):
        judging.begin()  # and let it load while the rest does
    from assets.catalogue.runs import Installation
    from pipelines.run import RunStopped, run_cohort
    from privacy.release.ledger import LedgerError

    with stopping_at(RunStopped, LedgerError):
        bundle = run_cohort(
            Installation.at(landing, home, directory),
            cohort,
            version,
            allow_missing,
            accept_fewer,
            click.echo,
            share,
            with_cohorts,
            reuse,
        )
    report_release(bundle, landing.resolve(), directory)


def report_release(bundle: Path, landing: Path, keys: Path) -> None:
    """Verify a bundle that was just made, and print where everything is; stop if the bundle is not sound."""
    from ndl_export.bundle.verify import verify

    report = verify(bundle)
    if not report.ok:
        stop(str(report))
    release, home = bundle.parent, bundle.parent.parent
    tools = Path(sys.executable).parent
    if report.withdrawn:
        click.echo(f"\n{report.withdrawn}")
    folders = " ".join(
        f"--{name} {_short(path)}" for name, path in (("home", home), ("landing", landing), ("keys", keys))
    )
    click.echo(
        f"\nBundle, verified:   {bundle}\n"
        f"Archive:            {release / (bundle.name + '.zip')}\n"
        f"Release page:       {release / 'site' / 'index.html'}\n"
        f"Analyst database:   {release / 'readiness.duckdb'}  (DuckDB 1.2 on; start with FROM help.start)\n"
        "\nNext:\n"
        f"  {_short(tools / 'readiness')} verify {_short(bundle)}\n"
        f"  {_short(tools / 'readiness')} budget --home {_short(home)}\n"
        f"  {_short(tools / 'readiness')} ui {folders}"
    )


def _short(path: Path) -> str:
    """The path as a shell takes it, relative to the working directory if it is below it."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


@click.command()
@console.landing(required=True)
@console.home("restricted/, release/, ledger.sqlite")
@console.cohort
@console.as_json
def status(landing: Path, home: Path, cohort: Cohort, as_json: bool) -> None:
    """Who has sent what of a cohort, since when, and what that means for its release."""
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    from pipelines.reports import status as report
    from sources.extract.landed import not_read

    found, unread = report.status(landing, home, cohort, dt.date.today()), not_read(landing)
    as_text = report.render(found, cohort, unread)
    click.echo(json.dumps(report.as_json(found, cohort, unread), indent=1) if as_json else as_text)


@click.command()
@console.home("restricted/, release/; READINESS_HOME by default", required=False, envvar=None)
@console.landing(help="Where extracts lie; READINESS_LANDING by default.", envvar=None)
@console.keys("Directory of keys; READINESS_KEYS by default.", envvar=None)
@console.as_json
def doctor(home: Path | None, landing: Path | None, keys: Path | None, as_json: bool) -> None:
    """What this installation has, and what a run would miss; exit status 1 where it would miss something.

    Changes nothing but the ledger's own housekeeping.
    """
    from pipelines.reports.doctor import State, examine, render

    found = examine(home, landing, keys)
    click.echo(json.dumps([asdict(entry) for entry in found], indent=1) if as_json else render(found))
    sys.exit(1 if any(entry.state is State.MISSING for entry in found) else 0)

"""The command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pipelines.commands.console import FILE, FOLDER, HELP, check_environment, stop
from pipelines.commands.council import council
from pipelines.commands.doctor import doctor
from pipelines.commands.keeping import COMMANDS as KEEPING
from pipelines.commands.keys import keys
from pipelines.commands.link import link
from pipelines.commands.releases import diff, publish, withdraw
from pipelines.commands.returns import returns
from pipelines.commands.returns_make import log, make
from pipelines.commands.sender import pseudonymise
from privacy.doors.environment import settings


def _landing_option(**kwargs: Any) -> Any:
    return click.option("--landing", type=FOLDER, envvar="READINESS_LANDING", help="Where extracts lie.", **kwargs)


def _home_option() -> Any:
    return click.option(
        "--home",
        type=FOLDER,
        envvar="READINESS_HOME",
        required=True,
        help="Holds restricted/, release/, ledger.sqlite.",
    )


def _keys_option() -> Any:
    return click.option(
        "--keys", type=FOLDER, envvar="READINESS_KEYS", help="Directory of keys; the project's keys/ by default."
    )


def _cohort_option() -> Any:
    return click.option("--cohort", required=True, help="Academic year of the assessment, as 202425.")


@click.group(context_settings=HELP)
def main() -> None:
    """From councils' extracts to safe school-readiness statistics."""
    if click.get_current_context().invoked_subcommand != doctor.name:
        check_environment()


@main.command()
@click.option("--landing", type=FOLDER, required=True, help="Where to write the extracts.")
@_cohort_option()
@click.option("--scale", default=1.0, show_default=True, help="Share of the cohort's real size.")
@click.option("--seed", type=int, help="The same seed gives the same extracts.")
@click.option("--england", is_flag=True, help="All 153 authorities instead of the eight pilot councils.")
@click.option("--contract-names", is_flag=True, help="Contract column names instead of each council's dialect.")
def synth(landing: Path, cohort: str, scale: float, seed: int | None, england: bool, contract_names: bool) -> None:
    """Write synthetic extracts, with the truth beside the landing folder."""
    from sources.synthetic import DEFAULT_SEED, generate

    generate(
        landing,
        _cohort(cohort).code,
        scale=scale,
        seed=DEFAULT_SEED if seed is None else seed,
        councils="england" if england else "pilot",
        contract_names=contract_names,
    )
    click.echo(f"Extracts are in {landing}; the truth is beside it, in {landing.resolve().parent}/truth*.parquet")


@main.command()
@_landing_option(required=True)
@_home_option()
@_cohort_option()
@_keys_option()
@click.option("--release", "version", help="Version such as 2026.11.0; by default the cohort's own, or this month's.")
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
    cohort: str,
    keys: Path | None,
    version: str | None,
    allow_missing: bool,
    accept_fewer: tuple[str, ...],
    share: float | None,
    with_cohorts: tuple[str, ...],
    reuse: bool,
    create_keys: bool,
) -> None:
    """Intake, linkage, release: from landing to a signed bundle and the analyst database."""
    checked, others = _cohort(cohort), [_cohort(code) for code in with_cohorts]
    _check_version(version)
    if reuse and version is None:
        stop("--reuse makes a release of its own: name its version with --release")
    from assets.catalogue.installation import Installation
    from assets.home.paths import Home
    from assets.intake import judging
    from privacy.keys import KeyProblem, KeyRing

    directory = (keys or settings().keys).resolve()
    try:
        if create_keys and not directory.exists():
            KeyRing.create(directory)
        KeyRing.load(directory)
    except KeyProblem as problem:
        stop(str(problem))
    if not Home(home).any_taken(checked.code):
        judging.begin()  # and let it load while the rest does
    from pipelines.run import RunStopped, run_cohort
    from privacy.release.ledger import LedgerError

    try:
        bundle = run_cohort(
            Installation.at(landing, home, directory),
            checked,
            version,
            allow_missing,
            accept_fewer,
            click.echo,
            share,
            others,
            reuse,
        )
    except (RunStopped, LedgerError) as stopped:
        stop(str(stopped))
    _report_release(bundle, landing.resolve(), directory)


@main.command()
@_landing_option(required=True)
@_home_option()
@_cohort_option()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(landing: Path, home: Path, cohort: str, as_json: bool) -> None:
    """Who has sent what of a cohort, since when, and what that means for its release."""
    checked = _cohort(cohort)
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    import datetime as dt

    from pipelines.reports import status as status_report
    from sources.extract.landed import not_read

    found, unread = status_report.status(landing, home, checked, dt.date.today()), not_read(landing)
    as_text = status_report.render(found, checked, unread)
    click.echo(json.dumps(status_report.as_json(found, checked, unread), indent=1) if as_json else as_text)


@main.command()
@click.argument("bundle")
@click.option("--key", type=FILE, help="The publisher's public key (PEM).")
def verify(bundle: str, key: Path | None) -> None:
    """Check a bundle (folder or archive, by path or URL): signature, checksums, schema, consistency."""
    from ndl_export.bundle.verify import verify as check
    from ndl_export.files.signing import UnusableKey
    from ndl_export.files.stores import StoreError, is_url

    if not is_url(bundle) and not Path(bundle).exists():
        stop(f"{bundle} does not exist: give the folder or the archive of a bundle, or its URL")
    try:
        report = check(bundle, key)
    except (StoreError, UnusableKey) as error:
        stop(str(error))
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}")
    click.echo(str(report))
    sys.exit(0 if report.ok else 1)


@main.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
def recompute(bundle: Path) -> None:
    """Make every table of a bundle's folder again from its published noisy counts, and compare."""
    from assets.release.recompute import differing
    from ndl_export.tables import TABLES

    if wrong := differing(bundle):
        stop(f"{bundle}: the noisy counts do not give {', '.join(wrong)} as published")
    click.echo(f"{bundle}: {len(TABLES)} tables are what the noisy counts give, to the last bit")


@main.command()
@_home_option()
@_cohort_option()
@_landing_option()
@click.option(
    "--share",
    type=float,
    help="Of the policy's split, as 0.2 for a revision; exit status 1 where the cohort's budget has no room for it.",
)
@click.option("--council", metavar="NAME", help="Every table of this council alone.")
@click.option("--all", "everything", is_flag=True, help="Every table in every area, and every warning.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def plan(
    home: Path,
    cohort: str,
    landing: Path | None,
    share: float | None,
    council: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Expected accuracy of every table under the policy, from public figures. Reads no extract, spends nothing."""
    checked = _cohort(cohort)
    from dataclasses import asdict

    from assets.home.paths import Home
    from assets.release.budget_share import WHOLE, room_for
    from assets.release.expected_accuracy import expected_accuracy
    from pipelines.reports.plan import render
    from privacy.release.ledger import LedgerError
    from privacy.release.policy import PolicyError
    from sources.extract.landed import taking_part
    from sources.reference.places import PILOT

    councils = taking_part(landing) if landing else sorted(PILOT)
    if council is not None and council not in councils:
        stop(f"no council {council!r} takes part: {', '.join(councils)}")
    asked = WHOLE if share is None else share
    try:
        room = room_for(Home(home), checked.code, asked)
        found = expected_accuracy(councils, asked) | {"budget": asdict(room)}
    except (PolicyError, LedgerError) as error:
        stop(str(error))
    click.echo(json.dumps(found, indent=1) if as_json else render(found, council=council, everything=everything))
    sys.exit(0 if room.fits or share is None else 1)


@main.command()
@_home_option()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def budget(home: Path, as_json: bool) -> None:
    """What was spent of each cohort's privacy budget, on what, and what is left."""
    from assets.home.paths import Home
    from pipelines.reports.budget import render, statement
    from privacy.release.ledger import LedgerError

    location = Home(home).ledger
    if isinstance(location, Path) and not location.exists():
        stop(f"{location} does not exist: no release has been made in this home folder")
    try:
        found = statement(location)
    except LedgerError as refused:
        stop(str(refused))
    click.echo(json.dumps(found, indent=1) if as_json else render(found))


for command in (council, pseudonymise, keys, link, returns, diff, publish, withdraw, *KEEPING, doctor):
    main.add_command(command)
for command in (make, log):
    returns.add_command(command)


def _cohort(code: str) -> Any:
    from sources.reference.cohorts import Cohort, InvalidCohort

    try:
        return Cohort(code)
    except InvalidCohort as error:
        stop(str(error))


def _check_version(version: str | None) -> None:
    if version is None:
        return
    from ndl_export.facts.release_facts import InvalidVersion, Version

    try:
        Version.parse(version)
    except InvalidVersion as error:
        stop(str(error))


def _report_release(bundle: Path, landing: Path, keys: Path) -> None:
    from ndl_export.bundle.verify import verify as check

    report = check(bundle)
    if not report.ok:
        stop(str(report))
    release, home = bundle.parent, bundle.parent.parent
    tools = _short(Path(sys.executable).parent)
    if report.withdrawn:
        click.echo(f"\n{report.withdrawn}")
    environment = (
        f"DAGSTER_HOME={home / 'dagster'} READINESS_LANDING={landing} READINESS_HOME={home} READINESS_KEYS={keys}"
    )
    click.echo(
        f"\nBundle, verified:   {bundle}\n"
        f"Archive:            {release / (bundle.name + '.zip')}\n"
        f"Release page:       {release / 'site' / 'index.html'}\n"
        f"Analyst database:   {release / 'readiness.duckdb'}  (DuckDB 1.2 on; start with FROM help.start)\n"
        "\nNext:\n"
        f"  {tools}/readiness verify {_short(bundle)}\n"
        f"  {tools}/readiness budget --home {_short(home)}\n"
        f"  {environment} {tools}/dagster dev -w workspace.yaml"
    )


def _short(path: Path) -> Path:
    """The path from here, where it lies below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path

"""Commands for data engineers: `readiness synth`, `run`, `status`, `doctor`, `metrics` and `ui`."""

import datetime as dt
import sys
from pathlib import Path
from typing import Any

import click

from assets.home.installation import Installation
from assets.home.software import pause_garbage_collection
from pipelines.commands import options
from pipelines.commands.console import Ending, show_progress, stop, wait_for_yes
from pipelines.commands.installations import shorten_path
from pipelines.commands.pipeline_options import Choices, add_home_option, as_installation, choices
from privacy.keys import KeyRing
from sources.extract.landing import has_arrivals
from sources.reference.cohorts import Cohort


def _check_version(text: str) -> str:
    from ndl_export.facts.release_facts import Version

    Version.parse(text)
    return text


VERSION = options.Checked("version", _check_version)


release = click.option(
    "--release",
    "version",
    type=VERSION,
    help="Version such as 2026.11.0; by default the cohort's own, or this month's.",
)


@click.command()
@options.add_option("--landing", required=True, envvar=None)
@options.add_option("--cohort")
@click.option("--scale", default=1.0, show_default=True, help="Share of the cohort's real size.")
@click.option("--seed", type=int, help="Where drawing begins; the same seed gives the same extracts.")
@click.option("--england", is_flag=True, help="All 153 authorities instead of the eight pilot councils.")
@click.option("--contract-names", is_flag=True, help="Contract column names instead of each council's dialect.")
@click.option(
    "--as-of",
    type=click.DateTime(["%Y-%m-%d"]),
    help="What the pilot councils have sent by this day, from the cohort's first births on.",
)
@click.option(
    "--open-cohorts",
    type=click.IntRange(1, 6),
    default=1,
    show_default=True,
    help="With --as-of: so many cohorts in all, the given one and those after it.",
)
@options.yes
def synth(
    landing: Path,
    cohort: Cohort,
    scale: float,
    seed: int | None,
    england: bool,
    contract_names: bool,
    as_of: dt.datetime | None,
    open_cohorts: int,
    yes: bool,
) -> None:
    """Write synthetic extracts into landing, to try things out.

    The truth is written beside the landing folder. Extracts already there are replaced only with --yes.
    """
    from sources.synthetic import DEFAULT_SEED, generate
    from sources.synthetic.growing import GrowingWorld

    if as_of and england:
        raise click.UsageError("--as-of is for the pilot councils alone: leave out --england")
    drawn: dict[str, Any] = {"scale": scale, "contract_names": contract_names}
    drawn["seed"] = DEFAULT_SEED if seed is None else seed
    if not yes and landing.is_dir() and has_arrivals(landing, cohort.code):
        click.echo(f"{landing} holds extracts of cohort {cohort.code}; synthetic ones would take their place.")
        wait_for_yes()
    with show_progress("Writing synthetic extracts"):
        if as_of:
            GrowingWorld.draw(cohort.code, open_cohorts, **drawn).write(landing, as_of.date())
        else:
            generate(landing, cohort.code, councils="england" if england else "pilot", **drawn)
    click.echo(f"Extracts are in {landing}; the truth is beside it, in {landing.resolve().parent}/truth*.parquet")
    if as_of:
        click.echo(f"Set READINESS_COUNCILS={landing.resolve().parent}/councils, so that files can delete records.")


@click.command()
@options.add_option("--landing", required=True)
@add_home_option()
@options.add_option("--cohort")
@options.add_option("--keys")
@release
@choices
@click.option(
    "--until", type=click.Choice(["intake", "linkage"]), help="Go that far and stop: nothing is released or charged."
)
@click.option(
    "--create-keys",
    is_flag=True,
    help="For a demonstration: make a key set first, if there is none, with a key that signs releases off by itself.",
)
@as_installation
def run(
    folders: Installation,
    cohort: Cohort,
    version: str | None,
    choices: Choices,
    until: str | None,
    create_keys: bool,
) -> None:
    """Make a signed release from extracts, step by step.

    Intake, linkage, release: from landing to a signed bundle and the analyst database.

    \b
    Exit status:
      0  the release is complete
      1  an input is missing or wrong
      3  the budget does not allow it
      4  it is held or waits for people (readiness accept, readiness approve)
      5  a fault of the machine
    """
    if choices.reuse and version is None:
        stop("--reuse makes a separate release: name its version with --release", Ending.USAGE)

    if create_keys and not folders.keys.exists():
        KeyRing.create(folders.keys, demonstration=True)
    folders.load_keys()  # a wrong set stops the command before anything is loaded
    with show_progress("Loading"), pause_garbage_collection():
        from assets.intake import quality

        if not folders.home.get_cohort(cohort.code).any_taken:
            quality.start_worker()  # loads in parallel with the imports below
        from assets.release.fix_release import ReleaseOptions
        from pipelines.run import run_cohort

    bundle = run_cohort(folders, cohort, version, ReleaseOptions(*choices), click.echo, until)
    if until is None:
        report_release(folders, bundle)
    else:
        click.echo(f"\nCohort {cohort.code} is ready up to its {until}; nothing was charged.")


def report_release(folders: Installation, bundle: Path) -> None:
    """Check a bundle and print where everything is; stop if it is not sound.

    It is verified again only if it changed since it was made.
    """
    from assets.release.measure import is_bundle_current
    from assets.release.release import Release
    from ndl_export.bundle.verify import verify
    from ndl_export.facts.release_facts import load_withdrawals

    with show_progress(f"Checking {bundle}"):
        sound = is_bundle_current(Release(folders.home, bundle.name), folders.load_keys())
        if not (sound or (report := verify(bundle)).ok):
            stop(str(report))
    release, home = bundle.parent, folders.home.root
    tools = Path(sys.executable).parent
    if withdrawal := load_withdrawals(release).get(bundle.name):
        click.echo(f"\n{withdrawal.sentence}")
    places = {"home": home, "landing": folders.landing, "keys": folders.keys}
    options = " ".join(f"--{name} {shorten_path(path)}" for name, path in places.items())
    click.echo(
        f"\nBundle, verified:   {bundle}\n"
        f"Archive:            {release / (bundle.name + '.zip')}\n"
        f"Release page:       {release / 'site' / 'index.html'}\n"
        f"Analyst database:   {release / 'readiness.duckdb'}  (DuckDB 1.2 on; start with SHOW TABLES)\n"
        "\nNext:\n"
        f"  {shorten_path(tools / 'readiness')} verify {shorten_path(bundle)}\n"
        f"  {shorten_path(tools / 'readiness')} budget --home {shorten_path(home)}\n"
        f"  {shorten_path(tools / 'readiness')} ui {options}"
    )

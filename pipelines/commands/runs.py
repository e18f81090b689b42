"""Commands for data engineers: `readiness synth`, `run`, `status`, `doctor`, `metrics` and `ui`."""

import datetime as dt
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from assets.home.installation import Installation
from assets.home.paths import Home
from assets.home.software import pause_garbage_collection
from pipelines.commands import options
from pipelines.commands.console import Ending, end, show, show_progress, stop, wait_for_yes
from pipelines.commands.pipeline_options import Choices, add_home_option, as_installation, choices
from privacy.doors import clock
from privacy.doors.environment import HOME, KEYS, LANDING, PROJECT, build_child_environment, get_settings
from privacy.keys import KeyRing
from sources.extract.landing import describe_unread_entries, has_arrivals, list_councils
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
    options = " ".join(f"--{name} {_shorten_path(path)}" for name, path in places.items())
    click.echo(
        f"\nBundle, verified:   {bundle}\n"
        f"Archive:            {release / (bundle.name + '.zip')}\n"
        f"Release page:       {release / 'site' / 'index.html'}\n"
        f"Analyst database:   {release / 'readiness.duckdb'}  (DuckDB 1.2 on; start with SHOW TABLES)\n"
        "\nNext:\n"
        f"  {_shorten_path(tools / 'readiness')} verify {_shorten_path(bundle)}\n"
        f"  {_shorten_path(tools / 'readiness')} budget --home {_shorten_path(home)}\n"
        f"  {_shorten_path(tools / 'readiness')} ui {options}"
    )


def _shorten_path(path: Path) -> str:
    """Return the path for use in a shell, relative to the working directory if it is below it."""
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


@click.command()
@options.add_option("--landing", required=True)
@add_home_option()
@options.add_option("--cohort", ", unless --timeline is given")
@click.option(
    "--timeline", is_flag=True, help="What is in, due and late for every cohort from birth to Reception, by age."
)
@options.as_html
@options.as_json
def status(landing: Path, home: Home, cohort: Cohort | None, timeline: bool) -> None:
    """Show who has sent what, and what a release waits for."""
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    if timeline == (cohort is not None):
        raise click.UsageError("Give either --cohort or --timeline.")
    today = clock.today()
    if cohort is None:
        from assets.linkage.arrivals import build_timeline
        from pipelines.reports.status import report_timeline

        return show(report_timeline(build_timeline(landing, home, today), today))
    from assets.linkage.arrivals import list_arrivals
    from pipelines.reports.status import list_open_holds, report

    with show_progress("Looking through landing"):
        found = list_arrivals(landing, home, cohort, list_councils(landing), today)
        made = report(found, cohort, describe_unread_entries(landing), list_open_holds(home, cohort))
    show(made)


@click.command()
# without `envvar`: a setting that cannot be used is a finding here, and must not end the command
@add_home_option(required=False, envvar=None)
@options.add_option("--landing", envvar=None)
@options.add_option("--keys", envvar=None, default=None)
@options.as_html
@options.as_json
def doctor(home: Home | None, landing: Path | None, keys: Path | None) -> None:
    """Check that this installation has what a run needs.

    Exit status 1 if something is missing. Changes nothing but the ledger's own housekeeping.
    """
    from pipelines.reports.doctor import State, examine, report

    with show_progress("Examining"):
        found = examine(home.root if home else None, landing, keys)
    show(report(found))
    if any(entry.state is State.MISSING for entry in found):
        end(Ending.INPUT)


@click.command()
@add_home_option(exists=True)
@options.add_option("--landing")
@click.option("--listen", metavar="ADDRESS:PORT", help="Answer scrapes here until Ctrl-C, instead of printing once.")
def metrics(home: Home, landing: Path | None, listen: str | None) -> None:
    """Print the state of the installation, for Prometheus.

    Jobs that succeeded and failed, deliveries, releases that wait, free disk space and budget, in Prometheus's text
    format. Reads no row and no key.
    """
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from pipelines.dagster.metrics import InstallationCollector

    registry = CollectorRegistry(auto_describe=False)
    folders = (("home", home.root), ("landing", landing or get_settings().landing))
    registry.register(InstallationCollector(home, folders))
    if listen is None:
        click.echo(generate_latest(registry), nl=False)
        return
    address, _, port = listen.rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise click.BadParameter("must be an address and a port, as 127.0.0.1:9464", param_hint="--listen")
    _, thread = start_http_server(int(port), address, registry)
    thread.join()


@click.command()
@add_home_option(required=False)
@options.add_option("--landing")
@options.add_option("--keys")
@options.add_listening_options(3000)
def ui(home: Home | None, landing: Path | None, keys: Path, host: str, port: int) -> None:
    """Run Dagster over a home folder, for scheduled use.

    Serves the assets, jobs, schedules and sensors until Ctrl-C. A home folder that does not exist is made.
    Anyone who can reach the address can start runs: keep to this machine, or put a password prompt in front of it.
    """
    dagster, webserver = (Path(sys.executable).with_name(name) for name in ("dagster", "dagster-webserver"))
    if not webserver.exists():
        stop(f"{webserver} is not installed: install the project with its extra `ui` (`make setup` does)")
    if not (PROJECT / "pyproject.toml").is_file():
        stop(f"{PROJECT} is not a checkout of the project; see docs/deployment.md for servers and containers")
    if is_listening(host, port):
        stop(f"Something listens at http://{host}:{port} already. Dagster was not started: choose another --port")
    from assets.catalogue.runs import note_councils
    from pipelines.dagster.instance import open_instance, prepare_storage

    place = home or Home(get_settings().home)
    place.prepare()
    folder = (landing or get_settings().landing).resolve()
    if folder.is_dir():
        with open_instance(place) as opened:
            note_councils(opened, list_councils(folder))
    environment = build_child_environment(
        DAGSTER_HOME=str(prepare_storage(place)),
        PYTHONWARNINGS="ignore:Function `dev_command` is superseded",  # by `dg dev`, which needs 17 more packages
        **{HOME: str(place.root), LANDING: str(folder), KEYS: str(keys)},
    )
    # `dagster dev` finds the code location by the files in the working directory
    os.chdir(PROJECT)
    own = os.getpid()  # this process becomes Dagster and gets its signals; its child waits until it listens
    if not os.fork():
        announce(
            f"http://{host}:{port}  (home {place.root})",
            is_ready=lambda: is_listening(host, port),
            is_running=lambda: os.getppid() == own,
        )
        # not `sys.exit`, which would run the exit handlers of the process that was forked
        os._exit(0)
    os.execve(dagster, [str(dagster), "dev", "--host", host, "--port", str(port)], environment)


def announce(
    address: str,
    is_ready: Callable[[], bool],
    is_running: Callable[[], bool],
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Print the address once Dagster is ready, however long that takes; never if Dagster ends first."""
    with show_progress("Starting Dagster", in_lines=True):
        while not (ready := is_ready()) and is_running():
            pause(0.2)
    if ready:
        click.echo(address)


def is_listening(host: str, port: int) -> bool:
    """Check whether something accepts connections at the address.

    `0.0.0.0` and `::` mean every address of this machine.
    """
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False

"""`readiness status`, `doctor`, `metrics` and `ui`: how an installation is, and Dagster over it."""

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from assets.home.paths import Home
from pipelines.commands import options
from pipelines.commands.console import Ending, end, show, show_progress, stop
from pipelines.commands.pipeline_options import add_home_option
from privacy.doors import clock
from privacy.doors.environment import HOME, KEYS, LANDING, PROJECT, build_child_environment, get_settings
from sources.extract.landing import describe_unread_entries, list_councils
from sources.reference.cohorts import Cohort


def shorten_path(path: Path) -> str:
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
    from pipelines.reports.doctor import CheckStatus, examine, report

    with show_progress("Examining"):
        found = examine(home.root if home else None, landing, keys)
    show(report(found))
    if any(entry.state is CheckStatus.MISSING for entry in found):
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

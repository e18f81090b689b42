"""`readiness ui`: Dagster's web interface and daemon for a home folder, which is created if needed."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import show_progress, stop
from pipelines.commands.home_option import add_home_option
from privacy.doors.environment import HOME, KEYS, LANDING, PROJECT, build_child_environment, get_settings

if TYPE_CHECKING:
    from assets.home.paths import Home


@click.command()
@add_home_option(required=False)
@console.add_option("--landing")
@console.add_option("--keys")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65_535), help="Port to listen at.")
def ui(home: Home | None, landing: Path | None, keys: Path, host: str, port: int) -> None:
    """Dagster over a home folder, for scheduled use.

    The assets, jobs, schedules and sensors, until Ctrl-C. A home folder that does not exist is made.
    Whoever can reach the address can start runs: keep to this machine, or put something that asks for a password
    before it.
    """
    dagster, webserver = (Path(sys.executable).with_name(name) for name in ("dagster", "dagster-webserver"))
    if not webserver.exists():
        stop(f"{webserver} is not installed: install the project with its extra `ui` (`make setup` does)")
    if not (PROJECT / "pyproject.toml").is_file():
        stop(f"{PROJECT} is not a checkout of the project; see docs/deployment.md for servers and containers")
    if is_listening(host, port):
        stop(f"Something listens at http://{host}:{port} already. Dagster was not started: choose another --port")
    from assets.catalogue.runs import note_councils
    from assets.home.paths import Home
    from pipelines.dagster.instance import open_instance, prepare_storage
    from sources.extract.landed import list_councils

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

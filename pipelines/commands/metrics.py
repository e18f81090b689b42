"""`readiness metrics`."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands import console
from privacy.doors.environment import settings


@click.command()
@console.home()
@console.landing()
@click.option("--listen", metavar="ADDRESS:PORT", help="Answer scrapes here until Ctrl-C, instead of printing once.")
def metrics(home: Path, landing: Path | None, listen: str | None) -> None:
    """The state of the installation, for Prometheus.

    Jobs that succeeded and failed, deliveries, releases that wait, free disk space and budget, in Prometheus's text
    format. Reads no row and no key.
    """
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    from assets.home.paths import Home
    from pipelines.dagster.metrics import InstallationCollector

    if not home.is_dir():
        console.stop(f"there is no home folder at {home}")
    registry = CollectorRegistry(auto_describe=False)
    folders = (("home", home), ("landing", landing or settings().landing))
    registry.register(InstallationCollector(Home(home.resolve()), folders))
    if listen is None:
        click.echo(generate_latest(registry), nl=False)
        return
    address, _, port = listen.rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise click.BadParameter("must be an address and a port, as 127.0.0.1:9464", param_hint="--listen")
    _, thread = start_http_server(int(port), address, registry)
    thread.join()

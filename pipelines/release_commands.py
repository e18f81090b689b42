"""`readiness withdraw`: what is done with releases after they are published."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from pipelines.console import FOLDER, stop


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="What its readers are told, in one line.")
@click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds release/.")
def withdraw(version: str, reason: str, home: Path) -> None:
    """Mark a release as withdrawn. Its bundle stays as it was signed; `latest` leads to the one that stands."""
    from assets.home import Home
    from ndl_export.withdraw import WithdrawalRefused
    from ndl_export.withdraw import withdraw as take_back
    from ndl_export.withdrawals import UnreadableWithdrawals

    release_dir = Home(home).release
    try:
        newest = take_back(release_dir, version, reason, dt.date.today())
    except (WithdrawalRefused, UnreadableWithdrawals) as refused:
        stop(str(refused))
    click.echo(
        f"Release {version} is withdrawn; catalogue, feed and {release_dir / 'withdrawn.json'} give the reason.\n"
        + (f"The current release is {newest}.\n" if newest else "No release stands: latest and site are gone.\n")
        + "Its privacy budget stays spent: what was published cannot be taken back."
    )

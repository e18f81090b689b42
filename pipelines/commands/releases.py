"""`readiness publish`, `readiness withdraw` and `readiness diff`: releases once they are made."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import click

from pipelines.commands.console import FILE, FOLDER, stop


@click.command()
@click.argument("version")
@click.option("--to", "url", required=True, metavar="URL", help="A folder: s3://…, abfs://…, or a path.")
@click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds release/.")
@click.option("--key", type=FILE, help="The publisher's public key (PEM), to check the bundle against.")
@click.option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
def publish(version: str, url: str, home: Path, key: Path | None, dry_run: bool) -> None:
    """Put a release where readers get it: content first, what leads to it last.

    Run it again after it was cut off, or after a withdrawal: it sends what is missing, and no more. Credentials come
    from the environment, as the library of the store asks.
    """
    from assets.home.paths import Home
    from ndl_export.files.signing import UnusableKey
    from ndl_export.files.stores import StoreError
    from ndl_export.publish.upload import PublishRefused
    from ndl_export.publish.upload import publish as put_out
    from pipelines.dagster.calendar import InvalidCalendar
    from pipelines.dagster.publication import NotPublished, check_may_be_published
    from pipelines.reports.publish import render

    try:
        if not dry_run:
            check_may_be_published(version, dt.datetime.now(dt.UTC))
        found = put_out(Home(home).release, version, url, trusted_key=key, dry_run=dry_run, tell=click.echo)
    except (NotPublished, InvalidCalendar, PublishRefused, StoreError, UnusableKey) as refused:
        stop(str(refused))
    click.echo(render(found, version, dry_run=dry_run))


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="What its readers are told, in one line.")
@click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds release/.")
def withdraw(version: str, reason: str, home: Path) -> None:
    """Mark a release as withdrawn. Its bundle stays as it was signed; `latest` leads to the one that stands."""
    from assets.home.paths import Home
    from ndl_export.facts.withdrawals import UnreadableWithdrawals
    from ndl_export.publish.withdraw import WithdrawalRefused
    from ndl_export.publish.withdraw import withdraw as take_back

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


@click.command()
@click.argument("before")
@click.argument("now")
@click.option("--home", type=FOLDER, envvar="READINESS_HOME", help="Where versions are looked up: holds release/.")
@click.option("--all", "everything", is_flag=True, help="Every figure that moved.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def diff(before: str, now: str, home: Path | None, everything: bool, as_json: bool) -> None:
    """What changed from one release to another: schema, and figures that moved beyond their noise.

    BEFORE and NOW are folders of bundles, or versions in the home folder. Signatures are not checked: that is `verify`.
    """
    from ndl_export.publish.release_diff import NotABundle
    from ndl_export.publish.release_diff import diff as compared
    from pipelines.reports.diff import render

    try:
        found = compared(_bundle(before, home), _bundle(now, home))
    except NotABundle as error:
        stop(str(error))
    click.echo(json.dumps(found.as_json(), indent=1) if as_json else render(found, everything=everything))


def _bundle(named: str, home: Path | None) -> Path:
    """The folder that is meant: that of a version in the home folder, or the path itself."""
    from ndl_export.facts.release_facts import InvalidVersion, Version

    try:
        version = str(Version.parse(named))
    except InvalidVersion:
        return Path(named)
    if home is None:
        return Path(named)
    from assets.home.paths import Home

    return Home(home).release / version

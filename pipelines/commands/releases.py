"""A release before and after it is made: `readiness plan` and `budget`, `verify`, `recompute` and `diff`, `publish` and
`withdraw`."""

from __future__ import annotations

import datetime as dt
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import stop, stopping_at

if TYPE_CHECKING:
    from sources.reference.cohorts import Cohort


@click.command()
@console.home("restricted/, release/, ledger.sqlite")
@console.cohort
@console.landing()
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
    cohort: Cohort,
    landing: Path | None,
    share: float | None,
    council: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Expected accuracy of every table under the policy, from public figures. Reads no extract, spends nothing."""
    from assets.home.paths import Home
    from assets.release.begin import WHOLE, room_for
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
    with stopping_at(PolicyError, LedgerError):
        room = room_for(Home(home), cohort.code, asked)
        found = expected_accuracy(councils, asked) | {"budget": asdict(room)}
    click.echo(json.dumps(found, indent=1) if as_json else render(found, council=council, everything=everything))
    sys.exit(0 if room.fits or share is None else 1)


@click.command()
@console.home("restricted/, release/, ledger.sqlite")
@console.as_json
def budget(home: Path, as_json: bool) -> None:
    """What was spent of each cohort's privacy budget, on what, and what is left."""
    from assets.home.paths import Home
    from pipelines.reports.budget import render, statement
    from privacy.release.ledger import LedgerError

    location = Home(home).ledger
    if isinstance(location, Path) and not location.exists():
        stop(f"{location} does not exist: no release has been made in this home folder")
    with stopping_at(LedgerError):
        found = statement(location)
    click.echo(json.dumps(found, indent=1) if as_json else render(found))


@click.command()
@click.argument("bundle")
@console.public_key()
def verify(bundle: str, key: Path | None) -> None:
    """Check a bundle (folder or archive, by path or URL): signature, checksums, schema, consistency."""
    from ndl_export.bundle.verify import verify as check
    from ndl_export.files.signing import UnusableKey
    from ndl_export.files.stores import StoreError, is_url

    if not is_url(bundle) and not Path(bundle).exists():
        stop(f"{bundle} does not exist: give the folder or the archive of a bundle, or its URL")
    try:
        with stopping_at(StoreError, UnusableKey):
            report = check(bundle, key)
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}")
    click.echo(str(report))
    sys.exit(0 if report.ok else 1)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
def recompute(bundle: Path) -> None:
    """Make every table of a bundle's folder again from its published noisy counts, and compare."""
    from assets.release.tabulate import differing
    from ndl_export.tables import TABLES

    if wrong := differing(bundle):
        stop(f"{bundle}: the noisy counts do not give {', '.join(wrong)} as published")
    click.echo(f"{bundle}: {len(TABLES)} tables are what the noisy counts give, to the last bit")


@click.command()
@click.argument("version")
@click.option("--to", "url", required=True, metavar="URL", help="A folder: s3://…, abfs://…, or a path.")
@console.home("release/")
@console.public_key(", to check the bundle against")
@click.option("--dry-run", is_flag=True, help="List what would be sent, and send nothing.")
def publish(version: str, url: str, home: Path, key: Path | None, dry_run: bool) -> None:
    """Put a release where readers get it: content first, what leads to it last.

    Run it again after it was cut off, or after a withdrawal: it sends what is missing, and no more. Credentials come
    from the environment, as the library of the store asks.
    """
    from assets.home.errors import StepFailed, plainly
    from assets.home.paths import Home
    from assets.release.anchors import SignedByAnother, check_known
    from assets.release.sign_off import check_publication
    from ndl_export.facts.announced import InvalidCalendar
    from ndl_export.files.signing import UnusableKey
    from ndl_export.files.stores import StoreError
    from ndl_export.publish import upload
    from pipelines.ending import Ending
    from pipelines.release_calendar import NotPublished, check_may_be_published, tell_readers
    from pipelines.reports.releases import published
    from privacy.release.approval import WaitsForApproval
    from privacy.release.ledger import LedgerError

    refusals = (NotPublished, InvalidCalendar, upload.PublishRefused, SignedByAnother, LedgerError)
    with stopping_at(*refusals, StoreError, UnusableKey, StepFailed), plainly():
        if not dry_run:
            check_may_be_published(version, dt.datetime.now(dt.UTC))
            try:
                check_publication(Home(home), version)
            except WaitsForApproval as waiting:
                stop(str(waiting), int(Ending.HOLD))
            tell_readers(Home(home).release)
        found = upload.publish(
            Home(home).release,
            version,
            url,
            known=partial(check_known, Home(home)),
            trusted_key=key,
            dry_run=dry_run,
            tell=click.echo,
        )
    click.echo(published(found, version, dry_run=dry_run))


@click.command()
@click.argument("version")
@click.option("--reason", required=True, help="What its readers are told, in one line.")
@console.home("release/")
def withdraw(version: str, reason: str, home: Path) -> None:
    """Mark a release as withdrawn. Its bundle stays as it was signed; `latest` leads to the one that stands."""
    from assets.home.errors import StepFailed, plainly
    from assets.home.paths import Home
    from ndl_export.facts.release_facts import InvalidVersion
    from ndl_export.facts.withdrawals import UnreadableWithdrawals
    from ndl_export.publish.withdraw import WithdrawalRefused
    from ndl_export.publish.withdraw import withdraw as take_back

    release_dir = Home(home).release
    with stopping_at(WithdrawalRefused, UnreadableWithdrawals, InvalidVersion, StepFailed), plainly():
        newest = take_back(release_dir, version, reason, dt.date.today())
    click.echo(
        f"Release {version} is withdrawn; catalogue, feed and {release_dir / 'withdrawn.json'} give the reason.\n"
        + (f"The current release is {newest}.\n" if newest else "No release stands: latest and site are gone.\n")
        + "Its privacy budget stays spent: what was published cannot be taken back."
    )


@click.command()
@click.argument("before")
@click.argument("now")
@console.home("release/", required=False, help="Where versions are looked up: holds release/.")
@click.option("--all", "everything", is_flag=True, help="Every figure that moved.")
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def diff(before: str, now: str, home: Path | None, everything: bool, as_json: bool) -> None:
    """What changed from one release to another: schema, and figures that moved beyond their noise.

    BEFORE and NOW are folders of bundles, or versions in the home folder. Signatures are not checked: that is `verify`.
    """
    from ndl_export.publish.release_diff import NotABundle
    from ndl_export.publish.release_diff import diff as compared
    from pipelines.reports.releases import differences

    with stopping_at(NotABundle):
        found = compared(_bundle(before, home), _bundle(now, home))
    click.echo(json.dumps(found.as_json(), indent=1) if as_json else differences(found, everything=everything))


def _bundle(named: str, home: Path | None) -> Path:
    """The folder that is meant: that of a version in the home folder, or the path itself."""
    from assets.home.paths import Home
    from ndl_export.facts.release_facts import InvalidVersion, Version

    try:
        version = str(Version.parse(named))
    except InvalidVersion:
        return Path(named)
    return Home(home).release / version if home else Path(named)

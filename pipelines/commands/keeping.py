"""What keeps and removes personal data: `readiness forget`, `retention`, `shred` and `log`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands.console import FOLDER, stop
from privacy.doors.environment import settings

if TYPE_CHECKING:
    from assets.home.paths import Home
    from assets.keeping.forgetting import Forgotten
    from privacy.keys import KeyRing

HOME = click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds restricted/, release/.")
LANDING = click.option("--landing", type=FOLDER, envvar="READINESS_LANDING", help="Where extracts lie.")
KEYS = click.option("--keys", type=FOLDER, envvar="READINESS_KEYS", help="Directory of keys.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command()
@HOME
@LANDING
@KEYS
@click.option("--cohort", help="Academic year of the assessment, as 202425; may be left out with --pseudonym.")
@click.option("--council", help="Whose extract, as leeds.")
@click.option("--source", help="Which extract, as hv_reviews.")
@click.option("--row", "rows", type=click.IntRange(1), multiple=True, help="Data row of it, 1 for the first.")
@click.option("--pseudonym", help="A child_id, or a token of a row, in place of council, source and row; - reads it.")
@click.option("--this-row-only", is_flag=True, help="Not the rows that are linked to it.")
@click.option("--objection", is_flag=True, help="Leave the child out of later deliveries as well.")
@DRY_RUN
@JSON
def forget(
    home: Path,
    landing: Path | None,
    keys: Path | None,
    cohort: str | None,
    council: str | None,
    source: str | None,
    rows: tuple[int, ...],
    pseudonym: str | None,
    this_row_only: bool,
    objection: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove a child's rows from the restricted zone, and make anew what depends on them.

    The child's rows are those named and every row linked to them, in every service and council. Ledger, stored
    measurements and releases stay as they are.
    """
    from assets.home.cohort_lock import Busy
    from assets.home.errors import Damaged
    from assets.home.removal_lock import InUse
    from assets.keeping.forgetting import CannotForget, rows_named, rows_of_pseudonym
    from assets.keeping.forgetting import forget as remove_rows
    from privacy.keys import KeyProblem

    place = _home(home)
    code = _cohort(cohort) if cohort else None
    by_row = bool(code and council and source and rows)
    if by_row == bool(pseudonym) or (pseudonym and (council or source or rows or this_row_only)):
        stop("name --cohort, --council, --source and --row, or --pseudonym alone or with --cohort")
    try:
        if pseudonym:
            given = sys.stdin.readline().strip() if pseudonym == "-" else pseudonym
            found = rows_of_pseudonym(place, given, code)
        else:
            _check_extract(str(council), str(source))
            found = rows_named(place, str(code), str(council), str(source), rows, linked=not this_row_only)
        ring = None
        if objection:
            ring = _keys(keys)
        if not dry_run:
            found = remove_rows(place, found, ring)
    except (CannotForget, InUse, Busy, Damaged, KeyProblem) as problem:
        stop(str(problem))
    if as_json:
        click.echo(json.dumps(asdict(found) | {"removed": not dry_run, "objection": objection}, indent=1))
    else:
        click.echo(_forgotten(found, dry_run, objection, place, landing))


def _forgotten(found: Forgotten, dry_run: bool, objection: bool, home: Home, landing: Path | None) -> str:
    lines = ["Would be removed, with what depends on them:" if dry_run else "Removed, with what depended on them:"]
    for extract in found.extracts:
        numbers = ", ".join(map(str, extract.rows))
        lines.append(f"  {extract.cohort}  {extract.council}/{extract.source}: row {numbers}")
    lines += [f"! {sentence}" for sentence in found.not_linked]
    lines.append("Ledger, stored measurements and releases stay as they are: they hold noise, not rows.")
    if objection:
        lines.append("Later deliveries are taken without the child, as far as it can be known again.")
    else:
        lines.append("The same files give these rows never again; another delivery may, unless --objection is said.")
    for path in _in_landing(found, landing):
        lines.append(f"Still in landing, as it was sent: {path}")
    return "\n".join(lines)


def _in_landing(found: Forgotten, landing: Path | None) -> list[Path]:
    from sources.extract.landed import files_of

    if landing is None or not landing.is_dir():
        return []
    return [
        path
        for extract in found.extracts
        for path in files_of(landing, extract.council, extract.source, extract.cohort)
    ]


@click.command()
@click.option("--landing", type=FOLDER, envvar="READINESS_LANDING", required=True, help="Where extracts lie.")
@HOME
@KEYS
@click.option("--cohort", help="Only of this cohort.")
@DRY_RUN
@JSON
def shred(landing: Path, home: Path, keys: Path | None, cohort: str | None, dry_run: bool, as_json: bool) -> None:
    """Overwrite and remove files of landing whose rows are in, as they lie there. Others stay.

    On flash storage overwriting proves nothing: what protects a removed file is encryption of the disk.
    """
    from assets.home.removal_lock import InUse
    from assets.keeping.shredding import shred_taken, shreddable
    from privacy.keys import KeyProblem

    place, code = _home(home), _cohort(cohort) if cohort else None
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    try:
        ring = _keys(keys)
        found = (shreddable if dry_run else shred_taken)(landing, place, ring, code)
    except (InUse, KeyProblem) as problem:
        stop(str(problem))
    names = [file.landed.name for file in found.ready]
    if as_json:
        click.echo(json.dumps({"shredded": [] if dry_run else names, "ready": names, "kept": found.kept}, indent=1))
        return
    for name in names:
        click.echo(f"{'would be shredded' if dry_run else 'shredded'}: {name}")
    for sentence in found.kept:
        click.echo(f"kept: {sentence}")
    if not names:
        click.echo("Nothing in landing was taken in as it lies there.")


@click.command("retention")
@HOME
@LANDING
@KEYS
@DRY_RUN
@JSON
def retention_command(home: Path, landing: Path | None, keys: Path | None, dry_run: bool, as_json: bool) -> None:
    """Remove what has been kept as long as it may be: see privacy/retention.yaml.

    Files of landing are looked at where --landing is given. Ledger, measurements and releases stay.
    """
    from assets.home.removal_lock import InUse
    from assets.home.retention_policy import InvalidRetention
    from pipelines.dagster.expiring import expire_all
    from privacy.keys import KeyProblem

    place = _home(home)
    try:
        found = expire_all(place, landing, _keys(keys) if landing else None, dry_run=dry_run)
    except (InUse, InvalidRetention, KeyProblem) as problem:
        stop(str(problem))
    if as_json:
        click.echo(json.dumps({"removed": not dry_run, "due": found}, indent=1))
        return
    for sentence in found:
        click.echo(f"{'would be removed' if dry_run else 'removed'}: {sentence}")
    if not found:
        click.echo("Nothing has been kept longer than it may be.")


def _keys(given: Path | None) -> KeyRing:
    from privacy.keys import RESTRICTED, KeyRing

    return KeyRing.load(given or settings().keys, RESTRICTED)


def _home(path: Path) -> Home:
    from assets.home.paths import Home

    if not path.is_dir():
        stop(f"home folder {path} does not exist")
    return Home(path.resolve())


def _cohort(code: str) -> str:
    from sources.reference.cohorts import Cohort, InvalidCohort

    try:
        return Cohort(code).code
    except InvalidCohort as error:
        stop(str(error))


def _check_extract(council: str, source: str) -> None:
    from sources.extract.landed import check_extract_name

    try:
        check_extract_name(f"{council}/{source}")
    except ValueError as error:
        stop(str(error))


@click.command("log")
@HOME
@click.option("--verify", "check", is_flag=True, help="Check that no line was changed or removed; exit status 1 if so.")
@JSON
def log_command(home: Path, check: bool, as_json: bool) -> None:
    """What was done with personal data: on what, when, by whom."""
    from assets.home.processing_log import entries, verify
    from privacy.chained_log import LogBroken

    place = _home(home)
    try:
        found = verify(place) if check else entries(place)
    except LogBroken as problem:
        stop(str(problem))
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in found], indent=1))
        return
    for entry in found:
        click.echo(_line(asdict(entry)))
    if check:
        click.echo(f"{place.processing_log}: {len(found)} lines, none changed or removed")


def _line(entry: dict[str, Any]) -> str:
    about = [entry["cohort"], "/".join(filter(None, (entry["council"], entry["source"])))]
    about += [f"release {entry['release']}" if entry["release"] else "", entry["note"]]
    about += [f"file {entry['file_mac'][:16]}" if entry["file_mac"] else ""]
    by = entry["who"] + (f", run {entry['run_id'][:8]}" if entry["run_id"] else "")
    return f"{entry['time']}  {entry['what']}: {', '.join(filter(None, about))}  ({by}; {entry['software']})"


COMMANDS = (forget, shred, retention_command, log_command)

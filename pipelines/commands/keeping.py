"""What keeps and removes personal data: `readiness forget`, `retention`, `shred`, `parts` and `log`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import console
from pipelines.commands.console import COHORT, stop, stopping_at
from privacy.doors.environment import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from assets.home.paths import Home
    from assets.keeping.forgetting import Forgotten
    from privacy.keys import KeyRing
    from sources.reference.cohorts import Cohort

HOME = console.home("restricted/, release/")
LANDING = console.landing()
KEYS = console.keys("Directory of keys.")
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")


@click.command()
@HOME
@LANDING
@KEYS
@click.option(
    "--cohort", type=COHORT, help="Academic year of the assessment, as 202425; may be left out with --pseudonym."
)
@click.option("--council", help="Whose extract, as leeds.")
@click.option("--source", help="Which extract, as hv_reviews.")
@click.option("--row", "rows", type=console.ROW, multiple=True, help="Data row of it, 1 for the first; 3:17 of part 3.")
@click.option("--pseudonym", help="A child_id, or a token of a row, in place of council, source and row; - reads it.")
@click.option("--this-row-only", is_flag=True, help="Not the rows that are linked to it.")
@click.option("--objection", is_flag=True, help="Leave the child out of later deliveries as well.")
@DRY_RUN
@console.as_json
def forget(
    home: Path,
    landing: Path | None,
    keys: Path | None,
    cohort: Cohort | None,
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
    from assets.home.at_work import Busy, InUse
    from assets.home.errors import Damaged
    from assets.keeping.forgetting import CannotForget, rows_named, rows_of_pseudonym
    from assets.keeping.forgetting import forget as remove_rows
    from assets.linkage.tokens import TokensUnusable
    from privacy.keys import KeyProblem

    place = _home(home)
    code = cohort.code if cohort else None
    by_row = bool(code and council and source and rows)
    if by_row == bool(pseudonym) or (pseudonym and (council or source or rows or this_row_only)):
        stop("name --cohort, --council, --source and --row, or --pseudonym alone or with --cohort")
    with stopping_at(CannotForget, InUse, Busy, Damaged, KeyProblem, TokensUnusable):
        ring = _keys(keys)
        if pseudonym:
            given = sys.stdin.readline().strip() if pseudonym == "-" else pseudonym
            found = rows_of_pseudonym(place, given, code, ring)
        else:
            _check_extract(str(council), str(source))
            found = rows_named(place, str(code), str(council), str(source), rows, ring, linked=not this_row_only)
        if not dry_run:
            found = remove_rows(place, found, ring, objection=objection)
    if as_json:
        click.echo(json.dumps(_as_named(found) | {"removed": not dry_run, "objection": objection}, indent=1))
    else:
        click.echo(_forgotten(found, dry_run, objection, place, landing))


def _as_named(found: Forgotten) -> dict[str, Any]:
    """The facts, with rows of parts as people name them."""
    from privacy.row_keys import part_and_row, written

    facts = asdict(found)
    for extract in facts["extracts"]:
        extract["rows"] = [written(row) if part_and_row(row)[0] else row for row in extract["rows"]]
    return facts


def _forgotten(found: Forgotten, dry_run: bool, objection: bool, home: Home, landing: Path | None) -> str:
    from privacy.row_keys import written

    lines = ["Would be removed, with what depends on them:" if dry_run else "Removed, with what depended on them:"]
    for extract in found.extracts:
        numbers = ", ".join(map(written, extract.rows))
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
@console.landing(required=True)
@HOME
@KEYS
@click.option("--cohort", type=COHORT, help="Only of this cohort.")
@DRY_RUN
@console.as_json
def shred(landing: Path, home: Path, keys: Path | None, cohort: Cohort | None, dry_run: bool, as_json: bool) -> None:
    """Overwrite and remove files of landing whose rows are in, as they lie there. Others stay.

    On flash storage overwriting proves nothing: what protects a removed file is encryption of the disk.
    """
    from assets.home.at_work import InUse
    from assets.keeping.retention import shred_taken, shreddable
    from privacy.keys import KeyProblem

    place, code = _home(home), cohort.code if cohort else None
    if not landing.is_dir():
        stop(f"landing folder {landing} does not exist")
    with stopping_at(InUse, KeyProblem):
        ring = _keys(keys)
        found = (shreddable if dry_run else shred_taken)(landing, place, ring, code)
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
@console.as_json
def retention_command(home: Path, landing: Path | None, keys: Path | None, dry_run: bool, as_json: bool) -> None:
    """Remove what has been kept as long as it may be: see privacy/retention.yaml.

    Files of landing are looked at where --landing is given. Ledger, measurements and releases stay.
    """
    from assets.home.at_work import InUse
    from assets.home.retention_policy import InvalidRetention
    from pipelines.dagster.instance import expire_all
    from privacy.keys import KeyProblem

    place = _home(home)
    with stopping_at(InUse, InvalidRetention, KeyProblem):
        found = expire_all(place, landing, _keys(keys) if landing else None, dry_run=dry_run)
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


def _check_extract(council: str, source: str) -> None:
    from sources.extract.landed import check_extract_name

    with stopping_at(ValueError):
        check_extract_name(f"{council}/{source}")


@click.group("parts")
def parts_command() -> None:
    """The parts of an extract that came in parts, and the withdrawal of one that should not have been sent."""


_EXTRACT = (
    console.cohort,
    click.option("--council", type=console.COUNCIL, required=True, help="Whose extract, as leeds."),
    click.option("--source", type=console.SOURCE, required=True, help="Which extract, as hv_reviews."),
)


def _of_extract(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_EXTRACT):
        command = option(command)
    return command


@parts_command.command("list")
@HOME
@_of_extract
@console.as_json
def list_parts(home: Path, cohort: Cohort, council: str, source: str, as_json: bool) -> None:
    """The parts that have been read, by number: when, and whether each counts. Numbers of rows are in the report."""
    from assets.intake import parts

    noted = [part for part in parts.noted(_home(home), (source, cohort.code, council)) if not part.moved]
    facts = [{"part": part.number, "read_at": part.read_at, "withdrawn": part.withdrawn} for part in noted]
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for part in noted:
        click.echo(f"part {part.number}, read on {part.read_at}{', withdrawn' if part.withdrawn else ''}")
    if not noted:
        click.echo(f"{council}/{source}/{cohort.code} does not come in parts")


@parts_command.command("withdraw")
@HOME
@console.landing(required=True)
@KEYS
@_of_extract
@click.option("--part", "number", type=int, required=True, help="Its number, as the report and `list` give it.")
@click.option("--reason", required=True, help="Why; the sender's report repeats it. Name no child.")
def withdraw_part(
    home: Path, landing: Path, keys: Path | None, cohort: Cohort, council: str, source: str, number: int, reason: str
) -> None:
    """Take back a part that should never have been sent: its rows go, those that they replaced come back into force.

    Of a file of several cohorts, from all of them. Links and tables are made anew. Ledger and releases stay.
    """
    from assets.home.at_work import InUse
    from assets.home.errors import Damaged
    from assets.keeping.withdrawing import CannotWithdraw, withdraw
    from assets.linkage.tokens import TokensUnusable
    from privacy.keys import KeyProblem
    from sources.reference.expected_rows import InvalidExpectedRows

    place, key = _home(home), (source, cohort.code, council)
    with stopping_at(CannotWithdraw, InUse, Damaged, KeyProblem, TokensUnusable, InvalidExpectedRows):
        done, not_linked = withdraw(landing.resolve(), place, _keys(keys), key, number, reason)
    for each in done:
        of = f"{each.key[2]}/{each.key[0]}/{each.key[1]}"
        click.echo(
            f"Withdrawn: part {each.number} of {of}; {'the rest is in' if each.is_in else 'nothing of it is in'}"
        )
    for sentence in not_linked:
        click.echo(f"! {sentence}")
    click.echo("Its file is not read again. Where it still lies in landing, `readiness shred` removes it.")


@click.command("log")
@HOME
@click.option("--verify", "check", is_flag=True, help="Check that no line was changed or removed; exit status 1 if so.")
@console.as_json
def log_command(home: Path, check: bool, as_json: bool) -> None:
    """What was done with personal data: on what, when, by whom."""
    from assets.home.processing_log import entries, verify
    from privacy.chained_log import LogBroken

    place = _home(home)
    with stopping_at(LogBroken):
        found = verify(place) if check else entries(place)
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


COMMANDS = (forget, shred, retention_command, parts_command, log_command)

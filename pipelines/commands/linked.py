"""The results of the linkage: explained (`readiness link`), and returned to services (`readiness returns` at the
pipeline)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import console
from pipelines.commands.console import FOLDER, OUT, stop, stopping_at, things_to_change
from privacy.doors import environment
from privacy.returns.disclosures import ReturnState
from privacy.services import SERVICES

if TYPE_CHECKING:
    from sources.reference.cohorts import Cohort


@click.group()
def link() -> None:
    """Ask the linkage of a cohort."""


@link.command()
@console.home("restricted/")
@console.cohort
@click.argument("first", metavar="SOURCE/COUNCIL/ROW")
@click.argument("second", metavar="SOURCE/COUNCIL/ROW")
@console.keys()
@console.as_json
def explain(home: Path, cohort: Cohort, first: str, second: str, keys: Path | None, as_json: bool) -> None:
    """Why two rows are linked, or are not: rule, weight by comparison, decision.

    ROW is the data row of the extract's file, 1 for the first. The linkage is run again for it. The answer is about two
    children's records: it stays with those who may read the restricted zone.
    """
    from assets.home.at_work import InUse
    from assets.home.errors import Damaged
    from assets.home.paths import Home
    from assets.linkage.explanation import CannotExplain, explain_link, parse_row
    from assets.linkage.tokens import TokensUnusable
    from pipelines.opening import opened
    from pipelines.reports.link import render
    from privacy.keys import EXPLANATION, KeyProblem, KeyRing

    with stopping_at(CannotExplain, Damaged, InUse, TokensUnusable, KeyProblem):
        rows = parse_row(first), parse_row(second)
        ring = KeyRing.load(keys or environment.settings().keys, EXPLANATION)
        found = explain_link(opened(Home(home), keys), cohort.code, *rows, ring)
    click.echo(json.dumps(found, indent=1) if as_json else render(found))


@link.command()
@console.home("restricted/")
@console.cohort
@click.option("--out", type=OUT, required=True, help="Where to write: CSV where the name ends so, else Parquet.")
@console.keys()
def rows(home: Path, cohort: Cohort, out: Path, keys: Path | None) -> None:
    """Every linked row of a cohort by its number, for an audit: source, council, source_row, child_id, match_rule,
    match_probability.

    The file is for its owner only and stays with those who may read the restricted zone. Recorded in the processing
    log.
    """
    from assets.home.at_work import Busy, InUse
    from assets.home.errors import Damaged
    from assets.home.paths import Home
    from assets.linkage.row_numbers import NotLinkedAsIs, write_linked_rows
    from pipelines.opening import opened
    from privacy.keys import ROWS, KeyProblem, KeyRing

    with stopping_at(NotLinkedAsIs, Damaged, InUse, Busy, KeyProblem):
        ring = KeyRing.load(keys or environment.settings().keys, ROWS)
        count = write_linked_rows(opened(Home(home), keys), cohort.code, out, ring)
    click.echo(f"{out}: {count:,} rows; it is for your eyes only, and is to be removed when the audit is done")


@click.command()
@console.home("restricted/")
@console.cohort
@click.option(
    "--agreements", type=FOLDER, envvar=environment.AGREEMENTS, required=True, help="Folder of sharing agreements."
)
@console.keys()
def make(home: Path, cohort: Cohort, agreements: Path, keys: Path | None) -> None:
    """Make the returns of a cohort that the agreements allow today. The cohort must have been linked."""
    from assets.home.installation import Folders
    from assets.returns.agreements import InvalidAgreement, load_all
    from pipelines.ending import RunStopped
    from pipelines.run import run_returns

    if not agreements.is_dir():
        stop(f"folder of agreements {agreements} does not exist: nothing is made")
    if not home.is_dir():
        stop(f"home folder {home} does not exist")
    try:
        load_all(agreements)
    except InvalidAgreement as invalid:
        stop(f"{agreements}: {things_to_change(invalid.problems)} before any return is made or withdrawn\n{invalid}")
    with stopping_at(RunStopped):
        run_returns(Folders.at(home=home, keys=keys, agreements=agreements), cohort)


@click.command()
@console.home("restricted/")
@console.as_json
def log(home: Path, as_json: bool) -> None:
    """The disclosure log: every return made or withdrawn, for whom, what kinds of facts, how many rows.

    Numbers of rows are true counts: they stay with those who may read the restricted zone. Exits with 1 where a line
    was changed or removed.
    """
    from assets.home.paths import Home
    from privacy.chained_log import LogBroken, entries

    with stopping_at(LogBroken):
        found = entries(Home(home).disclosures)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo("No return has been made in this home folder.")
    for entry in found:
        click.echo(_disclosure(entry))


@click.command("release")
@console.home("restricted/")
@console.cohort
@click.option("--council", type=console.COUNCIL, required=True, help="Whose delivery it is.")
@click.option("--source", type=click.Choice(list(SERVICES)), required=True, help="Of what source.")
@click.option("--reason", required=True, help="Why the delivery is as it should be, in a sentence; it is logged.")
def release_delivery(home: Path, cohort: Cohort, council: str, source: str, reason: str) -> None:
    """Let returns be made of an unusual delivery, after somebody has looked at it. Logged with the account that did."""
    from assets.home.at_work import InUse
    from assets.home.paths import Home
    from assets.returns.make import NothingToReturn, release
    from pipelines.opening import opened
    from privacy.chained_log import LogBroken

    with stopping_at(NothingToReturn, LogBroken, InUse):
        release(opened(Home(home)), cohort.code, council, source, reason)
    click.echo(f"{council}/{source}: released; make the returns again (readiness returns make)")


def _disclosure(entry: dict[str, Any]) -> str:
    first = (
        f"{entry['seq']:>4}  {entry['time']}  {entry['what']}  {entry['cohort']}  {entry['council']}/{entry['source']}"
    )
    reason = f": {entry['reason']}" if entry["reason"] else ""
    if entry["what"] == ReturnState.RELEASED:
        return f"{first}  by {entry['by']}{reason}"
    number = f", number {entry['serial']}" if entry.get("serial") else ""
    lines = [f"{first}  for {entry['recipient_name']}, {entry['rows']:,} rows{number}, by {entry['by']}{reason}"]
    lines += [f"        {teller} tells: {', '.join(facts)}" for teller, facts in entry["tells"].items()]
    agreements = ", ".join(f"{council} {version[:12]}" for council, version in entry["agreements"].items())
    return "\n".join([*lines, f"        agreements: {agreements}; return {entry['return_mac'][:12]}"])

"""`readiness returns` at the pipeline: make the returns of a cohort, and read the disclosure log."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipelines.commands.console import FOLDER, stop

_HOME = click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds restricted/.")


@click.command()
@_HOME
@click.option("--cohort", required=True, help="Academic year of the assessment, as 202425.")
@click.option(
    "--agreements", type=FOLDER, envvar="READINESS_AGREEMENTS", required=True, help="Folder of sharing agreements."
)
@click.option("--keys", type=FOLDER, envvar="READINESS_KEYS", help="Directory of keys; the project's keys/ by default.")
def make(home: Path, cohort: str, agreements: Path, keys: Path | None) -> None:
    """Make the returns of a cohort that the agreements allow today. The cohort must have been linked."""
    from assets.catalogue.installation import Installation
    from assets.returns.agreements import InvalidAgreement, load_all
    from pipelines.run import RunStopped, run_returns
    from sources.reference.cohorts import Cohort, InvalidCohort

    try:
        checked = Cohort(cohort)
    except InvalidCohort as error:
        stop(str(error))
    if not agreements.is_dir():
        stop(f"folder of agreements {agreements} does not exist: nothing is made")
    if not home.is_dir():
        stop(f"home folder {home} does not exist")
    try:
        load_all(agreements)
    except InvalidAgreement as invalid:
        count = len(invalid.problems)
        things = f"{count} thing{'s' if count > 1 else ''} to change"
        stop(f"{agreements}: {things} before any return is made or withdrawn\n{invalid}")
    try:
        run_returns(Installation.at(home=home, keys=keys, agreements=agreements), checked)
    except RunStopped as stopped:
        stop(str(stopped))


@click.command()
@_HOME
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def log(home: Path, as_json: bool) -> None:
    """The disclosure log: every return made or withdrawn, for whom, what kinds of facts, how many rows.

    Numbers of rows are true counts: they stay with those who may read the restricted zone. Exits with 1 where a line
    was changed or removed.
    """
    from assets.home.paths import Home
    from privacy.chained_log import LogBroken, entries

    try:
        found = entries(Home(home).disclosures)
    except LogBroken as broken:
        stop(str(broken))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo("No return has been made in this home folder.")
    for entry in found:
        click.echo(
            f"{entry['seq']:>4}  {entry['time']}  {entry['what']}  {entry['cohort']}"
            f"  {entry['council']}/{entry['source']}  for {entry['recipient_name']}"
            f", {entry['rows']:,} rows, by {entry['by']}" + (f": {entry['reason']}" if entry["reason"] else "")
        )
        for teller, facts in entry["tells"].items():
            click.echo(f"        {teller} tells: {', '.join(facts)}")
        agreements = ", ".join(f"{council} {version[:12]}" for council, version in entry["agreements"].items())
        click.echo(f"        agreements: {agreements}; return {entry['return_mac'][:12]}")

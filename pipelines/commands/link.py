"""`readiness link`: what the linkage did with given rows."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipelines.commands.console import FOLDER, stop


@click.group()
def link() -> None:
    """Ask the linkage of a cohort."""


@link.command()
@click.option("--home", type=FOLDER, envvar="READINESS_HOME", required=True, help="Holds restricted/.")
@click.option("--cohort", required=True, help="Academic year of the assessment, as 202425.")
@click.argument("first", metavar="SOURCE/COUNCIL/ROW")
@click.argument("second", metavar="SOURCE/COUNCIL/ROW")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def explain(home: Path, cohort: str, first: str, second: str, as_json: bool) -> None:
    """Why two rows are linked, or are not: rule, weight by comparison, decision.

    ROW is the data row of the extract's file, 1 for the first. The linkage is run again for it. The answer is about two
    children's records: it stays with those who may read the restricted zone.
    """
    from sources.reference.cohorts import Cohort, InvalidCohort

    try:
        code = Cohort(cohort).code
    except InvalidCohort as error:
        stop(str(error))
    from assets.home.errors import Damaged
    from assets.home.paths import Home
    from assets.home.removal_lock import InUse
    from assets.linkage.explanation import CannotExplain, explain_link, parse_row
    from pipelines.opening import opened
    from pipelines.reports.link import render

    try:
        found = explain_link(opened(Home(home)), code, parse_row(first), parse_row(second))
    except (CannotExplain, Damaged, InUse) as problem:
        stop(str(problem))
    click.echo(json.dumps(found, indent=1) if as_json else render(found))

"""`readiness returns make`, `log` and `release`: joined-up returns, where the linked records are."""

from pathlib import Path

import click

from assets.home.installation import Installation
from assets.home.paths import CohortStore, ExtractStore, Home
from assets.keeping.withdrawing import open_home
from assets.returns.accounts import ReturnState, check_anchored
from assets.returns.agreements import InvalidAgreement, load_all
from assets.returns.make import release
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, show_progress, stop, stop_for_problems
from pipelines.commands.linked import agreements_option
from pipelines.commands.pipeline_options import add_cohort_options, add_extract_options, add_home_option
from pipelines.commands.returns import returns
from pipelines.reports.document import write_plain
from privacy.chained_log import read_entries
from privacy.services import SERVICES


@returns.command()
@add_cohort_options(exists=True)
@agreements_option
@options.add_option("--keys")
def make(store: CohortStore, agreements: Path, keys: Path) -> None:
    """Make the returns of a cohort that the agreements allow today. The cohort must have been linked."""
    from pipelines.definitions import open_jobs

    if not agreements.is_dir():
        stop(f"folder of agreements {agreements} does not exist: nothing is made")
    try:
        # a fault is reported before the job starts, not in the log of its run
        load_all(agreements)
    except InvalidAgreement as invalid:
        stop_for_problems(agreements, invalid.problems, " before any return is made or withdrawn")
    folders = Installation.build(home=store.home.root, keys=keys, agreements=agreements)
    with show_progress("Making returns", in_lines=True), open_jobs(folders) as jobs:
        jobs.execute("returns", {"partition_key": store.cohort})


@returns.command()
@add_home_option()
@options.as_json
def log(home: Home) -> None:
    """Show the disclosure log: every return made or withdrawn, for whom, kinds of facts, number of rows.

    Numbers of rows are true counts: they stay with those who may read the restricted zone. Exit status 5 if a line
    was changed or removed.
    """
    check_anchored(home)
    found = read_entries(home.disclosures)
    text = write_plain("disclosures.md.j2", entries=found, released=ReturnState.RELEASED)
    answer(found, lambda: text)


@returns.command("release")
@add_home_option()
@add_extract_options("; whose delivery it is", "; of one about named children")
@options.add_option("--reason", "; it is logged")
def release_delivery(store: ExtractStore, reason: str) -> None:
    """Allow returns from an unusual delivery, after somebody has checked it. Logged with the account that did."""
    if store.source not in SERVICES:
        stop(f"no return is made of {store.source}: only of {', '.join(SERVICES)}", Ending.USAGE)
    open_home(store.home)
    release(store, reason)
    click.echo(f"{store.council}/{store.source}: released; make the returns again (readiness returns make)")

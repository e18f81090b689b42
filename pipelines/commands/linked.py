"""Results of the linkage: `readiness link` explains them, and `readiness returns` sends them back to services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import console
from pipelines.commands.console import FOLDER, OUT, answer, describe_problem_count, show_progress, stop
from pipelines.commands.home_option import add_home_option
from pipelines.ending import Ending
from privacy.doors import environment
from privacy.services import SERVICES

if TYPE_CHECKING:
    from assets.home.paths import Home
    from sources.reference.cohorts import Cohort


@click.group()
def link() -> None:
    """Ask how the records of a cohort were linked."""


@link.command()
@add_home_option()
@console.add_cohort_option()
@click.argument("first", metavar="SOURCE/COUNCIL/ROW")
@click.argument("second", metavar="SOURCE/COUNCIL/ROW")
@console.add_keys_option()
@console.as_json
def explain(home: Home, cohort: Cohort, first: str, second: str, keys: Path) -> None:
    """Why two rows are linked, or are not: rule, weight by comparison, decision.

    ROW is the data row of the extract's file, 1 for the first. The linkage is run again for it. The answer is about two
    children's records: it stays with those who may read the restricted zone.
    """
    from assets.linkage.row_numbers import explain_link, parse_row
    from pipelines.opening import opened
    from pipelines.reports.link import render
    from privacy.keys import EXPLANATION, KeyRing

    rows = parse_row(first), parse_row(second)
    ring = KeyRing.load(keys, EXPLANATION)
    with show_progress("Linking again"):
        found = explain_link(opened(home, keys).cohort(cohort.code), *rows, ring)
    answer(found, lambda: render(found))


@link.command()
@add_home_option()
@console.add_cohort_option()
@click.option("--out", type=OUT, required=True, help="Where to write: CSV where the name ends so, else Parquet.")
@console.add_keys_option()
@console.as_json
def rows(home: Home, cohort: Cohort, out: Path, keys: Path) -> None:
    """Every linked row of a cohort by its number, for an audit.

    Columns: source, council, source_row, child_id, match_rule, match_probability. The file is for its owner only and
    stays with those who may read the restricted zone. Recorded in the processing log.
    """
    from assets.linkage.row_numbers import write_linked_rows
    from pipelines.opening import opened
    from privacy.keys import ROWS, KeyRing

    if out.exists():
        stop(f"{out} is there already; it is not replaced")
    ring = KeyRing.load(keys, ROWS)
    with show_progress("Numbering rows"):
        count = write_linked_rows(opened(home, keys).cohort(cohort.code), out, ring)
    text = f"{out}: {count:,} rows; it is for your eyes only, and is to be removed when the audit is done"
    answer({"file": str(out), "rows": count}, lambda: text)


@click.command()
@add_home_option(exists=True)
@console.add_cohort_option()
@click.option(
    "--agreements", type=FOLDER, envvar=environment.AGREEMENTS, required=True, help="Folder of sharing agreements."
)
@console.add_keys_option()
def make(home: Home, cohort: Cohort, agreements: Path, keys: Path) -> None:
    """Make the returns of a cohort that the agreements allow today. The cohort must have been linked."""
    from assets.home.installation import Installation
    from assets.returns.agreements import InvalidAgreement, load_all
    from pipelines.run import run_returns

    if not agreements.is_dir():
        stop(f"folder of agreements {agreements} does not exist: nothing is made")
    try:
        # said before the job starts, and not in the log of its run
        load_all(agreements)
    except InvalidAgreement as invalid:
        stop(
            f"{agreements}: {describe_problem_count(invalid.problems)} before any return is made or"
            f" withdrawn\n{invalid}"
        )
    with show_progress("Making returns", in_lines=True):
        run_returns(Installation.at(home=home.root, keys=keys, agreements=agreements), cohort)


@click.command()
@add_home_option()
@console.as_json
def log(home: Home) -> None:
    """The disclosure log: every return made or withdrawn, for whom, what kinds of facts, how many rows.

    Numbers of rows are true counts: they stay with those who may read the restricted zone. Exit status 5 where a line
    was changed or removed.
    """
    from assets.returns.disclosure_log import check_anchored
    from privacy.chained_log import read_entries

    check_anchored(home)
    found = read_entries(home.disclosures)
    lines = [_format_disclosure(entry) for entry in found] or ["No return has been made in this home folder."]
    answer(found, lambda: "\n".join(lines))


@click.command("release")
@add_home_option()
@console.add_cohort_option()
@console.add_council_option("; whose delivery it is", required=True)
@console.add_source_option("; of one about named children", required=True)
@console.add_reason_option("; it is logged")
def release_delivery(home: Home, cohort: Cohort, council: str, source: str, reason: str) -> None:
    """Let returns be made of an unusual delivery, after somebody has looked at it. Logged with the account that did."""
    from assets.returns.make import release
    from pipelines.opening import opened

    if source not in SERVICES:
        stop(f"no return is made of {source}: only of {', '.join(SERVICES)}", Ending.USAGE)
    release(opened(home).extract(source, cohort.code, council), reason)
    click.echo(f"{council}/{source}: released; make the returns again (readiness returns make)")


def _format_disclosure(entry: dict[str, Any]) -> str:
    from assets.returns.disclosure_log import ReturnState

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

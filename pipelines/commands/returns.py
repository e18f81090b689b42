"""`readiness returns` at a council or service: draft and check an agreement, make a key, open a return."""

from collections.abc import Iterator
from pathlib import Path

import click

from assets.returns.agreements import InvalidAgreement, draft, load
from assets.returns.open import open_receipt, open_return
from pipelines.commands import options
from pipelines.commands.console import answer, is_json_wanted, show_progress, stop, stop_for_problems
from pipelines.reports.document import write_plain
from privacy.doors import clock
from privacy.doors.age import create_identity
from privacy.returns.agreement import NEVER_ABSENT, Agreement, First
from privacy.services import Fact


@click.group()
def returns() -> None:
    """Joined-up returns to services, under sharing agreements.

    They tell a service what other services know about the children in its rows. Off by default.
    """


@returns.command()
@click.argument("file", type=options.FILE)
@options.as_json
def check(file: Path) -> None:
    """Check sharing agreement FILE, and list what it allows today.

    Exit status 1 if something must change.
    """
    try:
        agreement = load(file)
    except InvalidAgreement as invalid:
        stop_for_problems(file, invalid.problems)
    follows = write_plain("agreement.md.j2", agreement=agreement).splitlines()
    warnings = list(_iter_warnings(agreement))
    why_not = agreement.explain_not_in_force(clock.today())
    in_force = f"In force until {agreement.expires}. Version {agreement.version}."
    answer(
        {
            "problems": [],
            "council": agreement.council,
            "version": agreement.version,
            "expires": agreement.expires.isoformat(),
            "follows": follows,
            "warnings": warnings,
            "in_force": why_not is None,
            "why_not": why_not,
        },
        lambda: "\n".join([*follows, f"Nothing is returned today: {why_not}." if why_not else in_force]),
    )
    for sentence in () if is_json_wanted() else warnings:
        click.echo(f"warning: {sentence}", err=True)


def _iter_warnings(agreement: Agreement) -> Iterator[str]:
    if any(Fact.NO_OTHER in disclosure.facts and disclosure.teller == NEVER_ABSENT for disclosure in agreement.tells):
        yield f"{Fact.NO_OTHER} is never told of {NEVER_ABSENT}, whatever the agreement says"
    rule = agreement.new_children
    if rule.until_then or not rule.after_days or rule.first_delivery is First.AT_ONCE:
        yield "under this rule, facts about a child who was added only to find out about it are returned at once"
    uncalled = [service for service, recipient in agreement.recipients.items() if not recipient.contact]
    if tellers := sorted({disclosure.teller for disclosure in agreement.tells}.intersection(uncalled)):
        yield f"no contact for {', '.join(tellers)}: returns cannot say whom to call there"
    if mute := sorted({disclosure.teller for disclosure in agreement.tells} - set(agreement.recipients)):
        yield f"no recipient for {', '.join(mute)}: it cannot be sent receipts of who was told about its rows"


@returns.command()
@click.argument("council", type=options.COUNCIL)
@click.option(
    "--out", type=options.FOLDER, required=True, help="Where to write: a folder of agreements, <council>.yaml in it."
)
def new(council: str, out: Path) -> None:
    """Write a draft of the sharing agreement of COUNCIL, with comments."""
    path = out / f"{council}.yaml"
    out.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(draft(council))
    except FileExistsError:
        stop(f"{path} is there already; move it away first")
    click.echo(f"{path} is written. Fill in what says TODO, then: readiness returns check {path}")


@returns.command()
@click.option("--out", type=options.OUT, required=True, help="Where to write; the private key stays with you.")
def keygen(out: Path) -> None:
    """Make the key of a recipient: the private key into a file, the public one (age1...) for the agreement."""
    public = create_identity(out)
    click.echo(f"Private key: {out}  (give it to nobody; without it nothing encrypted to you can be opened)")
    click.echo(f"Public key:  {public}  (for the agreement)")


@returns.command("open")
@click.argument("file", type=options.FILE)
@click.option(
    "--extract", type=options.FILE_OR_FOLDER, required=True, help="The extract that you sent, as you sent it."
)
@options.own_key
@options.add_option("--signer", "; here the pipeline's", required=True)
@options.add_option("--council-file", "; if the extract needs one")
@click.option("--out", type=options.FOLDER, required=True, help="Where to write; the files name children.")
def open_file(file: Path, extract: Path, key_file: Path, signer: Path, council_file: Path | None, out: Path) -> None:
    """Open a return: decrypt it, check it, join it to your extract, and write a table and a page for the team."""
    with show_progress("Opening the return"):
        written, warnings = open_return(file, extract, key_file, signer, council_file, out, clock.today())
    page, workbook, csv = written
    for sentence in warnings:
        click.echo(f"warning: {sentence}", err=True)
    click.echo(f"Page:   {page}  (open it in a browser, or print it)")
    click.echo(f"Table:  {workbook}\n        {csv}")
    click.echo("These files name children. Keep them where you keep the extract.")


@returns.command("told")
@click.argument("file", type=options.FILE)
@options.own_key
@options.add_option("--signer", "; here the pipeline's", required=True)
@click.option("--out", type=options.FOLDER, required=True, help="Where to write.")
def open_told(file: Path, key_file: Path, signer: Path, out: Path) -> None:
    """Open a receipt of who was told about a service's rows, and write it as two tables (CSV)."""
    receivers, rows = open_receipt(file, key_file, signer, out)
    click.echo(f"Who was told, and about how many children:  {receivers}")
    click.echo(f"Row by row:                                  {rows}")

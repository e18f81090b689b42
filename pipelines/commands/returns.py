"""`readiness returns` at a council or service: draft and check an agreement, make a key, open a return."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from pathlib import Path

import click

from pipelines.commands.console import COUNCIL, FILE, FILE_OR_FOLDER, FOLDER, stop, stopping_at, things_to_change


@click.group()
def returns() -> None:
    """Joined-up returns: what other services know of the children in rows that a service sent. Off by default."""


@returns.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check sharing agreement FILE, and say what follows from it today. Exits with 1 if something must change."""
    from assets.returns.agreements import InvalidAgreement, load
    from privacy.returns.agreement import First
    from privacy.returns.seal import ReturnProblem

    try:
        with stopping_at(ReturnProblem):
            agreement = load(file)
    except InvalidAgreement as invalid:
        stop(f"{file}: {things_to_change(invalid.problems)}\n{invalid}")
    for service, recipient in agreement.recipients.items():
        click.echo(f"{service} of {agreement.council} receives: {recipient.name}, {recipient.key}")
    for telling in agreement.tells:
        facts = ", ".join(sorted(telling.facts))
        click.echo(f"{telling.teller} tells {telling.receiver} of {telling.to_council}: {facts}")
    for council in sorted(agreement.accepts_from):
        click.echo(f"services of {council} may tell, if its own agreement says so")
    rule = agreement.new_children
    click.echo(
        f"new children: told of after {rule.after_days} days in {rule.after_deliveries} deliveries;"
        f" first delivery {rule.first_delivery.value}; until then {_facts(rule.until_then)};"
        f" without a number {_facts(rule.without_number)}"
    )
    if rule.until_then or not rule.after_days or rule.first_delivery is First.AT_ONCE:
        click.echo("warning: under this rule a child that is put in to find out about it is told of at once", err=True)
    if mute := sorted({telling.teller for telling in agreement.tells} - set(agreement.recipients)):
        click.echo(f"warning: no recipient for {', '.join(mute)}: it is not told who was told about its rows", err=True)
    if why := agreement.why_not(dt.date.today()):
        click.echo(f"Nothing is returned today: {why}.")
    else:
        click.echo(f"In force until {agreement.expires}. Version {agreement.version}.")


def _facts(facts: Collection[str]) -> str:
    return ", ".join(sorted(facts)) or "nothing"


@returns.command()
@click.argument("council", type=COUNCIL)
@click.option("--out", type=FOLDER, required=True, help="Folder of agreements; the file is <council>.yaml in it.")
def new(council: str, out: Path) -> None:
    """Write a starting file for the sharing agreement of COUNCIL, with a word on each line."""
    from assets.returns.agreements import draft

    path = out / f"{council}.yaml"
    out.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(draft(council))
    except FileExistsError:
        stop(f"{path} is there already; move it away first")
    click.echo(f"{path} is written. Fill in what says TODO, then: readiness returns check {path}")


@returns.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for the private key; stays with you.")
def keygen(out: Path) -> None:
    """Make the key of a recipient: the private key into a file, the public one (age1...) for the agreement."""
    from privacy.returns.seal import ReturnProblem, create_identity

    with stopping_at(ReturnProblem):
        public = create_identity(out)
    click.echo(f"Private key: {out}  (give it to nobody; without it no return can be opened)")
    click.echo(f"Public key:  {public}  (for the agreement)")


@returns.command("open")
@click.argument("file", type=FILE)
@click.option("--extract", type=FILE_OR_FOLDER, required=True, help="The extract that you sent, as you sent it.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your private key.")
@click.option("--signer", type=FILE, required=True, help="The pipeline's public key (PEM), got by another way.")
@click.option("--council", "council_file", type=FILE, help="Your own council file, if the extract needs one.")
@click.option("--out", type=FOLDER, required=True, help="Where to write; what is written names children.")
def open_return(file: Path, extract: Path, key: Path, signer: Path, council_file: Path | None, out: Path) -> None:
    """Open a return: decrypt it, check it, join it to your extract, and write a table and a page for the team."""
    from assets.returns.open import open_return as run
    from privacy.returns.seal import ReturnProblem
    from sources.errors import ExtractStopped

    with stopping_at(ReturnProblem, ExtractStopped):
        written = run(file, extract, key, signer, council_file, out, dt.date.today())
    for sentence in written.warnings:
        click.echo(f"warning: {sentence}", err=True)
    click.echo(f"Page:   {written.page}  (open it in a browser, or print it)")
    click.echo(f"Table:  {written.workbook}\n        {written.csv}")
    click.echo("These files name children. Keep them where you keep the extract.")


@returns.command("told")
@click.argument("file", type=FILE)
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Your private key.")
@click.option("--signer", type=FILE, required=True, help="The pipeline's public key (PEM), got by another way.")
@click.option("--out", type=FOLDER, required=True, help="Where to write.")
def open_told(file: Path, key: Path, signer: Path, out: Path) -> None:
    """Open what a service is told of who was told about its rows, and write it as two tables (CSV)."""
    from assets.returns.open_told import open_told as run
    from privacy.returns.seal import ReturnProblem

    with stopping_at(ReturnProblem):
        receivers, rows = run(file, key, signer, out)
    click.echo(f"Who was told, and about how many children:  {receivers}")
    click.echo(f"Row by row:                                  {rows}")

"""`readiness accept`: a named person accepts what a release is held for, each by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import stop, stopping_at

if TYPE_CHECKING:
    from assets.release.holds import State
    from sources.reference.cohorts import Cohort


@click.command()
@console.home("restricted/, release/, ledger.sqlite")
@console.cohort
@click.option("--hold", "names", multiple=True, metavar="NAME", help="What you accept, as the list names it.")
@click.option("--reason", help="Why it is right as it is; the decision sheet repeats it. No name of a child.")
@click.option("--key", "key_file", type=console.FILE, help="Your own private key, as for readiness approve.")
@click.option("--for-dagster", is_flag=True, help="Record nothing: print the lines for the configuration of a run.")
def accept(
    home: Path, cohort: Cohort, names: tuple[str, ...], reason: str | None, key_file: Path | None, for_dagster: bool
) -> None:
    """List what a release of the cohort is held for, or accept it with your own key.

    An acceptance is of the files that are in: when another one comes, it does not count for that.
    """
    from assets.home.paths import Home
    from assets.linkage.inputs import NotLinked
    from assets.release import holds
    from privacy.keys import KeyProblem, load_own_key
    from privacy.release import acceptance
    from privacy.release.approval import MayNotSign
    from privacy.release.ledger import Ledger, LedgerError
    from privacy.release.policy import PolicyError, load_policy

    folder = Home(home.resolve())
    with stopping_at(NotLinked, holds.NoSuchHold, KeyProblem, MayNotSign, LedgerError, PolicyError):
        if not names:
            click.echo(_listed(holds.state(folder, [cohort.code]), cohort.code))
            return
        if reason is None or key_file is None:
            stop("an acceptance needs a reason and a key: --reason TEXT --key FILE")
        found = [holds.named(folder, cohort.code, name).held for name in names]
        key = load_own_key(key_file, lambda: click.prompt("Password of your key", hide_input=True, err=True))
        ledger, sign_off = Ledger(folder.ledger), load_policy().sign_off
        for each in [acceptance.made(ledger, sign_off, held, reason, key) for held in found]:
            if for_dagster:
                click.echo(_as_configuration(each.held["name"], reason, each.code), nl=False)
            else:
                acceptance.accept(ledger, sign_off, each)
                click.echo(f"Accepted: {each.held['name']}, as {each.role}.")
    if not for_dagster:
        click.echo(_listed(holds.state(folder, [cohort.code]), cohort.code))


def _listed(state: State, cohort: str) -> str:
    """A line for each hold; people by their roles."""
    lines = [f"  {hold.name}\n    {hold.sentence}" for hold in state.open]
    lines += [
        f"  {hold.name}\n    {hold.sentence}; accepted by the {accepted.role} on {accepted.day}"
        for hold, accepted in state.closed
    ]
    waits = f"A release of {cohort} waits for {len(state.open)} of {len(lines)} holds:"
    return "\n".join([waits, *lines]) if lines else f"Nothing is held of cohort {cohort}."


def _as_configuration(name: str, reason: str, code: str) -> str:
    """Lines below `accept:` in the configuration of `release__measurements`."""
    import yaml

    return yaml.safe_dump([{"hold": name, "reason": reason, "signature": code}], sort_keys=False, width=1_000)

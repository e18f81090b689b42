"""`readiness accept`: a named person accepts what a release is held for, each by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import console
from pipelines.commands.console import answer, stop
from pipelines.ending import Ending

if TYPE_CHECKING:
    from assets.release.holds import State
    from sources.reference.cohorts import Cohort


@click.command()
@console.home()
@console.cohort()
@click.option("--hold", "names", multiple=True, metavar="NAME", help="What you accept, as the list names it.")
@console.reason("; the decision sheet repeats it. Name no child", required=False)
@console.own_signing_key(", as for readiness approve")
@click.option("--for-dagster", is_flag=True, help="Record nothing: print the lines for the configuration of a run.")
@console.as_json
def accept(
    home: Path,
    cohort: Cohort,
    names: tuple[str, ...],
    reason: str | None,
    key_file: Path | None,
    for_dagster: bool,
    as_json: bool,
) -> None:
    """List what a release waits for, or accept it with your own key.

    An acceptance is of the files that are in: when another one comes, it does not count for that. Without --hold it
    lists, and records nothing.
    """
    from assets.home.paths import Home
    from assets.release import holds
    from privacy.keys import load_own_key
    from privacy.release import acceptance
    from privacy.release.ledger import Ledger
    from privacy.release.policy import load_policy

    folder = Home(home.resolve())
    if names:
        if reason is None or key_file is None:
            stop("an acceptance needs a reason and a key: --reason TEXT --key FILE", Ending.USAGE)
        found = [holds.named(folder, cohort.code, name).held for name in names]
        key = load_own_key(key_file, lambda: click.prompt("Password of your key", hide_input=True, err=True))
        ledger, sign_off = Ledger(folder.ledger), load_policy().sign_off
        for each in [acceptance.made(ledger, sign_off, held, reason, key) for held in found]:
            if for_dagster:
                click.echo(_as_configuration(each.held["name"], reason, each.code), nl=False)
            else:
                acceptance.accept(ledger, sign_off, each)
                click.echo(f"Accepted: {each.held['name']}, as {each.role}.", err=as_json)
    if not (names and for_dagster):
        state = holds.state(folder, [cohort.code])
        answer(_facts(state, cohort.code), lambda: _listed(state, cohort.code), as_json=as_json)


def _facts(state: State, cohort: str) -> dict[str, Any]:
    """JSON-ready; people by their roles."""
    return {
        "cohort": cohort,
        "open": [{"name": hold.name, "sentence": hold.sentence} for hold in state.open],
        "accepted": [
            {"name": hold.name, "sentence": hold.sentence, "role": accepted.role, "day": accepted.day}
            for hold, accepted in state.closed
        ],
    }


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

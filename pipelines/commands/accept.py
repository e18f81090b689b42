"""`readiness accept`: a named person accepts what a release is held for, by name or by cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from pipelines.commands import console
from pipelines.commands.approve import HOW_TO_SIGN, signed_by
from pipelines.commands.console import answer, stop
from pipelines.ending import Ending

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from assets.home.paths import Home
    from assets.release.holds import Hold, State
    from pipelines.reports.document import Section
    from sources.reference.cohorts import Cohort


@click.command()
@console.home()
@console.cohort()
@click.option("--hold", "names", multiple=True, metavar="NAME", help="What you accept, as the list names it.")
@click.option("--cause", "causes", multiple=True, metavar="CAUSE", help="Accept every open hold of a cause.")
@console.council("; with --cause, accept its holds alone", multiple=True)
@console.reason("; the decision sheet repeats it. Name no child", required=False)
@console.own_signing_key(", as for readiness approve; needs --sheet")
@console.sheet_read
@console.signature_file
@click.option("--for-dagster", is_flag=True, help="Record nothing: print the lines for the configuration of a run.")
@console.as_json
def accept(
    home: Path,
    cohort: Cohort,
    names: tuple[str, ...],
    causes: tuple[str, ...],
    council: tuple[str, ...],
    reason: str | None,
    key_file: Path | None,
    sheet_read: str | None,
    signature: BinaryIO | None,
    for_dagster: bool,
    as_json: bool,
) -> None:
    """List what a release waits for, or accept it with your own key.

    An acceptance is of the files that are in: when another one comes, it does not count for that. Without --hold or
    --cause it lists, and records nothing; without --key or --signature it writes the file to sign on your own machine.
    One signature is of all the holds that you select, and of one reason.
    """
    from assets.home.paths import Home
    from assets.release import holds

    if council and not causes:
        stop("--council says whose holds of a cause you accept: give --cause as well", Ending.USAGE)
    folder = Home(home.resolve())
    names = holds.selected(folder, cohort.code, names, causes, council)
    sheet_sha256 = holds.list_sha256(folder, cohort.code)
    if not (names and for_dagster):
        click.echo(f"List of holds: {folder.list_of_holds(cohort.code)}\n  SHA-256 {sheet_sha256}", err=as_json)
    if names:
        if reason is None:
            stop("an acceptance needs a reason: --reason TEXT", Ending.USAGE)
        by = signed_by(key_file, sheet_read, signature, sheet_sha256)
        _accept(folder, cohort.code, names, reason, sheet_sha256, by, for_dagster=for_dagster, as_json=as_json)
    if not (names and for_dagster):
        state = holds.state(folder, [cohort.code])
        answer(_facts(state, cohort.code), lambda: _listed(state, cohort.code), as_json=as_json)


def _accept(
    home: Home,
    cohort: str,
    names: Sequence[str],
    reason: str,
    sheet_sha256: str,
    by: Ed25519PrivateKey | bytes | None,
    *,
    for_dagster: bool,
    as_json: bool,
) -> None:
    """Record an acceptance, or print it for the configuration of a run; without `by`, write the file to sign."""
    from assets.home.signers import note_signers
    from assets.release import holds
    from privacy.doors import files
    from privacy.release import acceptance
    from privacy.release.policy import load_policy

    ledger, sign_off = note_signers(home), load_policy().sign_off
    held = [holds.named(home, cohort, name).held for name in names]
    unsigned = acceptance.acceptance_of(ledger, held, reason, sheet_sha256)
    if by is None:
        path = home.acceptance_to_sign(cohort)
        files.write(path, unsigned.message)
        click.echo(f"File to sign: {path}\n{HOW_TO_SIGN}", err=as_json)
        return
    person, signed = acceptance.sign(ledger, sign_off, unsigned, by)
    if for_dagster:
        click.echo(_as_configuration(names, reason, signed.signature), nl=False)
        return
    acceptance.accept(ledger, signed)
    click.echo(f"Accepted: {', '.join(names)}, as {person.role}.", err=as_json)


def _facts(state: State, cohort: str) -> dict[str, Any]:
    """JSON-ready; people by their roles."""
    return {
        "cohort": cohort,
        "open": [_fact(hold) for hold in state.open],
        "accepted": [_fact(hold) | {"role": accepted.role, "day": accepted.day} for hold, accepted in state.closed],
    }


def _fact(hold: Hold) -> dict[str, str]:
    said = {"cause": hold.cause, "council": hold.council, "source": hold.source, "sentence": hold.sentence}
    return {"name": hold.name, **said}


def _listed(state: State, cohort: str) -> str:
    """A table of what is open for each cause, then what was accepted; in bands, people by their roles."""
    from pipelines.reports.document import Report, Section

    if not state.holds:
        return f"Nothing is held of cohort {cohort}."
    causes = list(dict.fromkeys(hold.cause for hold in state.open))
    sections = [_of_cause(cause, [hold for hold in state.open if hold.cause == cause]) for cause in causes]
    if state.closed:
        told = (f"{hold.name}: accepted by the {accepted.role} on {accepted.day}" for hold, accepted in state.closed)
        sections.append(Section("Accepted", list(told)))
    waits = f"Of {len(state.holds)} holds of cohort {cohort}, {len(state.open) or 'none'} wait to be accepted."
    how = (
        "Accept all of a cause with --cause CAUSE, of some councils with --council as well. The name of one hold, for"
        " --hold, is council/source/cause."
    )
    return Report("holds", waits, [how] if causes else [], sections, None).text()


def _of_cause(cause: str, open_holds: Sequence[Hold]) -> Section:
    from ndl_export.pages.number_format import counted
    from pipelines.reports.document import Grid, Section

    councils = {hold.council for hold in open_holds}
    title = f"{cause}: {counted(len(open_holds), 'hold')}, {counted(len(councils), 'council')}"
    rows = [(hold.council, hold.source, hold.what) for hold in open_holds]
    return Section(title, grids=[Grid("", ("council", "source", "what is wrong"), rows)])


def _as_configuration(names: Sequence[str], reason: str, code: str) -> str:
    """Lines below `accept:` in the configuration of `release__measurements`."""
    import yaml

    return yaml.safe_dump([{"holds": [*names], "reason": reason, "signature": code}], sort_keys=False, width=1_000)

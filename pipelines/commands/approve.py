"""`readiness approve`: people sign a release off, before it is measured and before it is published."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import console
from pipelines.commands.console import at_work
from pipelines.commands.keys import keys
from pipelines.commands.release_option import release

if TYPE_CHECKING:
    from sources.reference.cohorts import Cohort


@click.command()
@console.home()
@console.cohort()
@console.own_signing_key("; without it the sheet alone is written")
@release
@console.share
@console.with_cohorts
@console.reuse
@console.allow_missing
@click.option("--publish", is_flag=True, help="Approve the bundle that is made and held, so that it is published.")
def approve(
    home: Path,
    cohort: Cohort,
    key_file: Path | None,
    version: str | None,
    share: float | None,
    with_cohorts: tuple[Cohort, ...],
    reuse: bool,
    allow_missing: bool,
    publish: bool,
) -> None:
    """Write a release's decision sheet, and sign it with your key.

    Without --key nothing is signed, and without the signatures that the policy asks for no budget is spent.
    Before anything is measured you sign plan, cohorts, version, share, inputs and policy; with --publish, the bundle
    that was made. What moves after that needs a new signature.
    """
    from assets.home.paths import Home
    from assets.release import begin, sign_off
    from assets.release.record import read_record
    from pipelines.run import release_of
    from privacy.keys import load_own_key

    folder = Home(home.resolve())
    asked = begin.Asked(allow_missing, share, [each.code for each in with_cohorts], reuse)
    release = version or release_of(folder, cohort)
    if asked == begin.Asked(others=[]) and cohort.code in read_record(folder, release):
        asked = sign_off.as_begun(folder, release, cohort.code)
    with at_work("Decision sheet"):
        request = sign_off.request_for(folder, cohort.code, release, asked, publish=publish)
        sheet = folder.decision_sheet(release, request["stage"])
        sheet_sha256 = sign_off.write_sheet(folder, request)
    click.echo(f"Decision sheet: {sheet}\n  SHA-256 {sheet_sha256}")
    if key_file is None:
        click.echo("Nothing was signed: run the same command with --key FILE.")
        return
    key = load_own_key(key_file, lambda: click.prompt("Password of your key", hide_input=True, err=True))
    found = sign_off.sign_request(folder, cohort.code, request, sheet_sha256, key)
    again = f"request fulfil {' '.join(asked.requests)}" if asked.requests else "run"
    click.echo(_said(found, release, publish, f"{again} --home {shlex.quote(str(folder.root))}"))


def _said(found: Any, release: str, publish: bool, again: str) -> str:
    """What was signed, and what comes next."""
    what = "the publication" if publish else "the measurement"
    lines = [f"Signed: {what} of release {release}, as {found.role}; {found.signed} of {found.needed}."]
    if found.signed < found.needed:
        lines.append("Another person must sign, with a key of their own, before it goes on.")
    else:
        lines.append(
            f"Now run it again: readiness {again} --release {release}, with the options of before (or start the job in"
            " Dagster)."
        )
    return "\n".join(lines)


@keys.command()
@click.option("--name", required=True, help="Whose key it is.")
@click.option("--role", default="privacy lead", show_default=True, help="As what they sign.")
@click.option("--out", type=console.OUT, required=True, help="Where to write; nothing is replaced.")
@click.option("--password", is_flag=True, help="Ask for a password, and encrypt the key with it.")
def approver(name: str, role: str, out: Path, password: bool) -> None:
    """Make the key of a person who signs releases off, and print the lines for the policy file.

    The file is that person's alone: keep it off the machine that runs the pipeline.
    """
    import yaml

    from privacy.doors import files
    from privacy.keys import load_own_key, new_private_pem
    from privacy.release.policy import public_text

    secret = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True) if password else ""
    files.make_folder(out.resolve().parent)
    try:
        with files.create(out) as file:
            file.write(new_private_pem(secret.encode()))
    except FileExistsError:
        console.stop(f"{out} is there already; keys are never replaced in place")
    public = public_text(load_own_key(out, lambda: secret).public_key())
    lines = yaml.safe_dump([{"name": name, "role": role, "key": public, "public": False}], sort_keys=False)
    click.echo(f"Private key: {out}\nFor sign_off.people of the policy:\n")
    click.echo("".join(f"    {line}\n" for line in lines.splitlines()), nl=False)

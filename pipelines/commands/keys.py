"""`readiness keys`: make and look at key sets, and the keys of people who sign releases off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands.console import FOLDER, stop, stopping_at

if TYPE_CHECKING:
    from privacy.keys import KeyRing


@click.group()
def keys() -> None:
    """Make and look at key sets."""


@keys.command()
@click.argument("directory", type=FOLDER)
@click.option("--at-sender", is_flag=True, help="Only the keys that a sender needs.")
def create(directory: Path, at_sender: bool) -> None:
    """Make a key set in DIRECTORY. Existing keys are never replaced."""
    from privacy.keys import KeyProblem, KeyRing

    with stopping_at(KeyProblem):
        ring = KeyRing.create(directory, at_sender=at_sender)
    _show(ring)


@keys.command()
@click.argument("directory", type=FOLDER)
def complete(directory: Path) -> None:
    """Add to the pipeline's set in DIRECTORY the keys that this version needs and an earlier one did not make.

    Those that are there stay as they are. Senders are then given intake.pub.pem.
    """
    from privacy.keys import KeyProblem, KeyRing

    with stopping_at(KeyProblem):
        ring = KeyRing.complete(directory)
    _show(ring)


@keys.command()
@click.argument("old", type=FOLDER)
@click.argument("new", type=FOLDER)
def rotate(old: Path, new: Path) -> None:
    """Make the key set of the next epoch in NEW; the one in OLD stays as it is."""
    from privacy.keys import KeyProblem, KeyRing

    with stopping_at(KeyProblem):
        ring = KeyRing.load(old).rotate(new)
    _show(ring)


@keys.command()
@click.option("--name", required=True, help="Whose key it is.")
@click.option("--role", default="privacy lead", show_default=True, help="As what they sign.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Where to write it.")
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
        stop(f"{out} is there already; keys are never replaced in place")
    public = public_text(load_own_key(out, lambda: secret).public_key())
    lines = yaml.safe_dump([{"name": name, "role": role, "key": public, "public": False}], sort_keys=False)
    click.echo(f"Private key: {out}\nFor sign_off.people of the policy:\n")
    click.echo("".join(f"    {line}\n" for line in lines.splitlines()), nl=False)


@keys.command()
@click.argument("directory", type=FOLDER)
def show(directory: Path) -> None:
    """Fingerprints of the keys in DIRECTORY, to compare with another place's."""
    from privacy.keys import SENDER_KEYS, Holder, KeyProblem, KeyRing

    with stopping_at(KeyProblem):
        ring = KeyRing.load(directory, Holder(SENDER_KEYS))
    _show(ring)


def _show(ring: KeyRing) -> None:
    click.echo(f"epoch: {ring.epoch}")
    for name, fingerprint in ring.fingerprints.items():
        click.echo(f"{name}: {fingerprint}")

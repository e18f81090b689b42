"""`readiness keys`: make and show key sets, and make the keys of people who sign releases off."""

from pathlib import Path

import click

from pipelines.commands import options
from pipelines.commands.console import answer
from privacy.keys import SENDER_KEYS, Holder, KeyRing


@click.group()
def keys() -> None:
    """Make and look at key sets."""


@keys.command()
@click.argument("directory", type=options.FOLDER)
@click.option("--at-sender", is_flag=True, help="Only the keys that a sender needs.")
def create(directory: Path, at_sender: bool) -> None:
    """Make a key set in DIRECTORY. Existing keys are never replaced."""
    _show(KeyRing.create(directory, at_sender=at_sender))


@keys.command()
@click.argument("old", type=options.FOLDER)
@click.argument("new", type=options.FOLDER)
def rotate(old: Path, new: Path) -> None:
    """Make the key set of the next epoch in NEW; the one in OLD stays as it is."""
    _show(KeyRing.load(old).rotate(new))


@keys.command()
@click.argument("directory", type=options.FOLDER)
@options.as_json
def show(directory: Path) -> None:
    """Fingerprints of the keys in DIRECTORY, to compare with another place's."""
    _show(KeyRing.load(directory, Holder(SENDER_KEYS)))


def _show(ring: KeyRing) -> None:
    facts = {"epoch": ring.epoch, "fingerprints": dict(ring.fingerprints)}
    lines = [f"epoch: {ring.epoch}", *(f"{name}: {print_}" for name, print_ in ring.fingerprints.items())]
    answer(facts, lambda: "\n".join(lines))

"""`readiness backup` and `readiness restore`: the records and keys that cannot be made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import console
from pipelines.commands.console import answer, end, show_progress, stop, wait_for_yes
from pipelines.commands.home_option import add_home_option
from pipelines.ending import Ending

if TYPE_CHECKING:
    from assets.home.paths import Home

_PARTS = click.Choice(["records", "keys"])


@click.command()
@click.argument("part", type=_PARTS)
@click.option("--into", "folder", type=console.FOLDER, required=True, help="Folder for the file; it must be there.")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    required=True,
    metavar="AGE1...",
    help="Public key (age) of who may open it; may be repeated.",
)
@add_home_option()
@console.add_keys_option()
@console.as_json
def backup(part: str, folder: Path, recipients: tuple[str, ...], home: Home, keys: Path) -> None:
    """Back up the records of an installation, or its keys.

    Each is encrypted to its own people: who can open a backup of keys must not be able to open the records. Records are
    the ledger, measurements, approvals, removals and logs: back them up after every release and removal. Copy the rest
    of the home folder with any file backup.
    """
    import datetime as dt

    from assets.home.retention_policy import get_retention
    from assets.keeping.backup import Part, back_up, list_expired_backups
    from assets.keeping.restore import ANY_HOLDER
    from ndl_export.pages.number_format import format_size
    from privacy.keys import KeyRing

    limit = get_retention()
    with show_progress(f"Backing up the {part}"):
        # either code location may make a backup, so no more is asked of its keys than what both hold
        made = back_up(home, Part(part), keys, KeyRing.load(keys, ANY_HOLDER), folder, recipients)
    old = list_expired_backups(folder, limit, dt.datetime.now(dt.UTC))
    lines = [f"Backed up: {made}, {format_size(made.stat().st_size)}, read back from the disk"]
    lines += [f"! older than {limit.backup_days} days, so destroy it: {path}" for path in old]
    facts = {"file": str(made), "bytes": made.stat().st_size, "past_their_time": [str(path) for path in old]}
    answer(facts, lambda: "\n".join(lines))


@click.command()
@click.argument("part", type=_PARTS)
@click.argument("file", type=console.FILE)
@click.option(
    "--identity",
    "identities",
    type=console.FILE,
    multiple=True,
    required=True,
    help="File of the private key (age) that opens it; may be repeated.",
)
@add_home_option()
@console.add_keys_option()
@click.option("--published", metavar="PLACE", help="Where releases are published; READINESS_PUBLISH_TO by default.")
@console.yes
@console.as_json
def restore(
    part: str, file: Path, identities: tuple[Path, ...], home: Home, keys: Path, published: str | None, yes: bool
) -> None:
    """Restore keys, or apply records to a home folder.

    First put a copy of the home folder back, and the keys. The records bring an older copy up to date: what was removed
    since is removed again. A home folder that lost its ledger or measurements gets them back.
    """
    from assets.keeping import restore as restoring
    from privacy.doors.age import read_identity
    from privacy.keys import KeyRing

    if published and part != "records":
        stop("--published goes with a backup of records", Ending.USAGE)
    opened = [read_identity(path) for path in identities]
    with show_progress("Restoring" if yes else "Reading the backup"):
        if part == "keys":
            found = restoring.restore_keys(home, keys, file, opened, do=yes)
        else:
            ring = KeyRing.load(keys, restoring.ANY_HOLDER)
            found = restoring.restore_records(home, ring, file, opened, published, do=yes)
    manifest = found.manifest
    facts = {
        "done": yes,
        "part": manifest.part,
        "made_at": manifest.made_at,
        "software": manifest.software,
        "epoch": manifest.epoch,
        "files": len(manifest.files),
        "restored": found.done,
        "to_do": found.to_do,
        "lacking": found.lacking,
    }
    lines = [
        f"A backup of {manifest.part}, {manifest.age().days} days old, by readiness {manifest.software}: whole, and of"
        " these keys",
        *(f"{'restored' if yes else 'would be restored'}: {each}" for each in found.done),
        *(f"to do: {each}" for each in found.to_do),
        *(f"! {each}" for each in found.lacking),
    ]
    answer(facts, lambda: "\n".join(lines))
    if found.lacking:
        end(Ending.FAULT)
    if not yes:
        wait_for_yes()


COMMANDS = (backup, restore)

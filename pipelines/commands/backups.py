"""`readiness backup` and `restore`: the records of an installation and its keys."""

from pathlib import Path
from typing import get_args

import click

from assets.home import retention_policy
from assets.home.paths import Home
from assets.keeping import restore as restoring, withdrawing
from assets.keeping.backup import Part, back_up, list_expired_backups
from ndl_export.pages.number_format import format_size
from pipelines.commands import options
from pipelines.commands.console import Ending, answer, end, show_progress, stop, wait_for_yes
from pipelines.commands.pipeline_options import add_home_option
from privacy.doors import clock
from privacy.doors.age import read_identity
from privacy.keys import KeyRing

_PARTS = click.Choice(get_args(Part))


@click.command()
@click.argument("part", type=_PARTS)
@click.option("--into", "folder", type=options.FOLDER, required=True, help="Folder for the file; it must exist.")
@click.option(
    "--recipient",
    "recipients",
    multiple=True,
    required=True,
    metavar="AGE1...",
    help="Public key (age) of a person who may open it; may be repeated.",
)
@add_home_option()
@options.add_option("--keys")
@options.as_json
def backup(part: Part, folder: Path, recipients: tuple[str, ...], home: Home, keys: Path) -> None:
    """Back up the records of an installation, or its keys.

    Each is encrypted to different people: whoever can open a backup of keys must not be able to open the records.
    Records are the ledger, measurements, approvals, removals and logs: back them up after every release and removal.
    Copy the rest of the home folder with any file backup.
    """
    limit = retention_policy.get_retention()
    with show_progress(f"Backing up the {part}"):
        withdrawing.open_home(home, keys)
        # either code location may make a backup, so only the keys that both hold are required
        made = back_up(home, part, keys, KeyRing.load(keys, restoring.ANY_HOLDER), folder, recipients)
    old = list_expired_backups(folder, limit, clock.now())
    lines = [f"Backed up: {made}, {format_size(made.stat().st_size)}, read back from the disk"]
    lines += [f"! older than {limit.backup_days} days, so destroy it: {path}" for path in old]
    facts = {"file": str(made), "bytes": made.stat().st_size, "past_their_time": [str(path) for path in old]}
    answer(facts, lambda: "\n".join(lines))


@click.command()
@click.argument("part", type=_PARTS)
@click.argument("file", type=options.FILE)
@click.option(
    "--identity",
    "identities",
    type=options.FILE,
    multiple=True,
    required=True,
    help="Private key file (age) that opens it; may be repeated.",
)
@add_home_option()
@options.add_option("--keys")
@click.option("--published", metavar="PLACE", help="Where releases are published; READINESS_PUBLISH_TO by default.")
@options.yes
@options.as_json
def restore(
    part: str, file: Path, identities: tuple[Path, ...], home: Home, keys: Path, published: str | None, yes: bool
) -> None:
    """Restore keys, or apply records to a home folder.

    First put back the keys and a copy of the home folder. The records bring an older copy up to date: whatever was
    removed since is removed again. A home folder that lost its ledger or measurements gets them back.
    """
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
    facts = {"done": yes} | {name: getattr(manifest, name) for name in ("part", "made_at", "software", "epoch")}
    facts |= {"files": len(manifest.files), "restored": found.done, "to_do": found.to_do, "lacking": found.lacking}
    lines = [
        f"A backup of {manifest.part}, {manifest.compute_age().days} days old, by readiness {manifest.software}:"
        " complete, and made with these keys",
        *(f"{'restored' if yes else 'would be restored'}: {each}" for each in found.done),
        *(f"to do: {each}" for each in found.to_do),
        *(f"! {each}" for each in found.lacking),
    ]
    answer(facts, lambda: "\n".join(lines))
    if found.lacking:
        end(Ending.FAULT)
    if not yes:
        wait_for_yes()

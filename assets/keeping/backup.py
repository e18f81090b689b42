"""Backs up an installation's records or its keys, which cannot be recreated, as one encrypted file.

Records are the ledger, measurements, approvals, decisions, removals and logs: small files that must never be older than
what was published. Keys are backed up separately, for other people, because they open the tokens in the home folder.
An ordinary file backup is enough for the rest of the home folder.

A backup is a tar archive, encrypted with age, that ends with `manifest.json` (SHA-256 of every file) and `manifest.mac`
(HMAC-SHA256 of the manifest, under a key of the installation). `age -d -i KEY FILE | tar -x` opens it without this
software.
"""

import datetime as dt
import hmac
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from assets.home.errors import Refused
from assets.home.home_lock import lock_home
from assets.home.paths import Home
from assets.home.processing_log import Processing, read_entries, record
from assets.home.retention_policy import Retention
from assets.home.software import get_software_version
from privacy import chained_log
from privacy.doors import age, clock, files
from privacy.doors.locks import hold_lock
from privacy.keys import PIPELINE, RELEASE, RESTRICTED, Holder, KeyProblem, KeyRing
from privacy.release.canonical import compute_sha256
from privacy.release.ledger import LedgerCopy, LedgerCorrupt
from privacy.release.session import read_charges

FORMAT = 1
"""Version of the archive format. Readers refuse any other."""
LEDGER_FILE = "ledger.json"
MANIFEST, MAC = "manifest.json", "manifest.mac"
_FOLDERS = ("measurements", "drawn", "releases", "forgotten", "reviews", "decisions", "first_intake")
"""Folders of the restricted zone that hold records."""
_LOGS = ("processing_log", "requests", "returns/disclosures")
"""Logs of the restricted zone that are records, each with a `.head.json`."""
_LOCATIONS = {"restricted": RESTRICTED, "release": RELEASE}
_NAME = re.compile(rf"readiness-(records|keys)(?:-(?:{'|'.join(_LOCATIONS)}))?-(\d{{8}}T\d{{6}})Z\.age")
_NOTE = re.compile(r"(records|keys) of epoch (\d+) to ([0-9a-f ]+)")
_LOOK_AGAIN_SECONDS = 0.1
"""Pause before trying another file name. Names contain the time in whole seconds."""


Part = Literal["records", "keys"]
"""Kinds of backup. Keys are never in one file with the data they open."""


@dataclass(frozen=True)
class BackupManifest:
    """Description of a backup. `made_at` is ISO 8601 in UTC.

    `epoch` is the number of the key set, `installation` the fingerprint of the key that every key set keeps, and
    `files` the SHA-256 of each file by name.
    """

    format: int
    part: str
    made_at: str
    software: str
    epoch: int
    installation: str
    files: dict[str, str]

    def encode_json(self) -> bytes:
        """Return the manifest as JSON for the archive."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def compute_age(self) -> dt.timedelta:
        """Return the age of the backup."""
        return clock.now() - dt.datetime.fromisoformat(self.made_at)


@dataclass(frozen=True)
class Archive:
    """A backup that was read: its manifest and its files by name. `mac` is not yet checked against keys."""

    manifest: BackupManifest
    files: dict[str, bytes]
    mac: str

    def check_made_by(self, keys: KeyRing) -> None:
        """Raise `Refused` unless the backup was made by the installation with these keys."""
        if self.manifest.installation != keys.fingerprints["input-mac"]:
            raise Refused("this backup and the keys are of different installations: give the right keys with --keys")
        if not hmac.compare_digest(self.mac, _compute_mac(keys, self.manifest.encode_json())):
            raise Refused(
                "this backup was not made by the installation that it names: do not use it, and find out who put it"
                " there"
            )


def back_up(home: Home, part: Part, keys_folder: Path, keys: KeyRing, folder: Path, recipients: Sequence[str]) -> Path:
    """Write a backup to an existing folder, encrypted for age public keys, and return its path.

    The file gets its name only when it is complete, durable and read back successfully. Raises `Refused` if the
    folder or a recipient is not allowed or the disk does not return the bytes that were written, `InUse` if a run does
    not end, `AgeProblem` for an invalid recipient, `LedgerError` and `OSError`.
    """
    _check_place(home, keys_folder, folder, part)
    # the log keeps these hashes, so that a backup of the other kind can be refused for the same person
    to = {compute_sha256(each.encode())[:16]: str(age.parse_recipient(each)) for each in recipients}
    # named after its location: keys restored to the wrong one would be noticed only at the next run, perhaps much later
    location = find_key_location(keys_folder) if part == "keys" else ""
    kind = f"{part}-{location}" if location else part
    # no backup is ever replaced
    while (place := folder / f"readiness-{kind}-{clock.now():%Y%m%dT%H%M%SZ}.age").exists():
        time.sleep(_LOOK_AGAIN_SECONDS)
    note = f"{part} of epoch {keys.epoch} to {' '.join(to)}"
    if part == "keys":
        # keys can be backed up before there is a home folder
        if home.root.is_dir():
            _check_apart(home, part, to)
            record(home, Processing.BACKUP, note=note)
        contents = {path.name: path.read_bytes() for path in keys_folder.iterdir() if path.is_file()}
    else:
        with lock_home(home):  # nothing changes the records while they are copied
            _check_apart(home, part, to)
            ledger = _copy_ledger(home)
            record(home, Processing.BACKUP, note=note)
            contents = _read_records(home) | ({LEDGER_FILE: ledger.encode_json()} if ledger else {})
    _write_whole(place, age.encrypt(_pack_backup(part, keys, contents), list(to.values())))
    return place


def read_archive(place: Path, identities: Sequence[Any], part: Part) -> Archive:
    """Read a backup and check its manifest. Raises `AgeProblem`, or `Refused` if it is damaged or of another kind."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(age.decrypt(place, identities)), mode="r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                # its MAC is checked later, so anyone may have made it: no link, no repeated name, no path upwards
                if source is None or member.name in found or {"", ".", ".."} & set(member.name.split("/")):
                    raise ValueError
                found[member.name] = source.read()
        document, mac = found.pop(MANIFEST), found.pop(MAC).decode("ascii")
        manifest = BackupManifest(**json.loads(document))
        damaged = [name for name, content in found.items() if manifest.files[name] != compute_sha256(content)]
        complete = len(found) == len(manifest.files) and document == manifest.encode_json()
    except (tarfile.TarError, KeyError, ValueError, TypeError):
        raise Refused(f"{place.name}: is not a backup made by this software") from None
    if manifest.format != FORMAT:
        made_by = manifest.software
        raise Refused(f"{place.name}: was made by another version of the software, {made_by}: use that version")
    if damaged or not complete:
        raise Refused(f"{place.name}: its files are not those that its manifest lists: take another copy of it")
    if manifest.part != part:
        raise Refused(f"this is a backup of {manifest.part}, not of {part}: `readiness restore {manifest.part}`")
    return Archive(manifest, found, mac)


def list_expired_backups(folder: Path, policy: Retention, now: dt.datetime) -> list[Path]:
    """Return the backups in a folder that are older than the policy allows."""
    made = ((path, _NAME.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    # only named, never removed: a wrong clock must not destroy the last backup
    limit = now - dt.timedelta(days=policy.backup_days)
    return [path for path, name in made if name and dt.datetime.fromisoformat(name[2]).replace(tzinfo=dt.UTC) < limit]


def list_record_paths(home: Home) -> list[Path]:
    """Return the paths of a home folder's records, without the ledger."""
    found = [file for log in _LOGS for file in chained_log.list_files(home.restricted / f"{log}.jsonl")]
    for top in _FOLDERS:
        # a folder of records may be a link to another disk
        for folder, _, names in os.walk(home.restricted / top, followlinks=True):
            found += [Path(folder) / name for name in names if not name.startswith(".") and not name.endswith(".lock")]
    return [path for path in sorted(found) if path.is_file()]


def find_latest_epoch(home: Home) -> int:
    """Return the highest key epoch in a home folder's log of backups; 0 if there are none."""
    return max((int(note[2]) for note in _read_notes(home)), default=0)


def find_key_location(keys: Path) -> str:
    """Return the code location whose keys a folder holds; empty if it holds the keys of both or neither."""

    def has(holder: Holder) -> bool:
        try:
            return bool(KeyRing.load(keys, holder))
        except KeyProblem:
            return False

    return "" if has(PIPELINE) else next((name for name, holder in _LOCATIONS.items() if has(holder)), "")


def _copy_ledger(home: Home) -> LedgerCopy | None:
    """Copy both chains of the ledger, or return None before the first release. Raises `LedgerError` if it has gaps."""
    kept = read_charges(home.restricted)
    if not home.has_ledger:
        if kept:
            raise LedgerCorrupt(f"there is no ledger at {home.ledger}: restore it, or back up where it can be read")
        return None
    ledger = home.open_ledger()
    # a backup of an older copy of the ledger would bring spent budget back
    ledger.check_known(kept)
    return ledger.copy()


def _read_records(home: Home) -> dict[str, bytes]:
    """Read the records of a home folder, with its logs locked against writers."""
    with ExitStack() as stack:
        for log in (home.restricted / f"{name}.jsonl" for name in _LOGS):
            if log.exists():
                stack.enter_context(hold_lock(log))
        return {path.relative_to(home.root).as_posix(): path.read_bytes() for path in list_record_paths(home)}


def _pack_backup(part: Part, keys: KeyRing, contents: dict[str, bytes]) -> bytes:
    now = clock.format_now()
    installation = keys.fingerprints["input-mac"]
    hashes = {name: compute_sha256(content) for name, content in contents.items()}
    document = BackupManifest(FORMAT, part, now, get_software_version(), keys.epoch, installation, hashes).encode_json()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        # the manifest and its MAC end the archive, so that one that was cut short lacks them
        for name, content in (
            *sorted(contents.items()),
            (MANIFEST, document),
            (MAC, _compute_mac(keys, document).encode()),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), files.OWNER_ONLY_FILE
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def _write_whole(place: Path, content: bytes) -> None:
    staged = files.get_unfinished_path(place.with_name("readiness"))
    staged.unlink(missing_ok=True)
    try:
        with files.create(staged) as out:
            out.write(content)
        files.sync(staged)
        with staged.open("rb") as file:
            if hasattr(os, "posix_fadvise"):  # read back from disk, not from the system's cache
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if file.read() != content:
                raise Refused(f"{place.parent} returns other bytes than were written to it: use another disk")
        files.promote(staged, place)
    finally:
        staged.unlink(missing_ok=True)


def _check_place(home: Home, keys: Path, folder: Path, part: Part) -> None:
    if not folder.is_dir():
        raise Refused(f"{folder} does not exist: is its disk mounted? A backup does not create folders")
    if part == "records" and not home.root.is_dir():
        raise Refused(f"home folder {home.root} does not exist")
    place = folder.resolve()
    for what in (home.root, keys.resolve()):
        if place.is_relative_to(what):
            raise Refused(f"{folder} is inside {what}, and would be lost with it: name a folder on another disk")
    others = [path.name for path in folder.iterdir() if (name := _NAME.fullmatch(path.name)) and name[1] != part]
    if others:
        raise Refused(f"{folder} holds {others[0]}: keys are not kept beside what they open; name another folder")


def _check_apart(home: Home, part: Part, to: Iterable[str]) -> None:
    """Raise `Refused` if a recipient could open both the keys and the records."""
    others = {each for note in _read_notes(home) if note[1] != part for each in note[3].split()}
    if others & set(to):
        what = "records" if part == "keys" else "keys"
        raise Refused(
            f"{what} were backed up to that recipient, who could then open the one with the other: name another"
            " person's key with --recipient"
        )


def _read_notes(home: Home) -> list[re.Match[str]]:
    """Return the processing log's notes on backups, matched to kind, key epoch and recipients."""
    notes = (_NOTE.fullmatch(entry.note) for entry in read_entries(home) if entry.what == Processing.BACKUP)
    return [note for note in notes if note]


def _compute_mac(keys: KeyRing, document: bytes) -> str:
    # the one key that intake and release both hold when they run apart, and that a rotation keeps
    return hmac.digest(keys.derive_subkey("input-mac", "backup"), document, "sha256").hex()

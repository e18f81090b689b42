"""Backups as one file: an encrypted tar archive that ends with a manifest of its content and the installation's MAC.

    files, one after another     home/restricted/..., ledger.json, settings/..., keys/...
    manifest.json                the kind of backup, and size and SHA-256 of every file
    manifest.mac                 HMAC-SHA256 of the manifest, under a key of the installation

Written and read as a stream. `age -d -i KEY FILE | tar -x` opens it without this software.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from assets.home.software import software
from privacy.doors import age, files
from privacy.doors.regular import open_regular
from privacy.keys import KeyRing

FORMAT = 1
"""Of the archive. A reader refuses any other."""
MANIFEST, MAC = "manifest.json", "manifest.mac"
SUFFIX = ".age"
_CHUNK_BYTES = 1 << 20
_LARGEST_MANIFEST_BYTES = 1 << 28
_BLOCK = tarfile.BLOCKSIZE


class UnusableBackup(Exception):
    """A file that is not a backup, is damaged, or belongs to another installation. The message says which and what to
    do."""


class Part(StrEnum):
    """The kinds of backup. Keys are never in one file with the data they open."""

    HOME = "home"
    RECORDS = "records"
    KEYS = "keys"


@dataclass(frozen=True)
class Stored:
    """One file of a backup, or a link in the release directory to its neighbour `link`."""

    bytes: int
    sha256: str
    link: str = ""


@dataclass(frozen=True)
class Manifest:
    """Description of a backup: `made_at` is ISO 8601 in UTC; `epoch` and `installation` identify the keys (the number
    of the set, and the fingerprint of the key that every set carries over); `log_lines` is the length of the
    processing log."""

    format: int
    part: str
    made_at: str
    software: str
    epoch: int
    installation: str
    log_lines: int
    files: dict[str, Stored]

    @classmethod
    def of(cls, part: Part, keys: KeyRing, log_lines: int) -> Manifest:
        """Start the manifest of a new backup."""
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        return cls(FORMAT, part.value, now, software(), keys.epoch, keys.fingerprints["input-mac"], log_lines, {})

    def document(self) -> bytes:
        """Return the manifest as a file of the archive."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    def age(self) -> dt.timedelta:
        """Return how long ago the backup was made."""
        return dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(self.made_at)

    def check_made_by(self, keys: KeyRing, mac: str) -> None:
        """Raise `UnusableBackup` unless an installation with these keys made the backup."""
        if self.installation != keys.fingerprints["input-mac"]:
            raise UnusableBackup(
                "this is the backup of another installation than that of the keys: give its own with --keys"
            )
        if not hmac.compare_digest(mac, _mac(keys, self.document())):
            raise UnusableBackup(
                "this backup was not made by the installation whose it says it is: do not use it, and find out who put"
                " it there"
            )


@dataclass(frozen=True)
class Unpacked:
    """The result of reading a backup; `mac` has not been checked against keys yet."""

    manifest: Manifest
    mac: str


Content = Path | bytes
"""A file of the archive: where it lies, or what is in it."""


def write(
    place: Path, manifest: Manifest, keys: KeyRing, found: Iterable[tuple[str, Content]], to: Sequence[str]
) -> None:
    """Write a backup of the files in `found` (by name in the archive) to `place`, encrypted to the age public keys
    `to`.

    The file gets its name only when it is complete, durable and read back successfully. Raises `AgeProblem`,
    `UnusableBackup` if the disk returns other bytes than were written, and `OSError`.
    """
    staged = files.unfinished(place.with_name(f"readiness-{manifest.part}"))
    staged.unlink(missing_ok=True)
    try:
        with files.create(staged) as out:
            written = _Hashed(out)
            age.encrypt(_packed(manifest, keys, found), written, to)
            out.flush()
            files.sync(staged)
        if _sha256_on_disk(staged) != written.digest.hexdigest():
            raise UnusableBackup(f"{place.parent} gives back other bytes than were written to it: use another disk")
        files.promote(staged, place)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def read(
    place: Path, identities: Sequence[Any], into: Path, wanted: Callable[[str], bool] = lambda _: True
) -> Unpacked:
    """Read a whole backup, check each file against the manifest, and write those that are `wanted` to a folder that
    only their owner can read. Nothing in the folder may be used before this returns.

    Raises `AgeProblem` and `UnusableBackup`.
    """
    seen: dict[str, Stored] = {}
    ends: dict[str, bytes] = {}
    try:
        with age.decrypted(place, identities) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name in (MANIFEST, MAC):
                    ends[member.name] = _whole(archive, member)
                else:
                    seen[member.name] = _taken(archive, member, into, wanted, seen)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise UnusableBackup(f"{place.name}: is no backup of this software: {_kind(error)}") from None
    return _checked(place, seen, ends)


def _packed(manifest: Manifest, keys: KeyRing, found: Iterable[tuple[str, Content]]) -> Iterator[bytes]:
    """Yield the bytes of the archive. Size and hash of each file are computed while it is read, and go into the
    manifest.

    Raises `UnusableBackup` if a file becomes shorter while it is read.
    """
    for name, content in found:
        link = str(content.readlink()) if isinstance(content, Path) and content.is_symlink() else ""
        with _opened(b"" if link else content) as file:
            size, digest = file.seek(0, os.SEEK_END), hashlib.sha256()
            file.seek(0)
            yield _header(name, size, link)
            left = size
            while left:
                if not (chunk := file.read(min(left, _CHUNK_BYTES))):
                    raise UnusableBackup(f"{name} became shorter while it was read: start again")
                digest.update(chunk)
                left -= len(chunk)
                yield chunk
        yield _padding(size)
        manifest.files[name] = Stored(size, digest.hexdigest(), link)
    document = manifest.document()
    for name, said in ((MANIFEST, document), (MAC, _mac(keys, document).encode())):
        yield _header(name, len(said)) + said + _padding(len(said))
    yield bytes(2 * _BLOCK)


def _opened(content: Content) -> BinaryIO:
    return io.BytesIO(content) if isinstance(content, bytes) else open_regular(content)


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _header(name: str, size: int, link: str = "") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.linkname = size, files.OWNER_ONLY_FILE, link
    entry.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
    return entry.tobuf(tarfile.PAX_FORMAT)


def _taken(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    into: Path,
    wanted: Callable[[str], bool],
    seen: dict[str, Stored],
) -> Stored:
    """Hash one file, and write it if it is wanted. Raises `ValueError` for a member that no backup contains."""
    allowed = tarfile.data_filter(member, str(into))  # an error where it leads out; an absolute name is made another
    is_neighbour = member.issym() and "/" not in member.linkname and member.linkname not in ("", ".", "..")
    is_plain = allowed.name == member.name and not {"", ".", ".."} & set(member.name.split("/"))
    if member.name in seen or not is_plain or not (member.isreg() or is_neighbour):
        raise ValueError
    target = into / member.name if wanted(member.name) else None
    if target:
        files.make_folder(target.parent)
    digest, size = hashlib.sha256(), 0
    if target and is_neighbour:
        target.symlink_to(member.linkname)
    if member.isreg():
        source = archive.extractfile(member)
        assert source is not None
        with files.create(target) if target else nullcontext() as out:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                if out:
                    out.write(chunk)
    return Stored(size, digest.hexdigest(), member.linkname)


def _whole(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = archive.extractfile(member)
    if source is None or member.size > _LARGEST_MANIFEST_BYTES:
        raise ValueError
    return source.read()


def _checked(place: Path, seen: dict[str, Stored], ends: dict[str, bytes]) -> Unpacked:
    try:
        said = json.loads(ends[MANIFEST])
        if said["format"] != FORMAT:
            raise UnusableBackup(
                f"{place.name}: was made by another version of the software, {said['software']}: restore it with that"
            )
        manifest = Manifest(**said | {"files": {name: Stored(**each) for name, each in said["files"].items()}})
        mac = ends[MAC].decode("ascii")
    except (KeyError, ValueError, TypeError):
        raise UnusableBackup(f"{place.name}: is no backup of this software: it does not say what it holds") from None
    wrong = sorted(name for name in seen.keys() | manifest.files if seen.get(name) != manifest.files.get(name))
    if wrong:
        raise UnusableBackup(f"{place.name}: {wrong[0]} is not as the backup says: take another copy of it")
    return Unpacked(manifest, mac)


def _kind(error: Exception) -> str:
    return "it holds what no backup does" if isinstance(error, (ValueError, tarfile.FilterError)) else "no archive"


def _mac(keys: KeyRing, document: bytes) -> str:
    return hmac.digest(keys.subkey("input-mac", "backup"), document, "sha256").hex()


class _Hashed:
    """File-like writer that computes the SHA-256 of what is written."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self.digest = out, hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._out.write(content)


def _sha256_on_disk(path: Path) -> str:
    """Hash the file as the disk returns it: the system is asked to drop its cached pages first."""
    with path.open("rb") as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return hashlib.file_digest(file, "sha256").hexdigest()

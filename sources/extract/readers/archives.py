"""Packed files: gzip, and zip archives. Read in memory as they unpack, member by member; nothing is put on disk.

A packed file may unpack to `MAX_UNPACKED` bytes, and to no more than `MAX_RATIO` times its own size beyond the first
`FREE_BYTES`; what its directory says about sizes is not believed.
"""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sources.extract.readers.content import DAMAGE, Content, Format, Guarded, format_of, opened, zip_entries
from sources.extract.rules import (
    DAMAGED,
    NESTED_ARCHIVE,
    NO_MEMBER,
    OTHER_ARCHIVE,
    PASSWORD,
    SEVERAL_MEMBERS,
    UNPACKS_TOO_LARGE,
    UNSAFE_MEMBER,
    stopped,
)

EXTRACT_SUFFIXES = (".csv", ".txt", ".tsv", ".psv", ".xlsx", ".parquet", ".xml")
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst")
MAX_MEMBERS = 1000
MAX_IN_MEMORY = 512 << 20
"""A workbook or Parquet file inside an archive is held in memory, since it is not read from start to end."""
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def content_of(name: str, path: Path) -> Content:
    """What lies at `path`, gzip taken off; raises `ExtractStopped`."""

    def plain() -> BinaryIO:
        return opened(name, path)

    format = format_of(name, plain)
    return _unzipped(name, plain, path.stat().st_size) if format is Format.GZIP else Content(name, format, plain)


def members(archive: Content) -> list[Content]:
    """The files in a zip archive that can be an extract, by name; raises `ExtractStopped` for an unsafe archive.

    Folders, files of other kinds and what desktop systems add are passed over.
    """
    with archive.open() as stream:
        entries = [info for info in zip_entries(archive.name, stream) if not _is_clutter(info)]
        packed_size = stream.seek(0, io.SEEK_END)
    if len(entries) > MAX_MEMBERS:
        raise stopped(archive.name, SEVERAL_MEMBERS, f"{len(entries)} files")
    for info in entries:
        _check(archive.name, info)
    found = [info for info in entries if info.filename.lower().endswith(EXTRACT_SUFFIXES)]
    return [_member(archive, info, packed_size) for info in sorted(found, key=lambda info: info.filename)]


def only_member(archive: Content) -> Content:
    """The one extract in a zip archive; raises `ExtractStopped` where there is none, or more than one."""
    found = members(archive)
    if not found:
        raise stopped(archive.name, NO_MEMBER)
    if len(found) > 1:
        names = ", ".join(content.name.partition("!")[2] for content in found[:5])
        raise stopped(archive.name, SEVERAL_MEMBERS, names)
    return found[0]


def open_member(name: str, archive: BinaryIO, info: zipfile.ZipInfo, packed_size: int) -> BinaryIO:
    """A member as a guarded stream; `name` is how messages call it, `packed_size` the size of its archive.

    Raises `ExtractStopped` where it is encrypted, damaged or packed by another method than deflate.
    """
    if info.flag_bits & _ENCRYPTED:
        raise stopped(name, PASSWORD)
    if info.compress_type not in _METHODS:
        raise stopped(name, OTHER_ARCHIVE)
    try:
        with zipfile.ZipFile(archive) as directory:
            stream = directory.open(info)
    except DAMAGE:
        raise stopped(name, DAMAGED) from None
    return Guarded(name, stream, min(info.compress_size, packed_size), archive)  # type: ignore[arg-type, return-value]


def _unzipped(name: str, plain: Callable[[], BinaryIO], packed_size: int) -> Content:
    def unpack() -> BinaryIO:
        packed = plain()
        return Guarded(name, gzip.GzipFile(fileobj=packed), packed_size, packed)  # type: ignore[arg-type, return-value]

    format = format_of(name, unpack)
    if format in (Format.GZIP, Format.ARCHIVE):
        raise stopped(name, NESTED_ARCHIVE)
    return Content(name, format, unpack if format in (Format.TEXT, Format.XML) else _held(name, unpack))


def _member(archive: Content, info: zipfile.ZipInfo, packed_size: int) -> Content:
    name = f"{archive.name}!{_shown(info.filename)}"

    def unpack() -> BinaryIO:
        return open_member(name, archive.open(), info, packed_size)

    format = format_of(name, unpack)
    if format is Format.GZIP:
        raise stopped(name, NESTED_ARCHIVE)
    if format is Format.ARCHIVE:
        held = _held(name, unpack)
        if format_of(name, held) is Format.ARCHIVE:
            raise stopped(name, NESTED_ARCHIVE)
        return Content(name, Format.WORKBOOK, held)
    return Content(name, format, unpack if format in (Format.TEXT, Format.XML) else _held(name, unpack))


def _held(name: str, unpack: Callable[[], BinaryIO]) -> Callable[[], BinaryIO]:
    """The same content, held in memory so that it can seek."""
    held: list[bytes] = []

    def in_memory() -> BinaryIO:
        if not held:
            with unpack() as stream:
                data = bytearray()
                while block := stream.read(1 << 20):
                    data += block
                    if len(data) > MAX_IN_MEMORY:
                        raise stopped(name, UNPACKS_TOO_LARGE)
            held.append(bytes(data))
        return Guarded(name, io.BytesIO(held[0]))  # type: ignore[return-value]

    return in_memory


def _check(name: str, info: zipfile.ZipInfo) -> None:
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise stopped(name, UNSAFE_MEMBER)
    if path.suffix.lower() in ARCHIVE_SUFFIXES:
        raise stopped(name, NESTED_ARCHIVE, _shown(info.filename))


def _is_clutter(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    return info.is_dir() or not parts or parts[0] == "__MACOSX" or parts[-1].startswith(".") or parts[-1] == "Thumbs.db"


def _shown(member: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in member)[:100]

"""What a file is, by its first bytes and never by its name alone, and how it is opened, guarded.

Everything that reads a landed file does so through `Content.open`: it raises `ExtractStopped` and nothing else.
"""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from sources.contracts import Rule
from sources.extract.rules import (
    BINARY_WORKBOOK,
    DAMAGED,
    MACRO_WORKBOOK,
    NOT_ALLOWED,
    OLD_WORKBOOK,
    OPEN_DOCUMENT,
    OTHER_ARCHIVE,
    OTHER_FORMAT,
    PASSWORD,
    UNPACKS_TOO_LARGE,
    WEB_PAGE,
    XML_WORKBOOK,
    stopped,
)

MAX_UNPACKED = 8 << 30
"""Bytes that one packed file may unpack to: an extract of all England is below 1 GiB."""
MAX_RATIO = 200
"""Unpacked over packed size, beyond the first `FREE_BYTES`: text of extracts packs to a tenth, seldom a fiftieth."""
FREE_BYTES = 64 << 20
LOOK_BYTES = 4 << 10

DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What the standard library raises for a packed file that is damaged."""


class Format(StrEnum):
    """What a file can be read as."""

    TEXT = "text"
    PARQUET = "parquet"
    WORKBOOK = "workbook"
    XML = "xml"
    GZIP = "gzip"
    ARCHIVE = "zip archive"


@dataclass(frozen=True)
class Content:
    """The bytes of a file, or of one inside an archive.

    `name` is how messages call it. `open` gives a stream from the first byte, as often as it is called; of a Parquet
    file, a workbook or an archive it can seek.
    """

    name: str
    format: Format
    open: Callable[[], BinaryIO]


class Guarded(io.RawIOBase):
    """A stream that stops the extract, in words, where it is damaged or unpacks to too much.

    `packed` is the size of what it is unpacked from, `beneath` that stream; None for a stream that is not packed.
    """

    def __init__(self, name: str, stream: BinaryIO, packed: int | None = None, beneath: BinaryIO | None = None) -> None:
        self._name, self._stream, self._packed, self._beneath, self._given = name, stream, packed, beneath, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._packed is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        try:
            data = self._stream.read(size)
        except DAMAGE:
            raise stopped(self._name, DAMAGED) from None
        self._given += len(data)
        if self._packed is not None and self._given > min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * self._packed)):
            raise stopped(self._name, UNPACKS_TOO_LARGE)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            if self._beneath is not None:
                self._beneath.close()
        super().close()


_REFUSED: tuple[tuple[bytes, Rule, str], ...] = (
    (b"%PDF", OTHER_FORMAT, "it is a PDF"),
    (b"{\\rtf", OTHER_FORMAT, "it is a text document"),
    (b"SQLite format 3", OTHER_FORMAT, "it is a database"),
    (b"\0\1\0\0Standard ", OTHER_FORMAT, "it is an Access database"),
    (b"ARROW1", OTHER_FORMAT, "it is an Arrow file"),
    (b"$FL2", OTHER_FORMAT, "it is an SPSS file"),
    (b"7z\xbc\xaf\x27\x1c", OTHER_ARCHIVE, "it is a 7z archive"),
    (b"Rar!\x1a\x07", OTHER_ARCHIVE, "it is a RAR archive"),
    (b"BZh", OTHER_ARCHIVE, "it is packed with bzip2"),
    (b"\xfd7zXZ\0", OTHER_ARCHIVE, "it is packed with xz"),
    (b"\x28\xb5\x2f\xfd", OTHER_ARCHIVE, "it is packed with zstd"),
    (b"-----BEGIN PGP", OTHER_ARCHIVE, "it is encrypted with PGP"),
    (b"age-encryption.org/", OTHER_ARCHIVE, "it is encrypted with age"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"


def format_of(name: str, open_stream: Callable[[], BinaryIO]) -> Format:
    """What the stream holds; raises `ExtractStopped` for what is known and not read."""
    with open_stream() as stream:
        start = stream.read(LOOK_BYTES)
        if start.startswith(_OLE):
            raise stopped(name, PASSWORD if _ENCRYPTED_PACKAGE in start + stream.read(1 << 20) else OLD_WORKBOOK)
        if start.startswith(_ZIP):
            return zip_format(name, stream) if stream.seekable() else Format.ARCHIVE
    for magic, rule, what in _REFUSED:
        if start.startswith(magic):
            raise stopped(name, rule, what)
    if start.startswith(b"\x1f\x8b"):
        return Format.GZIP
    if start.startswith((b"PAR1", b"PARE")):
        return Format.PARQUET
    return _marked_up(name, start.replace(b"\0", b"").lstrip(_BLANK).lower())


def _marked_up(name: str, start: bytes) -> Format:
    if start.startswith((b"<!doctype html", b"<html", b"<table", b"<head", b"<meta", b"<div", b"<style")):
        raise stopped(name, WEB_PAGE)
    if not (start.startswith(b"<") and start[1:2] in b"?!abcdefghijklmnopqrstuvwxyz_" and len(start) > 1):
        return Format.TEXT
    if b'progid="excel.sheet"' in start or b"urn:schemas-microsoft-com:office:spreadsheet" in start:
        raise stopped(name, XML_WORKBOOK)
    if b"<html" in start:
        raise stopped(name, WEB_PAGE)
    return Format.XML


def zip_format(name: str, stream: BinaryIO) -> Format:
    """A workbook is a zip archive too; raises `ExtractStopped` for the kinds of office file that are not read."""
    names = {info.filename.lower() for info in zip_entries(name, stream)}
    if "[content_types].xml" in names:
        if any(entry.endswith("vbaproject.bin") for entry in names):
            raise stopped(name, MACRO_WORKBOOK)
        if "xl/workbook.bin" in names:
            raise stopped(name, BINARY_WORKBOOK)
        if not any(entry.startswith("xl/") for entry in names):
            raise stopped(name, OTHER_FORMAT, "it is an office document")
        return Format.WORKBOOK
    if {"mimetype", "content.xml"} <= names:
        raise stopped(name, OPEN_DOCUMENT)
    return Format.ARCHIVE


def zip_entries(name: str, stream: BinaryIO) -> list[zipfile.ZipInfo]:
    """The directory of a zip archive; raises `ExtractStopped` where it cannot be read."""
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
    except DAMAGE:
        raise stopped(name, DAMAGED) from None
    if not all(entry.filename for entry in entries):
        raise stopped(name, DAMAGED)
    return entries


def opened(name: str, path: Path) -> BinaryIO:
    """A file on disk as a guarded stream; raises `ExtractStopped` where it cannot be opened."""
    try:
        return Guarded(name, path.open("rb"))  # type: ignore[return-value]
    except PermissionError:
        raise stopped(name, NOT_ALLOWED) from None
    except OSError:
        raise stopped(name, DAMAGED) from None

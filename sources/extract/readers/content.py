"""Format detection, by a file's first bytes and never by its name alone, and guarded streams.

All landed files are read through `Content.open`, which raises only `ExtractStopped`. Gzip files and zip archives are
unpacked in memory while they are read, member by member; nothing is written to disk. A packed file, or all members of
an archive together, may unpack to `MAX_UNPACKED` bytes and, beyond the first `FREE_BYTES`, to at most `MAX_RATIO` times
the packed size. Sizes stated in an archive's directory can stop it, but are not trusted otherwise.
"""

import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from privacy.doors.regular import LeadsOut, NotRegular, open_regular
from privacy.doors.typed import replace_unprintable
from sources.errors import build_error
from sources.extract.landing import SPREADSHEET_SUFFIXES, is_clutter

MAX_UNPACKED = 8 << 30
"""Bytes that one packed file may unpack to: an extract of all England is below 1 GiB."""
MAX_RATIO = 200
"""Unpacked over packed size, beyond the first `FREE_BYTES`: extracts compress to a tenth, seldom to a fiftieth."""
FREE_BYTES = 64 << 20  # so that small files with a high ratio are accepted
LOOK_BYTES = 4 << 10  # enough to detect a format
EXTRACT_SUFFIXES = (".csv", ".txt", ".tsv", ".psv", *SPREADSHEET_SUFFIXES, ".parquet", ".xml")
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst")
MAX_MEMBERS = 1000
MAX_IN_MEMORY = 256 << 20
"""Bytes of workbooks and Parquet files inside an archive: they are held in memory because their readers seek."""
_MAX_DIRECTORY_BYTES = 4 << 20
"""Bytes of a zip archive's directory: about 50,000 entries."""
_ENCRYPTED = 0x1  # flag of a zip entry
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

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
"""Errors that the standard library raises for a damaged packed file."""
_NOT_OPENED: dict[type[OSError], str] = {
    NotRegular: "not-regular",
    LeadsOut: "link-out-of-landing",
    PermissionError: "not-allowed",
}


class Format(StrEnum):
    """Formats that are read, and formats of packed files."""

    TEXT = "text"
    PARQUET = "parquet"
    WORKBOOK = "workbook"
    BINARY_WORKBOOK = "binary workbook"
    OLD_WORKBOOK = "workbook of Excel 97 to 2003"
    OPEN_DOCUMENT = "OpenDocument spreadsheet"
    XML = "xml"
    GZIP = "gzip"
    ARCHIVE = "zip archive"


@dataclass(frozen=True)
class Content:
    """The bytes of a file or of an archive member.

    `name` is its name in messages. Each call of `open` returns a new stream from the first byte; the stream of a
    Parquet file, workbook or archive can seek. `called` is the sender's name for an archive member or a file in a
    folder, used to recognise tables; no message repeats it.
    """

    name: str
    format: Format
    open: Callable[[], BinaryIO]
    called: str = ""


class Guarded(io.RawIOBase):
    """A stream that raises `ExtractStopped` if it is damaged or unpacks to too much.

    `packed` is the packed size in bytes, `beneath` the packed stream; both are None if the stream is not packed.
    """

    def __init__(self, name: str, stream: BinaryIO, packed: int | None = None, beneath: BinaryIO | None = None) -> None:
        self._name, self._stream, self._packed, self._beneath, self._bytes_read = name, stream, packed, beneath, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._packed is None

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into `buffer`; `read` calls this."""
        try:
            size: int = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        except DAMAGE:
            raise build_error(self._name, "damaged-file") from None
        self._bytes_read += size
        if self._packed is not None and self._bytes_read > compute_unpack_limit(self._packed):
            raise build_error(self._name, "unpacks-too-large")
        return size

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
            if self._beneath is not None:
                self._beneath.close()
        super().close()


class _LimitedDirectory:
    """A stream that limits the directory size for `zipfile`, which reads a directory whole and creates an object for
    each entry."""

    def __init__(self, stream: BinaryIO) -> None:
        self.seekable, self.seek, self.tell, self._read = stream.seekable, stream.seek, stream.tell, stream.read

    def read(self, size: int = -1) -> bytes:
        data = self._read(min(size, _MAX_DIRECTORY_BYTES + 1) if size >= 0 else _MAX_DIRECTORY_BYTES + 1)
        if len(data) > _MAX_DIRECTORY_BYTES:
            raise ValueError
        return data


@dataclass
class _Room:
    """Bytes that the members of an archive may still take in memory."""

    left: int


def compute_unpack_limit(packed: int) -> int:
    """Return how many bytes a file of `packed` bytes may unpack to."""
    return min(MAX_UNPACKED, max(FREE_BYTES, MAX_RATIO * packed))


_BIFF = (b"\x09\0\4\0", b"\x09\2\6\0", b"\x09\4\6\0", b"\x09\x08\x08\0", b"\x09\x08\x10\0")
"""First records of BIFF 2, 3, 4, 5 and 8 outside a compound file."""
_REFUSED: tuple[tuple[bytes | tuple[bytes, ...], str, str], ...] = (
    (b"%PDF", "other-format", "it is a PDF"),
    (b"{\\rtf", "other-format", "it is a text document"),
    (b"SQLite format 3", "other-format", "it is a database"),
    (b"\0\1\0\0Standard ", "other-format", "it is an Access database"),
    (b"ARROW1", "other-format", "it is an Arrow file"),
    (b"$FL2", "other-format", "it is an SPSS file"),
    (_BIFF, "old-workbook", ""),
    (b"7z\xbc\xaf\x27\x1c", "other-archive", "it is a 7z archive"),
    (b"Rar!\x1a\x07", "other-archive", "it is a RAR archive"),
    (b"BZh", "other-archive", "it is packed with bzip2"),
    (b"\xfd7zXZ\0", "other-archive", "it is packed with xz"),
    (b"\x28\xb5\x2f\xfd", "other-archive", "it is packed with zstd"),
    (b"-----BEGIN PGP", "other-archive", "it is encrypted with PGP"),
    (b"age-encryption.org/", "other-archive", "it is encrypted with age"),
)
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_ZIP = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
_BLANK = b"\xef\xbb\xbf\xff\xfe \t\r\n"


def detect_format(name: str, open_stream: Callable[[], BinaryIO]) -> Format:
    """Detect the format of a stream; raises `ExtractStopped` for known formats that are not read."""
    with open_stream() as stream:
        start = stream.read(LOOK_BYTES)
        if start.startswith(_OLE):
            # an encrypted .xlsx is a compound file, like an old workbook
            if _ENCRYPTED_PACKAGE in start + stream.read(1 << 20):
                raise build_error(name, "password")
            return Format.OLD_WORKBOOK
        if start.startswith(_ZIP):
            return detect_zip_format(name, stream) if stream.seekable() else Format.ARCHIVE
    for magic, rule, what in _REFUSED:
        if start.startswith(magic):
            raise build_error(name, rule, what)
    if start.startswith(b"\x1f\x8b"):
        return Format.GZIP
    if start.startswith((b"PAR1", b"PARE")):
        return Format.PARQUET
    # without zero bytes, UTF-16 markup reads as ASCII
    return _detect_markup(name, start.replace(b"\0", b"").lstrip(_BLANK).lower())


def _detect_markup(name: str, start: bytes) -> Format:
    if start.startswith((b"<!doctype html", b"<html", b"<table", b"<head", b"<meta", b"<div", b"<style")):
        raise build_error(name, "web-page")
    if not (start.startswith(b"<") and start[1:2] in b"?!abcdefghijklmnopqrstuvwxyz_" and len(start) > 1):
        return Format.TEXT
    if b'progid="excel.sheet"' in start or b"urn:schemas-microsoft-com:office:spreadsheet" in start:
        raise build_error(name, "xml-workbook")
    if b"<html" in start:
        raise build_error(name, "web-page")
    return Format.XML


def detect_zip_format(name: str, stream: BinaryIO) -> Format:
    """Return the format of a zip file: a workbook or an archive. Raises `ExtractStopped` for other office files."""
    names = {info.filename.lower() for info in list_zip_entries(name, stream)}
    if "[content_types].xml" in names:
        if any(entry.endswith("vbaproject.bin") for entry in names):
            raise build_error(name, "macro-workbook")
        if "xl/workbook.bin" in names:
            return Format.BINARY_WORKBOOK
        if not any(entry.startswith("xl/") for entry in names):
            raise build_error(name, "other-format", "it is an office document")
        return Format.WORKBOOK
    if "mimetype" in names and names & {"content.xml", "encrypted-package"}:
        stream.seek(0)
        start = stream.read(LOOK_BYTES)  # the type is the first entry and not compressed
        if "encrypted-package" in names:
            raise build_error(name, "password")
        if b"opendocument." in start and b"opendocument.spreadsheet" not in start:
            raise build_error(name, "other-format", "it is an office document")
        if any(entry.startswith(("basic/", "scripts/")) and not entry.endswith("/") for entry in names):
            raise build_error(name, "macro-workbook")
        return Format.OPEN_DOCUMENT
    return Format.ARCHIVE


def list_zip_entries(name: str, stream: BinaryIO) -> list[zipfile.ZipInfo]:
    """List the entries of a zip archive; raises `ExtractStopped` if its directory cannot be read."""
    try:
        with zipfile.ZipFile(_LimitedDirectory(stream)) as archive:
            entries = archive.infolist()
    except DAMAGE:
        raise build_error(name, "damaged-file") from None
    if not all(entry.filename for entry in entries):
        raise build_error(name, "damaged-file")
    return entries


def get_content(name: str, path: Path, called: str = "", within: Path | None = None) -> Content:
    """Return a file's content without a gzip layer; raises `ExtractStopped`. For `within` see `Landed`."""

    def open_plain() -> BinaryIO:
        try:
            return Guarded(name, open_regular(path, within))  # type: ignore[return-value]
        except OSError as error:
            raise build_error(name, _NOT_OPENED.get(type(error), "damaged-file")) from None

    format = detect_format(name, open_plain)
    if format is Format.GZIP:
        return _unzip(name, open_plain, path.stat().st_size, called)
    return Content(name, format, open_plain, called)


def list_contents(archive: Content) -> list[Content]:
    """List the possible extracts in a zip archive, by name; for any other file, list its own content.

    Folders, other kinds of file and files that desktop systems add are skipped. Raises `ExtractStopped` for an unsafe
    archive.
    """
    if archive.format is not Format.ARCHIVE:
        return [archive]
    with archive.open() as stream:
        listed = enumerate(list_zip_entries(archive.name, stream), 1)
        entries = [
            (number, info)
            for number, info in listed
            if not info.is_dir()
            and (parts := PurePosixPath(info.filename).parts)
            and not any(map(is_clutter, parts))
            and not parts[-1].startswith(".")
        ]
        packed_size = stream.seek(0, io.SEEK_END)
    if len(entries) > MAX_MEMBERS:
        raise build_error(archive.name, "archive-of-several", f"more than {MAX_MEMBERS} files")
    for number, info in entries:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        # a colon in the first part of a path is a Windows drive
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise build_error(archive.name, "unsafe-member")
        if path.suffix.lower() in ARCHIVE_SUFFIXES:
            raise build_error(archive.name, "nested-archive", f"member {number}")
    found = [(number, info) for number, info in entries if info.filename.lower().endswith(EXTRACT_SUFFIXES)]
    if sum(info.file_size for _, info in found) > compute_unpack_limit(packed_size):
        raise build_error(archive.name, "unpacks-too-large")
    found.sort(key=lambda member: member[1].filename)
    room = _Room(MAX_IN_MEMORY)
    return [_get_member(archive, number, info, packed_size, room) for number, info in found]


def get_only_content(name: str, contents: Sequence[Content]) -> Content:
    """Return the one extract in a file called `name`; raises `ExtractStopped` if there is none, or more than one."""
    if not contents:
        raise build_error(name, "archive-without-extract")
    if len(contents) > 1:
        numbers = ", ".join(content.name.partition(", ")[2] for content in contents[:5])
        raise build_error(name, "archive-of-several", numbers)
    return contents[0]


def open_archive(name: str, stream: BinaryIO) -> zipfile.ZipFile:
    """Open a zip archive, which reads its whole directory; raises `ExtractStopped` if that is damaged."""
    try:
        return zipfile.ZipFile(stream)
    except DAMAGE:
        raise build_error(name, "damaged-file") from None


def open_member(
    name: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, packed_size: int, beneath: BinaryIO | None = None
) -> BinaryIO:
    """Open a member as a guarded stream. `name` is its name in messages, `packed_size` the size of its archive.

    Closing it closes the stream `beneath`. Raises `ExtractStopped` if it is encrypted, damaged or compressed by a
    method other than deflate.
    """
    if info.flag_bits & _ENCRYPTED:
        raise build_error(name, "password")
    if info.compress_type not in _METHODS:
        raise build_error(name, "other-archive")
    try:
        stream = archive.open(info)
    except DAMAGE:
        raise build_error(name, "damaged-file") from None
    # the directory may state any size, but a member cannot be larger than its archive
    return Guarded(name, stream, min(info.compress_size, packed_size), beneath)  # type: ignore[arg-type, return-value]


def _unzip(name: str, plain: Callable[[], BinaryIO], packed_size: int, called: str) -> Content:
    def unpack() -> BinaryIO:
        packed = plain()
        return Guarded(name, gzip.GzipFile(fileobj=packed), packed_size, packed)  # type: ignore[arg-type, return-value]

    if detect_format(name, unpack) is Format.ARCHIVE:
        raise build_error(name, "nested-archive")
    return _unpack_content(name, unpack, _Room(MAX_IN_MEMORY), called)


def _get_member(archive: Content, number: int, info: zipfile.ZipInfo, packed_size: int, room: _Room) -> Content:
    def unpack() -> BinaryIO:
        packed = archive.open()
        return open_member(name, open_archive(name, packed), info, packed_size, packed)

    name = f"{archive.name}, member {number}"
    return _unpack_content(name, unpack, room, replace_unprintable(info.filename)[:100])


def _unpack_content(name: str, unpack: Callable[[], BinaryIO], room: _Room, called: str) -> Content:
    """Return unpacked content. Raises `ExtractStopped` for an archive.

    Workbooks and Parquet files are unpacked into memory when they are first opened, because their readers seek; opening
    them raises `ExtractStopped` if they take more than the `room` left.
    """
    format = detect_format(name, unpack)
    if format in (Format.TEXT, Format.XML):
        return Content(name, format, unpack, called)

    @cache
    def unpack_all() -> bytes:
        with unpack() as stream:
            data = io.BufferedReader(stream, 1 << 20).read(room.left + 1)  # type: ignore[type-var]
        if len(data) > room.left:
            raise build_error(name, "unpacks-too-large")
        room.left -= len(data)
        return data

    def open_held() -> BinaryIO:
        return Guarded(name, io.BytesIO(unpack_all()))  # type: ignore[return-value]

    if format is Format.ARCHIVE:
        format = detect_format(name, open_held)  # a workbook is recognised only in a seekable stream
    if format in (Format.GZIP, Format.ARCHIVE):
        raise build_error(name, "nested-archive")
    return Content(name, format, open_held, called)

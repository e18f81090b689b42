"""Bytes of a text file as blocks of whole rows: UTF-8, without zero bytes, line ends that a parser knows.

The encoding shows itself: a byte-order mark, the zero bytes of UTF-16, else UTF-8. Bytes that are not UTF-8 are read
one by one in the encoding that the council file gives, or Windows-1252, so that a stray one harms nothing around it.
(As browsers do, ISO-8859-1 is read as Windows-1252, which has letters where the other has controls.)
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np

from sources.extract.rules import DAMAGED, LONG_ROW, stopped

BLOCK_BYTES = 1 << 20
MAX_ROW_BYTES = 1 << 20
UNBALANCED = b"\0unbalanced-quote\n"
"""Stands in a block for a line whose quotation marks do not pair; zero bytes do not occur otherwise."""
FALLBACK_ENCODING = "windows-1252"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOK_BYTES = 1 << 10
_PADDING = b" \t\x1a"
"""What may stand after the last line end without being a row: blanks, and the end-of-file mark of old systems."""
_ASCII = bytes(range(32, 127))


@dataclass(frozen=True)
class Block:
    """Whole rows. `settled` blocks have had their quotation marks looked at; `unfinished` ones had no last line end."""

    data: bytes
    settled: bool
    unfinished: bool = False


def row_blocks(name: str, stream: BinaryIO, encoding: str, delimiter: str, skip: int) -> Iterator[Block]:
    """Blocks of whole rows, after the first `skip` bytes of the text in UTF-8; raises `ExtractStopped`.

    Row ends are those outside quotation marks; `settle` says what becomes of marks that do not pair.
    """
    carry = b""
    unfinished = False
    for lines in whole_lines(name, stream, encoding):
        passed, skip = min(skip, len(lines)), max(skip - len(lines), 0)
        lines = carry + lines[passed:]
        unfinished = bool(lines) and not lines.endswith(b"\n")
        lines += b"\n" if unfinished else b""
        block, carry = _rows(lines, delimiter)
        if block.data:
            yield Block(block.data, block.settled, unfinished and not carry)
    if carry:
        yield Block(settle(carry, delimiter, final=True)[0], True, unfinished)


def whole_lines(name: str, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """The text in UTF-8, in blocks that end with a line feed, except where the file has no last line end."""
    carry = b""
    for piece in _pieces(name, stream):
        piece = carry + (piece.replace(b"\0", b"") if b"\0" in piece else piece)
        end = piece.rfind(b"\n") + 1 or piece.rfind(b"\r", 0, -1) + 1
        lines, carry = piece[:end], piece[end:]
        if len(carry) > MAX_ROW_BYTES:
            raise stopped(name, LONG_ROW)
        if lines:
            yield _line_feeds(_utf8(lines, encoding))
    if carry.strip(_PADDING):
        yield _line_feeds(_utf8(carry, encoding))


def _pieces(name: str, stream: BinaryIO) -> Iterator[bytes]:
    """The stream's bytes, without a byte-order mark, those of UTF-16 and UTF-32 as UTF-8."""
    piece = stream.read(BLOCK_BYTES)
    mark, wide = next(((mark, codec) for mark, codec in _BOMS if piece.startswith(mark)), (b"", _without_mark(piece)))
    piece = piece[len(mark) :]
    if not wide.startswith(("utf-16", "utf-32")):
        while piece:
            yield piece
            piece = stream.read(BLOCK_BYTES)
        return
    decoder = codecs.getincrementaldecoder(wide)("replace")
    while piece:
        yield decoder.decode(piece).encode("utf-8", "replace")
        piece = stream.read(BLOCK_BYTES)
    if decoder.getstate()[0]:
        raise stopped(name, DAMAGED)


def _without_mark(start: bytes) -> str:
    """UTF-16 shows by zero bytes in every other place."""
    look = start[:_LOOK_BYTES]
    low, high = look[1::2].count(0), look[::2].count(0)
    if max(low, high) * 4 > len(look):
        return "utf-16-le" if low > high else "utf-16-be"
    return ""


def _utf8(lines: bytes, encoding: str) -> bytes:
    if lines.isascii():
        return lines
    lines = lines.replace(b"\n" + codecs.BOM_UTF8, b"\n")
    try:
        lines.decode("utf-8")
    except UnicodeDecodeError:
        return lines.decode("utf-8", _byte_by_byte(encoding)).encode("utf-8")
    return lines


@lru_cache
def _byte_by_byte(encoding: str) -> str:
    """Name of the error handler that reads bytes which are not UTF-8 in `encoding`, or one that has all of ASCII."""
    try:
        codec = codecs.lookup(encoding).name
        single = codec not in ("utf-8", "iso8859-1") and _ASCII.decode(codec) == _ASCII.decode("ascii")
    except (LookupError, UnicodeError):
        single = False
    codec = codec if single else FALLBACK_ENCODING

    def read(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        stray = error.object[error.start : error.end]
        try:
            return stray.decode(codec), error.end
        except UnicodeError:
            return stray.decode("latin-1"), error.end

    handler = f"readiness-{codec}"
    codecs.register_error(handler, read)
    return handler


def _line_feeds(lines: bytes) -> bytes:
    """A carriage return without a line feed ends a line too."""
    if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
        return re.sub(rb"\r+\n|\r", b"\n", lines)
    return lines


def _rows(lines: bytes, delimiter: str) -> tuple[Block, bytes]:
    """Whole rows of some whole lines, and the lines of a row that goes on in the next block."""
    if b'"' not in lines:
        return Block(lines, True), b""
    if b"=" in lines:
        lines = _unprotected(lines, delimiter)
    if _quotes_pair_in_every_line(lines):
        return Block(lines, False), b""
    rows, carry = settle(lines, delimiter, final=False)
    return Block(rows, True), carry


def _quotes_pair_in_every_line(lines: bytes) -> bool:
    """Whether every line has an even number of quotation marks, so that no quoted line break is among them."""
    text = np.frombuffer(lines, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    marks = np.flatnonzero(text == ord('"'))
    return not (np.searchsorted(marks, ends) & 1).any()


def settle(lines: bytes, delimiter: str, final: bool) -> tuple[bytes, bytes]:
    """Whole lines as rows: a line that opens a quoted field which is not closed becomes `UNBALANCED`.

    A quoted field ends at a mark before a delimiter or line end. Without one such (`final`, or for more than
    `MAX_ROW_BYTES`), or with text behind the closing mark in a later line, its first line alone is given up, and the
    next line begins a row. Returns the rows, and the lines of a row that may go on.
    """
    sound, goes_on = _patterns(delimiter)
    rows, at = [], 0
    while at < len(lines):
        if found := sound.match(lines, at):
            rows.append(found[0])
            at = found.end()
            continue
        if not final and len(lines) - at <= MAX_ROW_BYTES and goes_on.match(lines, at):
            break
        rows.append(UNBALANCED)
        at = lines.index(b"\n", at) + 1
    return b"".join(rows), lines[at:]


@lru_cache
def _patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Whole rows, as many as follow on one another, and the beginning of a row whose quoted field is still open."""
    end = rb"[%b\r\n]" % re.escape(delimiter.encode())
    other = rb"[^%b\r\n]" % re.escape(delimiter.encode())
    inside = rb'"(?:[^"]++|"")*+'
    quoted = rb'%b"(?=%b)|"(?:[^"\r\n]++|"")*+"%b*+' % (inside, end, other)
    field = rb'(?:%b|(?!")%b++|(?=%b))' % (quoted, other, end)
    between = re.escape(delimiter.encode())
    sound = re.compile(rb"(?:%b(?:%b%b)*+\r?\n)++" % (field, between, field))
    goes_on = re.compile(rb"(?:%b%b)*+%b\Z" % (field, between, inside))
    return sound, goes_on


def _unprotected(lines: bytes, delimiter: str) -> bytes:
    """`="0383"`, as Excel is made to keep a zero, is the field `0383`."""
    return _protected(delimiter).sub(rb'"\1\2"', lines)


@lru_cache
def _protected(delimiter: str) -> re.Pattern[bytes]:
    other = rb"[^%b\r\n]" % re.escape(delimiter.encode())
    return re.compile(rb'(?<!%b)(?:="([^"\r\n]++)"|"=""([^"\r\n]++)""")(?!%b)' % (other, other))

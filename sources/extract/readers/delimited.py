"""Reader of delimited text. Encoding, delimiter and header line are detected, with the council file as a fallback.

Rows are parsed block by block, two blocks at a time, each by one thread, so that rows keep their order and numbers.
Blocks end at the end of a row, so that a broken row stays within its block.

The encoding is detected from a byte-order mark or the zero bytes of UTF-16; other files are read as UTF-8. Bytes that
are not UTF-8 are decoded one by one in the council file's encoding or Windows-1252, so that a stray byte affects
nothing around it. As in browsers, ISO-8859-1 is read as Windows-1252, which has letters where ISO-8859-1 has control
characters.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sources.contracts.model import Rule
from sources.councils.dialect import Dialect
from sources.errors import FILE_RULES, build_error
from sources.extract.readers.content import Content
from sources.extract.table import MAX_SKIPPED, MIN_KNOWN, SOURCE_ROW, TextTable, clean_header, count_known_names

DELIMITERS = (",", ";", "|", "\t", "^", "~")
_BLOCKS_PARSED_AT_ONCE = 2
_HEADER_LINES = 50
"""Maximum number of lines of a header with line breaks in its names."""
_LOOK_LINES = 20
"""Number of lines after the header whose widths are compared with the header's."""
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_PROTECTED = re.compile(r'^="(.*)"$')
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
BLOCK_BYTES = 1 << 20
MAX_ROW_BYTES = 1 << 20
UNBALANCED = b"\0unbalanced-quote\n"
"""Replaces a line with an unclosed quotation mark; no other text in a block has zero bytes."""
FALLBACK_ENCODING = "windows-1252"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    # before UTF-16, whose little-endian mark is the beginning of this one
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LOOK_BYTES = 1 << 10
_PADDING = b" \t\x1a"
"""Characters after the last line end that are not a row: blanks, and the end-of-file mark of old systems."""
_ASCII = bytes(range(32, 127))


def open_delimited(content: Content, known: Container[str], dialect: Dialect) -> TextTable:
    """Open text as a table, whose header has `known` names; raises `ExtractStopped`, also while batches are read."""
    header, delimiter, data_at, doubt = _detect_layout(content, known, dialect)
    table = TextTable(
        header,
        lambda names: _iter_batches(content, table, data_at, dialect.encoding, names),
        doubt=doubt,
        delimiter=delimiter,
    )
    return table


def _iter_batches(
    content: Content, table: TextTable, data_at: int, encoding: str, names: list[str]
) -> Iterator[pa.RecordBatch]:
    before = 0
    for parsed in _iter_parsed(content, table, data_at, encoding, names):
        if parsed.cut:
            raise build_error(content.name, "cut-last-row")
        for rule, rows in parsed.set_aside.items():
            table.set_aside.setdefault(rule, []).extend(before + row for row in rows)
        numbers = pa.array(before + parsed.numbers, pa.int64())
        before += parsed.rows
        yield parsed.batch.append_column(SOURCE_ROW, numbers)


def _iter_parsed(
    content: Content, table: TextTable, data_at: int, encoding: str, names: list[str]
) -> "Iterator[_Parsed]":
    """Yield the parsed blocks in order; two are parsed at a time, and at most three are in memory."""
    waiting: deque[Future[_Parsed]] = deque()
    with content.open() as stream, ThreadPoolExecutor(_BLOCKS_PARSED_AT_ONCE) as threads:
        try:
            for block in iter_row_blocks(content.name, stream, encoding, table.delimiter, data_at):
                waiting.append(threads.submit(_parse, block, table, names))
                if len(waiting) > _BLOCKS_PARSED_AT_ONCE:
                    yield waiting.popleft().result()
            yield from (parsed.result() for parsed in waiting)
        except pa.ArrowInvalid:
            raise build_error(content.name, "damaged-file") from None


@dataclass(frozen=True)
class _Parsed:
    """A block's usable rows with their row numbers, its number of rows, and the numbers of unusable rows by rule.

    Row numbers start at 1 in each block. `cut` means that the file ends within the last row.
    """

    batch: pa.RecordBatch
    numbers: np.ndarray
    rows: int
    set_aside: dict[Rule, list[int]]
    cut: bool


def _parse(block: "ByteBlock", table: TextTable, names: list[str]) -> _Parsed:
    """Parse one block. If it does not give one row per line, a field has swallowed a line: pair quotation marks and
    parse again."""
    parsed = _read(block, table, names)
    if not block.settled and parsed.rows != block.data.count(b"\n"):
        settled, _ = settle(block.data, table.delimiter, final=True)
        parsed = _read(ByteBlock(settled, True, block.unfinished), table, names)
    return parsed


def _read(block: "ByteBlock", table: TextTable, names: list[str]) -> _Parsed:
    unusable: list[pyarrow.csv.InvalidRow] = []

    def skip(row: pyarrow.csv.InvalidRow) -> str:
        unusable.append(row)
        return "skip"

    # one thread and one Arrow block, so that the numbers of unusable rows are exact
    parsed = pyarrow.csv.read_csv(
        pa.BufferReader(block.data),
        read_options=pyarrow.csv.ReadOptions(
            use_threads=False, block_size=len(block.data) + 1, column_names=table.header
        ),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=table.delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={column: pa.string() for column in table.header},
            include_columns=names,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    ).combine_chunks()
    rows = parsed.num_rows + len(unusable)
    numbers = np.setdiff1d(np.arange(1, rows + 1), [row.number for row in unusable], assume_unique=True)
    last = unusable[-1] if unusable else None
    cut = block.unfinished and last is not None and last.number == rows and last.actual_columns < last.expected_columns
    (batch,) = parsed.to_batches() or [pa.RecordBatch.from_pylist([], parsed.schema)]
    return _Parsed(batch, numbers, rows, _group_by_rule(unusable), cut)


def _group_by_rule(unusable: list[pyarrow.csv.InvalidRow]) -> dict[Rule, list[int]]:
    """Return the numbers of rows to set aside, by rule; a line of white space is a blank row and breaks no rule."""
    found: dict[Rule, list[int]] = {}
    for row in unusable:
        if row.text.strip():
            rule = "unbalanced-quote" if row.text == UNBALANCED.decode().strip() else "malformed-row"
            found.setdefault(FILE_RULES[rule], []).append(row.number)
    return found


def _detect_layout(content: Content, known: Container[str], dialect: Dialect) -> tuple[list[str], str, int, str]:
    """Return the header's names, the delimiter, the byte offset of the first data row in the text (as UTF-8), and the
    rule that a suspect header line breaks."""
    with content.open() as stream:
        lines = _LINE.findall(next(iter_whole_lines(content.name, stream, dialect.encoding), b"").decode())
    if not any(line.strip(" \t\r\n,;\ufeff") for line in lines):
        raise build_error(content.name, "empty-file")
    declared = _SEPARATOR.fullmatch(lines[0].strip())
    candidates = [dialect.delimiter, *([declared[1]] if declared else []), *DELIMITERS]
    look = "".join(lines[: MAX_SKIPPED + _HEADER_LINES])
    delimiters = [
        one
        for one in dict.fromkeys(candidates)
        if one in look and len(one) == 1 and one.isascii() and one not in '"\r\n'
    ] or [DELIMITERS[0]]
    counted = (
        (count_known_names(_parse_record(lines[start : start + _HEADER_LINES], delimiter)[0], known), start, delimiter)
        for start in range(min(len(lines), MAX_SKIPPED + 1))
        for delimiter in delimiters
    )
    # of lines with equally many known names the earliest, and then the order of `delimiters`
    count, start, delimiter = max(counted, key=lambda line: line[0])
    if count < MIN_KNOWN:
        raise build_error(content.name, "no-header-line")
    header, taken = _parse_record(lines[start:], delimiter)
    header = _fit_to_row_width(header, lines[start + taken :], delimiter)
    doubt = _find_doubt(header, lines[start + taken :], delimiter, lines[start + taken - 1].endswith("\n"))
    data_at = sum(len(line.encode()) for line in lines[: start + taken])
    return clean_header(content.name, header, doubt), delimiter, data_at, doubt


def _find_doubt(header: list[str], lines: list[str], delimiter: str, finished: bool) -> str:
    """Return the rule that a suspect header line breaks: it is cut off, or none of the first rows has its width.

    A row may be one of `lines`, or several if a quoted field has line breaks; `finished` means that the header line has
    a line end.
    """
    rows = [line for line in lines[:_LOOK_LINES] if line.strip(f" \t\r\n{delimiter}")]
    if not rows:
        return "" if finished else "cut-header"
    whole = [line for line in rows if line.endswith("\n")]
    widths = {len(_parse_record([line], delimiter)[0]) for line in whole}
    widths |= {len(_parse_record(whole[at:], delimiter)[0]) for at in range(len(whole))}
    return "header-width" if widths and len(header) not in widths else ""


def _parse_record(lines: list[str], delimiter: str) -> tuple[list[str], int]:
    """Return the fields of the first record of the lines, and its number of lines."""
    reader = csv.reader(iter(lines), delimiter=delimiter)
    try:
        fields = next(reader, [])
    except csv.Error:
        return [], 1
    return [_PROTECTED.sub(r"\1", field) if field.startswith('="') else field for field in fields], reader.line_num


def _fit_to_row_width(header: list[str], lines: list[str], delimiter: str) -> list[str]:
    """Add an unnamed last column if every row ends with an extra delimiter, or remove one that no row has."""
    rows = [row for row in (_parse_record([line], delimiter)[0] for line in lines[:_LOOK_LINES]) if any(row)]
    if rows and all(len(row) == len(header) + 1 and not row[-1].strip() for row in rows):
        return [*header, ""]
    if rows and not header[-1].strip() and all(len(row) == len(header) - 1 for row in rows):
        return header[:-1]
    return header


@dataclass(frozen=True)
class ByteBlock:
    """Whole rows. In a `settled` block, quotation marks have been paired; an `unfinished` block had no last line
    end."""

    data: bytes
    settled: bool
    unfinished: bool = False


def iter_row_blocks(name: str, stream: BinaryIO, encoding: str, delimiter: str, skip: int) -> Iterator[ByteBlock]:
    """Yield blocks of whole rows, after the first `skip` bytes of the text in UTF-8; raises `ExtractStopped`.

    A row ends at a line end outside quotation marks; `settle` handles unclosed marks.
    """
    carry = b""
    unfinished = False
    for lines in iter_whole_lines(name, stream, encoding):
        passed, skip = min(skip, len(lines)), max(skip - len(lines), 0)
        lines = carry + lines[passed:]
        unfinished = bool(lines) and not lines.endswith(b"\n")
        lines += b"\n" if unfinished else b""
        block, carry = _split_whole_rows(lines, delimiter)
        if block.data:
            yield ByteBlock(block.data, block.settled, unfinished and not carry)
    if carry:
        yield ByteBlock(settle(carry, delimiter, final=True)[0], True, unfinished)


def iter_whole_lines(name: str, stream: BinaryIO, encoding: str) -> Iterator[bytes]:
    """Yield the text in UTF-8, in blocks that end with a line feed, unless the last line has none."""
    carry = b""
    for piece in _iter_pieces(name, stream):
        piece = carry + (piece.replace(b"\0", b"") if b"\0" in piece else piece)
        # not a carriage return at the very end, because its line feed may begin the next piece
        end = piece.rfind(b"\n") + 1 or piece.rfind(b"\r", 0, -1) + 1
        lines, carry = piece[:end], piece[end:]
        if len(carry) > MAX_ROW_BYTES:
            raise build_error(name, "row-too-long")
        if lines:
            yield _convert_line_ends(_convert_to_utf8(lines, encoding))
    if carry.strip(_PADDING):
        yield _convert_line_ends(_convert_to_utf8(carry, encoding))


def _iter_pieces(name: str, stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream's bytes without a byte-order mark; UTF-16 and UTF-32 become UTF-8."""
    piece = stream.read(BLOCK_BYTES)
    no_mark = b"", detect_utf_16(piece)
    mark, wide = next(((mark, codec) for mark, codec in _BOMS if piece.startswith(mark)), no_mark)
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
    # bytes are left over if the file breaks off within a character
    if decoder.getstate()[0]:
        raise build_error(name, "damaged-file")


def detect_utf_16(start: bytes) -> str:
    """Return the UTF-16 encoding of text without a byte-order mark, detected by zero bytes in alternate positions; ""
    for other encodings."""
    look = start[:_LOOK_BYTES]
    low, high = look[1::2].count(0), look[::2].count(0)
    if max(low, high) * 4 > len(look):
        return "utf-16-le" if low > high else "utf-16-be"
    return ""


def _convert_to_utf8(lines: bytes, encoding: str) -> bytes:
    if lines.isascii():
        return lines
    # files that were joined have byte-order marks within the text
    lines = lines.replace(b"\n" + codecs.BOM_UTF8, b"\n")
    try:
        lines.decode("utf-8")
    except UnicodeDecodeError:
        return lines.decode("utf-8", _register_error_handler(encoding)).encode("utf-8")
    return lines


@lru_cache
def _register_error_handler(encoding: str) -> str:
    """Return the name of an error handler that decodes bytes which are not UTF-8 in `encoding`, or in Windows-1252 if
    `encoding` does not extend ASCII."""
    try:
        codec = codecs.lookup(encoding).name
        single = codec not in ("utf-8", "iso8859-1") and _ASCII.decode(codec) == _ASCII.decode("ascii")
    except UnicodeError:
        single = False
    codec = codec if single else FALLBACK_ENCODING

    def read(error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        stray = error.object[error.start : error.end]
        try:
            return stray.decode(codec), error.end
        except UnicodeError:
            # Windows-1252 leaves five bytes undefined
            return stray.decode("latin-1"), error.end

    handler = f"readiness-{codec}"
    codecs.register_error(handler, read)
    return handler


def _convert_line_ends(lines: bytes) -> bytes:
    """Replace carriage returns at line ends with line feeds, unless every line ends with both."""
    if b"\r" in lines and lines.count(b"\r") != lines.count(b"\r\n"):
        return re.sub(rb"\r+\n|\r", b"\n", lines)
    return lines


def _split_whole_rows(lines: bytes, delimiter: str) -> tuple[ByteBlock, bytes]:
    """Split whole lines into whole rows and the lines of a row that continues in the next block."""
    if b'"' not in lines:
        return ByteBlock(lines, True), b""
    if b"=" in lines:
        lines = _build_protected_pattern(delimiter).sub(rb'"\1\2"', lines)
    text = np.frombuffer(lines, np.uint8)
    marks_before_line_ends = np.searchsorted(np.flatnonzero(text == ord('"')), np.flatnonzero(text == ord("\n")))
    # with an even number of marks in every line, no line break is quoted
    if not (marks_before_line_ends & 1).any():
        return ByteBlock(lines, False), b""
    rows, carry = settle(lines, delimiter, final=False)
    return ByteBlock(rows, True), carry


def settle(lines: bytes, delimiter: str, final: bool) -> tuple[bytes, bytes]:
    """Split whole lines into rows, and return the rows and the lines of a row that may continue.

    A quoted field ends at a mark before a delimiter or line end. If there is none (in the `final` lines, or within
    `MAX_ROW_BYTES`), or if text follows the closing mark in a later line, only the first line is replaced with
    `UNBALANCED`, and the next line begins a row.
    """
    sound, goes_on = _build_patterns(delimiter)
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
def _build_patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return patterns of consecutive whole rows, and of the start of a row with a quoted field still open."""
    # possessive quantifiers: without backtracking, time is proportional to the length of a line, whatever it holds
    end = rb"[%b\r\n]" % re.escape(delimiter.encode())
    other = rb"[^%b\r\n]" % re.escape(delimiter.encode())
    inside = rb'"(?:[^"]++|"")*+'
    quoted = rb'%b"(?=%b)|"(?:[^"\r\n]++|"")*+"%b*+' % (inside, end, other)
    field = rb'(?:%b|(?!")%b++|(?=%b))' % (quoted, other, end)
    between = re.escape(delimiter.encode())
    sound = re.compile(rb"(?:%b(?:%b%b)*+\r?\n)++" % (field, between, field))
    goes_on = re.compile(rb"(?:%b%b)*+%b\Z" % (field, between, inside))
    return sound, goes_on


@lru_cache
def _build_protected_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Return a pattern of fields such as `="0383"`, which makes Excel keep a zero."""
    other = rb"[^%b\r\n]" % re.escape(delimiter.encode())
    return re.compile(rb'(?<!%b)(?:="([^"\r\n]++)"|"=""([^"\r\n]++)""")(?!%b)' % (other, other))

"""Excel workbooks (.xlsx): the visible sheet with the extract's columns, each cell as the text a text file would have.

Dates are ISO, whole numbers have no decimal point, truth values are TRUE and FALSE, an error (`#N/A`) is the text that
Excel shows. A cell that is read and holds a formula stops the extract: what it shows may be of another day, or of
another file. The header may stand below titles, in one of the first 21 rows; `source_row` counts the sheet's rows from
there, blank ones too.

Cells are streamed: memory holds the workbook's table of texts and some rows. (Libraries at hand read a cell five times
as slowly, or hold the whole sheet and do not show formulas.) Parts are XML, read by expat: no tree, no entity, nothing
fetched; what a part says of formulas, macros and links is never followed.
"""

from __future__ import annotations

import io
import posixpath
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import islice
from typing import BinaryIO
from xml.parsers import expat

import pyarrow as pa

from sources.extract.match import MAX_SKIPPED, MIN_KNOWN, best_line
from sources.extract.readers.content import DAMAGE, Content, may_unpack_to, open_member, zip_entries
from sources.extract.rules import (
    DAMAGED,
    DOCUMENT_TYPE,
    FORMULA,
    LONG_ROW,
    LONG_VALUE,
    NO_SHEET,
    SEVERAL_SHEETS,
    TOO_MANY_COLUMNS,
    TOO_MANY_SHEETS,
    UNPACKS_TOO_LARGE,
    stopped,
)
from sources.extract.table import MAX_COLUMNS, SOURCE_ROW, TextTable, checked_header

Attributes = dict[str, str]

MAX_ROWS = 1 << 20
"""Rows of a sheet (ECMA-376, as Excel has them)."""
MAX_SHEETS = 100
_BLOCK_BYTES = 256 << 10
_HEADER_BLOCKS = 64
"""Of a sheet, in which its header row is looked for."""
_MAX_HELD = 256 << 20
"""Bytes of one part that is held in memory, as Python holds it: texts that cells share, elements of a small part."""
_ELEMENT_BYTES, _POINTER_BYTES = 400, 8
_BATCH_TEXT = 16 << 20
_MAX_TEXT, _MAX_ROW_TEXT = 1 << 20, 4 << 20
_MAX_NUMBER = 40
"""Characters of a number; longer ones are texts."""
_MAX_CELLS = 1 << 14
_COLUMN = re.compile("[A-Z]{1,3}")
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_BATCH_ROWS = 8 << 10
_MAX_SHOWN_CELLS = 3
_DATE_FORMATS = {str(number) for numbers in ((14, 23), (27, 37), (45, 48), (50, 59)) for number in range(*numbers)}
"""Number formats without a code of their own that are dates or times (ECMA-376 part 1, 18.8.30)."""
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_CODE = re.compile("[dmyhs]", re.IGNORECASE)
_TRUE_VALUES = ("1", "true")


@dataclass(frozen=True)
class Sheet:
    """A visible sheet: its number among them, from 1, the sender's own name of it, which no message repeats, and the
    part of the workbook that holds it."""

    number: int
    called: str
    part: str


class Workbook:
    """A workbook's parts; raises `ExtractStopped` where one is missing or damaged. Its cells may hold no more text than
    `may_hold` bytes, however often they repeat one."""

    def __init__(self, content: Content) -> None:
        self.name = content.name
        self._open = content.open
        with content.open() as stream:
            self._entries = {entry.filename.lower(): entry for entry in zip_entries(content.name, stream)}
            self._size = stream.seek(0, io.SEEK_END)
        self.may_hold = may_unpack_to(self._size)
        main = [part for kind, part in self._relations("").values() if kind == "officeDocument"]
        self._part = main[0] if main else "xl/workbook.xml"
        self._elements = elements(self.name, self._stream(self._part))
        self._related = self._relations(self._part)

    @cached_property
    def sheets(self) -> list[Sheet]:
        """The visible sheets of cells, in their order."""
        found: list[Sheet] = []
        for tag, attributes in self._elements:
            kind, part = self._related.get(attributes.get("id", ""), ("", ""))
            if tag == "sheet" and kind == "worksheet" and attributes.get("state", "visible") == "visible":
                found.append(Sheet(len(found) + 1, attributes.get("name", ""), part))
                if len(found) > MAX_SHEETS:
                    raise stopped(self.name, TOO_MANY_SHEETS)
        return found

    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        """The rows that are written in a sheet, some at a time."""
        with self._stream(sheet.part) as stream:
            yield from sheet_rows(self.name, stream, self._strings, self._date_styles, self._epoch_1904)

    @cached_property
    def _strings(self) -> list[str]:
        parts = [part for kind, part in self._related.values() if kind == "sharedStrings"]
        return shared_strings(self.name, self._stream(parts[0])) if parts else []

    @cached_property
    def _epoch_1904(self) -> bool:
        return any(
            tag == "workbookPr" and attributes.get("date1904") in _TRUE_VALUES for tag, attributes in self._elements
        )

    @cached_property
    def _date_styles(self) -> list[bool]:
        """By cell style, whether its numbers are dates."""
        parts = [part for kind, part in self._related.values() if kind == "styles"]
        found = elements(self.name, self._stream(parts[0])) if parts else []
        codes = {each.get("numFmtId"): each.get("formatCode", "") for tag, each in found if tag == "numFmt"}
        tags = [tag for tag, _ in found]
        cell_styles = found[tags.index("cellXfs") :] if "cellXfs" in tags else []
        formats = [attributes.get("numFmtId", "0") for tag, attributes in cell_styles if tag == "xf"]
        return [_is_date(codes[each]) if each in codes else each in _DATE_FORMATS for each in formats]

    def _stream(self, part: str) -> BinaryIO:
        entry = self._entries.get(part.lower())
        if entry is None:
            raise stopped(self.name, DAMAGED)
        return open_member(self.name, self._open(), entry, self._size)

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Kind and part of each part that `part` relates to, by the id it goes by there."""
        folder, file = posixpath.split(part)
        relations = posixpath.join(folder, "_rels", f"{file}.rels")
        if relations.lower() not in self._entries:
            return {}
        return {
            each.get("Id", ""): (
                posixpath.basename(each.get("Type", "")),
                posixpath.normpath(posixpath.join("/", folder, each.get("Target", ""))).lstrip("/"),
            )
            for tag, each in elements(self.name, self._stream(relations))
            if tag == "Relationship" and each.get("TargetMode") != "External"
        }


def open_workbook(content: Content, known: Container[str]) -> TextTable:
    """Open the sheet under whose header most columns are `known`; raises `ExtractStopped` where two are as good."""
    book = Workbook(content)
    counts = [_header(book, sheet, known)[1] for sheet in book.sheets]
    best = max(counts, default=0)
    if best < MIN_KNOWN:
        raise stopped(content.name, NO_SHEET)
    found = [sheet for sheet, count in zip(book.sheets, counts, strict=True) if count == best]
    if len(found) > 1:
        shown = found[:_MAX_SHOWN_CELLS]
        numbers = ", ".join(f"sheet {sheet.number}" for sheet in shown)
        raise stopped(content.name, SEVERAL_SHEETS, numbers, ", ".join(sheet.called for sheet in shown))
    return open_sheet(book, found[0], known)


def open_sheet(book: Workbook, sheet: Sheet, known: Container[str]) -> TextTable:
    """Open one sheet as a table; raises `ExtractStopped`, at once or while its batches are read.

    `known` are the keys of the column names by which the header row is found (`sources.extract.match.known_keys`).
    """
    row, count = _header(book, sheet, known)
    if count < MIN_KNOWN:
        raise stopped(book.name, NO_SHEET, f"sheet {sheet.number}", sheet.called)
    width = max(column for column, text in row.cells.items() if text.strip()) + 1
    if width > MAX_COLUMNS:
        raise stopped(book.name, TOO_MANY_COLUMNS)
    header = checked_header(book.name, [row.cells.get(column, "") for column in range(width)])
    return TextTable(header, lambda names: _batches(book, sheet, row.number, [*map(header.index, names)], names))


def _header(book: Workbook, sheet: Sheet, known: Container[str]) -> tuple[SheetRow, int]:
    """The row with most known names among the first of a sheet, and how many it has."""
    first: list[SheetRow] = []
    for rows in islice(book.rows(sheet), _HEADER_BLOCKS):
        first += [row for row in rows if row.number <= MAX_SKIPPED + 1]
        if rows and rows[-1].number > MAX_SKIPPED:
            break
    best, count = best_line([list(row.cells.values()) for row in first], known)
    return (first[best], count) if first else (SheetRow(0), 0)


def _batches(
    book: Workbook, sheet: Sheet, header_row: int, columns: list[int], names: list[str]
) -> Iterator[pa.RecordBatch]:
    waiting: list[SheetRow] = []
    size, left = 0, book.may_hold
    for rows in book.rows(sheet):
        _refuse_formulas(book.name, sheet, [row for row in rows if row.number >= header_row and row.formulas], columns)
        for row in rows:
            if row.number > header_row:
                waiting.append(row)
                size += sum(len(row.cells.get(column, "")) for column in columns)
            if len(waiting) >= _BATCH_ROWS or size > _BATCH_TEXT:
                left -= size
                if left < 0:
                    raise stopped(book.name, UNPACKS_TOO_LARGE)
                yield _batch(waiting, header_row, columns, names)
                waiting, size = [], 0
    yield _batch(waiting, header_row, columns, names)


def _batch(rows: list[SheetRow], header_row: int, columns: list[int], names: list[str]) -> pa.RecordBatch:
    text = [pa.array([row.cells.get(column, "") for row in rows], pa.string()) for column in columns]
    numbers = pa.array([row.number - header_row for row in rows], pa.int64())
    return pa.record_batch([*text, numbers], names=[*names, SOURCE_ROW])


def _refuse_formulas(name: str, sheet: Sheet, rows: list[SheetRow], columns: list[int]) -> None:
    wanted = set(columns)
    found = [f"{_letters(column)}{row.number}" for row in rows for column in sorted(row.formulas & wanted)]
    if found:
        cells = ", ".join(found[:_MAX_SHOWN_CELLS]) + (" and more" if len(found) > _MAX_SHOWN_CELLS else "")
        raise stopped(name, FORMULA, f"sheet {sheet.number}, {cells}", f"{sheet.called}, {cells}")


def _letters(column: int) -> str:
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _is_date(code: str) -> bool:
    return bool(_DATE_CODE.search(_NOT_CODE.sub("", code.partition(";")[0])))


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet: its number there, the text of each filled cell by column from 0, the columns with a formula."""

    number: int
    cells: dict[int, str] = field(default_factory=dict)
    formulas: set[int] = field(default_factory=set)


def parse(
    name: str,
    stream: BinaryIO,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> Iterator[None]:
    """Feed a part to the call-backs, which get local names; yields after each block. Raises `ExtractStopped`."""

    def refuse(*_: object) -> None:
        raise stopped(name, DOCUMENT_TYPE)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    fed = 0
    try:
        while block := stream.read(_BLOCK_BYTES):
            fed += len(block)
            parser.Parse(block, False)
            if fed - parser.CurrentByteIndex > _MAX_TEXT + _BLOCK_BYTES:
                raise stopped(name, LONG_ROW)
            yield
        parser.Parse(b"", True)
        yield
    except (expat.ExpatError, *DAMAGE):
        raise stopped(name, DAMAGED) from None


def elements(name: str, stream: BinaryIO) -> list[tuple[str, Attributes]]:
    """Local name and attributes (by local name) of every element of a small part, in the order they begin."""
    found: list[tuple[str, Attributes]] = []
    size = 0

    def start(tag: str, attributes: Attributes) -> None:
        nonlocal size
        size += _ELEMENT_BYTES + len(tag) + sum(len(key) + len(value) for key, value in attributes.items())
        if size > _MAX_HELD:
            raise stopped(name, UNPACKS_TOO_LARGE)
        found.append((local(tag), {local(key): value for key, value in attributes.items()}))

    for _ in parse(name, stream, start, lambda _: None, lambda _: None):
        pass
    return found


def shared_strings(name: str, stream: BinaryIO) -> list[str]:
    """The workbook's table of texts; runs of a formatted text joined, phonetic hints left out."""
    strings: list[str] = []
    pieces: list[str] = []
    inside = hint = False
    size = length = 0

    def start(tag: str, _: Attributes) -> None:
        nonlocal inside, hint
        tag = local(tag)
        hint = hint or tag == "rPh"
        inside = tag == "t" and not hint

    def end(tag: str) -> None:
        nonlocal inside, hint, size, length
        tag = local(tag)
        inside = False
        if tag == "rPh":
            hint = False
        elif tag == "si":
            strings.append(unescaped("".join(pieces)))
            size += sys.getsizeof(strings[-1]) + _POINTER_BYTES
            if size > _MAX_HELD:
                raise stopped(name, UNPACKS_TOO_LARGE)
            pieces.clear()
            length = 0

    def text(data: str) -> None:
        nonlocal length
        if inside:
            pieces.append(data)
            length += len(data)
            if length > _MAX_TEXT:
                raise stopped(name, LONG_VALUE)

    for _ in parse(name, stream, start, end, text):
        pass
    return strings


def sheet_rows(
    name: str, stream: BinaryIO, strings: Sequence[str], date_styles: Sequence[bool], epoch_1904: bool
) -> Iterator[list[SheetRow]]:
    """The rows of a sheet that are written in it, block by block. Raises `ExtractStopped`."""
    reader = _SheetReader(name, strings, date_styles, epoch_1904)
    for _ in parse(name, stream, reader.start, reader.end, reader.text):
        yield reader.rows
        reader.rows = []


class _SheetReader:
    """Call-backs that build rows; types as text as a text file would have them."""

    def __init__(self, name: str, strings: Sequence[str], date_styles: Sequence[bool], epoch_1904: bool) -> None:
        self.rows: list[SheetRow] = []
        self._name, self._strings, self._date_styles, self._epoch_1904 = name, strings, date_styles, epoch_1904
        self._row, self._length = SheetRow(0), 0
        self._column, self._type, self._style = -1, "n", ""
        self._pieces: list[str] = []
        self._inside = self._hint = False

    def start(self, tag: str, attributes: Attributes) -> None:
        if ":" in tag:
            tag = local(tag)
        if tag == "c":
            reference = attributes.get("r")
            self._column = column_index(reference.rstrip("0123456789")) if reference else self._column + 1
            self._type = attributes.get("t", "n")
            self._style = attributes.get("s", "")
        elif tag == "v" or tag == "t":
            self._inside = not self._hint
        elif tag == "f":
            self._row.formulas.add(self._column)
        elif tag == "row":
            number = int(attributes.get("r") or self._row.number + 1)
            if not self._row.number < number <= MAX_ROWS:
                raise ValueError
            self._row, self._column, self._length = SheetRow(number), -1, 0
        elif tag == "rPh":
            self._hint = True

    def text(self, data: str) -> None:
        if self._inside:
            self._pieces.append(data)
            if len(self._pieces) > 1 and sum(map(len, self._pieces)) > _MAX_TEXT:
                raise stopped(self._name, LONG_ROW)

    def end(self, tag: str) -> None:
        if ":" in tag:
            tag = local(tag)
        if tag == "v" or tag == "t":
            self._inside = False
        elif tag == "c":
            if self._pieces:
                text = self._as_text("".join(self._pieces))
                self._row.cells[self._column] = text
                self._length += len(text)
                if self._length > _MAX_ROW_TEXT:
                    raise stopped(self._name, LONG_ROW)
                self._pieces.clear()
        elif tag == "row":
            if len(self._row.cells) > _MAX_CELLS:
                raise stopped(self._name, LONG_ROW)
            self.rows.append(self._row)
        elif tag == "rPh":
            self._hint = False

    def _as_text(self, value: str) -> str:
        match self._type:
            case "s":
                return self._strings[int(value)]
            case "n":
                if len(value) > _MAX_NUMBER:
                    return value
                if self._style and self._date_styles[int(self._style)]:
                    return serial_date(value, self._epoch_1904)
                return value if value.isdigit() else number_text(value)
            case "b":
                return "TRUE" if value.strip() == "1" else "FALSE"
            case "d":
                return value.removesuffix("Z").replace("T00:00:00", "").replace("T", " ")
            case _:
                return unescaped(value)


def local(tag: str) -> str:
    """A name without its prefix."""
    return tag.rpartition(":")[2]


@lru_cache(maxsize=1 << 14)
def column_index(letters: str) -> int:
    """0 for A, 26 for AA; raises `ValueError` for what is no column."""
    if not _COLUMN.fullmatch(letters):
        raise ValueError
    index = 0
    for letter in letters:
        index = index * 26 + ord(letter) - ord("A") + 1
    return index - 1


@lru_cache(maxsize=1 << 14)
def number_text(value: str) -> str:
    """A number to the 15 digits that Excel has, whole ones without a decimal point; other text as it is."""
    try:
        number = float(value)
    except ValueError:
        return value
    if number.is_integer() and abs(number) < 1e15:
        return str(int(number))
    return format(number, ".15g")


@lru_cache(maxsize=1 << 14)
def serial_date(value: str, epoch_1904: bool) -> str:
    """A date serial as an ISO date, with the time where it has one; another number as it is.

    Serials of the 1900 system count 29 February 1900, a day that was not, as 60 (ECMA-376 part 1, 18.17.4.1).
    """
    try:
        days, seconds = divmod(round(float(value) * 86400), 86400)
        if days < (0 if epoch_1904 else 1):
            return number_text(value)
        if epoch_1904:
            moment = datetime(1904, 1, 1) + timedelta(days=days, seconds=seconds)
        elif days == 60:
            return "1900-02-29"
        else:
            moment = datetime(1899, 12, 31 if days < 60 else 30) + timedelta(days=days, seconds=seconds)
    except (ArithmeticError, ValueError):
        return number_text(value)
    return moment.isoformat(" ") if seconds else moment.date().isoformat()


def unescaped(text: str) -> str:
    """`_x000D_` is how a sheet writes a carriage return."""
    return _ESCAPED.sub(_character, text) if "_x" in text else text


def _character(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return found[0] if 0xD800 <= code <= 0xDFFF else chr(code)

"""Sheets of a workbook, whatever its format: which one is read, where its header stands, what its cells say as text.

The visible sheet with most of the extract's columns is read, or the one that the council file names. The header may
stand below titles, in one of the first 21 rows; `source_row` counts the sheet's rows from there, blank ones too. Dates
are ISO, whole numbers have no decimal point, truth values are TRUE and FALSE, an error (`#N/A`) is the text that Excel
shows. A cell that is read and holds a formula stops the extract: what it shows may be of another day, or of another
file.
"""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice

import pyarrow as pa

from sources.extract.match import MAX_SKIPPED, MIN_KNOWN, best_line
from sources.extract.readers.content import DAMAGE
from sources.extract.rules import (
    DAMAGED,
    FORMULA,
    LONG_ROW,
    NO_SHEET,
    NO_SUCH_SHEET,
    SEVERAL_SHEETS,
    TOO_MANY_COLUMNS,
    TOO_MANY_SHEETS,
    UNPACKS_TOO_LARGE,
    stopped,
)
from sources.extract.table import MAX_COLUMNS, SOURCE_ROW, SheetTaken, TextTable, checked_header

MAX_ROWS = 1 << 20
"""Rows of a sheet (ECMA-376, as Excel has them)."""
MAX_SHEETS = 100
MAX_HELD = 256 << 20
"""Bytes of one part that is held in memory, as Python holds it: texts that cells share, elements of a small part."""
MAX_TEXT, MAX_ROW_TEXT = 1 << 20, 4 << 20
"""Characters of a value and of a row."""
MAX_CELLS = 1 << 14
"""Cells of a row."""
POINTER_BYTES = 8
_HEADER_BLOCKS = 64
"""Of a sheet, in which its header row is looked for."""
_BATCH_TEXT = 16 << 20
_BATCH_ROWS = 8 << 10
_BLOCK_CELLS = 16 << 10
_MAX_SHOWN_CELLS = 3
_DATE_FORMATS = {number for numbers in ((14, 23), (27, 37), (45, 48), (50, 59)) for number in range(*numbers)}
"""Number formats without a code of their own that are dates or times (ECMA-376 part 1, 18.8.30)."""
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_CODE = re.compile("[dmyhs]", re.IGNORECASE)
_ERRORS = {0x00: "#NULL!", 0x07: "#DIV/0!", 0x0F: "#VALUE!", 0x17: "#REF!", 0x1D: "#NAME?", 0x24: "#NUM!", 0x2A: "#N/A"}
"""What Excel shows for an error code ([MS-XLS] 2.5.10, BErr)."""


@dataclass(frozen=True)
class Sheet:
    """A visible sheet: its number among them, from 1, the sender's own name of it, which no log repeats, and what its
    workbook finds it by."""

    number: int
    called: str
    part: str


@dataclass(slots=True)
class SheetRow:
    """A row of a sheet: its number there, the text of each filled cell by column from 0, the columns with a formula."""

    number: int
    cells: dict[int, str] = field(default_factory=dict)
    formulas: set[int] = field(default_factory=set)


class RowsRead:
    """Rows put together from cells that are read one by one, row after row; bounded in what it holds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._row, self._rows = SheetRow(0), list[SheetRow]()
        self._length = self._cells = 0

    def add(self, number: int, column: int, text: str, formula: bool) -> None:
        """A cell of row `number`, from 1; raises `ValueError` where rows do not rise or a cell is outside a sheet."""
        if number != self._row.number:
            if not self._row.number < number <= MAX_ROWS:
                raise ValueError
            self._row, self._length = SheetRow(number), 0
            self._rows.append(self._row)
        if not 0 <= column < MAX_CELLS:
            raise ValueError
        if text:
            self._row.cells[column] = text
        if formula:
            self._row.formulas.add(column)
        self._cells += 1
        self._length += len(text)
        if self._length > MAX_ROW_TEXT:
            raise stopped(self._name, LONG_ROW)

    def full(self) -> list[SheetRow]:
        """The rows before the one that is being read, once they hold many cells; they are held no longer."""
        if self._cells < _BLOCK_CELLS or len(self._rows) < 2:
            return []
        given, self._rows, self._cells = self._rows[:-1], [self._row], 0
        return given

    def rest(self) -> list[SheetRow]:
        """The rows that were not given yet, at the sheet's end."""
        return self._rows


@contextmanager
def stopping_at_damage(name: str) -> Iterator[None]:
    """What goes wrong while a binary part is taken to pieces is damage of the file."""
    try:
        yield
    except DAMAGE:
        raise stopped(name, DAMAGED) from None


class Book(ABC):
    """A workbook. Its cells may hold no more text than `may_hold` bytes, however often they repeat one."""

    name: str
    may_hold: int

    @property
    @abstractmethod
    def sheets(self) -> list[Sheet]:
        """The visible sheets of cells, in their order; raises `ExtractStopped`, as `rows` does."""

    @abstractmethod
    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        """The rows that are written in a sheet, by rising number, some at a time."""

    def top(self, sheet: Sheet) -> list[SheetRow]:
        """Those among which the header row is looked for."""
        first: list[SheetRow] = []
        for rows in islice(self.rows(sheet), _HEADER_BLOCKS):
            first += [row for row in rows if row.number <= MAX_SKIPPED + 1]
            if rows and rows[-1].number > MAX_SKIPPED:
                break
        return first


def numbered_sheets(name: str, found: Iterable[tuple[str, str]]) -> list[Sheet]:
    """The visible sheets of a workbook, by what they are called and found by; raises `ExtractStopped` for too many."""
    few = islice(found, MAX_SHEETS + 1)
    sheets = [Sheet(number, called, part) for number, (called, part) in enumerate(few, 1)]
    if len(sheets) > MAX_SHEETS:
        raise stopped(name, TOO_MANY_SHEETS)
    return sheets


def open_book(book: Book, known: Container[str], called: str | None = None) -> TextTable:
    """Open the sheet that is `called` so, else the one under whose header most columns are `known`.

    Raises `ExtractStopped` where there is none, or where two are as good.
    """
    if called is not None:
        return open_sheet(book, _called(book, called), known)
    counts = [_header(book, sheet, known)[1] for sheet in book.sheets]
    best = max(counts, default=0)
    if best < MIN_KNOWN:
        raise stopped(book.name, NO_SHEET)
    found = [sheet for sheet, count in zip(book.sheets, counts, strict=True) if count == best]
    if len(found) > 1:
        shown = found[:_MAX_SHOWN_CELLS]
        raise stopped(book.name, SEVERAL_SHEETS, ", ".join(f"sheet {sheet.number}" for sheet in shown))
    return open_sheet(book, found[0], known)


def open_sheet(book: Book, sheet: Sheet, known: Container[str]) -> TextTable:
    """Open one sheet as a table; raises `ExtractStopped`, at once or while its batches are read.

    `known` are the keys of the column names by which the header row is found (`sources.extract.match.known_keys`).
    """
    row, count = _header(book, sheet, known)
    if count < MIN_KNOWN:
        raise stopped(book.name, NO_SHEET, f"sheet {sheet.number}")
    width = max(column for column, text in row.cells.items() if text.strip()) + 1
    if width > MAX_COLUMNS:
        raise stopped(book.name, TOO_MANY_COLUMNS)
    header = checked_header(book.name, [row.cells.get(column, "") for column in range(width)])
    return TextTable(
        header,
        lambda names: _batches(book, sheet, row.number, [*map(header.index, names)], names),
        sheet=SheetTaken(sheet.number, row.number, len(book.sheets) - 1),
    )


def _called(book: Book, called: str) -> Sheet:
    """The visible sheet of a name, letter case and blanks at its ends aside, as Excel tells names apart."""
    for sheet in book.sheets:
        if sheet.called.strip().casefold() == called.strip().casefold():
            return sheet
    raise stopped(book.name, NO_SUCH_SHEET, "", repr(called))


def _header(book: Book, sheet: Sheet, known: Container[str]) -> tuple[SheetRow, int]:
    """The row with most known names among the first of a sheet, and how many it has."""
    first = book.top(sheet)
    best, count = best_line([list(row.cells.values()) for row in first], known)
    return (first[best], count) if first else (SheetRow(0), 0)


def _batches(
    book: Book, sheet: Sheet, header_row: int, columns: list[int], names: list[str]
) -> Iterator[pa.RecordBatch]:
    numbers: list[int] = []
    cells: list[list[str]] = []
    size, left = 0, book.may_hold
    for rows in book.rows(sheet):
        _refuse_formulas(book.name, sheet, [row for row in rows if row.number >= header_row and row.formulas], columns)
        for row in rows:
            if row.number > header_row:
                numbers.append(row.number - header_row)
                cells.append([row.cells.get(column, "") for column in columns])
                size += sum(map(len, cells[-1]))
            if len(numbers) >= _BATCH_ROWS or size > _BATCH_TEXT:
                left -= size
                if left < 0:
                    raise stopped(book.name, UNPACKS_TOO_LARGE)
                yield _batch(numbers, cells, names)
                numbers, cells, size = [], [], 0
    yield _batch(numbers, cells, names)


def _batch(numbers: list[int], cells: list[list[str]], names: list[str]) -> pa.RecordBatch:
    text = [pa.array([row[index] for row in cells], pa.string()) for index in range(len(names))]
    return pa.record_batch([*text, pa.array(numbers, pa.int64())], names=[*names, SOURCE_ROW])


def _refuse_formulas(name: str, sheet: Sheet, rows: list[SheetRow], columns: list[int]) -> None:
    wanted = set(columns)
    found = [f"{_letters(column)}{row.number}" for row in rows for column in sorted(row.formulas & wanted)]
    if found:
        cells = ", ".join(found[:_MAX_SHOWN_CELLS]) + (" and more" if len(found) > _MAX_SHOWN_CELLS else "")
        raise stopped(name, FORMULA, f"sheet {sheet.number}, {cells}")


def _letters(column: int) -> str:
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def is_date_format(number: int, code: str | None) -> bool:
    """Whether a number format shows numbers as dates or times: by its own code, else by its number."""
    if code is None:
        return number in _DATE_FORMATS
    return bool(_DATE_CODE.search(_NOT_CODE.sub("", code.partition(";")[0])))


def error_text(code: int) -> str:
    """What Excel shows for an error code; raises `KeyError` for what is none."""
    return _ERRORS[code]


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


@dataclass(frozen=True)
class Styles:
    """By cell style, whether its numbers are dates, and in which of the two date systems."""

    are_dates: list[bool]
    epoch_1904: bool

    def text(self, number: float, style: int) -> str:
        """A number of a cell as text; raises `IndexError` for a style that is not there."""
        if self.are_dates[style]:
            return serial_date(repr(number), self.epoch_1904)
        return number_text(repr(number))


def rk_number(value: int) -> float:
    """The number that 32 bits of a binary workbook stand for ([MS-XLS] 2.5.218, RkNumber)."""
    if value & 2:
        whole = (value >> 2) - (1 << 30 if value & 0x80000000 else 0)
        number = float(whole)
    else:
        number = struct.unpack("<d", struct.pack("<Q", (value & 0xFFFFFFFC) << 32))[0]
    return number / 100 if value & 1 else number

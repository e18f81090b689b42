"""OpenDocument spreadsheets (.ods): `content.xml` in a zip archive, streamed as the XML of a .xlsx is.

A row or a cell may say that it is repeated: rows are given one by one, and cells as far as a header may reach, so that
a few bytes cannot become many. A workbook holds all its sheets in one part, which is read from its start for each.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from sources.extract.match import MAX_SKIPPED
from sources.extract.readers.content import Content, may_unpack_to, open_member, zip_entries
from sources.extract.readers.sheets import (
    MAX_CELLS,
    MAX_ROW_TEXT,
    MAX_ROWS,
    MAX_SHEETS,
    MAX_TEXT,
    Book,
    Sheet,
    SheetRow,
    number_text,
    numbered_sheets,
    serial_date,
)
from sources.extract.readers.workbook import Attributes, local, parse
from sources.extract.rules import LONG_ROW, LONG_VALUE, TOO_MANY_SHEETS, UNPACKS_TOO_LARGE, stopped
from sources.extract.table import MAX_COLUMNS

_CONTENT = "content.xml"
_ROWS_AT_ONCE = 1 << 10
_MAX_STYLES = 1 << 16
_BLANKS = re.compile("[ \t\r\n]+")
_TIME = re.compile(r"PT(\d+)H(\d+)M(\d+)(?:[.,]\d+)?S")
_ASIDE = ("annotation", "custom-shape", "dde-links", "forms", "frame", "g", "ruby-text", "shapes", "tracked-changes")
"""Elements whose texts and tables are no cells of a sheet."""


class OpenDocument(Book):
    """An OpenDocument spreadsheet; raises `ExtractStopped` where it is damaged."""

    def __init__(self, content: Content) -> None:
        self.name = content.name
        self._open = content.open
        with content.open() as stream:
            entries = {entry.filename: entry for entry in zip_entries(content.name, stream)}
            self._size = stream.seek(0, io.SEEK_END)
        self._entry = entries[_CONTENT]
        self.may_hold = may_unpack_to(self._size)

    @cached_property
    def _tables(self) -> dict[int, tuple[str, list[SheetRow]]]:
        """What each visible table is called, and its first rows, by the table's number in the file."""
        reader, tops = _Reader(self.name, MAX_SKIPPED + 1), dict[int, list[SheetRow]]()
        for table, row, times in self._read(reader):
            top = tops.setdefault(table, [])
            top += _repeated(row, min(times, MAX_SKIPPED + 2 - row.number))
        return {table: (called, tops.get(table, [])) for table, called in reader.visible.items()}

    @cached_property
    def sheets(self) -> list[Sheet]:
        return numbered_sheets(self.name, ((called, str(table)) for table, (called, _) in self._tables.items()))

    def top(self, sheet: Sheet) -> list[SheetRow]:
        return self._tables[int(sheet.part)][1]

    def rows(self, sheet: Sheet) -> Iterator[list[SheetRow]]:
        found = self._of(int(sheet.part))
        while rows := list(islice(found, _ROWS_AT_ONCE)):
            yield rows

    def _of(self, wanted: int) -> Iterator[SheetRow]:
        for table, row, times in self._read(_Reader(self.name, MAX_ROWS)):
            if table == wanted:
                yield from _repeated(row, times)

    def _read(self, reader: _Reader) -> Iterator[tuple[int, SheetRow, int]]:
        """The rows that hold something: the number of their table, the first of them, and how many are like it."""
        with open_member(self.name, self._open(), self._entry, self._size) as stream:
            for _ in parse(self.name, stream, reader.start, reader.end, reader.text):
                yield from reader.rows
                reader.rows = []


def _repeated(row: SheetRow, times: int) -> Iterator[SheetRow]:
    return (SheetRow(row.number + further, row.cells, row.formulas) for further in range(times))


class _Reader:
    """Call-backs that build the first `rows` of each visible table; types as text as a text file would have them."""

    def __init__(self, name: str, rows: int) -> None:
        self._wanted = rows
        self.rows: list[tuple[int, SheetRow, int]] = []
        self.visible: dict[int, str] = {}
        self._name = name
        self._style, self._hidden = "", set[str]()
        self._table, self._depth, self._aside = 0, 0, 0
        self._row, self._next_row, self._rows_like_it = SheetRow(0), 1, 1
        self._cell: Attributes = {}
        self._cell_depth, self._column, self._length = 0, 0, 0
        self._pieces: list[str] = []
        self._text_length, self._in_paragraph = 0, False

    def start(self, tag: str, attributes: Attributes) -> None:
        tag = local(tag)
        self._depth += 1
        if self._aside:
            return
        if tag in _ASIDE or (self._cell_depth and tag == "table"):
            self._aside = self._depth
        elif self._cell_depth:
            self._within_cell(tag, attributes)
        else:
            self._outside_cells(tag, {local(key): value for key, value in attributes.items()})

    def _outside_cells(self, tag: str, attributes: Attributes) -> None:
        if tag == "table-cell" or tag == "covered-table-cell":
            self._cell, self._cell_depth = attributes, self._depth
        elif tag == "table-row":
            self._rows_like_it = _times(attributes.get("number-rows-repeated"))
            self._row, self._column, self._length = SheetRow(self._next_row), 0, 0
            self._next_row += self._rows_like_it
            if self._next_row > MAX_ROWS + 1:
                raise ValueError
        elif tag == "table":
            self._table += 1
            self._next_row = 1
            if attributes.get("style-name") not in self._hidden:
                self.visible[self._table] = attributes.get("name", "")
            if len(self.visible) > MAX_SHEETS:
                raise stopped(self._name, TOO_MANY_SHEETS)
        elif tag == "style":
            self._style = attributes.get("name", "")
        elif tag == "table-properties" and attributes.get("display") == "false":
            self._hidden.add(self._style)
            if len(self._hidden) > _MAX_STYLES:
                raise stopped(self._name, UNPACKS_TOO_LARGE)

    def _within_cell(self, tag: str, attributes: Attributes) -> None:
        if tag == "p" and self._depth == self._cell_depth + 1:
            if self._pieces:
                self._add("\n")
            self._in_paragraph = True
        elif tag == "s":
            blanks = next((value for key, value in attributes.items() if local(key) == "c"), "1")
            self._add(" " * min(_times(blanks), MAX_TEXT + 1))
        elif tag == "tab" or tag == "line-break":
            self._add("\t" if tag == "tab" else "\n")

    def text(self, data: str) -> None:
        if self._in_paragraph and not self._aside:
            self._add(_BLANKS.sub(" ", data))

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._text_length += len(text)
        if self._text_length > MAX_TEXT:
            raise stopped(self._name, LONG_VALUE)

    def end(self, tag: str) -> None:
        tag = local(tag)
        if self._aside:
            self._aside = 0 if self._aside == self._depth else self._aside
        elif self._cell_depth == self._depth:
            self._end_cell(covered=tag == "covered-table-cell")
        elif self._depth == self._cell_depth + 1:
            self._in_paragraph = False
        elif tag == "table-row" and (self._row.cells or self._row.formulas) and self._table in self.visible:
            self.rows.append((self._table, self._row, self._rows_like_it))
        self._depth -= 1

    def _end_cell(self, covered: bool) -> None:
        """A cell that others cover shows nothing."""
        first, times = self._column, _times(self._cell.get("number-columns-repeated"))
        self._column += times
        if self._column > MAX_CELLS:
            raise ValueError
        text = "" if covered else _as_text(self._cell, "".join(self._pieces))
        columns = range(first, max(min(self._column, MAX_COLUMNS + 1), first + 1))
        if text and self._row.number <= self._wanted:
            self._row.cells.update(dict.fromkeys(columns, text))
        if "formula" in self._cell:
            self._row.formulas.update(columns)
        self._length += len(text) * len(columns)
        if self._length > MAX_ROW_TEXT:
            raise stopped(self._name, LONG_ROW)
        self._pieces.clear()
        self._cell_depth, self._text_length, self._in_paragraph = 0, 0, False


def _times(written: str | None) -> int:
    """How often something is repeated; raises `ValueError` for what is no such number."""
    times = int(written or 1)
    if times < 1:
        raise ValueError
    return times


def _as_text(cell: Attributes, written: str) -> str:
    """The text of a cell by its type; `written` is what it shows."""
    match cell.get("value-type"):
        case "float" | "percentage" | "currency":
            return number_text(cell.get("value", written))
        case "date":
            date, _, time = cell.get("date-value", written).removesuffix("Z").partition("T")
            time = time.partition(".")[0]
            return f"{date} {time}" if time.strip("0:") else date
        case "time" if found := _TIME.fullmatch(cell.get("time-value", "")):
            hours, minutes, seconds = map(int, found.groups())
            return serial_date(repr((hours * 3600 + minutes * 60 + seconds) / 86400), False)
        case "boolean":
            return "TRUE" if cell.get("boolean-value") == "true" else "FALSE"
        case "string":
            return cell.get("string-value") or written
    return written

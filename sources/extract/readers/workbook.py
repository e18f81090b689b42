"""Excel workbooks (.xlsx): the visible sheet with the extract's columns, each cell as the text a text file would have.

Dates are ISO, whole numbers have no decimal point, truth values are TRUE and FALSE, an error (`#N/A`) is the text that
Excel shows. A cell that is read and holds a formula stops the extract: what it shows may be of another day, or of
another file. The header may stand below titles, in one of the first 21 rows; `source_row` counts the sheet's rows from
there, blank ones too.

Cells are streamed: memory holds the workbook's table of texts and some rows. (Libraries at hand read a cell five times
as slowly, or hold the whole sheet and do not show formulas.)
"""

from __future__ import annotations

import io
import posixpath
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa

from sources.extract.match import MAX_SKIPPED, MIN_KNOWN, best_line
from sources.extract.readers.content import Content, open_member, zip_entries
from sources.extract.readers.spreadsheet_xml import SheetRow, elements, shared_strings, sheet_rows
from sources.extract.rules import DAMAGED, FORMULA, NO_SHEET, SEVERAL_SHEETS, TOO_MANY_COLUMNS, stopped
from sources.extract.table import MAX_COLUMNS, SOURCE_ROW, TextTable, checked_header

_BATCH_ROWS = 8 << 10
_MAX_SHOWN_CELLS = 3
_DATE_FORMATS = {str(number) for numbers in ((14, 23), (27, 37), (45, 48), (50, 59)) for number in range(*numbers)}
"""Number formats without a code of their own that are dates or times (ECMA-376 part 1, 18.8.30)."""
_NOT_CODE = re.compile(r'"[^"]*"|\\.|_.|\[(?!h+\]|m+\]|s+\])[^\]]*\]', re.IGNORECASE)
_DATE_CODE = re.compile("[dmyhs]", re.IGNORECASE)
_TRUE_VALUES = ("1", "true")


@dataclass(frozen=True)
class Sheet:
    """A visible sheet: its name, and the part of the workbook that holds it."""

    name: str
    part: str


class Workbook:
    """A workbook's parts; raises `ExtractStopped` where one is missing or damaged."""

    def __init__(self, content: Content) -> None:
        self.name = content.name
        self._open = content.open
        with content.open() as stream:
            self._entries = {entry.filename.lower(): entry for entry in zip_entries(content.name, stream)}
            self._size = stream.seek(0, io.SEEK_END)
        main = [part for kind, part in self._relations("").values() if kind == "officeDocument"]
        self._part = main[0] if main else "xl/workbook.xml"
        self._elements = elements(self.name, self._stream(self._part))
        self._related = self._relations(self._part)

    @cached_property
    def sheets(self) -> list[Sheet]:
        """The visible sheets of cells, in their order."""
        found = []
        for tag, attributes in self._elements:
            kind, part = self._related.get(attributes.get("id", ""), ("", ""))
            if tag == "sheet" and kind == "worksheet" and attributes.get("state", "visible") == "visible":
                found.append(Sheet(attributes.get("name", ""), part))
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
        raise stopped(content.name, SEVERAL_SHEETS, ", ".join(sheet.name for sheet in found[:_MAX_SHOWN_CELLS]))
    return open_sheet(book, found[0], known)


def open_sheet(book: Workbook, sheet: Sheet, known: Container[str]) -> TextTable:
    """Open one sheet as a table; raises `ExtractStopped`, at once or while its batches are read.

    `known` are the keys of the column names by which the header row is found (`sources.extract.match.known_keys`).
    """
    row, count = _header(book, sheet, known)
    if count < MIN_KNOWN:
        raise stopped(book.name, NO_SHEET, sheet.name)
    width = max(column for column, text in row.cells.items() if text.strip()) + 1
    if width > MAX_COLUMNS:
        raise stopped(book.name, TOO_MANY_COLUMNS)
    header = checked_header(book.name, [row.cells.get(column, "") for column in range(width)])
    return TextTable(header, lambda names: _batches(book, sheet, row.number, [*map(header.index, names)], names))


def _header(book: Workbook, sheet: Sheet, known: Container[str]) -> tuple[SheetRow, int]:
    """The row with most known names among the first of a sheet, and how many it has."""
    first: list[SheetRow] = []
    for rows in book.rows(sheet):
        first += [row for row in rows if row.number <= MAX_SKIPPED + 1]
        if rows and rows[-1].number > MAX_SKIPPED:
            break
    best, count = best_line([list(row.cells.values()) for row in first], known)
    return (first[best], count) if first else (SheetRow(0), 0)


def _batches(
    book: Workbook, sheet: Sheet, header_row: int, columns: list[int], names: list[str]
) -> Iterator[pa.RecordBatch]:
    waiting: list[SheetRow] = []
    for rows in book.rows(sheet):
        _refuse_formulas(book.name, sheet, [row for row in rows if row.number >= header_row and row.formulas], columns)
        waiting += [row for row in rows if row.number > header_row]
        if len(waiting) >= _BATCH_ROWS:
            yield _batch(waiting, header_row, columns, names)
            waiting = []
    yield _batch(waiting, header_row, columns, names)


def _batch(rows: list[SheetRow], header_row: int, columns: list[int], names: list[str]) -> pa.RecordBatch:
    text = [pa.array([row.cells.get(column, "") for row in rows], pa.string()) for column in columns]
    numbers = pa.array([row.number - header_row for row in rows], pa.int64())
    return pa.record_batch([*text, numbers], names=[*names, SOURCE_ROW])


def _refuse_formulas(name: str, sheet: Sheet, rows: list[SheetRow], columns: list[int]) -> None:
    wanted = set(columns)
    found = [(column, row.number) for row in rows for column in row.formulas if column in wanted]
    if found:
        cells = [f"{sheet.name}!{_letters(column)}{number}" for column, number in found[:_MAX_SHOWN_CELLS]]
        raise stopped(name, FORMULA, ", ".join(cells) + (" and more" if len(found) > _MAX_SHOWN_CELLS else ""))


def _letters(column: int) -> str:
    letters = ""
    column += 1
    while column:
        column, letter = divmod(column - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def _is_date(code: str) -> bool:
    return bool(_DATE_CODE.search(_NOT_CODE.sub("", code.partition(";")[0])))

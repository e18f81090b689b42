"""Reader of workbooks: chooses the sheet, finds its header row and returns its cells as text.

The sheet is the one named in the council file, or else the visible sheet with the most known columns. The header may
follow titles, in one of the first 21 rows; `source_row` counts the rows after it, including blank ones. Dates are ISO,
integers have no decimal point, booleans are TRUE and FALSE.

openpyxl streams .xlsx. It returns an error (`#N/A`) as text and distinguishes formulas from values: a formula in a
column that is read stops the extract, because its stored result may be out of date or come from another file.
python-calamine reads .xls, .xlsb and .ods, one sheet in memory at a time. It returns a formula's stored result and
reads an error as blank, so reports say that these cells could not be checked. Both read serial 60, which Excel shows as
29 February 1900, as the 28th.
"""

import datetime as dt
import io
import re
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO, TypeAlias
from xml.parsers import expat

import pyarrow as pa
import python_calamine

from sources.errors import ExtractStopped, build_error
from sources.extract import table
from sources.extract.readers.content import (
    Content,
    Format,
    compute_unpack_limit,
    list_zip_entries,
    open_archive,
    open_member,
)

MAX_BYTES = 128 << 20
"""Size of a file held in memory: a .xls of 65,536 rows and 100 columns is 100 MiB."""
_MAX_CELLS = 1 << 25
"""Cells of a sheet held in memory, at 32 bytes each."""
MAX_SHEETS = 100
_MAX_ROWS = 1 << 20
"""Rows of a sheet (limit of Excel and ECMA-376)."""
_MAX_TEXT, _MAX_ROW_TEXT = 1 << 20, 4 << 20
"""Characters of a value and of a row."""
_BATCH_TEXT, _BATCH_ROWS = 16 << 20, 8 << 10
_MAX_SHOWN = 3
_PROLOG_BYTES, _MANIFEST_BYTES = 4 << 10, 4 << 20
_ESCAPED = re.compile("_x((?!D[89A-F])[0-9A-F]{4})_", re.IGNORECASE)  # surrogates (D800 to DFFF) are not characters
_FILE_PASS = re.compile(rb"\x09\x08\x10\x00\x00\x06\x05\x00.{12}(?:\x86\x00\x00\x00)?\x2f\x00", re.DOTALL)
"""First records of an encrypted .xls ([MS-XLS] 2.4.117), which python-calamine reports as an unknown format."""
_MACROS = "_VBA_PROJECT_CUR".encode("utf-16-le")
_STREAMS = tuple(name.encode("utf-16-le") for name in ("Workbook", "Book"))
"""Streams of a compound file that contain a workbook: Excel 97 and later, and Excel 95."""
Cells = Sequence[str | None]
"""Text of a row's cells from the first column; "" for an empty cell, None for a formula."""


@dataclass(frozen=True)
class Sheet:
    """A visible sheet: its number among visible sheets, from 1; its name, never logged; its index in the workbook."""

    number: int
    called: str
    index: int


Read: TypeAlias = Callable[[int, int, int], Iterator[tuple[int, Cells]]]
"""Function that yields numbered rows of the sheet with this index, of this width, among so many first rows."""


@dataclass(frozen=True)
class Book:
    """An open workbook. Reading its rows may raise `ExtractStopped`.

    `may_hold` is the maximum number of characters in its cells; repeated texts count each time. `formulas_checked` as
    in `SheetTaken`.
    """

    name: str
    sheets: list[Sheet]
    may_hold: int
    formulas_checked: bool
    read: Read

    def iter_rows(self, sheet: Sheet, width: int, most: int = _MAX_ROWS + 1) -> Iterator[tuple[int, Cells]]:
        """Yield the number and the first `width` cells of each row that is not blank, among the first `most` rows."""
        with _stop_at_damage(self.name):
            for number, row in self.read(sheet.index, width, most):
                if number > _MAX_ROWS:
                    raise build_error(self.name, "damaged-file")
                if any(cell != "" for cell in row):
                    yield number, row


def open_workbook(content: Content) -> Book | None:
    """Open the workbook in a file; return None if the file has another format. Raises `ExtractStopped`."""
    if content.format not in (Format.WORKBOOK, Format.OLD_WORKBOOK, Format.BINARY_WORKBOOK, Format.OPEN_DOCUMENT):
        return None
    with content.open() as stream:
        size = stream.seek(0, io.SEEK_END)
    if content.format is not Format.OLD_WORKBOOK:
        _check_parts(content, size)
    is_xml = content.format is Format.WORKBOOK
    with _stop_at_damage(content.name):
        visible, read = _open_xml(content) if is_xml else _open_other(content)
    if len(visible) > MAX_SHEETS:
        raise build_error(content.name, "too-many-sheets")
    sheets = [Sheet(number, called, index) for number, (called, index) in enumerate(visible, 1)]
    return Book(content.name, sheets, compute_unpack_limit(size), is_xml, read)


def _open_xml(content: Content) -> tuple[list[tuple[str, int]], Read]:
    """Open a .xlsx workbook, whose formulas, macros and links are never followed.

    Returns the name and index of each visible worksheet, and a function that reads a sheet.
    """
    from openpyxl import load_workbook  # imported here because it takes a quarter of a second
    from openpyxl.worksheet._reader import WorkSheetParser

    warnings.filterwarnings("ignore", module="openpyxl")  # its warnings quote values
    book: Any = load_workbook(content.open(), read_only=True, keep_links=False)
    sheets, formats = book.worksheets, (book.epoch, book._date_formats, book._timedelta_formats)

    def read(index: int, width: int, most: int) -> Iterator[tuple[int, Cells]]:
        last = 0
        with sheets[index]._get_source() as source:
            # its own parser, because the rows of a sheet leave out those that come after a later one
            for number, cells in WorkSheetParser(source, sheets[index]._shared_strings, False, *formats).parse():
                if number > _MAX_ROWS:
                    raise build_error(content.name, "damaged-file")
                places = {(cell["row"], cell["column"]) for cell in cells}
                if number <= last or len(places) < len(cells) or any(row != number for row, _ in places):
                    raise build_error(content.name, "rows-out-of-order")
                if number > most:
                    return
                last = number
                texts: list[str | None] = [""] * width
                for cell in cells:
                    if cell["column"] <= width:
                        is_formula = cell["data_type"] == "f"
                        texts[cell["column"] - 1] = None if is_formula else unescape(format_cell(cell["value"]))
                yield number, texts

    return [(sheet.title, index) for index, sheet in enumerate(sheets) if sheet.sheet_state == "visible"], read


def _open_other(content: Content) -> tuple[list[tuple[str, int]], Read]:
    """Open a .xls, .xlsb or .ods workbook, as `_open_xml` does."""
    with content.open() as stream:
        data = io.BufferedReader(stream).read(MAX_BYTES + 1)  # type: ignore[type-var]
    if len(data) > MAX_BYTES:
        raise build_error(content.name, "workbook-too-large")
    if content.format is Format.OLD_WORKBOOK:
        _check_compound_file(content.name, data)
    book = python_calamine.load_workbook(io.BytesIO(data))

    def read(index: int, width: int, most: int) -> Iterator[tuple[int, Cells]]:
        sheet = book.get_sheet_by_index(index)
        if sheet.height * sheet.width > _MAX_CELLS:
            raise build_error(content.name, "workbook-too-large")
        # python-calamine leaves out the blank columns before the first filled one
        blank_columns = [""] * (sheet.start[1] if sheet.start else 0)
        for number, row in enumerate(islice(sheet.iter_rows(), most), 1):
            yield number, (blank_columns + [format_cell(cell) for cell in row[:width]])[:width]

    shown = python_calamine.SheetVisibleEnum.Visible, python_calamine.SheetTypeEnum.WorkSheet
    sheets = enumerate(book.sheets_metadata)
    return [(sheet.name, index) for index, sheet in sheets if (sheet.visible, sheet.typ) == shown], read


@contextmanager
def _stop_at_damage(name: str) -> Iterator[None]:
    """Raise `ExtractStopped`, without the library's message, if a library cannot read the workbook."""
    try:
        yield
    except (ExtractStopped, MemoryError, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a Rust panic is not an Exception
        raise build_error(name, "damaged-file") from None


def _check_parts(content: Content, size: int) -> None:
    """Raise `ExtractStopped` if a workbook's parts unpack to too much in total, or have a document type (and so may
    have entities), or are encrypted.

    Python's zipfile never unpacks more of a part than the directory states.
    """
    with content.open() as stream:
        entries = list_zip_entries(content.name, stream)
        if sum(entry.file_size for entry in entries) > compute_unpack_limit(size):
            raise build_error(content.name, "unpacks-too-large")
        # opened once: reading the directory again for each of its parts takes minutes for 3,000 sheets
        archive = open_archive(content.name, stream)
        for entry in entries:
            with open_member(content.name, archive, entry, size) as part:
                _check_part(content.name, entry.filename, part)


def _check_part(name: str, filename: str, part: BinaryIO) -> None:
    elements: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda element, _: elements.append(element)
    parser.StartDoctypeDeclHandler = lambda *_: _refuse_document_type(name)
    # parts that are not XML, such as pictures, cannot declare a document type
    with suppress(expat.ExpatError, ValueError):
        if filename == "META-INF/manifest.xml" and b"encryption-data" in part.read(_MANIFEST_BYTES):
            raise build_error(name, "password")
        while not elements and (block := part.read(_PROLOG_BYTES)):
            parser.Parse(block, False)


def _check_compound_file(name: str, data: bytes) -> None:
    """Raise `ExtractStopped` for a .xls with macros or a password, and for other kinds of document."""
    if _MACROS in data:
        raise build_error(name, "macro-workbook")
    if not any(stream in data for stream in _STREAMS):
        raise build_error(name, "other-format", "it is an office document")
    if _FILE_PASS.search(data):
        raise build_error(name, "password")


def _refuse_document_type(name: str) -> None:
    raise build_error(name, "document-type")


def open_best_sheet(book: Book, known: Container[str], called: str | None) -> table.TextTable:
    """Open the sheet `called`, or that with most `known` columns; raises `ExtractStopped` if none fits, or several."""
    if called is not None:
        # as in Excel, letter case makes no difference
        wanted = (sheet for sheet in book.sheets if sheet.called.strip().casefold() == called.strip().casefold())
        if sheet := next(wanted, None):
            return open_sheet(book, sheet, known)
        raise build_error(book.name, "no-such-sheet", "", repr(called))
    counts = [_find_header(book, sheet, known)[2] for sheet in book.sheets]
    best = max(counts, default=0)
    if best < table.MIN_KNOWN:
        raise build_error(book.name, "no-sheet")
    found = [sheet for sheet, count in zip(book.sheets, counts, strict=True) if count == best]
    if len(found) > 1:
        raise build_error(
            book.name, "several-sheets", ", ".join(f"sheet {sheet.number}" for sheet in found[:_MAX_SHOWN])
        )
    return open_sheet(book, found[0], known)


def open_sheet(book: Book, sheet: Sheet, known: Container[str]) -> table.TextTable:
    """Open a sheet as a table, whose header has `known` names; raises `ExtractStopped`, also while batches are read."""
    row, header, count = _find_header(book, sheet, known)
    if count < table.MIN_KNOWN:
        raise build_error(book.name, "no-sheet", f"sheet {sheet.number}")
    while not header[-1].strip():
        header.pop()
    if len(header) > table.MAX_COLUMNS:
        raise build_error(book.name, "too-many-columns")
    header = table.clean_header(book.name, header)
    return table.TextTable(
        header,
        lambda names: _iter_batches(book, sheet, row, [*map(header.index, names)], names),
        sheet=table.SheetTaken(sheet.number, row, len(book.sheets) - 1, book.formulas_checked),
    )


def _find_header(book: Book, sheet: Sheet, known: Container[str]) -> tuple[int, list[str], int]:
    """Return the row number of the header (the first row with the most known names), its cells and that count."""
    rows = book.iter_rows(sheet, table.MAX_COLUMNS + 1, table.MAX_SKIPPED + 1)
    texts = ((number, [cell or "" for cell in row]) for number, row in rows)
    counted = ((number, row, table.count_known_names(row, known)) for number, row in texts)
    return max(counted, key=lambda line: line[2], default=(0, [], 0))


def _iter_batches(
    book: Book, sheet: Sheet, header_row: int, columns: list[int], names: list[str]
) -> Iterator[pa.RecordBatch]:
    numbers: list[int] = []
    cells: list[list[str]] = []
    size, left = 0, book.may_hold
    for number, row in book.iter_rows(sheet, max(columns, default=0) + 1):
        if number <= header_row:
            continue
        texts = [row[column] if column < len(row) else "" for column in columns]
        if None in texts:
            _refuse_formulas(book, sheet, header_row, columns)
        numbers.append(number - header_row)
        cells.append(texts)  # type: ignore[arg-type]
        length = sum(map(len, cells[-1]))
        if length > _MAX_TEXT and max(map(len, cells[-1])) > _MAX_TEXT:
            raise build_error(book.name, "value-too-long")
        if length > _MAX_ROW_TEXT:
            raise build_error(book.name, "row-too-long")
        size += length
        if len(numbers) >= _BATCH_ROWS or size > _BATCH_TEXT:
            left -= size
            if left < 0:
                raise build_error(book.name, "unpacks-too-large")
            yield _build_batch(numbers, cells, names)
            numbers, cells, size = [], [], 0
    yield _build_batch(numbers, cells, names)


def _build_batch(numbers: list[int], cells: list[list[str]], names: list[str]) -> pa.RecordBatch:
    text = [pa.array([row[index] for row in cells], pa.string()) for index in range(len(names))]
    return pa.record_batch([*text, pa.array(numbers, pa.int64())], names=[*names, table.SOURCE_ROW])


def _refuse_formulas(book: Book, sheet: Sheet, header_row: int, columns: list[int]) -> None:
    """Raise `ExtractStopped`, naming the first formula cells in columns that are read."""
    from openpyxl.utils import get_column_letter  # already loaded: formulas are found only in .xlsx

    formulas = (
        f"{get_column_letter(column + 1)}{number}"
        for number, row in book.iter_rows(sheet, max(columns, default=0) + 1)
        for column in sorted(columns)
        if number > header_row and column < len(row) and row[column] is None
    )
    found = list(islice(formulas, _MAX_SHOWN + 1))
    cells = ", ".join(found[:_MAX_SHOWN]) + (" and more" if len(found) > _MAX_SHOWN else "")
    raise build_error(book.name, "formula", f"sheet {sheet.number}, {cells}")


def format_cell(value: object) -> str:
    """Return a cell's value as in a text file; numbers have Excel's precision of 15 digits."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return str(value).upper()
        case int() | float():
            number = float(value)
            return str(int(number)) if number.is_integer() and abs(number) < 1e15 else format(number, ".15g")
        case dt.datetime():
            # Excel stores a time as a fraction of a day, which may fall just short of a second
            moment = (value + dt.timedelta(milliseconds=500)).replace(microsecond=0)
            return moment.isoformat(" ") if moment.time() != dt.time() else moment.date().isoformat()
    return str(value)


def unescape(text: str) -> str:
    """Decode the character escapes of .xlsx: `_x000D_` is a carriage return."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text

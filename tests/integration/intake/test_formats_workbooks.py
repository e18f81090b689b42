"""Workbooks of every format: which sheet, which rows, what each kind of cell becomes, what is refused."""

import datetime as dt
import io
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
from hypothesis import given, strategies as st
from openpyxl.chart import BarChart
from openpyxl.worksheet.formula import ArrayFormula

from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped
from sources.extract.readers import workbooks
from sources.extract.readers.content import Content, detect_format
from sources.extract.readers.workbooks import open_workbook
from tests.support.daily import limit_examples
from tests.support.intake import files
from tests.support.intake.desk import EYFSP_HEADER
from tests.support.intake.spreadsheets import (
    WRITERS,
    Error,
    Formula,
    build_compound_file,
    build_ods,
    build_xls,
    build_xlsb,
)

ROWS = files.build_children(*[{}] * 3)
SURNAME = EYFSP_HEADER.index("surname") + 1


every = pytest.mark.parametrize("suffix", WRITERS)
unchecked = pytest.mark.parametrize("suffix", [".xls", ".xlsb", ".ods"])


def _book(change: Callable[[Any, Any], None]) -> bytes:
    """The rows as .xlsx, after a change to the workbook and the sheet."""
    return files.build_xlsx(ROWS, lambda book: change(book, book.active))


def _edited(content: bytes, *edits: tuple[str, str], part: str = files.SHEET) -> bytes:
    """A workbook with texts of one part replaced."""
    parts = files.read_members(content)
    text = parts[part].decode()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return files.build_zip(parts | {part: text.encode()})


def _texts(content: bytes) -> list[dict[tuple[int, int], str | None]]:
    """The filled cells of each visible sheet, by row and column from 1."""

    def stream() -> io.BytesIO:
        return io.BytesIO(content)

    book = open_workbook(Content("a file", detect_format("a file", stream), stream))
    return [
        {
            (number, column): text
            for number, row in book.iter_rows(sheet, 9)
            for column, text in enumerate(row, 1)
            if text
        }
        for sheet in book.sheets
    ]


LETTERS = st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="=_")
WORDS = st.text(LETTERS, min_size=1, max_size=20)
TEXTS = st.builds(" ".join, st.lists(WORDS, min_size=1, max_size=3)) | st.sampled_from(["0383", "A  B", "two\nlines"])
DAYS = st.dates(dt.date(1900, 3, 1), dt.date(2090, 1, 1))
TIMES = st.builds(
    lambda day, seconds: dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=seconds),
    DAYS,
    st.integers(0, 86399),
)
NUMBERS = (
    st.integers(-(10**14), 10**14)
    | st.floats(-1e6, 1e6).map(lambda number: round(number, 6))
    | st.sampled_from([2.0, 0.1 + 0.2])
)
CELLS = st.none() | TEXTS | NUMBERS | st.booleans() | DAYS | TIMES


@pytest.mark.slow
@limit_examples(100)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_table_reads_the_same_in_every_format(rows: list[list[object]]) -> None:
    expected = _texts(files.build_sheets({"Sheet": rows}))
    for suffix, write in WRITERS.items():
        assert _texts(write({"Sheet": rows})) == expected, suffix


@every
def test_an_extract_is_read_from_the_sheet_with_its_columns(landing: files.Landing, suffix: str) -> None:
    titled = [["Leeds"], [None], *ROWS[:3], [None] * len(ROWS[0]), *ROWS[3:]]
    notes = [["surname", "of every child"], ["surname", "means", "family name"]]
    landing.put(WRITERS[suffix]({"Notes": notes, "Extract": titled}), suffix)
    assert list(landing.read().rows) == [1, 2, 4]
    assert landing.read().rows[1]["surname"] == "Thornton"


@every
def test_hidden_sheets_are_not_read_and_too_many_stop_it(landing: files.Landing, suffix: str) -> None:
    landing.put(WRITERS[suffix]({"Extract": ROWS, "Copy": ROWS}, hidden=("Copy",)), suffix)
    assert len(landing.read().rows) == 3
    landing.put(WRITERS[suffix]({"Extract": ROWS, "Notes": []}, hidden=("Extract",)), suffix)
    with pytest.raises(ExtractStopped, match="no visible sheet"):
        landing.read()
    landing.put(WRITERS[suffix]({f"Sheet {number}": ROWS[:1] for number in range(101)}), suffix)
    with pytest.raises(ExtractStopped, match="more than 100 sheets"):
        landing.read()


@every
def test_the_sheet_that_the_council_file_names(landing: files.Landing, suffix: str) -> None:
    landing.put(WRITERS[suffix]({"Spring": ROWS, "Autumn": files.build_children({"surname": "Autumn"})}), suffix)
    with pytest.raises(ExtractStopped, match=r"several sheets .* \('sheet'\): sheet 1, sheet 2$"):
        landing.read()
    assert [row["surname"] for row in landing.read(Dialect(sheet=" autumn ")).rows.values()] == ["Autumn"]
    with pytest.raises(ExtractStopped, match="no visible sheet of the name") as refused:
        landing.read(Dialect(sheet="Qwyjibo"))
    assert "Qwyjibo" not in str(refused.value)
    assert "Qwyjibo" in refused.value.for_sender


def test_charts_and_very_hidden_sheets_are_not_read(landing: files.Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        book.copy_worksheet(sheet).sheet_state = "veryHidden"
        book.create_chartsheet("Chart", 0).add_chart(BarChart())

    landing.put(_book(change), ".xlsx")
    assert list(landing.read().rows) == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "number_format", "expected"),
    [
        (2.0, None, "2"),
        (24.02, None, "24.02"),
        (0.1 + 0.2, None, "0.3"),
        (9990001234.0, "0.00", "9990001234"),
        (123456789012345, None, "123456789012345"),
        (True, None, "TRUE"),
        ("0383", None, "0383"),
        (" two\nlines ", None, "two\nlines"),
        ("#N/A", None, "#N/A"),
        (dt.date(2020, 2, 29), None, "2020-02-29"),
        (dt.date(2020, 2, 29), "[$-809]dd mmmm yyyy;@", "2020-02-29"),
        (dt.datetime(2020, 2, 29, 13, 30, 1), None, "2020-02-29 13:30:01"),
        (43889.999999999, "dd/mm/yyyy", "2020-02-29"),
        (1, "dd/mm/yyyy", "1900-01-01"),
        (60, "dd/mm/yyyy", "1900-02-28"),
        (43890, '0 "days"', "43890"),
        (1e300, "dd/mm/yyyy", "#VALUE!"),
    ],
)
def test_cells_become_the_text_of_a_text_file(
    landing: files.Landing, value: object, number_format: str | None, expected: str
) -> None:
    def change(book: Any, sheet: Any) -> None:
        cell = sheet.cell(3, SURNAME, value)
        if number_format:
            cell.number_format = number_format

    landing.put(_book(change), ".xlsx")
    assert [row["surname"] for row in landing.read().rows.values()] == ["Thornton", expected, "Thornton"]


def test_a_formula_in_another_column_is_nothing(landing: files.Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.cell(1, len(EYFSP_HEADER) + 1).value = "age"
        sheet.cell(2, len(EYFSP_HEADER) + 1).value = "=TODAY()"
        sheet.cell(2, len(EYFSP_HEADER) + 9).value = "=TODAY()"

    landing.put(_book(change), ".xlsx")
    assert len(landing.read().rows) == 3


@unchecked
def test_formulas_and_errors_of_other_formats_are_read_as_results_and_blanks(
    landing: files.Landing, suffix: str
) -> None:
    rows: list[list[object]] = [list(row) for row in ROWS]
    rows[2][SURNAME - 1], rows[3][SURNAME - 1] = Formula(1), Error("#N/A")
    landing.put(WRITERS[suffix]({"Extract": rows}), suffix)
    assert [row["surname"] for row in landing.read().rows.values()] == ["Thornton", "1", ""]


CELL = '<c r="F2" t="inlineStr"><is><t>Thornton</t></is></c>'
DIMENSION = f'<dimension ref="A1:{openpyxl.utils.get_column_letter(len(EYFSP_HEADER))}4"'


def test_the_dimensions_that_a_sheet_states_may_be_wrong(landing: files.Landing) -> None:
    landing.put(_edited(files.build_xlsx(ROWS), (DIMENSION, '<dimension ref="A1:B2"')), ".xlsx")
    assert landing.read().rows[3]["surname"] == "Thornton"


ENTITIES = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
DECLARATIONS = (ENTITIES, '<!DOCTYPE x SYSTEM "file:///etc/passwd">', f"<!--{'x' * 9000}-->{ENTITIES}")


def _declaring(part: str, declaration: str) -> bytes:
    """A workbook with a document type declaration in one part."""
    content = build_ods({"Extract": ROWS}) if part == "content.xml" else files.share_strings(files.build_xlsx(ROWS))
    text = files.read_members(content)[part].decode()
    return _edited(content, (text, declaration + re.sub(r"^<\?xml.*?\?>", "", text)), part=part)


def _formulas(formula: Any) -> bytes:
    def change(_: Any, sheet: Any) -> None:
        for row in range(3, 8):
            sheet.cell(row, SURNAME).value = formula

    return _book(change)


def _without(part: str) -> bytes:
    parts = files.read_members(files.share_strings(files.build_xlsx(ROWS)))
    return files.build_zip({name: content for name, content in parts.items() if name != part})


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
FILEPASS = struct.pack("<HHH4x", 0x2F, 6, 1)
ENCRYPTED = '<manifest:manifest xmlns:manifest="m"><manifest:encryption-data/></manifest:manifest>'
SPREADSHEET = b"application/vnd.oasis.opendocument.spreadsheet"
XML_2003 = b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>'

REFUSED: dict[str, tuple[bytes, str]] = {
    **{
        f"xlsx, formula {number}": (_formulas(formula), "save the sheet as values: sheet 1, F3, F4, F5 and more")
        for number, formula in enumerate(("=1+1", "=VLOOKUP(A1,[1]Sheet1!A:B,2)", ArrayFormula("F3:F4", "=F2:F3")))
    },
    **{
        f"document type {number} in {part}": (_declaring(part, declaration), "document type declaration")
        for part in (files.SHEET, "xl/workbook.xml", files.STRINGS, files.RELATIONS, "content.xml")
        for number, declaration in enumerate(DECLARATIONS)
    },
    **{
        f"xlsx, {new or 'no end'} for {old}": (_edited(files.build_xlsx(ROWS), (old, new)), "damaged")
        for old, new in {
            '<row r="2"': '<row r="99999999999999999999"',
            '<row r="3"': '<row r="x"',
            '<c r="F2"': '<c r="ZZZZZZ2"',
            CELL: '<c r="F2" t="s"><v>9999</v></c>',
            "</sheetData>": "",
        }.items()
    },
    **{
        f"xlsx, {what}": (_edited(files.build_xlsx(ROWS), (old, new)), "not in their order, or come twice")
        for what, old, new in (
            ("a row after a later one", '<row r="3"', '<row r="9"'),
            ("a row twice", '<row r="3"', '<row r="2"'),
            ("a cell of another row", '<c r="F2"', '<c r="F3"'),
            ("a cell twice", '<c r="F2"', '<c r="E2"'),
        )
    },
    "xlsx, no sheet": (_without(files.SHEET), "no visible sheet"),
    "xlsx, no workbook part": (_without("xl/workbook.xml"), "damaged"),
    "xlsx, no shared texts": (_without(files.STRINGS), "damaged"),
    "xlsx, 21 rows above the header": (_book(lambda _, sheet: sheet.insert_rows(1, 21)), "no visible sheet"),
    "xls, broken off": (OLE + "Workbook".encode("utf-16-le"), "damaged"),
    "xls, a password": (build_xls({"Extract": ROWS}, begin=FILEPASS), "protected by a password"),
    "xls, an encrypted package": (build_compound_file({"EncryptedPackage": b"x"}), "protected by a password"),
    "xls, macros": (build_compound_file({"Workbook": b"x", "_VBA_PROJECT_CUR": b"x"}), "without macros"),
    "xls, Excel 4": (b"\x09\4\6\0\0\0\x10\0" + bytes(50), "Excel 95 or older; open it in Excel and save it as .xlsx"),
    "xls, a letter": (build_compound_file({"WordDocument": b"x"}), "an office document"),
    "xlsx, macros": (
        files.build_zip(files.read_members(files.build_xlsx(ROWS)) | {"xl/vbaProject.bin": b"x"}),
        "without macros",
    ),
    "xlsx, a letter": (files.build_zip({"[Content_Types].xml": b"", "word/document.xml": b""}), "an office document"),
    "xlsx, broken off": (files.build_xlsx(ROWS)[:-500], "damaged"),
    "xlsx, no cells": (files.save(openpyxl.Workbook()), "no visible sheet"),
    "xlsx, wide": (files.build_xlsx([[*EYFSP_HEADER, *(f"x{n}" for n in range(600))]]), "more than 500 columns"),
    "xlsb, macros": (
        files.build_zip(files.read_members(build_xlsb({"Extract": ROWS})) | {"xl/vbaProject.bin": b"x"}),
        "without macros",
    ),
    "xlsb, no parts": (files.build_zip({"[Content_Types].xml": b"", "xl/workbook.bin": b""}), "damaged"),
    "ods, a password": (
        build_ods({"Extract": ROWS}, more={"META-INF/manifest.xml": ENCRYPTED}),
        "protected by a password",
    ),
    "ods, encrypted whole": (files.build_zip({"mimetype": b"x", "encrypted-package": b"x"}), "protected by a password"),
    "ods, macros": (build_ods({"Extract": ROWS}, more={"Basic/Standard/Module1.xml": "x"}), "without macros"),
    "ods, a letter": (build_ods({}).replace(b"spreadsheet", b"text-master"), "an office document"),
    "ods, no content": (files.build_zip({"mimetype": SPREADSHEET, "content.xml": b""}), "damaged"),
    "a web page": (b"<html><table><tr><td>surname", "web page under another name; open it in Excel and save it"),
    "a workbook of Excel 2003 in XML": (XML_2003, "XML form of 2003; save it as .xlsx"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_what_to_do(landing: files.Landing, what: str) -> None:
    content, message = REFUSED[what]
    landing.put(content, ".xlsx")
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


def test_the_directory_of_a_workbook_is_read_as_often_for_many_sheets_as_for_one(
    landing: files.Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read again for each sheet, 3,000 sheets took 161 s before they were refused."""
    read, counts = zipfile.ZipFile._RealGetContents, []  # type: ignore[attr-defined]

    def count(archive: zipfile.ZipFile) -> None:
        counts[-1] += 1
        read(archive)

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", count)
    for sheets in (1, 100):
        content = files.build_sheets({f"Sheet {number}": [] for number in range(sheets)})
        counts.append(0)
        _texts(content)
    assert counts[0] == counts[1] < 5


@pytest.mark.usefixtures("read_here")
@every
def test_a_large_workbook_is_stopped(landing: files.Landing, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(workbooks, "MAX_BYTES", 1 << 10)
    monkeypatch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
    content = WRITERS[suffix]({"Extract": ROWS})
    if suffix == ".xlsx":
        content = _edited(content, ("</sheetData>", " " * (8 << 20) + "</sheetData>"))
    landing.put(content, suffix)
    with pytest.raises(ExtractStopped, match="unpacks to far more" if suffix == ".xlsx" else "larger than any"):
        landing.read()

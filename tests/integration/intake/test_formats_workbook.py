"""Excel workbooks: which sheet, which rows, what each kind of cell becomes, what is refused."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.styles import Alignment
from openpyxl.utils.datetime import CALENDAR_MAC_1904
from openpyxl.worksheet.formula import ArrayFormula

from sources.errors import ExtractStopped
from sources.extract.readers.sheets import number_text, serial_date
from tests.support.intake.desk import EYFSP_HEADER
from tests.support.intake.files import (
    RELATIONS,
    SHEET,
    STRINGS,
    Landing,
    as_csv,
    as_xlsx,
    children,
    saved,
    with_shared_strings,
    zipped,
)

ROWS = children(*[{}] * 3)
SURNAME = EYFSP_HEADER.index("surname") + 1
BORN = EYFSP_HEADER.index("date_of_birth") + 1


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def _book(change: Callable[[Any, Any], None]) -> bytes:
    """The rows on a sheet, after a change to the workbook and the sheet."""

    def both(book: openpyxl.Workbook) -> None:
        change(book, book.active)

    return as_xlsx(ROWS, both)


def _part(content: bytes, part: str) -> str:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(part).decode()


def _edited(content: bytes, *edits: tuple[str, str], part: str = SHEET) -> bytes:
    """A workbook with texts of one part replaced."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members[part].decode()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return zipped(members | {part: text.encode()})


@pytest.mark.parametrize(
    ("value", "number_format", "expected"),
    [
        (2, None, "2"),
        (2.0, None, "2"),
        (24.02, None, "24.02"),
        (0.1 + 0.2, None, "0.3"),
        (9990001234, None, "9990001234"),
        (9990001234.0, "0.00", "9990001234"),
        (123456789012345, None, "123456789012345"),
        (-5, None, "-5"),
        (True, None, "TRUE"),
        (False, None, "FALSE"),
        ("0383", None, "0383"),
        (" two\nlines ", None, "two\nlines"),
        ("Zoë <& 'x'", None, "Zoë <& 'x'"),
        ("#N/A", None, "#N/A"),
        (dt.date(2020, 2, 29), None, "2020-02-29"),
        (dt.date(2020, 2, 29), "[$-809]dd mmmm yyyy;@", "2020-02-29"),
        (dt.date(2020, 2, 29), "mm-dd-yy", "2020-02-29"),
        (dt.datetime(2020, 2, 29, 13, 30, 1), None, "2020-02-29 13:30:01"),
        (dt.date(1900, 1, 1), None, "1900-01-01"),
        (43890, "dd/mm/yyyy", "2020-02-29"),
        (43890, '0 "days"', "43890"),
        (43890, "[Red]0", "43890"),
        (1e300, "dd/mm/yyyy", "1e+300"),
        (-1, "dd/mm/yyyy", "-1"),
    ],
)
def test_cells_become_the_text_of_a_text_file(
    landing: Landing, value: object, number_format: str | None, expected: str
) -> None:
    def change(book: Any, sheet: Any) -> None:
        cell = sheet.cell(3, SURNAME, value)
        if number_format:
            cell.number_format = number_format

    landing.put(_book(change), ".xlsx")
    assert [row["surname"] for row in landing.read().rows.values()] == ["Thornton", expected, "Thornton"]


def test_dates_of_the_1904_system(landing: Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        book.epoch = CALENDAR_MAC_1904
        sheet.cell(2, BORN, dt.date(2020, 2, 29))

    landing.put(_book(change), ".xlsx")
    assert "<v>42428</v>" in _part(_book(change), SHEET)
    assert landing.read().rows[1]["date_of_birth"] == "2020-02-29"


@pytest.mark.parametrize(
    ("serial", "epoch_1904", "expected"),
    [
        ("1", False, "1900-01-01"),
        ("59", False, "1900-02-28"),
        ("60", False, "1900-02-29"),
        ("61", False, "1900-03-01"),
        ("0", True, "1904-01-01"),
        ("42428", True, "2020-02-29"),
        ("43890.25", False, "2020-02-29 06:00:00"),
        ("43889.999999999", False, "2020-02-29"),
        ("0.5", False, "0.5"),
        ("99999999", False, "99999999"),
        ("nan", False, "nan"),
    ],
)
def test_date_serials(serial: str, epoch_1904: bool, expected: str) -> None:
    assert serial_date(serial, epoch_1904) == expected


@pytest.mark.parametrize("value", ["inf", "nan", "", "1E400", "x"])
def test_what_is_no_number_is_left(value: str) -> None:
    assert number_text(value) in (value, "inf")


def test_the_sheet_with_the_columns_is_read(landing: Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        notes = book.create_sheet("Notes", 0)
        notes.append(["This workbook holds the surname and forename of every child"])
        notes.append(["surname", "means", "family name"])
        book.create_sheet("Lookup").append(["sex", "surname"])
        book.create_chartsheet("Chart", 0)

    landing.put(_book(change), ".xlsx")
    assert list(landing.read().rows) == [1, 2, 3]


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_hidden_sheets_are_not_read(landing: Landing, state: str) -> None:
    def copied(book: Any, sheet: Any) -> None:
        book.copy_worksheet(sheet).sheet_state = state

    landing.put(_book(copied), ".xlsx")
    assert list(landing.read().rows) == [1, 2, 3]
    landing.put(_book(lambda book, sheet: (setattr(sheet, "sheet_state", state), book.create_sheet("Notes"))), ".xlsx")
    with pytest.raises(ExtractStopped, match="no visible sheet"):
        landing.read()


def test_two_sheets_with_the_columns_stop_it(landing: Landing) -> None:
    landing.put(_book(lambda book, sheet: book.copy_worksheet(sheet)), ".xlsx")
    with pytest.raises(ExtractStopped, match=r"name it in the council file \('sheet'\): sheet 1, sheet 2"):
        landing.read()


def test_titles_above_blank_rows_within_and_below(landing: Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.insert_rows(1, 3)
        sheet["A1"] = "Leeds, pupils at the end of Reception"
        sheet.merge_cells("A1:F1")
        sheet.insert_rows(6, 2)
        for row in range(10, 3000):
            sheet.cell(row, 1).alignment = Alignment(horizontal="center")

    landing.put(_book(change), ".xlsx")
    read = landing.read()
    assert list(read.rows) == [1, 4, 5]
    assert read.set_aside == {}


def test_a_header_below_the_twenty_first_row_is_not_found(landing: Landing) -> None:
    landing.put(_book(lambda _, sheet: sheet.insert_rows(1, 20)), ".xlsx")
    assert list(landing.read().rows) == [1, 2, 3]
    landing.put(_book(lambda _, sheet: sheet.insert_rows(1, 21)), ".xlsx")
    with pytest.raises(ExtractStopped, match="no visible sheet"):
        landing.read()


def test_a_repeated_header_is_set_aside(landing: Landing) -> None:
    landing.put(as_xlsx([*ROWS, *ROWS]), ".xlsx")
    read = landing.read()
    assert list(read.rows) == [1, 2, 3, 5, 6, 7]
    assert read.set_aside == {"repeated-header": [4]}


@pytest.mark.parametrize("formula", ["=1+1", "=VLOOKUP(A1,[1]Sheet1!A:B,2)", ArrayFormula("F3:F4", "=F2:F3")])
def test_a_formula_in_a_column_that_is_read_stops_it(landing: Landing, formula: Any) -> None:
    def change(book: Any, sheet: Any) -> None:
        for row in range(3, 8):
            sheet.cell(row, SURNAME).value = formula

    landing.put(_book(change), ".xlsx")
    with pytest.raises(ExtractStopped, match=r"save the sheet as values: sheet 1, F3, F4, F5 and more"):
        landing.read()


def test_a_formula_in_another_column_is_nothing(landing: Landing) -> None:
    def change(book: Any, sheet: Any) -> None:
        sheet.cell(1, len(EYFSP_HEADER) + 1).value = "age"
        sheet.cell(2, len(EYFSP_HEADER) + 1).value = "=TODAY()"
        sheet.cell(2, len(EYFSP_HEADER) + 9).value = "=TODAY()"

    landing.put(_book(change), ".xlsx")
    assert len(landing.read().rows) == 3


CELL = '<c r="F2" t="inlineStr"><is><t>Thornton</t></is></c>'
BORN_CELL = '<c r="I2" t="inlineStr"><is><t>2020-02-29</t></is></c>'
INLINE = '<c r="F2" t="inlineStr"><is><r><t>Ann</t></r><rPh><t>x</t></rPh><r><t>e_x0041_</t></r></is></c>'


@pytest.mark.parametrize(
    ("edits", "surname", "born"),
    [
        (((CELL, INLINE),), "AnneA", "2020-02-29"),
        (((CELL, '<c r="F2" t="str"><v>a</v></c>'),), "a", "2020-02-29"),
        (((CELL, '<c r="F2" t="e"><v>#REF!</v></c>'),), "#REF!", "2020-02-29"),
        (((BORN_CELL, '<c r="I2" t="d"><v>2020-03-01T00:00:00Z</v></c>'),), "Thornton", "2020-03-01"),
        (((' r="F2"', ""), (' r="I2"', "")), "Thornton", "2020-02-29"),
    ],
)
def test_other_ways_to_write_a_cell(
    landing: Landing, edits: tuple[tuple[str, str], ...], surname: str, born: str
) -> None:
    landing.put(_edited(as_xlsx(ROWS), *edits), ".xlsx")
    row = landing.read().rows[1]
    assert (row["surname"], row["date_of_birth"]) == (surname, born)


def test_a_sheet_with_prefixed_names(landing: Landing) -> None:
    """As the Open XML SDK writes it."""
    text = _part(as_xlsx(ROWS), SHEET)
    prefixed = re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1x:", text).replace("xmlns=", "xmlns:x=")
    landing.put(_edited(as_xlsx(ROWS), (text, prefixed)), ".xlsx")
    assert landing.read().rows[3]["surname"] == "Thornton"


DOCTYPE = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("declaration", [DOCTYPE, EXTERNAL])
@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", STRINGS, RELATIONS])
def test_entities_are_refused(landing: Landing, declaration: str, part: str) -> None:
    content = with_shared_strings(as_xlsx(ROWS))
    text = _part(content, part)
    without_prolog = re.sub(r"^<\?xml.*?\?>", "", text)
    landing.put(_edited(content, (text, declaration + without_prolog), part=part), ".xlsx")
    with pytest.raises(ExtractStopped, match="document type declaration"):
        landing.read()


@pytest.mark.parametrize(
    "edits",
    [
        [('<row r="2"', '<row r="99999999999999999999"')],
        [('<row r="3"', '<row r="1"')],
        [('<row r="3"', '<row r="x"')],
        [('<c r="F2"', '<c r="ZZZZZZ2"')],
        [('<c r="F2"', '<c r="é2"')],
        [(CELL, '<c r="F2" t="s"><v>9999</v></c>')],
        [("</sheetData>", "")],
    ],
)
def test_a_damaged_sheet_stops_it(landing: Landing, edits: list[tuple[str, str]]) -> None:
    landing.put(_edited(as_xlsx(ROWS), *edits), ".xlsx")
    with pytest.raises(ExtractStopped, match="damaged"):
        landing.read()


def _without(content: bytes, part: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return zipped({name: archive.read(name) for name in archive.namelist() if name != part})


@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", STRINGS, "xl/styles.xml"])
def test_a_missing_part_stops_it(landing: Landing, part: str) -> None:
    content = with_shared_strings(_book(lambda _, sheet: sheet.cell(2, BORN, dt.date(2020, 2, 29))))
    landing.put(_without(content, part), ".xlsx")
    with pytest.raises(ExtractStopped, match="damaged"):
        landing.read()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OLE + b"W\0o\0r\0k\0b\0o\0o\0k\0", "damaged"),
        (OLE + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.xml": b"", "xl/vbaProject.bin": b""}), "without macros"),
        (zipped({"[Content_Types].xml": b"", "xl/workbook.bin": b""}), "no visible sheet"),
        (zipped({"[Content_Types].xml": b"", "word/document.xml": b""}), "an office document"),
        (zipped({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": b""}), "damaged"),
        (as_xlsx(ROWS)[:-500], "damaged"),
        (b"<html><table><tr><td>surname", "web page"),
    ],
)
@pytest.mark.parametrize("suffix", [".xlsx", ".csv"])
def test_other_workbooks_say_what_to_do(landing: Landing, content: bytes, message: str, suffix: str) -> None:
    landing.put(content, suffix)
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


@pytest.mark.usefixtures("read_here")
def test_a_workbook_that_unpacks_to_far_more_is_stopped(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.extract.readers.content.FREE_BYTES", 1 << 20)
    landing.put(_edited(as_xlsx(ROWS), ("</sheetData>", " " * (8 << 20) + "</sheetData>")), ".xlsx")
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


def test_a_wide_sheet_is_stopped(landing: Landing) -> None:
    landing.put(as_xlsx([[*EYFSP_HEADER, *(f"x{n}" for n in range(600))]]), ".xlsx")
    with pytest.raises(ExtractStopped, match="more than 500 columns"):
        landing.read()


def test_an_empty_workbook_is_stopped(landing: Landing) -> None:
    landing.put(saved(openpyxl.Workbook()), ".xlsx")
    with pytest.raises(ExtractStopped, match="no visible sheet"):
        landing.read()


def test_shared_texts(landing: Landing) -> None:
    content = with_shared_strings(as_xlsx(children({"surname": "Zoe & <x>"}, {"surname": " a "}, {})))
    rich = "<si><r><t>Zo</t></r><rPh><t>hint</t></rPh><r><t>e_x000D_</t></r></si>"
    landing.put(_edited(content, ("<si><t>Zoe &amp; &lt;x&gt;</t></si>", rich), part=STRINGS), ".xlsx")
    assert [row["surname"] for row in landing.read().rows.values()] == ["Zoe", "a", "Thornton"]


@pytest.mark.slow
def test_a_sheet_reads_as_the_same_text_file(landing: Landing) -> None:
    many = children(*({"surname": f"name {number}"} for number in range(20_000)))
    landing.put(as_csv(many))
    expected = landing.read()
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in many:
        sheet.append(row)
    inline = saved(book)
    for content in (inline, with_shared_strings(inline)):
        landing.put(content, ".xlsx")
        assert landing.read() == expected

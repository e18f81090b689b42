"""Workbooks that are no .xlsx: the same cells give the same text, and what is refused there is refused here."""

from __future__ import annotations

import datetime as dt
import io
import random
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import openpyxl
import pytest
import python_calamine
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.councils.dialect import Dialect
from sources.errors import ExtractStopped
from sources.extract.readers import binary_workbook, old_workbook
from sources.extract.readers.books import book_of
from sources.extract.readers.content import Content, format_of
from tests.support.intake.desk import EYFSP_HEADER
from tests.support.intake.files import Landing, as_csv, as_xlsx, children, saved, zipped
from tests.support.intake.spreadsheets import Error, Formula, as_ods, as_xls, as_xlsb, compound_file

WRITTEN = {".xls": as_xls, ".xlsb": as_xlsb, ".ods": as_ods}
ROWS = children(*[{}] * 3)
SURNAME = EYFSP_HEADER.index("surname")
every = pytest.mark.parametrize("suffix", WRITTEN)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def texts(content: bytes) -> list[dict[tuple[int, int], str]]:
    """Of each visible sheet, its filled cells by row and column from 1."""

    def stream() -> io.BytesIO:
        return io.BytesIO(content)

    book = book_of(Content("a file", format_of("a file", stream), stream))
    assert book
    return [
        {
            (row.number, column + 1): text
            for rows in book.rows(sheet)
            for row in rows
            for column, text in row.cells.items()
        }
        for sheet in book.sheets
    ]


def _xlsx(rows: list[list[object]]) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append([cell.shown if isinstance(cell, Error) else cell for cell in row])
    return saved(book)


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
CELLS = st.none() | TEXTS | NUMBERS | st.booleans() | DAYS | TIMES | st.sampled_from([Error("#N/A"), Error("#REF!")])


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(st.lists(CELLS, min_size=1, max_size=6), min_size=1, max_size=8))
def test_a_table_reads_the_same_in_every_format(rows: list[list[object]]) -> None:
    expected = texts(_xlsx(rows))
    for suffix, write in WRITTEN.items():
        assert texts(write({"Sheet": rows})) == expected, suffix


@every
def test_another_reader_reads_what_the_tests_write(suffix: str) -> None:
    rows: list[list[object]] = [["Zoë", 2, 0.5, True, None, dt.date(2020, 2, 29)], [f"long {'ŵ' * 9000}", "x" * 9000]]
    sheets = {"First": rows, "Second": [["other"]]}
    book = python_calamine.load_workbook(io.BytesIO(WRITTEN[suffix](sheets)))
    assert book.sheet_names == ["First", "Second"]
    assert book.get_sheet_by_name("First").to_python() == [
        ["Zoë", 2.0, 0.5, True, "", dt.date(2020, 2, 29)],
        [rows[1][0], rows[1][1], "", "", "", ""],
    ]


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(TEXTS.map(lambda text: text * 900), min_size=1, max_size=30))
def test_texts_that_run_over_records_are_whole(written: list[str]) -> None:
    rows: list[list[object]] = [[text] for text in written]
    assert texts(as_xls({"Sheet": rows})) == [{(n, 1): text for n, text in enumerate(written, 1)}]


@every
def test_an_extract_is_read(landing: Landing, suffix: str) -> None:
    titled = [["Leeds"], [None], *ROWS[:3], [None] * len(ROWS[0]), *ROWS[3:]]
    landing.put(WRITTEN[suffix]({"Notes": [["surname", "of every child"]], "Extract": titled}), suffix)
    assert list(landing.read().rows) == [1, 2, 4]
    assert landing.read().rows[1]["surname"] == "Thornton"


@every
@pytest.mark.parametrize("called", [".csv", ".xlsx", ".zip"])
def test_its_ending_does_not_matter(landing: Landing, suffix: str, called: str) -> None:
    content = WRITTEN[suffix]({"Extract": ROWS})
    landing.put(zipped({f"export{suffix}": content}) if called == ".zip" else content, called)
    assert len(landing.read().rows) == 3


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (as_csv(ROWS), None),
        (as_xlsx(ROWS), None),
        (b"<html><table><tr><td>surname", "web page under another name; open it in Excel and save it as .xlsx"),
        (b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>', "XML form of 2003; save it as .xlsx"),
    ],
)
@every
def test_other_content_under_its_ending(landing: Landing, suffix: str, content: bytes, told: str | None) -> None:
    landing.put(content, suffix)
    if told is None:
        assert len(landing.read().rows) == 3
    else:
        with pytest.raises(ExtractStopped, match=told):
            landing.read()


@every
def test_hidden_sheets_are_not_read(landing: Landing, suffix: str) -> None:
    landing.put(WRITTEN[suffix]({"Extract": ROWS, "Copy": ROWS}, hidden=["Copy"]), suffix)
    assert len(landing.read().rows) == 3
    landing.put(WRITTEN[suffix]({"Extract": ROWS, "Notes": []}, hidden=["Extract"]), suffix)
    with pytest.raises(ExtractStopped, match="no visible sheet"):
        landing.read()


@pytest.mark.parametrize("suffix", [".xlsx", *WRITTEN])
def test_the_sheet_that_the_council_file_names(landing: Landing, suffix: str) -> None:
    autumn = children({"surname": "Autumn"})

    def with_autumn(book: openpyxl.Workbook) -> None:
        sheet = book.create_sheet("Autumn")
        for row in autumn:
            sheet.append(row)

    if suffix == ".xlsx":
        landing.put(as_xlsx(ROWS, with_autumn), suffix)
    else:
        landing.put(WRITTEN[suffix]({"Spring": ROWS, "Autumn": autumn}), suffix)
    with pytest.raises(ExtractStopped, match=r"several sheets .* \('sheet'\): sheet 1, sheet 2$"):
        landing.read()
    assert [row["surname"] for row in landing.read(Dialect(sheet=" autumn ")).rows.values()] == ["Autumn"]
    with pytest.raises(ExtractStopped, match="no visible sheet of the name") as refused:
        landing.read(Dialect(sheet="Qwyjibo"))
    assert "Qwyjibo" not in str(refused.value)
    assert "Qwyjibo" in refused.value.for_sender


@every
def test_a_formula_in_a_column_that_is_read_stops_it(landing: Landing, suffix: str) -> None:
    rows: list[list[object]] = [list(row) for row in ROWS]
    rows[0].append("age")
    rows[1].append(Formula(5))
    landing.put(WRITTEN[suffix]({"Extract": rows}), suffix)
    assert len(landing.read().rows) == 3
    rows[2][SURNAME] = Formula(1)
    landing.put(WRITTEN[suffix]({"Extract": rows}), suffix)
    with pytest.raises(ExtractStopped, match=r"save the sheet as values: sheet 1, F3$"):
        landing.read()


ENCRYPTED = '<manifest:manifest xmlns:manifest="m"><manifest:encryption-data/></manifest:manifest>'
FILEPASS = struct.pack("<HH", 0x2F, 6) + bytes(6)
BIFF5 = struct.pack("<HHHHHH", 0x0809, 8, 0x0500, 5, 0, 0) + struct.pack("<HH", 0x0A, 0)
BOMB = '<table:table-row table:number-rows-repeated="{}"><table:table-cell table:number-columns-repeated="{}"'
DOCUMENT_TYPE = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><office:document-content'


def _changed(old: str, new: str) -> bytes:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return as_ods({"Extract": ROWS}, change=change)


def _with_part(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return zipped({each: archive.read(each) for each in archive.namelist()} | {name: b"x"})


REFUSED: dict[str, tuple[bytes, str]] = {
    "xls, a password": (as_xls({"Extract": ROWS}, begin=FILEPASS), "protected by a password"),
    "xls, an encrypted package": (compound_file({"EncryptedPackage": b"x"}), "protected by a password"),
    "xls, macros": (compound_file({"Workbook": b"x", "_VBA_PROJECT_CUR": b"x"}), "without macros"),
    "xls, Excel 95": (compound_file({"Book": BIFF5}), "Excel 95 or older; open it in Excel and save it as .xlsx"),
    "xls, Excel 95 in a stream of today": (compound_file({"Workbook": BIFF5}), "Excel 95 or older"),
    "xls, Excel 4": (b"\x09\4\6\0\0\0\x10\0" + bytes(50), "Excel 95 or older"),
    "xls, a letter": (compound_file({"WordDocument": b"x"}), "an office document"),
    "xlsb, macros": (_with_part(as_xlsb({"Extract": ROWS}), "xl/vbaProject.bin"), "without macros"),
    "ods, a password": (
        as_ods({"Extract": ROWS}, more={"META-INF/manifest.xml": ENCRYPTED}),
        "protected by a password",
    ),
    "ods, encrypted whole": (zipped({"mimetype": b"x", "encrypted-package": b"x"}), "protected by a password"),
    "ods, macros": (as_ods({"Extract": ROWS}, more={"Basic/Standard/Module1.xml": "x"}), "without macros"),
    "ods, a letter": (
        zipped({"mimetype": b"application/vnd.oasis.opendocument.text", "content.xml": b""}),
        "an office document",
    ),
    "ods, a document type": (_changed("<office:document-content", DOCUMENT_TYPE), "document type declaration"),
    "ods, too many rows": (_changed('rows-repeated="1000"', 'rows-repeated="99999999"'), "damaged"),
    "ods, no number of rows": (_changed('rows-repeated="1000"', 'rows-repeated="-1"'), "damaged"),
    "ods, too many columns": (_changed('columns-repeated="1024"', 'columns-repeated="99999999"'), "damaged"),
    "ods, a long value": (_changed("<text:p>", f"<text:p><text:s text:c='{1 << 30}'/>"), "longer than 1 MiB"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_says_what_to_do(landing: Landing, what: str) -> None:
    content, told = REFUSED[what]
    landing.put(content, f".{what.partition(',')[0]}")
    with pytest.raises(ExtractStopped, match=told):
        landing.read()


@pytest.mark.slow
def test_cells_that_are_repeated_do_not_become_many(landing: Landing) -> None:
    row = '<table:table-row table:number-rows-repeated="1000">'
    cell = '<table:table-cell table:number-columns-repeated="1024"/>'
    full = cell.replace("/>", ' office:value-type="string"><text:p>x</text:p></table:table-cell>')
    landing.put(_changed(row + cell, row.replace("1000", "1000000") + full), ".ods")
    assert len(landing.read().rows) == 1_000_003
    landing.put(_changed(row + cell, row.replace("1000", "1000000") + full.replace("x<", f"{'x' * 9000}<")), ".ods")
    with pytest.raises(ExtractStopped, match="longer than 1 MiB"):
        landing.read()
    landing.put(_changed(row + cell, row.replace("1000", "1000000") + full.replace("x<", f"{'x' * 6000}<")), ".ods")
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


@pytest.mark.usefixtures("read_here")
def test_an_old_workbook_that_is_too_large_is_stopped(landing: Landing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(old_workbook, "MAX_BYTES", 4 << 10)
    landing.put(as_xls({"Extract": ROWS}), ".xls")
    with pytest.raises(ExtractStopped, match="larger than any of its kind"):
        landing.read()


@pytest.mark.usefixtures("read_here")
@pytest.mark.parametrize(("suffix", "reader"), [(".xls", old_workbook), (".xlsb", binary_workbook)])
def test_a_table_of_too_many_texts_is_stopped(
    landing: Landing, monkeypatch: pytest.MonkeyPatch, suffix: str, reader: object
) -> None:
    monkeypatch.setattr(reader, "MAX_HELD", 1000)
    landing.put(WRITTEN[suffix]({"Extract": ROWS}), suffix)
    with pytest.raises(ExtractStopped, match="unpacks to far more"):
        landing.read()


def test_a_circle_of_sectors_is_stopped(landing: Landing) -> None:
    content = bytearray(as_xls({"Extract": ROWS}))
    table = struct.unpack_from("<I", content, 76)[0]
    struct.pack_into("<I", content, 512 * (table + 1), 0)
    landing.put(bytes(content), ".xls")
    with pytest.raises(ExtractStopped, match="damaged"):
        landing.read()


@every
def test_a_damaged_file_gives_a_sentence_or_rows(landing: Landing, suffix: str) -> None:
    """Bytes changed at random, in what is unpacked too: never another error."""
    sound = WRITTEN[suffix]({"Extract": ROWS, "Notes": [["a", 1.5, True]]})
    chance = random.Random(20250901)
    for spoil in (_with_bytes_changed, _cut):
        for _ in range(60):
            landing.put(_spoiled(sound, chance, spoil), suffix)
            with suppress(ExtractStopped):
                landing.read()


def _with_bytes_changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _spoiled(content: bytes, chance: random.Random, spoil: Callable[[bytes, random.Random], bytes]) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return spoil(content, chance)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = chance.choice([name for name in parts if name.endswith((".bin", "content.xml"))])
    return zipped(parts | {name: spoil(parts[name], chance)})

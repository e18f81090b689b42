"""Files with an odd, broken or hostile form: headings, rows, packing, workbooks, XML, CSDS tables, Parquet, tokens."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
from openpyxl.workbook.workbook import Workbook

from assets.pseudonymise.sender import pseudonymise
from assets.pseudonymise.tokens_file import MANIFEST_KEY
from privacy.doors import sealed
from privacy.keys import KeyRing
from sources.councils.council_file import council_file
from sources.extract.landed import Landed
from tests.support.intake.corpus import (
    COHORT,
    FORENAME,
    POSTCODE,
    SURNAME,
    Arrange,
    Case,
    Row,
    around,
    case,
    many,
    moved,
    rows,
    table,
    text,
)
from tests.support.intake.files import as_csv, as_gzip, as_parquet, as_xlsx, with_shared_strings, zipped
from tests.support.intake.standards import census_xml, csds, csds_files, eyfsp_xml
from tests.support.intake.standards import workbook as csds_workbook

THREE = rows("eyfsp", {}, {}, {})
SOUND = table(THREE)
CSV = text(THREE)
LINES = CSV.decode().splitlines(keepends=True)
HEADER, ROW = LINES[0], LINES[2]
ALL = (1, 2, 3)
REVIEWS = rows("hv_reviews", {}, {}, {})


def cases() -> Iterator[Case]:
    for part in (_wrong_place, _headings, _moved, _dates, _lines, _encodings, _packed, _workbooks, _xml, _csds):
        yield from part()
    for part in (_parquet, _folder, _tokens):
        yield from part()


def _wrong_place() -> Iterator[Case]:
    yield case("eyfsp", "a school census", text(around("school_census")), stops="looks like your Spring school census")
    yield case("school_census", "a Profile return", CSV, stops="looks like your EYFS Profile")
    yield case("hv_reviews", "a survey", text(around("parent_experience")), stops="looks like your Survey of parents")
    yield case(
        "parent_experience", "children", text(around("hv_reviews")), stops="looks like your Health-visitor reviews"
    )
    born = [row | {"date_of_birth": "2014-11-23"} for row in many("eyfsp")]
    yield case("eyfsp", "another cohort", text(born), stops="looks like 2019/20: 24 of 24 dates")
    born = [row | {"date_of_birth": "2018-11-23"} for row in many("eyfsp")]
    yield case("eyfsp", "the cohort before", text(born), stops="looks like 2023/24: 24 of 24 dates")
    year = [row | {"academic_year": "202324"} for row in many("eyfsp")]
    yield case("eyfsp", "another year", text(year), stops="24 of 24 rows: .*another-academic-year.*First row: 1")
    council = [row | {"la_code": "344"} for row in many("eyfsp")]
    yield case("eyfsp", "another council", text(council), stops="looks like Wirral’s: 24 of 24 rows")
    foreign = [{"la_code": "999"} | row for row in THREE]
    aside = {row: {"another-council"} for row in ALL}
    yield case("eyfsp", "three of another council", text(foreign), stops="no usable row.*another-council", aside=aside)
    old = [{name.replace("com_e", "com_g"): value for name, value in row.items()} for row in THREE]
    yield case("eyfsp", "goals before 2021", text(old), stops="pre-2021 early learning goals")


def _headings() -> Iterator[Case]:
    def eyfsp(name: str, content: bytes, **expected: object) -> Case:
        return case("eyfsp", f"header: {name}", content, **expected)

    header = HEADER.strip().split(",")
    yield eyfsp("capitals", HEADER.upper().encode() + CSV[len(HEADER) :], kept=ALL)
    yield eyfsp(
        "blanks around names", ",".join(f" {name}\t" for name in header).encode() + CSV[len(HEADER) - 1 :], kept=ALL
    )
    yield eyfsp("quotes", ",".join(f'"{name}"' for name in header).encode() + CSV[len(HEADER) - 1 :], kept=ALL)
    yield eyfsp("line breaks", as_csv([[f"{name}\n" for name in header], *SOUND[1:]]), kept=ALL)
    yield eyfsp("byte-order mark", text(THREE, "utf-8-sig"), kept=ALL)
    yield eyfsp("two byte-order marks", "\ufeff\ufeff".encode() + CSV, kept=ALL)
    yield eyfsp("columns the other way round", as_csv([row[::-1] for row in SOUND]), kept=ALL)
    extra = [["notes", *header, "SEN note"], *([SURNAME, *row, FORENAME] for row in SOUND[1:])]
    yield eyfsp("further columns", as_csv(extra), kept=ALL)
    yield eyfsp(
        "words", ",".join(name.replace("_", " ").title() for name in header).encode() + CSV[len(HEADER) - 1 :], kept=ALL
    )
    beside = [["Surname", *header], *([FORENAME, *row] for row in SOUND[1:])]
    yield eyfsp("a heading beside one in other letters", as_csv(beside), kept=ALL)
    either = [[*(name.replace("surname", "SURNAME") for name in header), "Surname"], *([*row, ""] for row in SOUND[1:])]
    yield eyfsp(
        "two headings in other letters", as_csv(either), stops="'SURNAME' and 'Surname' are both read as surname"
    )
    renamed = {name: f"{name} result" for name in ("com_e01", "exp_e16", "exp_e17")}
    yield eyfsp(
        "several renamed",
        as_csv(moved(THREE, **renamed)),
        stops="; ".join(f"'{name}', perhaps renamed to '{heading}'" for name, heading in renamed.items()),
    )
    yield eyfsp(
        "600 columns",
        as_csv([header + [f"c{n}" for n in range(600)], *([*row, *["x"] * 600] for row in SOUND[1:])]),
        stops="500 columns",
    )
    yield eyfsp(
        "renamed", as_csv(moved(THREE, surname="Surname(s)")), stops="'surname', perhaps renamed to 'Surname\\(s\\)'"
    )
    yield eyfsp("a column missing", text([_without(row, "lit_e10") for row in THREE]), stops="missing column 'lit_e10'")
    yield eyfsp("twice the same", as_csv(moved(THREE, forename="surname")), stops="surname occurs twice in the header")
    yield eyfsp("none", "".join(LINES[1:]).encode(), stops="none of the first lines is a header line")
    glued = HEADER.strip() + ROW + ROW
    width = "no row has as many fields as the header line"
    yield eyfsp("no line end after it", glued.encode(), stops=width)
    same = ROW.replace(FORENAME, SURNAME)
    yield eyfsp("no line end, name twice", (HEADER.strip() + "," + same + same).encode(), stops=width)
    foreman = ROW.replace(FORENAME, "Surnamey Qwyjibo")
    yield eyfsp(
        "no line end, a name like a heading",
        (HEADER.replace("surname,", "").strip() + "," + foreman).encode(),
        stops="header line holds values",
    )
    lost = HEADER[: HEADER.index(",exp_e16")] + f"5{SURNAME},2\n" + "".join(LINES[1:])
    yield eyfsp("runs into a row, a piece of both lost", lost.encode(), stops="no row has as many fields")
    yield eyfsp("runs into a row, all else lost", lost.splitlines()[0].encode(), stops="breaks off in its header line")
    yield eyfsp("titles above", b"EYFSP 2025\nReport for Qwyjibo\n\n" + CSV, kept=ALL)
    yield eyfsp("25 titles above", b"title\n" * 25 + CSV, stops="none of the first lines")
    yield eyfsp(
        "again in the middle",
        (HEADER + ROW + HEADER + ROW).encode(),
        kept=(1, 3),
        aside={2: {"repeated-header"}},
        warned={3: {"repeated-row"}},
    )
    yield eyfsp(
        "again at once", (HEADER + HEADER + "".join(LINES[1:])).encode(), kept=(2, 3, 4), aside={1: {"repeated-header"}}
    )
    yield eyfsp("an empty name", as_csv([[*header, ""], *([*row, SURNAME] for row in SOUND[1:])]), kept=ALL)


def _without(row: Row, column: str) -> Row:
    return {name: value for name, value in row.items() if name != column}


def _moved() -> Iterator[Case]:
    def swapped(source: str, one: str, other: str, stops: str) -> Case:
        return case(
            source, f"swapped: {one}, {other}", as_csv(moved(many(source), **{one: other, other: one})), stops=stops
        )

    yield swapped("eyfsp", "upn", "surname", "values under 'surname' look like upn")
    yield swapped("eyfsp", "surname", "postcode", "values under 'surname' look like postcode")
    yield swapped(
        "eyfsp", "date_of_birth", "forename", "date_of_birth-invalid.*values under 'forename' look like date_of_birth"
    )
    yield swapped("eyfsp", "sex", "forename", "sex-invalid.*values under 'forename' look like sex")
    yield swapped(
        "school_census",
        "upn",
        "nhs_number",
        "values under 'nhs_number' look like upn.*under 'upn' look like nhs_number",
    )
    yield swapped(
        "hv_reviews", "nhs_number", "local_patient_id", "values under 'local_patient_id' look like nhs_number"
    )
    yield swapped("hv_reviews", "date_of_birth", "postcode", "values under 'postcode' look like date_of_birth")
    yield swapped("early_years_census", "nhs_number", "surname", "values under 'surname' look like nhs_number")
    other = [row | {"nhs_number": "Y", "NHS No": row["nhs_number"]} for row in many("hv_reviews")]
    yield case(
        "hv_reviews", "numbers in a further column", text(other), stops="values under 'NHS No' look like nhs_number"
    )


def _dates() -> Iterator[Case]:
    forms = ("%d/%m/%Y", "%d/%m/%y", "%m/%d/%Y", "%d-%b-%Y", "%d.%m.%Y", "%Y%m%d", "%d %B %Y")
    for form in forms:
        written = [
            row | {"date_of_birth": dt.date.fromisoformat(row["date_of_birth"]).strftime(form)} for row in many("eyfsp")
        ]
        yield case(
            "eyfsp",
            f"every date {form}",
            text(written),
            stops=f"24 of 24 rows: .*date_of_birth-invalid.*like {form}; say date_format",
        )
    serial = [row | {"date_of_birth": "43792"} for row in many("school_census")]
    yield case("school_census", "every date a day number", text(serial), stops="look like excel; say date_format")
    words = [row | {"date_of_birth": f"born to {SURNAME}"} for row in many("eyfsp")]
    yield case("eyfsp", "no date at all", text(words), stops="24 of 24 rows: .*date_of_birth-invalid[^']*$")
    half = [
        row | ({"date_of_birth": "23/11/2019"} if index % 3 == 0 else {}) for index, row in enumerate(many("eyfsp"))
    ]
    warned = {row: {"date_of_birth-invalid"} for row in range(1, 25) if row % 3 == 1}
    yield case("eyfsp", "a third of the dates", text(half), kept=tuple(range(1, 25)), warned=warned)
    reviewed = [row | {"review_date": "01/02/2022"} for row in many("hv_reviews")]
    yield case("hv_reviews", "review dates, day or month first", text(reviewed), stops="look like %d/%m/%Y or %m/%d/%Y")
    wrong = [row | {"com_e01": f"{FORENAME} can"} for row in many("eyfsp")]
    yield case("eyfsp", "a goal in words", text(wrong), stops="no usable row.*24 of 24 rows: .*com_e01-invalid")


def _lines() -> Iterator[Case]:
    def eyfsp(name: str, content: bytes | str, **expected: object) -> Case:
        return case("eyfsp", f"lines: {name}", content.encode() if isinstance(content, str) else content, **expected)

    first, second, third = LINES[1:4]
    yield eyfsp("empty", b"", stops="file is empty")
    yield eyfsp("blanks alone", b" \r\n\r\n \t\n", stops="file is empty")
    yield eyfsp("header alone", HEADER, stops="no usable row")
    yield eyfsp("one row", HEADER + ROW, kept=(1,))
    yield eyfsp(
        "footer with totals",
        HEADER + first + second + third + f"Total,3\nPrinted by {SURNAME}\n",
        kept=ALL,
        aside={4: {"malformed-row"}, 5: {"malformed-row"}},
    )
    yield eyfsp("ends within a row", (HEADER + first + second)[:-40], stops="breaks off in its last row")
    yield eyfsp(
        "ends within a letter",
        (HEADER + first + second.replace(FORENAME, "Zoë")).encode()[: len(HEADER + first) + second.index(FORENAME) + 3],
        stops="breaks off in its last row",
    )
    yield eyfsp("no last line end", CSV[:-1], kept=ALL)
    yield eyfsp(
        "a field too many",
        HEADER + first + second.replace(SURNAME, f"{SURNAME},Jr") + third,
        kept=(1, 3),
        aside={2: {"malformed-row"}},
    )
    yield eyfsp(
        "a field too few",
        HEADER + first + second.replace(f"{SURNAME},", "") + third,
        kept=(1, 3),
        aside={2: {"malformed-row"}},
    )
    yield eyfsp(
        "a mark not closed",
        HEADER + first + second.replace(SURNAME, f'"{SURNAME}') + third,
        kept=(1, 3),
        aside={2: {"unbalanced-quote"}},
    )
    yield eyfsp("a mark within a name", HEADER + first + second.replace(SURNAME, f'{SURNAME} "Bo" X') + third, kept=ALL)
    yield eyfsp("a line break within a name", HEADER + first + second.replace(SURNAME, '"Qwy\njibo"') + third, kept=ALL)
    yield eyfsp("zero bytes", CSV.replace(b"Qwyjibo", b"Qwy\0jibo\0"), kept=ALL)
    yield eyfsp("carriage returns", CSV.replace(b"\n", b"\r"), kept=ALL)
    yield eyfsp("mixed line ends", HEADER[:-1] + "\r\n" + first[:-1] + "\r" + second + third[:-1] + "\r\n", kept=ALL)
    yield eyfsp(
        "blank lines", HEADER + first + "\n" + "," * HEADER.count(",") + "\n" + second + " \n" + third, kept=(1, 4, 6)
    )
    yield eyfsp(
        "a field of 3 MiB",
        HEADER + first + second.replace(SURNAME, "Q" * (3 << 20)) + third,
        stops="longer than 1 MiB",
    )
    yield eyfsp("a field of 100 kB", HEADER + first + second.replace(SURNAME, SURNAME * 15000) + third, kept=ALL)
    yield eyfsp(
        "a last mark not closed",
        HEADER + first + second + third.replace(SURNAME, f'"{SURNAME}'),
        kept=(1, 2),
        aside={3: {"unbalanced-quote"}},
    )
    yield eyfsp("an end-of-file mark", CSV + b"\x1a", kept=ALL)
    yield eyfsp(
        "a web page", f"<!DOCTYPE html><html><table><tr><td>{SURNAME}</td></tr></table></html>", stops="web page"
    )
    yield eyfsp("random bytes", bytes(range(256)) * 8, stops="header line|damaged")
    yield eyfsp("protected numbers", CSV.replace(b"202425", b'="202425"'), kept=ALL)
    shuffled = [text(THREE).decode().replace(",", sign) for sign in ";|\t^~"]
    for sign, content in zip(("semicolon", "bar", "tab", "caret", "tilde"), shuffled, strict=True):
        yield eyfsp(f"delimiter {sign}", content, kept=ALL)
    yield eyfsp("sep=", "sep=;\n" + shuffled[0], kept=ALL)


def _encodings() -> Iterator[Case]:
    names = rows("eyfsp", {"surname": "Qwyjíbo"}, {"forename": "Zorblåx"}, {})
    for encoding in (
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "windows-1252",
        "iso-8859-1",
        "cp850",
    ):
        yield case("eyfsp", f"encoding {encoding}", text(names, encoding), kept=ALL)
    yield case("eyfsp", "utf-16 cut within a letter", text(names, "utf-16")[:-1], stops="breaks off|damaged")
    mixed = text(names).replace("å".encode(), b"\xe5")
    yield case("eyfsp", "a stray byte", mixed, kept=ALL)


def _packed() -> Iterator[Case]:
    def packed(name: str, content: bytes, suffix: str = ".zip", **expected: object) -> Case:
        return case("eyfsp", f"packed: {name}", content, suffix, **expected)

    yield packed("gzip", as_gzip(CSV), ".csv.gz", kept=ALL)
    yield packed(
        "two gzips",
        as_gzip(CSV) + as_gzip("".join(LINES[1:]).encode()),
        ".csv.gz",
        kept=(1, 2, 3, 4, 5, 6),
        warned={key: {"repeated-row"} for key in (4, 5, 6)},
    )
    yield packed(
        "gzip cut short", as_gzip(text(many("eyfsp", 200)))[:-200], ".csv.gz", stops="breaks off or is damaged"
    )
    yield packed("gzip with a wrong sum", as_gzip(CSV)[:-8] + b"\0" * 8, ".csv.gz", stops="damaged")
    yield packed("gzip with more behind it", as_gzip(CSV) + b"Qwyjibo", ".csv.gz", stops="damaged")
    yield packed(
        "gzip bomb",
        as_gzip(CSV + (b"," * (len(SOUND[0]) - 1) + b"\n") * 400_000),
        ".csv.gz",
        stops="unpacks to far more",
    )
    yield packed("gzip in gzip", as_gzip(as_gzip(CSV)), ".csv.gz", stops="holds another archive")
    sound = zipped({"export.csv": CSV})
    yield packed("zip", sound, kept=ALL)
    yield packed("zip called csv", sound, ".csv", kept=ALL)
    yield packed("zip cut short", sound[:-30], stops="damaged")
    yield packed(
        "zip with a changed byte",
        sound[:60] + bytes([sound[60] ^ 255]) + sound[61:],
        stops="damaged|header line|unbalanced",
    )
    yield packed("zip that names nothing", _unnamed(sound), stops="damaged")
    yield packed(
        "zip of two", zipped({f"{SURNAME}.csv": CSV, "b.csv": CSV}), stops="several extracts.*member 1, member 2"
    )
    yield packed("zip of none", zipped({"readme.pdf": b"x"}), stops="holds no extract")
    yield packed("an empty zip", zipped({}), stops="no extract")
    yield packed("zip in zip", zipped({f"{SURNAME}.zip": sound}), stops="another archive.*member 1")
    yield packed("hidden zip in zip", zipped({"inner.csv": sound}), stops="another archive")
    yield packed("zip that leads out", zipped({"../../../etc/passwd.csv": CSV}), stops="outside itself")
    yield packed("zip with an absolute name", zipped({"/tmp/x.csv": CSV}), stops="outside itself")
    yield packed("zip with a drive", zipped({"C:\\x.csv": CSV}), stops="outside itself")
    yield packed("zip of a desktop", zipped({"__MACOSX/._a.csv": b"x", "a/.DS_Store": b"x", "a/a.csv": CSV}), kept=ALL)
    yield packed(
        "zip bomb", zipped({"a.csv": CSV + (b"," * (len(SOUND[0]) - 1) + b"\n") * 400_000}), stops="unpacks to far more"
    )
    yield packed("zip with a password", _flagged(sound), stops="password")


def _unnamed(content: bytes) -> bytes:
    at = content.rindex(b"export.csv")
    return content[:at] + b"\0" + content[at + 1 :]


def _flagged(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[6] |= 1
    changed[content.index(b"PK\1\2") + 8] |= 1
    return bytes(changed)


def _workbooks() -> Iterator[Case]:
    def book(
        name: str,
        change: Callable[[Workbook], None] | None = None,
        content: bytes = b"",
        suffix: str = ".xlsx",
        **expected: object,
    ) -> Case:
        return case("eyfsp", f"workbook: {name}", content or as_xlsx(SOUND, change), suffix, **expected)

    def second_sheet(book: Workbook, state: str = "visible") -> None:
        sheet = book.create_sheet(SURNAME)
        sheet.sheet_state = state
        for row in SOUND:
            sheet.append(row)

    def called_as_a_child(book: Workbook) -> None:
        book.worksheets[0].title = f"{FORENAME} {SURNAME}"

    def no_heading(book: Workbook) -> None:
        called_as_a_child(book)
        book.worksheets[0].delete_rows(1)

    def formula(column: str) -> Callable[[Workbook], None]:
        def change(book: Workbook) -> None:
            book.worksheets[0].cell(3, SOUND[0].index(column) + 1).value = f'=CONCAT("{SURNAME}")'

        return change

    def merged(book: Workbook) -> None:
        column = SOUND[0].index("surname") + 1
        book.worksheets[0].merge_cells(start_row=3, end_row=4, start_column=column, end_column=column)

    def typed(book: Workbook) -> None:
        for row in range(2, 5):
            cell = book.worksheets[0].cell(row, SOUND[0].index("date_of_birth") + 1)
            cell.value = dt.datetime(2019, 11, 23)
            cell.number_format = "dd/mm/yyyy"

    def since_1904(book: Workbook) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
        typed(book)

    def titles(book: Workbook) -> None:
        book.worksheets[0].insert_rows(1, 3)
        book.worksheets[0]["A1"] = f"Report for {SURNAME}"

    def far_below(book: Workbook) -> None:
        book.worksheets[0].cell(900, 1).value = "Total"

    yield book("sound", kept=ALL)
    yield book("shared texts", content=with_shared_strings(as_xlsx(SOUND)), kept=ALL)
    yield book("two sheets", second_sheet, stops="[Ss]everal sheets.*sheet 1, sheet 2")
    yield book("a sheet that is called as a child", called_as_a_child, kept=ALL)
    yield book("no heading in a sheet that is called as a child", no_heading, stops="no visible sheet")
    yield book("a hidden copy", lambda book: second_sheet(book, "hidden"), kept=ALL)
    yield book("a formula in a name", formula("surname"), stops="holds a formula.*sheet 1, [A-Z]+3")
    yield book("merged cells", merged, kept=ALL, warned={3: {"surname-blank"}})
    yield book("dates", typed, kept=ALL)
    yield book("dates since 1904", since_1904, kept=ALL)
    yield book("titles", titles, kept=ALL)
    yield book("a total far below", far_below, kept=ALL, aside={899: {"garbled-row"}})
    yield book("cut short", content=as_xlsx(SOUND)[:-100], stops="damaged")
    macros = _with_member(as_xlsx(SOUND), "xl/vbaProject.bin", b"macro")
    yield book("macros under another name", content=macros, stops="workbook with macros")
    encrypted = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000 + "EncryptedPackage".encode("utf-16-le") + b"\0" * 500
    )
    yield book("encrypted", content=encrypted, stops="password")
    yield book("old", content=b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000, stops="an office document")
    yield book("called xls", content=as_xlsx(SOUND), suffix=".xls", kept=ALL)
    yield book("called xlsm", content=as_xlsx(SOUND), suffix=".xlsm", stops="macros")
    yield book("csv under its name", content=CSV, kept=ALL)
    sheet = "xl/worksheets/sheet1.xml"
    rows_of = _member(as_xlsx(SOUND), sheet).replace(b"</sheetData>", b"<row/>" * 3_000_000 + b"</sheetData>")
    bomb = _with_member(as_xlsx(SOUND), sheet, rows_of, replace=True)
    yield book("bomb", content=bomb, stops="unpacks to far more")
    entity = b'<!DOCTYPE x [<!ENTITY a "Qwyjibo">]><worksheet><sheetData/></worksheet>'
    yield book("entities", content=_with_member(as_xlsx(SOUND), sheet, entity, replace=True), stops="document type")
    yield book("no sheet at all", content=_with_member(as_xlsx(SOUND), sheet, b"", replace=True), stops="damaged")


def _member(content: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.read(name)


def _with_member(content: bytes, name: str, data: bytes, replace: bool = False) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    assert (name in members) == replace
    return zipped(members | {name: data})


def _xml() -> Iterator[Case]:
    def xml(name: str, content: bytes, source: str = "eyfsp", **expected: object) -> Case:
        return case(source, f"xml: {name}", content, ".xml", **expected)

    sound = eyfsp_xml(THREE).replace(b"<LEA>383</LEA>", b"")
    root = sound.index(b"<CTfile")
    yield xml("sound", sound, kept=ALL)
    bomb = b'<!DOCTYPE x [<!ENTITY a "Qwyjibo"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    yield xml("entity bomb", sound[:root] + bomb + sound[root:].replace(b"Zorblax", b"&b;"), stops="document type")
    external = b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    yield xml(
        "external entity", sound[:root] + external + sound[root:].replace(b"Zorblax", b"&a;"), stops="document type"
    )
    yield xml(
        "external DTD",
        sound[:root] + b'<!DOCTYPE x SYSTEM "http://localhost/x.dtd">' + sound[root:],
        stops="document type",
    )
    included = b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd"/>'
    yield xml("inclusion", eyfsp_xml(THREE, extra=included.decode()).replace(b"<LEA>383</LEA>", b""), kept=ALL)
    yield xml("an unknown entity", sound.replace(b"Zorblax", b"&a;", 1), stops="not well-formed")
    yield xml("another root", b"<register><person>Qwyjibo</person></register>", stops="not an EYFS Profile return")
    yield xml("no pupil", b"<CTfile><Header/><CTFpupilData></CTFpupilData></CTfile>", stops="Pupil|no usable row")
    yield xml("cut short", sound[:-400], stops="line|breaks off")
    yield xml("two roots", sound + sound[root:], stops="not well-formed")
    yield xml("deep", sound.replace(b"<CTFpupilData>", b"<x>" * 100 + b"<CTFpupilData>"), stops="deep|64")
    yield xml(
        "a component twice",
        sound.replace(b"<Component>E02</Component>", b"<Component>E01</Component>", 1),
        kept=(2, 3),
        aside={1: {"com_e02-blank"}},
    )
    yield xml(
        "a goal of 3",
        sound.replace(b"<Result>2</Result>", b"<Result>3</Result>", 1),
        kept=(2, 3),
        aside={1: {"com_e01-invalid"}},
    )
    yield xml("goals before 2021", sound.replace(b"<Component>E", b"<Component>G"), stops="2021")
    yield xml("a wrong encoding", sound.replace(b"UTF-8", b"KLINGON"), stops="encoding")
    yield xml("an undeclared byte", sound.replace(b"Zorblax", b"Zorbl\xe4x", 1), stops="not well-formed")
    yield xml("a return", sound, "school_census", stops="looks like your EYFS Profile return")
    census = census_xml(THREE)
    yield xml("a census", census, "school_census", stops="XML file, which is not read for this source")
    yield xml("a census of another", census, "early_years_census", stops="XML file, which is not read for this source")
    yield xml("a census for a return", census, stops="no pupil has a result of an early learning goal")


def _csds() -> Iterator[Case]:
    tables = csds(REVIEWS)
    files = csds_files(tables)

    def folder(name: str, files: dict[str, str], **expected: object) -> Case:
        content = {f"{COHORT}/{file}": text.encode() for file, text in files.items()}
        return Case(f"csds: {name}", "hv_reviews", content, **expected)  # type: ignore[arg-type]

    def changed(table: str, change: Callable[[list[Row]], list[Row]]) -> dict[str, str]:
        return csds_files({**tables, table: change([dict(row) for row in tables[table]])})

    yield folder("folder", files, kept=ALL)
    yield case(
        "hv_reviews", "csds: zip", zipped({name: text.encode() for name, text in files.items()}), ".zip", kept=ALL
    )
    yield case("hv_reviews", "csds: workbook", csds_workbook(tables), ".xlsx", kept=ALL)
    for table_name in ("CYP001", "CYP101", "CYP202", "CYP612"):
        rest = {name: text for name, text in files.items() if not name.startswith(table_name)}
        yield folder(f"no {table_name}", rest, stops=f"no {table_name}")
    yield folder(
        "no person",
        changed("CYP001", lambda rows: [rows[0], rows[2]]),
        kept=(1, 3),
        aside={2: {"referral-without-person"}},
    )
    yield folder(
        "no referral",
        changed("CYP101", lambda rows: [rows[0], rows[2]]),
        kept=(1, 3),
        aside={2: {"contact-without-referral"}},
    )
    yield folder(
        "no contact",
        changed("CYP201", lambda rows: [rows[0], rows[2]]),
        kept=(1, 3),
        aside={2: {"activity-without-contact"}},
    )
    activity = "CARE ACTIVITY IDENTIFIER"
    yield folder(
        "no activity",
        changed("CYP202", lambda rows: [rows[0], rows[2]]),
        kept=(1, 2),
        aside={9: {"assessment-without-activity"}},
    )
    yield folder("a person twice", changed("CYP001", lambda rows: [*rows, rows[1]]), kept=ALL)
    twice = changed("CYP612", lambda rows: [*rows, *rows])
    yield folder("every score twice", twice, kept=ALL)
    tool = "CODED ASSESSMENT TOOL TYPE (SNOMED CT)"
    unknown = changed("CYP612", lambda rows: [*rows, {activity: "A1", tool: "999999999", "PERSON SCORE": SURNAME}])
    yield folder("an unknown tool", unknown, kept=ALL)
    score = changed(
        "CYP612",
        lambda rows: [
            row | ({"PERSON SCORE": "61"} if row[activity] == "A1" and row[tool] != "1234567890" else {})
            for row in rows
        ],
    )
    yield folder(
        "scores of 61",
        score,
        kept=ALL,
        warned={
            2: {
                f"asq3_{name}-invalid"
                for name in ("communication", "gross_motor", "fine_motor", "problem_solving", "personal_social")
            }
        },
    )
    person = files["CYP001_2024-25.csv"].splitlines(keepends=True)
    broken = files | {"CYP001_2024-25.csv": "".join([*person, f"{SURNAME},one\n"])}
    yield folder("a malformed person", broken, kept=ALL, aside={4: {"malformed-row-cyp001"}})
    yield folder(
        "a heading missing",
        files | {"CYP612_2024-25.csv": files["CYP612_2024-25.csv"].replace("PERSON SCORE", "x")},
        stops="SCORE",
    )
    yield folder(
        "a heading twice",
        files | {"CYP001_2024-25.csv": files["CYP001_2024-25.csv"].replace("PERSON GIVEN NAME", "PERSON FAMILY NAME")},
        stops="twice",
    )
    yield folder("another file beside", files | {f"{SURNAME}.csv": f"{SURNAME},{POSTCODE}\n"}, kept=ALL)
    yield folder("an empty table", files | {"CYP202_2024-25.csv": ""}, stops="CYP202.*empty")


def _parquet() -> Iterator[Case]:
    def parquet(name: str, content: bytes, **expected: object) -> Case:
        return case("eyfsp", f"parquet: {name}", content, ".parquet", **expected)

    def with_column(column: str, values: pa.Array) -> bytes:
        frame = pa.table({name: [row[index] for row in SOUND[1:]] for index, name in enumerate(SOUND[0])})
        return _written(frame.set_column(SOUND[0].index(column), column, values))

    sound = as_parquet(SOUND)
    yield parquet("sound", sound, kept=ALL)
    yield parquet("no footer", sound[:-20], stops="Parquet")
    yield parquet("a broken footer", sound[:-60] + b"\xff" * 40 + sound[-20:], stops="Parquet")
    yield parquet("encrypted", b"PARE" + sound[4:-4] + b"PARE", stops="encrypted|Parquet")
    yield parquet("csv under its name", CSV, kept=ALL)
    yield parquet("lists", with_column("surname", pa.array([[SURNAME]] * 3)), stops="lists.*surname")
    yield parquet("structures", with_column("surname", pa.array([{"a": SURNAME}] * 3)), stops="surname")
    yield parquet("bytes that are text", with_column("surname", pa.array([SURNAME.encode()] * 3)), kept=ALL)
    yield parquet(
        "bytes that are not", with_column("surname", pa.array([b"Qwyjibo\xff\xfe"] * 3)), stops="bytes.*surname"
    )
    yield parquet("dates", with_column("date_of_birth", pa.array([dt.date(2019, 11, 23)] * 3)), kept=ALL)
    yield parquet("timestamps", with_column("date_of_birth", pa.array([dt.datetime(2019, 11, 23, 4)] * 3)), kept=ALL)
    yield parquet("decimals", with_column("com_e01", pa.array([decimal.Decimal("2.0")] * 3)), kept=ALL)
    yield parquet(
        "floating point",
        with_column("com_e01", pa.array([2.0, float("nan"), 1.0])),
        kept=(1, 3),
        aside={2: {"com_e01-blank"}},
    )
    yield parquet("truth values", with_column("com_e01", pa.array([True, True, True])), stops="no usable row")
    yield parquet(
        "nulls", with_column("surname", pa.array([None, SURNAME, SURNAME])), kept=ALL, warned={1: {"surname-blank"}}
    )
    columns = {name: [one, None, other] for name, one, _, other in zip(*SOUND[:4], strict=True)}
    yield parquet("a row of nulls alone", _written(pa.table(columns)), kept=(1, 3))
    yield parquet("dictionaries", with_column("sex", pa.array(["F", "M", "F"]).dictionary_encode()), kept=ALL)
    yield parquet(
        "no row", _written(pa.table({name: pa.array([], pa.string()) for name in SOUND[0]})), stops="no usable row"
    )


def _written(frame: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(frame, file)
    return file.getvalue()


def _folder() -> Iterator[Case]:
    def link_out(folder: Path, _: KeyRing) -> None:
        outside = Path(tempfile.mkdtemp()) / "extract.csv"
        outside.write_bytes(CSV)
        (folder / f"{COHORT}.csv").symlink_to(outside)

    def link_within(folder: Path, _: KeyRing) -> None:
        (folder / "sent.bin").write_bytes(CSV)
        (folder / f"{COHORT}.csv").symlink_to(folder / "sent.bin")

    def dangling(folder: Path, _: KeyRing) -> None:
        (folder / f"{COHORT}.csv").symlink_to(folder / "nothing.csv")

    def directory(folder: Path, _: KeyRing) -> None:
        (folder / f"{COHORT}.csv").mkdir()
        (folder / f"{COHORT}.csv" / "a.csv").write_bytes(CSV)

    yield Case("a link out of landing", "eyfsp", arrange=link_out, stops="link")
    yield Case("a link within landing", "eyfsp", arrange=link_within, kept=ALL)
    yield Case("a link to nothing", "eyfsp", arrange=dangling, stops="not a file|link|read")
    yield Case("a folder in place of a file", "eyfsp", arrange=directory, stops="not a file")
    yield Case("a folder of a Profile", "eyfsp", {f"{COHORT}/a": CSV}, stops="not a file or a folder of CSDS")
    two = {f"{COHORT}.csv": CSV, f"{COHORT}.xlsx": as_xlsx(SOUND)}
    yield Case("two files", "eyfsp", two, stops="202425.csv and 202425.xlsx both lie there")
    for suffix, stops in {
        ".pdf": "not read",
        ".7z": "packed or encrypted",
        ".gpg": "encrypted",
    }.items():
        yield case("eyfsp", f"ending {suffix}", CSV, suffix, stops=stops)
    yield case("eyfsp", "ending in capitals", CSV, ".CSV", kept=ALL)
    yield case("eyfsp", "a PDF called csv", b"%PDF-1.4 Qwyjibo", stops="PDF")
    yield case("eyfsp", "PGP called csv", b"-----BEGIN PGP MESSAGE-----\nQwyjibo", stops="PGP")


def _tokens() -> Iterator[Case]:
    name = f"{COHORT}.tokens.parquet"

    def changed(change: Callable[[pa.Table], pa.Table], **manifest: tuple[str, str]) -> Arrange:
        def arrange(folder: Path, keys: KeyRing) -> None:
            frame = _tokens_of(folder, keys)
            _seal(change(frame).replace_schema_metadata(frame.schema.metadata), folder / name, keys)

        return arrange

    def foreign_keys(folder: Path, keys: KeyRing) -> None:
        other = KeyRing.create(Path(tempfile.mkdtemp()) / "keys")
        _seal(_tokens_of(folder, other), folder / name, keys)

    def sealed_to_another(folder: Path, keys: KeyRing) -> None:
        other = KeyRing.create(Path(tempfile.mkdtemp()) / "keys")
        _seal(_tokens_of(folder, keys), folder / name, other)

    def unsealed(folder: Path, keys: KeyRing) -> None:
        pq.write_table(_tokens_of(folder, keys), folder / name)

    def tampered(folder: Path, keys: KeyRing) -> None:
        _seal(_tokens_of(folder, keys), folder / name, keys)
        content = bytearray((folder / name).read_bytes())
        content[200] ^= 255
        (folder / name).write_bytes(content)

    def of_another(folder: Path, keys: KeyRing) -> None:
        _seal(_tokens_of(folder, keys, "leeds"), folder / name, keys)

    def plain(folder: Path, _: KeyRing) -> None:
        (folder / name).write_bytes(as_parquet(SOUND))

    surname = pa.array([SURNAME] * 3)
    added = changed(lambda frame: frame.append_column("surname", surname))
    secret = changed(lambda frame: frame.set_column(1, "com_e01", surname))
    yield Case("tokens: sound", "eyfsp", arrange=changed(lambda frame: frame), kept=ALL)
    yield Case("tokens: a surname left in", "eyfsp", arrange=added, stops="what no tokens file has in column [0-9]+")
    yield Case("tokens: a surname in a code", "eyfsp", arrange=secret, stops="codes|code|not a tokens file")
    yield Case(
        "tokens: rows left out", "eyfsp", arrange=changed(lambda frame: frame.slice(1)), stops="number of rows differs"
    )
    yield Case("tokens: foreign keys", "eyfsp", arrange=foreign_keys, stops="fingerprint.*keys of this pipeline")
    yield Case("tokens: tampered with", "eyfsp", arrange=tampered, stops="cannot be read|Parquet")
    yield Case("tokens: of another council", "eyfsp", arrange=of_another, stops="made for another council")
    yield Case("tokens: sealed to another", "eyfsp", arrange=sealed_to_another, stops="another pipeline's key")
    yield Case("tokens: not sealed", "eyfsp", arrange=unsealed, stops="is not sealed to this pipeline")
    yield Case("tokens: identifiable", "eyfsp", arrange=plain, stops="is not sealed to this pipeline")
    yield case("eyfsp", "tokens: text", CSV, ".tokens.parquet", stops="not a readable Parquet file")


def _seal(table: pa.Table, path: Path, keys: KeyRing) -> None:
    properties = sealed.sealed_to(keys.seals_to("intake"))
    pq.write_table(table, path, compression="none", encryption_properties=properties)


def _tokens_of(folder: Path, keys: KeyRing, council: str = "") -> pa.Table:
    council = council or folder.parent.name
    work = Path(tempfile.mkdtemp())
    extract = work / f"{COHORT}.csv"
    extract.write_bytes(CSV)
    landed = Landed(council, "eyfsp", COHORT, extract)
    made = pseudonymise(landed, council_file(council), None, None, keys, work / "out")
    assert made.stopped is None
    frame = sealed.opened(made.outputs.tokens, keys.opens("intake"))
    held = frame.read().replace_schema_metadata({MANIFEST_KEY: frame.metadata.metadata[MANIFEST_KEY.encode()]})
    shutil.rmtree(work)
    return held

"""A child's name in every part of a delivery that can contain text: no message or log may repeat it."""

import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from tests.support.extracts import COHORT
from tests.support.intake.corpus import FORENAME, SURNAME, many, moved, rows, table, text
from tests.support.intake.files import as_csv, as_gzip, as_parquet, as_xlsx, zipped
from tests.support.intake.standards import csds, csds_files, eyfsp_xml
from tests.support.intake.standards import workbook as csds_workbook

NAME = f"{SURNAME} {FORENAME}"
CSV, TABLE = text(many("eyfsp")), table(many("eyfsp"))
Plant = tuple[str, Callable[[Path], None]]
"""A source, and a function that puts a delivery into its folder."""


def plants() -> Iterator[Plant]:
    """Yield deliveries with the name in different places; some are accepted, most are stopped."""
    for suffix, contents in (
        (".csv", _headings()),
        (".xlsx", _workbooks()),
        (".parquet", _parquet()),
        (".zip", _archives()),
        (".xml", _xml()),
    ):
        yield from (_file(content, suffix) for content in contents)
    for part in (_names, _csds, _other_sources):
        yield from part()


def _file(content: bytes, suffix: str = ".csv", name: str = COHORT, source: str = "eyfsp") -> Plant:
    def put(folder: Path) -> None:
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return source, put


def _twice() -> list[list[str]]:
    return [[NAME, NAME, *TABLE[0]], *(["x", "y", *row] for row in TABLE[1:])]


def _renamed() -> list[list[str]]:
    return moved(many("eyfsp"), surname=f"surname {SURNAME}", com_e01=f"com_e01 {FORENAME}")


def _headings() -> Iterator[bytes]:
    for change in ({"upn": NAME}, {"surname": f"Surname of {NAME}"}, {"com_e01": f"com_e01 {SURNAME}"}):
        yield as_csv(moved(many("eyfsp"), **change))
    yield from (as_csv(_renamed()), as_csv(_twice()))
    swapped = moved(many("eyfsp"), upn="surname", surname="upn")
    yield as_csv([[f"{NAME}'s UPN", *swapped[0]], *([row[0], *row] for row in swapped[1:])])
    either = [*("SURNAME" if name == "surname" else name for name in TABLE[0]), "Surname"]
    yield as_csv([either, *([*row, NAME] for row in TABLE[1:])])
    dates = [row | {"date_of_birth": "23/11/2019"} for row in many("eyfsp")]
    yield as_csv([[*TABLE[0], NAME], *([*row, "x"] for row in table(dates)[1:])])
    for before in (f"{NAME}\n", f"{NAME},{NAME}\n" * 30, f"\ufeff\ufeff{NAME}\n\ufeff", f"sep={SURNAME}\n"):
        yield before.encode() + CSV
    yield CSV.replace(b"\n", f",{NAME}\n".encode(), 1)


def _names() -> Iterator[Plant]:
    for name in (
        *(f"{COHORT}.{SURNAME}", f"{COHORT} {NAME}", SURNAME, f"{COHORT}-{FORENAME}", f"{SURNAME}\n{FORENAME}"),
        *(f"{COHORT}/{NAME}", f"{NAME}/{COHORT}", f"../{NAME}/{COHORT}"),
    ):
        yield _file(CSV, name=name)
    for suffix in (f".{SURNAME}", f".csv.{SURNAME}", f".{SURNAME}.gz"):
        yield _file(CSV, suffix)
    named = as_gzip(CSV)[:3] + b"\x08" + as_gzip(CSV)[4:10] + NAME.encode() + b"\0" + as_gzip(CSV[:-9])[10:]
    yield _file(named, ".csv.gz")

    def link(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / f"{COHORT}.csv").symlink_to(folder / NAME)

    def itself(folder: Path) -> None:
        (folder / COHORT).mkdir(parents=True)
        (folder / COHORT / f"CYP001 {NAME}.csv").symlink_to(folder / COHORT / f"CYP001 {NAME}.csv")

    yield "eyfsp", link
    yield "hv_reviews", itself


def _archives() -> Iterator[bytes]:
    member = f"{NAME}.csv"
    for members in (
        {member: b""},
        {member: CSV, f"{SURNAME}.txt": CSV},
        {f"{NAME}.pdf": b"x"},
        {f"{NAME}.zip": zipped({member: CSV})},
        {f"../{member}": CSV},
        {member: b"%PDF"},
        {member: CSV[:-40]},
        {f"{NAME}.xlsx": as_xlsx([[NAME], [NAME]])},
    ):
        yield zipped(members)
    encrypted = bytearray(zipped({member: CSV}))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    yield bytes(encrypted)
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.comment = NAME.encode()
        archive.writestr("a.csv", b"")
    yield commented.getvalue()


def _workbooks() -> Iterator[bytes]:
    def sheets(book: object, formula: bool = False) -> None:
        first = book.worksheets[0]
        first.title = NAME
        if formula:
            first.cell(3, TABLE[0].index("surname") + 1).value = f'=CONCAT("{NAME}")'
        else:
            book.copy_worksheet(first).title = f"{NAME} 2"

    def properties(book: object) -> None:
        book.properties.title = book.properties.creator = NAME

    yield from (as_xlsx(_renamed()), as_xlsx(_twice()))
    yield as_xlsx(TABLE, sheets)
    yield as_xlsx(TABLE, lambda book: sheets(book, formula=True))
    yield as_xlsx([["x"]], lambda book: setattr(book.worksheets[0], "title", NAME))
    yield as_xlsx([["x"]], properties)


def _parquet() -> Iterator[bytes]:
    yield as_parquet(_renamed())
    plain = {name: [row[index] for row in TABLE[1:]] for index, name in enumerate(TABLE[0])}
    for value in ([NAME], {SURNAME: FORENAME}, b"\xff" + NAME.encode()):
        yield as_parquet(pa.table(plain | {"surname": pa.array([value] * (len(TABLE) - 1))}))
    yield as_parquet(pa.table({NAME: [1]}))
    yield as_parquet(pa.table({NAME: [1]}).replace_schema_metadata({NAME: NAME}))


def _xml() -> Iterator[bytes]:
    sound = eyfsp_xml(rows("eyfsp", {}, {}))
    tag = SURNAME.encode()
    yield b"<%s/>" % tag
    for put in (b"<%s>" % tag, b'<UPN %s="%s" %s="">' % (tag, tag, tag), b"&%s;<UPN>" % tag):
        yield sound.replace(b"<UPN>", put, 1)
    yield b"<!--%s-->" % tag + sound[:-60]
    yield sound.replace(b"UTF-8", tag)
    yield b'<?xml version="1.0"?><!DOCTYPE %s><%s/>' % (tag, tag)


def _csds() -> Iterator[Plant]:
    sound = csds_files(csds(rows("hv_reviews", {}, {})))

    def folder(change: Callable[[Path], object]) -> Plant:
        def put(at: Path) -> None:
            inside = at / COHORT
            inside.mkdir(parents=True)
            for name, content in sound.items():
                (inside / f"{Path(name).stem} {NAME}.csv").write_text(content)
            change(inside)

        return "hv_reviews", put

    def sockets(inside: Path) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as made:  # a path may be too long for one
            made.bind(str(inside / f"CYP202{SURNAME}"))

    def file_of(inside: Path, table_name: str) -> Path:
        return next(path for path in inside.iterdir() if table_name in path.name)

    yield folder(lambda inside: file_of(inside, "CYP201").write_text(""))
    yield folder(lambda inside: file_of(inside, "CYP101").write_text(f"{NAME},x\n1,2\n"))
    yield folder(lambda inside: file_of(inside, "CYP001").write_bytes(b"PAR1x"))
    yield folder(lambda inside: file_of(inside, "CYP001").unlink())
    yield folder(lambda inside: (inside / f"CYP001 {NAME}.zip").write_bytes(zipped({f"{NAME}.csv": b""})))
    yield folder(lambda inside: (inside / f"CYP202 {NAME}.csv").mkdir())
    yield folder(sockets)
    yield _file(zipped({f"{NAME}/{key} {NAME}.csv": "" for key in sound}), ".zip", source="hv_reviews")
    tables = csds(rows("hv_reviews", {}, {}))
    tables["CYP001"] = [{f"{key} {NAME}": value for key, value in row.items()} for row in tables["CYP001"]]
    yield _file(csds_workbook(tables), ".xlsx", source="hv_reviews")


def _other_sources() -> Iterator[Plant]:
    for source, change in (
        ("school_census", {"first_language": SURNAME[:4]}),
        ("school_census", {"sen_provision": NAME}),
        ("parent_experience", {"wave": NAME, "response_id": NAME}),
        ("hv_reviews", {"review_date": NAME}),
        ("hv_reviews", {"nhs_number": "Y", f"{NAME} no": "9434765919"}),
    ):
        yield _file(text([row | change for row in many(source)]), source=source)
    for manifest in (NAME, f'{{"council": "{NAME}", "{NAME}": 1}}'):
        tokens = pa.table({NAME: [1]}).replace_schema_metadata({"readiness_manifest": manifest})
        yield _file(as_parquet(tokens), ".tokens.parquet")

"""A child's name in every part of a delivery that can contain text: no message or log may repeat it."""

from __future__ import annotations

import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.extracts import COHORT
from tests.support.intake.corpus import FORENAME, SURNAME, Row, many, moved, rows, table, text
from tests.support.intake.files import as_csv, as_gzip, as_parquet, as_xlsx, zipped
from tests.support.intake.standards import csds, csds_files, eyfsp_xml
from tests.support.intake.standards import workbook as csds_workbook

NAME = f"{SURNAME} {FORENAME}"
CSV, TABLE = text(many("eyfsp")), table(many("eyfsp"))
Plant = tuple[str, Callable[[Path], None]]
"""A source, and a function that puts a delivery into its folder."""


def plants() -> Iterator[Plant]:
    """Yield deliveries with the name in different places; some are accepted, most are stopped."""
    for part in (_headings, _names, _archives, _workbooks, _parquet, _xml, _csds, _codes):
        yield from part()


def _file(content: bytes, suffix: str = ".csv", name: str = COHORT, source: str = "eyfsp") -> Plant:
    def put(folder: Path) -> None:
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return source, put


def _headings() -> Iterator[Plant]:
    renamed = moved(many("eyfsp"), surname=f"surname {SURNAME}", com_e01=f"com_e01 {FORENAME}")
    for change in ({"upn": NAME}, {"surname": f"Surname of {NAME}"}, {"com_e01": f"com_e01 {SURNAME}"}):
        yield _file(as_csv(moved(many("eyfsp"), **change)))
    yield _file(as_csv(renamed))
    yield _file(as_xlsx(renamed), ".xlsx")
    yield _file(as_parquet(renamed), ".parquet")
    twice = [[NAME, NAME, *TABLE[0]], *(["x", "y", *row] for row in TABLE[1:])]
    for form, suffix in ((as_csv, ".csv"), (as_xlsx, ".xlsx")):
        yield _file(form(twice), suffix)
    swapped = moved(many("eyfsp"), upn="surname", surname="upn")
    beside = [[f"{NAME}'s UPN", *swapped[0]], *([row[0], *row] for row in swapped[1:])]
    yield _file(as_csv(beside))
    numbers = [row | {"nhs_number": "Y", f"{NAME} no": row["nhs_number"]} for row in many("hv_reviews")]
    yield _file(text(numbers), source="hv_reviews")
    either = [["SURNAME" if name == "surname" else name for name in TABLE[0]] + ["Surname"]]
    yield _file(as_csv([*either, *([*row, NAME] for row in TABLE[1:])]))
    dates = [row | {"date_of_birth": "23/11/2019"} for row in many("eyfsp")]
    yield _file(as_csv([[*TABLE[0], NAME], *([*row, "x"] for row in table(dates)[1:])]))
    yield _file(f"{NAME}\n".encode() + CSV)
    yield _file(f"{NAME},{NAME}\n".encode() * 30 + CSV)
    yield _file(f"\ufeff\ufeff{NAME}\n\ufeff".encode() + CSV)
    yield _file(f"sep={SURNAME}\n".encode() + CSV)
    yield _file(CSV.replace(b"\n", f",{NAME}\n".encode(), 1))


def _names() -> Iterator[Plant]:
    for name in (
        f"{COHORT}.{SURNAME}",
        f"{COHORT} {NAME}",
        f"{SURNAME}",
        f"{COHORT}-{FORENAME}",
        f"{SURNAME}\n{FORENAME}",
    ):
        yield _file(CSV, name=name)
    for suffix in (f".{SURNAME}", f".csv.{SURNAME}", f".{SURNAME}.gz"):
        yield _file(CSV, suffix)
    yield _file(CSV, name=f"{COHORT}/{NAME}")
    yield _file(CSV, name=f"{NAME}/{COHORT}")
    yield _file(CSV, name=f"../{NAME}/{COHORT}")

    def link(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / f"{COHORT}.csv").symlink_to(folder / NAME)

    def itself(folder: Path) -> None:
        (folder / COHORT).mkdir(parents=True)
        (folder / COHORT / f"CYP001 {NAME}.csv").symlink_to(folder / COHORT / f"CYP001 {NAME}.csv")

    yield "eyfsp", link
    yield "hv_reviews", itself


def _archives() -> Iterator[Plant]:
    member = f"{NAME}.csv"
    yield _file(zipped({member: b""}), ".zip")
    yield _file(zipped({member: CSV, f"{SURNAME}.txt": CSV}), ".zip")
    yield _file(zipped({f"{NAME}.pdf": b"x"}), ".zip")
    yield _file(zipped({f"{NAME}.zip": zipped({member: CSV})}), ".zip")
    yield _file(zipped({f"../{member}": CSV}), ".zip")
    yield _file(zipped({member: b"%PDF"}), ".zip")
    yield _file(zipped({member: CSV[:-40]}), ".zip")
    yield _file(zipped({f"{NAME}.xlsx": as_xlsx([[NAME], [NAME]])}), ".zip")
    content = bytearray(zipped({member: CSV}))
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    yield _file(bytes(content), ".zip")
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.comment = NAME.encode()
        archive.writestr("a.csv", b"")
    yield _file(commented.getvalue(), ".zip")
    named = as_gzip(CSV)[:3] + b"\x08" + as_gzip(CSV)[4:10] + NAME.encode() + b"\0" + as_gzip(CSV[:-9])[10:]
    yield _file(named, ".csv.gz")


def _workbooks() -> Iterator[Plant]:
    def sheets(book: object, formula: bool = False) -> None:
        first = book.worksheets[0]  # type: ignore[attr-defined]
        first.title = NAME
        if formula:
            first.cell(3, TABLE[0].index("surname") + 1).value = f'=CONCAT("{NAME}")'
        else:
            again = book.create_sheet(f"{NAME} 2")  # type: ignore[attr-defined]
            for row in TABLE:
                again.append(row)

    yield _file(as_xlsx(TABLE, sheets), ".xlsx")
    yield _file(as_xlsx(TABLE, lambda book: sheets(book, formula=True)), ".xlsx")
    yield _file(as_xlsx([["x"]], lambda book: setattr(book.worksheets[0], "title", NAME)), ".xlsx")

    def properties(book: object) -> None:
        book.properties.title = book.properties.creator = NAME  # type: ignore[attr-defined]

    yield _file(as_xlsx([["x"]], properties), ".xlsx")
    tables = csds(rows("hv_reviews", {}, {}))
    tables["CYP001"] = [{f"{key} {NAME}": value for key, value in row.items()} for row in tables["CYP001"]]
    yield _file(csds_workbook(tables), ".xlsx", source="hv_reviews")


def _parquet() -> Iterator[Plant]:
    plain = {name: [row[index] for row in TABLE[1:]] for index, name in enumerate(TABLE[0])}
    count = len(TABLE) - 1
    for values in ([[NAME]] * count, [{SURNAME: FORENAME}] * count, [b"\xff" + NAME.encode()] * count):
        yield _file(_written(pa.table(plain | {"surname": pa.array(values)})), ".parquet")
    yield _file(_written(pa.table({NAME: [1]})), ".parquet")
    yield _file(_written(pa.table({NAME: [1]}).replace_schema_metadata({NAME: NAME})), ".parquet")
    yield _file(
        _written(pa.table({NAME: [1]}).replace_schema_metadata({"readiness_manifest": NAME})), ".tokens.parquet"
    )
    manifest = f'{{"council": "{NAME}", "{NAME}": 1}}'
    yield _file(
        _written(pa.table({NAME: [1]}).replace_schema_metadata({"readiness_manifest": manifest})), ".tokens.parquet"
    )


def _written(made: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(made, file)
    return file.getvalue()


def _xml() -> Iterator[Plant]:
    sound = eyfsp_xml(rows("eyfsp", {}, {}))
    tag = SURNAME.encode()
    yield _file(b"<%s/>" % tag, ".xml")
    yield _file(sound.replace(b"<UPN>", b"<%s>" % tag, 1), ".xml")
    yield _file(sound.replace(b"<UPN>", b'<UPN %s="%s" %s="">' % (tag, tag, tag), 1), ".xml")
    yield _file(b"<!--%s-->" % tag + sound[:-60], ".xml")
    yield _file(sound.replace(b"UTF-8", tag), ".xml")
    yield _file(sound.replace(b"<UPN>", b"&%s;<UPN>" % tag, 1), ".xml")
    yield _file(b'<?xml version="1.0"?><!DOCTYPE %s><%s/>' % (tag, tag), ".xml")


def _csds() -> Iterator[Plant]:
    sound = csds_files(csds(rows("hv_reviews", {}, {})))

    def folder(change: Callable[[Path], None]) -> Plant:
        def put(at: Path) -> None:
            inside = at / COHORT
            inside.mkdir(parents=True)
            for name, content in sound.items():
                (inside / f"{Path(name).stem} {NAME}.csv").write_text(content)
            change(inside)

        return "hv_reviews", put

    def of(inside: Path, table_name: str) -> Path:
        return next(path for path in inside.iterdir() if table_name in path.name)

    yield folder(lambda inside: of(inside, "CYP201").write_text(""))
    yield folder(lambda inside: of(inside, "CYP101").write_text(f"{NAME},x\n1,2\n"))
    yield folder(lambda inside: of(inside, "CYP001").write_bytes(b"PAR1x"))
    yield folder(lambda inside: of(inside, "CYP001").unlink())
    yield folder(lambda inside: (inside / f"CYP001 {NAME}.zip").write_bytes(zipped({f"{NAME}.csv": b""})))
    yield folder(lambda inside: (inside / f"CYP202 {NAME}.csv").mkdir())

    def sockets(inside: Path) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as made:  # a path may be too long for one
            made.bind(str(inside / f"CYP202{SURNAME}"))

    yield folder(sockets)
    yield _file(zipped({f"{NAME}/{key} {NAME}.csv": "" for key in sound}), ".zip", source="hv_reviews")


def _codes() -> Iterator[Plant]:
    language: list[Row] = [row | {"first_language": SURNAME[:4]} for row in many("school_census")]
    yield _file(text(language), source="school_census")
    yield _file(text([row | {"sen_provision": NAME} for row in many("school_census")]), source="school_census")
    yield _file(
        text([row | {"wave": NAME, "response_id": NAME} for row in many("parent_experience")]),
        source="parent_experience",
    )
    yield _file(text([row | {"review_date": NAME} for row in many("hv_reviews")]), source="hv_reviews")

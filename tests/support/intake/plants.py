"""A child's name in every part of a delivery that can contain text: no message or log may repeat it."""

import io
import socket
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from tests.support.extracts import COHORT
from tests.support.intake.corpus import (
    FORENAME,
    SURNAME,
    build_many,
    build_rows,
    build_table,
    format_text,
    move_headings,
)
from tests.support.intake.files import build_csv, build_gzip, build_parquet, build_xlsx, build_zip
from tests.support.intake.standards import (
    build_csds,
    build_csds_files,
    build_eyfsp_xml,
    build_workbook as csds_workbook,
)

NAME = f"{SURNAME} {FORENAME}"
CSV, TABLE = format_text(build_many("eyfsp")), build_table(build_many("eyfsp"))
Plant = tuple[str, Callable[[Path], None]]
"""A source, and a function that puts a delivery into its folder."""


def iter_plants() -> Iterator[Plant]:
    """Yield deliveries with the name in different places; some are accepted, most are stopped."""
    for suffix, contents in (
        (".csv", _iter_headings()),
        (".xlsx", _iter_workbooks()),
        (".parquet", _iter_parquet()),
        (".zip", _iter_archives()),
        (".xml", _iter_xml()),
    ):
        yield from (_build_file(content, suffix) for content in contents)
    for part in (_iter_names, _iter_csds, _iter_other_sources):
        yield from part()


def _build_file(content: bytes, suffix: str = ".csv", name: str = COHORT, source: str = "eyfsp") -> Plant:
    def put(folder: Path) -> None:
        path = folder / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return source, put


def _build_twice() -> list[list[str]]:
    return [[NAME, NAME, *TABLE[0]], *(["x", "y", *row] for row in TABLE[1:])]


def _build_renamed() -> list[list[str]]:
    return move_headings(build_many("eyfsp"), surname=f"surname {SURNAME}", com_e01=f"com_e01 {FORENAME}")


def _iter_headings() -> Iterator[bytes]:
    for change in ({"upn": NAME}, {"surname": f"Surname of {NAME}"}, {"com_e01": f"com_e01 {SURNAME}"}):
        yield build_csv(move_headings(build_many("eyfsp"), **change))
    yield from (build_csv(_build_renamed()), build_csv(_build_twice()))
    swapped = move_headings(build_many("eyfsp"), upn="surname", surname="upn")
    yield build_csv([[f"{NAME}'s UPN", *swapped[0]], *([row[0], *row] for row in swapped[1:])])
    either = [*("SURNAME" if name == "surname" else name for name in TABLE[0]), "Surname"]
    yield build_csv([either, *([*row, NAME] for row in TABLE[1:])])
    dates = [row | {"date_of_birth": "23/11/2019"} for row in build_many("eyfsp")]
    yield build_csv([[*TABLE[0], NAME], *([*row, "x"] for row in build_table(dates)[1:])])
    for before in (f"{NAME}\n", f"{NAME},{NAME}\n" * 30, f"\ufeff\ufeff{NAME}\n\ufeff", f"sep={SURNAME}\n"):
        yield before.encode() + CSV
    yield CSV.replace(b"\n", f",{NAME}\n".encode(), 1)


def _iter_names() -> Iterator[Plant]:
    for name in (
        *(f"{COHORT}.{SURNAME}", f"{COHORT} {NAME}", SURNAME, f"{COHORT}-{FORENAME}", f"{SURNAME}\n{FORENAME}"),
        *(f"{COHORT}/{NAME}", f"{NAME}/{COHORT}", f"../{NAME}/{COHORT}"),
    ):
        yield _build_file(CSV, name=name)
    for suffix in (f".{SURNAME}", f".csv.{SURNAME}", f".{SURNAME}.gz"):
        yield _build_file(CSV, suffix)
    named = build_gzip(CSV)[:3] + b"\x08" + build_gzip(CSV)[4:10] + NAME.encode() + b"\0" + build_gzip(CSV[:-9])[10:]
    yield _build_file(named, ".csv.gz")

    def link(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / f"{COHORT}.csv").symlink_to(folder / NAME)

    def name_itself(folder: Path) -> None:
        (folder / COHORT).mkdir(parents=True)
        (folder / COHORT / f"CYP001 {NAME}.csv").symlink_to(folder / COHORT / f"CYP001 {NAME}.csv")

    yield "eyfsp", link
    yield "hv_reviews", name_itself


def _iter_archives() -> Iterator[bytes]:
    member = f"{NAME}.csv"
    for members in (
        {member: b""},
        {member: CSV, f"{SURNAME}.txt": CSV},
        {f"{NAME}.pdf": b"x"},
        {f"{NAME}.zip": build_zip({member: CSV})},
        {f"../{member}": CSV},
        {member: b"%PDF"},
        {member: CSV[:-40]},
        {f"{NAME}.xlsx": build_xlsx([[NAME], [NAME]])},
    ):
        yield build_zip(members)
    encrypted = bytearray(build_zip({member: CSV}))
    encrypted[6] |= 1
    encrypted[encrypted.index(b"PK\1\2") + 8] |= 1
    yield bytes(encrypted)
    commented = io.BytesIO()
    with zipfile.ZipFile(commented, "w") as archive:
        archive.comment = NAME.encode()
        archive.writestr("a.csv", b"")
    yield commented.getvalue()


def _iter_workbooks() -> Iterator[bytes]:
    def add_sheets(book: object, formula: bool = False) -> None:
        first = book.worksheets[0]
        first.title = NAME
        if formula:
            first.cell(3, TABLE[0].index("surname") + 1).value = f'=CONCAT("{NAME}")'
        else:
            book.copy_worksheet(first).title = f"{NAME} 2"

    def set_properties(book: object) -> None:
        book.properties.title = book.properties.creator = NAME

    yield from (build_xlsx(_build_renamed()), build_xlsx(_build_twice()))
    yield build_xlsx(TABLE, add_sheets)
    yield build_xlsx(TABLE, lambda book: add_sheets(book, formula=True))
    yield build_xlsx([["x"]], lambda book: setattr(book.worksheets[0], "title", NAME))
    yield build_xlsx([["x"]], set_properties)


def _iter_parquet() -> Iterator[bytes]:
    yield build_parquet(_build_renamed())
    plain = {name: [row[index] for row in TABLE[1:]] for index, name in enumerate(TABLE[0])}
    for value in ([NAME], {SURNAME: FORENAME}, b"\xff" + NAME.encode()):
        yield build_parquet(pa.table(plain | {"surname": pa.array([value] * (len(TABLE) - 1))}))
    yield build_parquet(pa.table({NAME: [1]}))
    yield build_parquet(pa.table({NAME: [1]}).replace_schema_metadata({NAME: NAME}))


def _iter_xml() -> Iterator[bytes]:
    sound = build_eyfsp_xml(build_rows("eyfsp", {}, {}))
    tag = SURNAME.encode()
    yield b"<%s/>" % tag
    for put in (b"<%s>" % tag, b'<UPN %s="%s" %s="">' % (tag, tag, tag), b"&%s;<UPN>" % tag):
        yield sound.replace(b"<UPN>", put, 1)
    yield b"<!--%s-->" % tag + sound[:-60]
    yield sound.replace(b"UTF-8", tag)
    yield b'<?xml version="1.0"?><!DOCTYPE %s><%s/>' % (tag, tag)


def _iter_csds() -> Iterator[Plant]:
    sound = build_csds_files(build_csds(build_rows("hv_reviews", {}, {})))

    def build_folder(change: Callable[[Path], object]) -> Plant:
        def put(at: Path) -> None:
            inside = at / COHORT
            inside.mkdir(parents=True)
            for name, content in sound.items():
                (inside / f"{Path(name).stem} {NAME}.csv").write_text(content)
            change(inside)

        return "hv_reviews", put

    def open_sockets(inside: Path) -> None:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as made:  # a path may be too long for one
            made.bind(str(inside / f"CYP202{SURNAME}"))

    def find_file(inside: Path, table_name: str) -> Path:
        return next(path for path in inside.iterdir() if table_name in path.name)

    yield build_folder(lambda inside: find_file(inside, "CYP201").write_text(""))
    yield build_folder(lambda inside: find_file(inside, "CYP101").write_text(f"{NAME},x\n1,2\n"))
    yield build_folder(lambda inside: find_file(inside, "CYP001").write_bytes(b"PAR1x"))
    yield build_folder(lambda inside: find_file(inside, "CYP001").unlink())
    yield build_folder(lambda inside: (inside / f"CYP001 {NAME}.zip").write_bytes(build_zip({f"{NAME}.csv": b""})))
    yield build_folder(lambda inside: (inside / f"CYP202 {NAME}.csv").mkdir())
    yield build_folder(open_sockets)
    yield _build_file(build_zip({f"{NAME}/{key} {NAME}.csv": "" for key in sound}), ".zip", source="hv_reviews")
    tables = build_csds(build_rows("hv_reviews", {}, {}))
    tables["CYP001"] = [{f"{key} {NAME}": value for key, value in row.items()} for row in tables["CYP001"]]
    yield _build_file(csds_workbook(tables), ".xlsx", source="hv_reviews")


def _iter_other_sources() -> Iterator[Plant]:
    for source, change in (
        ("school_census", {"first_language": SURNAME[:4]}),
        ("school_census", {"sen_provision": NAME}),
        ("parent_experience", {"wave": NAME, "response_id": NAME}),
        ("hv_reviews", {"review_date": NAME}),
        ("hv_reviews", {"nhs_number": "Y", f"{NAME} no": "9434765919"}),
    ):
        yield _build_file(format_text([row | change for row in build_many(source)]), source=source)
    for manifest in (NAME, f'{{"council": "{NAME}", "{NAME}": 1}}'):
        tokens = pa.table({NAME: [1]}).replace_schema_metadata({"readiness_manifest": manifest})
        yield _build_file(build_parquet(tokens), ".tokens.parquet")

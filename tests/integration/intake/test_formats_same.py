"""The same children, in whatever format and encoding a council sends them, give the same rows and tokens."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.support.daily import first
from tests.support.intake.desk import EYFSP_HEADER, Desk
from tests.support.intake.files import as_csv, as_gzip, as_parquet, as_xlsx, children, zipped
from tests.support.intake.spreadsheets import as_ods, as_xls, as_xlsb

CHILDREN = children(
    {"surname": "Núñez"}, {"surname": "O'Brien", "forename": "Zoë"}, {"postcode": "LS2 9JT", "sex": "M"}, {}
)
_DATE = EYFSP_HEADER.index("date_of_birth")
_NUMBERS = {EYFSP_HEADER.index(name) for name in EYFSP_HEADER if name not in ("upn", "academic_year")}


def _typed() -> list[list[object]]:
    """As a spreadsheet has them: numbers as numbers, dates as dates."""
    body: list[list[object]] = []
    for row in CHILDREN[1:]:
        typed = [int(value) if i in _NUMBERS and value.isdigit() else value for i, value in enumerate(row)]
        body.append([dt.date.fromisoformat(str(value)) if i == _DATE else value for i, value in enumerate(typed)])
    return [list(EYFSP_HEADER), *body]


FILES = {
    "utf-8": (".csv", as_csv(CHILDREN)),
    "byte-order mark": (".csv", as_csv(CHILDREN, "utf-8-sig")),
    "utf-16": (".txt", as_csv(CHILDREN, "utf-16", delimiter="\t")),
    "utf-16-le without mark": (".csv", as_csv(CHILDREN, "utf-16-le")),
    "utf-16-be without mark": (".csv", as_csv(CHILDREN, "utf-16-be")),
    "utf-32": (".csv", as_csv(CHILDREN, "utf-32")),
    "windows-1252": (".csv", as_csv(CHILDREN, "windows-1252")),
    "iso-8859-1": (".psv", as_csv(CHILDREN, "iso-8859-1", delimiter="|")),
    "every field quoted": (".csv", as_csv(CHILDREN, quoting=1)),
    "windows line ends": (".csv", as_csv(CHILDREN, lineterminator="\r\n")),
    "carriage returns": (".csv", as_csv(CHILDREN, lineterminator="\r")),
    "semicolon": (".CSV", as_csv(CHILDREN, delimiter=";")),
    "caret": (".txt", as_csv(CHILDREN, delimiter="^")),
    "gzip": (".csv.gz", as_gzip(as_csv(CHILDREN, "windows-1252"))),
    "gzip of utf-16": (".csv.gz", as_gzip(as_csv(CHILDREN, "utf-16"))),
    "zip": (".zip", zipped({"export.csv": as_csv(CHILDREN)})),
    "workbook": (".xlsx", as_xlsx(CHILDREN)),
    "typed workbook": (".xlsx", as_xlsx(_typed())),
    "workbook in a zip": (".zip", zipped({"export.xlsx": as_xlsx(_typed())})),
    "old workbook": (".xls", as_xls({"Children": _typed()})),
    "binary workbook": (".xlsb", as_xlsb({"Children": _typed()})),
    "open document": (".ods", as_ods({"Children": _typed()})),
    "open document in a zip": (".zip", zipped({"export.ods": as_ods({"Children": _typed()})})),
    "parquet": (".parquet", as_parquet(CHILDREN)),
    "typed parquet": (".parquet", as_parquet(_typed())),
    "parquet in a zip": (".zip", zipped({"export.parquet": as_parquet(CHILDREN)})),
    "workbook called csv": (".csv", as_xlsx(CHILDREN)),
    "gzip called csv": (".csv", as_gzip(as_csv(CHILDREN))),
    "parquet called csv": (".csv", as_parquet(CHILDREN)),
    "zip called csv": (".csv", zipped({"export.txt": as_csv(CHILDREN)})),
    "csv called xlsx": (".xlsx", as_csv(CHILDREN)),
    "csv called gzip": (".csv.gz", as_csv(CHILDREN)),
}


def _take(desk: Desk, suffix: str, content: bytes) -> list[object]:
    desk.land(b"", suffix=suffix).write_bytes(content)
    quality = desk.take()
    assert (quality.rows_read, quality.rows_rejected) == (4, 0)
    return desk.kept(columns="source_row, sex, term_of_birth, imd_quintile, COLUMNS('^t_'), com_e01")


@pytest.mark.slow
def test_every_format_gives_the_same_rows_and_tokens(desk: Desk) -> None:
    expected = None
    for what, (suffix, content) in FILES.items():
        taken = _take(desk, suffix, content)
        expected = expected or taken
        assert taken == expected, what
        (desk.landing / "leeds" / "eyfsp" / f"202425{suffix}").unlink()
    assert expected
    assert [row[0] for row in expected] == [1, 2, 3, 4]  # type: ignore[index]


@pytest.mark.parametrize("encoding", first(1, ["windows-1252", "utf-16", "utf-8"]))
def test_a_wrongly_declared_encoding_does_not_matter(desk: Desk, encoding: str) -> None:
    desk.land(as_csv(CHILDREN, encoding))
    desk.take()
    assert len(desk.kept()) == 4

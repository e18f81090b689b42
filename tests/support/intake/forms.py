"""Every form in which an extract may arrive: a suffix, and a function that writes a table in that form."""

import datetime as dt
from collections.abc import Callable

from tests.support.intake.corpus import Row, Table, build_many, build_table
from tests.support.intake.files import build_csv, build_gzip, build_parquet, build_xlsx, build_zip, share_strings
from tests.support.intake.spreadsheets import build_ods, build_xls, build_xlsb
from tests.support.intake.standards import build_csds, build_csds_files, build_eyfsp_xml, build_workbook

Form = tuple[str, Callable[[Table], bytes]]


def _type(rows: Table) -> list[list[object]]:
    """Return the table as a spreadsheet has it: numbers as numbers, dates as dates."""

    def convert_cell(name: str, value: str) -> object:
        if name == "date_of_birth":
            return dt.date.fromisoformat(value)
        return int(value) if value.isdecimal() and name not in ("upn", "academic_year") else value

    return [[*rows[0]], *([convert_cell(*pair) for pair in zip(rows[0], row, strict=True)] for row in rows[1:])]


def _change_to_western(rows: Table) -> Table:
    return [[cell.encode("cp1252", "replace").decode("cp1252") for cell in row] for row in rows]


def _make_writable(rows: Table) -> Table:
    """Return the table without the control characters that no workbook can hold."""
    return [["".join(letter for letter in cell if letter >= " " or letter in "\n\t") for cell in row] for row in rows]


FORMS: dict[str, Form] = {
    "csv": (".csv", build_csv),
    "utf-16": (".txt", lambda rows: build_csv(rows, "utf-16", delimiter="\t")),
    "utf-16-le without mark": (".csv", lambda rows: build_csv(rows, "utf-16-le")),
    "utf-32": (".csv", lambda rows: build_csv(rows, "utf-32")),
    "windows-1252": (".csv", lambda rows: build_csv(_change_to_western(rows), "windows-1252")),
    "iso-8859-1": (".psv", lambda rows: build_csv(rows, "iso-8859-1", delimiter="|")),
    "quoted": (".csv", lambda rows: build_csv(rows, quoting=1, lineterminator="\r\n")),
    "semicolon": (".CSV", lambda rows: build_csv(rows, delimiter=";")),
    "tilde": (".txt", lambda rows: build_csv(rows, delimiter="~")),
    "gzip": (".csv.gz", lambda rows: build_gzip(build_csv(_change_to_western(rows), "windows-1252"))),
    "gzip of utf-16": (".csv.gz", lambda rows: build_gzip(build_csv(rows, "utf-16"))),
    "zip": (".zip", lambda rows: build_zip({"export.csv": build_csv(rows)})),
    "workbook": (".xlsx", lambda rows: build_xlsx(_make_writable(rows))),
    "workbook with shared texts": (".xlsx", lambda rows: share_strings(build_xlsx(_make_writable(rows)))),
    "typed workbook": (".xlsx", lambda rows: build_xlsx(_type(rows))),
    "workbook in a zip": (".zip", lambda rows: build_zip({"export.xlsx": build_xlsx(_type(rows))})),
    "old workbook": (".xls", lambda rows: build_xls({"Children": _type(rows)})),
    "binary workbook": (".xlsb", lambda rows: build_xlsb({"Children": _type(rows)})),
    "open document": (".ods", lambda rows: build_ods({"Children": _type(rows)})),
    "parquet": (".parquet", build_parquet),
    "typed parquet": (".parquet", lambda rows: build_parquet(_type(rows))),
    "workbook called csv": (".csv", build_xlsx),
    "gzip called csv": (".csv", lambda rows: build_gzip(build_csv(rows))),
    "parquet called csv": (".csv", build_parquet),
    "zip called csv": (".csv", lambda rows: build_zip({"export.txt": build_csv(rows)})),
    "csv called xlsx": (".xlsx", build_csv),
}


def _name_rows(source: str, rows: Table) -> list[Row]:
    """Return rows for the writers of standard formats, which name their columns: missing ones are blank."""
    coded = {"sex": "F"} | ({"asq3_months": "27", "review": "2-2.5Y"} if source == "hv_reviews" else {})
    names = build_table(build_many(source, 1))[0]
    return [dict.fromkeys(names, "") | dict(zip(rows[0], row, strict=True)) | coded for row in rows[1:]]


STANDARDS: dict[str, dict[str, Form]] = {
    "eyfsp": {"xml": (".xml", lambda rows: build_eyfsp_xml(_name_rows("eyfsp", rows)))},
    "hv_reviews": {
        "tables": (".zip", lambda rows: build_zip(build_csds_files(build_csds(_name_rows("hv_reviews", rows))))),
        "workbook of tables": (
            ".xlsx",
            lambda rows: build_workbook(build_csds(_name_rows("hv_reviews", _make_writable(rows)))),
        ),
    },
}
"""Formats of one source only."""

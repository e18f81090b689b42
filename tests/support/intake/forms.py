"""Every form in which an extract may arrive: a suffix, and a function that writes a table in that form."""

import datetime as dt
from collections.abc import Callable

from tests.support.intake.corpus import Row, Table, many, table
from tests.support.intake.files import as_csv, as_gzip, as_parquet, as_xlsx, with_shared_strings, zipped
from tests.support.intake.spreadsheets import as_ods, as_xls, as_xlsb
from tests.support.intake.standards import csds, csds_files, eyfsp_xml, workbook

Form = tuple[str, Callable[[Table], bytes]]


def _typed(rows: Table) -> list[list[object]]:
    """Return the table as a spreadsheet has it: numbers as numbers, dates as dates."""

    def cell(name: str, value: str) -> object:
        if name == "date_of_birth":
            return dt.date.fromisoformat(value)
        return int(value) if value.isdecimal() and name not in ("upn", "academic_year") else value

    return [[*rows[0]], *([cell(*pair) for pair in zip(rows[0], row, strict=True)] for row in rows[1:])]


def _western(rows: Table) -> Table:
    return [[cell.encode("cp1252", "replace").decode("cp1252") for cell in row] for row in rows]


def _writable(rows: Table) -> Table:
    """Return the table without the control characters that no workbook can hold."""
    return [["".join(letter for letter in cell if letter >= " " or letter in "\n\t") for cell in row] for row in rows]


FORMS: dict[str, Form] = {
    "csv": (".csv", as_csv),
    "utf-16": (".txt", lambda rows: as_csv(rows, "utf-16", delimiter="\t")),
    "utf-16-le without mark": (".csv", lambda rows: as_csv(rows, "utf-16-le")),
    "utf-32": (".csv", lambda rows: as_csv(rows, "utf-32")),
    "windows-1252": (".csv", lambda rows: as_csv(_western(rows), "windows-1252")),
    "iso-8859-1": (".psv", lambda rows: as_csv(rows, "iso-8859-1", delimiter="|")),
    "quoted": (".csv", lambda rows: as_csv(rows, quoting=1, lineterminator="\r\n")),
    "semicolon": (".CSV", lambda rows: as_csv(rows, delimiter=";")),
    "tilde": (".txt", lambda rows: as_csv(rows, delimiter="~")),
    "gzip": (".csv.gz", lambda rows: as_gzip(as_csv(_western(rows), "windows-1252"))),
    "gzip of utf-16": (".csv.gz", lambda rows: as_gzip(as_csv(rows, "utf-16"))),
    "zip": (".zip", lambda rows: zipped({"export.csv": as_csv(rows)})),
    "workbook": (".xlsx", lambda rows: as_xlsx(_writable(rows))),
    "workbook with shared texts": (".xlsx", lambda rows: with_shared_strings(as_xlsx(_writable(rows)))),
    "typed workbook": (".xlsx", lambda rows: as_xlsx(_typed(rows))),
    "workbook in a zip": (".zip", lambda rows: zipped({"export.xlsx": as_xlsx(_typed(rows))})),
    "old workbook": (".xls", lambda rows: as_xls({"Children": _typed(rows)})),
    "binary workbook": (".xlsb", lambda rows: as_xlsb({"Children": _typed(rows)})),
    "open document": (".ods", lambda rows: as_ods({"Children": _typed(rows)})),
    "parquet": (".parquet", as_parquet),
    "typed parquet": (".parquet", lambda rows: as_parquet(_typed(rows))),
    "workbook called csv": (".csv", as_xlsx),
    "gzip called csv": (".csv", lambda rows: as_gzip(as_csv(rows))),
    "parquet called csv": (".csv", as_parquet),
    "zip called csv": (".csv", lambda rows: zipped({"export.txt": as_csv(rows)})),
    "csv called xlsx": (".xlsx", as_csv),
}


def _named(source: str, rows: Table) -> list[Row]:
    """Return rows for the writers of standard formats, which name their columns: missing ones are blank."""
    coded = {"sex": "F"} | ({"asq3_months": "27", "review": "2-2.5Y"} if source == "hv_reviews" else {})
    names = table(many(source, 1))[0]
    return [dict.fromkeys(names, "") | dict(zip(rows[0], row, strict=True)) | coded for row in rows[1:]]


STANDARDS: dict[str, dict[str, Form]] = {
    "eyfsp": {"xml": (".xml", lambda rows: eyfsp_xml(_named("eyfsp", rows)))},
    "hv_reviews": {
        "tables": (".zip", lambda rows: zipped(csds_files(csds(_named("hv_reviews", rows))))),
        "workbook of tables": (".xlsx", lambda rows: workbook(csds(_named("hv_reviews", _writable(rows))))),
    },
}
"""Formats of one source only."""

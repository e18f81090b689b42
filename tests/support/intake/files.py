"""Writes a table as a file of each format, and reads a landed file with only the readers."""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet

from sources.contracts import CONTRACTS
from sources.councils.dialect import CONTRACT_DIALECT, Dialect
from sources.extract.landing import find
from sources.extract.open import open_extract
from tests.support.extracts import COHORT
from tests.support.intake.desk import EYFSP_HEADER, EYFSP_ROW

SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
_CONTENT_TYPES = "[Content_Types].xml"
RELATIONS = "xl/_rels/workbook.xml.rels"
Rows = Sequence[Sequence[object]]


@dataclass(frozen=True)
class Read:
    """Result of reading a file; `rows` maps each usable row's number to its values of the wanted columns."""

    rows: dict[int, dict[str, str | None]]
    set_aside: dict[str, list[int]]


class Landing:
    """A landing folder with the test's only extract."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, content: bytes | str, suffix: str = ".csv") -> Path:
        folder = self.root / "leeds" / "eyfsp"
        folder.mkdir(parents=True, exist_ok=True)
        for earlier in folder.iterdir():
            earlier.unlink()
        path = folder / f"{COHORT}{suffix}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def read(self, dialect: Dialect = CONTRACT_DIALECT) -> Read:
        landed = find(self.root, "leeds", "eyfsp", COHORT)
        assert landed
        extract = open_extract(landed, CONTRACTS["eyfsp"], dialect)
        rows = {row.pop("source_row"): row for batch in extract.batches for row in batch.to_pylist()}
        return Read(rows, {rule.id: numbers for rule, numbers in extract.set_aside.items() if numbers})


def build_children(*changes: dict[str, str]) -> list[list[str]]:
    """Return a header and one row for each mapping of changed values."""
    return [EYFSP_HEADER, *([str((EYFSP_ROW | change)[name]) for name in EYFSP_HEADER] for change in changes)]


def build_csv(rows: Iterable[Sequence[object]], encoding: str = "utf-8", **form: object) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **{"lineterminator": "\n"} | form).writerows(rows)
    return text.getvalue().encode(encoding)


def build_xlsx(rows: Iterable[Sequence[object]], change: Callable[[openpyxl.Workbook], None] | None = None) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in rows:
        sheet.append(list(row))
    if change:
        change(book)
    return save(book)


def build_sheets(sheets: Mapping[str, Rows], hidden: Sequence[str] = ()) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        sheet.sheet_state = "hidden" if name in hidden else "visible"
        for row in rows:
            sheet.append(list(row))
    return save(book)


def save(book: openpyxl.Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def share_strings(content: bytes) -> bytes:
    """Return openpyxl's workbook with the texts of its first sheet in a shared table, as Excel writes them."""
    members = read_members(content)
    texts: dict[str, int] = {}

    def share(found: re.Match[str]) -> str:
        return f' t="s"><v>{texts.setdefault(found[1], len(texts))}</v></c>'

    sheet = re.sub(r' t="inlineStr"><is>(.*?)</is></c>', share, members[SHEET].decode(), flags=re.DOTALL)
    table = "".join(f"<si>{text}</si>" for text in texts)
    strings = f'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{table}</sst>'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
    relation = f'<Relationship Type="{kind}" Target="sharedStrings.xml" Id="rIdS"/></Relationships>'
    relations = members[RELATIONS].decode().replace("</Relationships>", relation)
    type_of_table = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    override = f'<Override PartName="/{STRINGS}" ContentType="{type_of_table}"/></Types>'
    types = members[_CONTENT_TYPES].decode().replace("</Types>", override)
    return build_zip(members | {SHEET: sheet, STRINGS: strings, RELATIONS: relations, _CONTENT_TYPES: types})


def build_arrow(rows: Rows) -> pa.Table:
    header, *body = rows
    columns = [pa.array(column) for column in zip(*body, strict=True)]
    return pa.Table.from_arrays(columns, names=[str(name) for name in header])


def build_parquet(rows: Rows | pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    table = rows if isinstance(rows, pa.Table) else build_arrow(rows)
    pyarrow.parquet.write_table(table, file, **options)
    return file.getvalue()


def build_zip(members: Mapping[str, bytes | str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def read_members(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def build_gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)

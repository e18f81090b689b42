"""The workbook: the checklist for accessible spreadsheets, and what is in its cells."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ndl_export.documents import workbook
from ndl_export.documents.workbook import (
    MOST_ROWS,
    SheetColumn,
    WorkbookSheet,
    build_table_sheet,
    find_differing_sheets,
)
from ndl_export.files.archive import pack_flat_zip
from ndl_export.tables import TABLES
from ndl_export.tables.schema import FLAG_MEANINGS, Flag
from sources.reference.places import load_places
from tests.support.areas import describe_missing
from tests.support.export.accessible_workbook import POINTS, Workbook, list_not_met
from tests.support.export.fake_release import fake_facts, fake_tables

NAME = "school_readiness_tables.ods"
FRONT = ["Cover", "Contents", "Notes", "Symbols"]


@pytest.fixture(scope="module")
def whole(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Tables of which a sheet takes every row."""
    return {name: data.slice(0, MOST_ROWS) for name, data in tables.items()}


@pytest.fixture(scope="module")
def content(whole: dict[str, pa.Table]) -> bytes:
    return workbook.build_workbook_file(fake_facts(), whole)


@pytest.fixture(scope="module")
def book(content: bytes) -> Workbook:
    return Workbook(content)


@pytest.fixture(scope="module")
def few(tables: dict[str, pa.Table]) -> Workbook:
    """A workbook of three rows of Leeds a sheet."""
    rows = {name: data.filter(pc.equal(data["area_name"], "Leeds")).slice(0, 3) for name, data in tables.items()}
    return Workbook(workbook.build_workbook_file(fake_facts(), rows))


Plant = Callable[[dict[str, bytes]], dict[str, bytes]]


def swap(old: str, new: str, part: str = "content.xml") -> Plant:
    def plant(parts: dict[str, bytes]) -> dict[str, bytes]:
        assert old.encode() in parts[part]
        return parts | {part: parts[part].replace(old.encode(), new.encode(), 1)}

    return plant


PLANTED: dict[str, Plant] = {
    "Remove blank rows": swap("</table:table-header-rows>", "</table:table-header-rows><table:table-row/>"),
    "Only leave cells": swap("<text:p>[z]</text:p>", "<text:p/>"),
    "Links must be accessible": swap(">Back to the contents<", ">https://example.org<"),
    "Format text": swap("12pt", "9pt", "styles.xml"),
    "Mark up tables": swap("$joined_dots.$A$", "$joined_dots.$B$"),
    "What must not": swap("<table:table-column ", '<table:table-column table:visibility="collapse" '),
    "Add document information": swap("en-GB", "fr-FR", "meta.xml"),
}


@pytest.mark.parametrize("point", PLANTED)
def test_the_checker_finds_a_planted_fault(point: str, few: Workbook) -> None:
    (planted,) = [each for each in POINTS if each.startswith(point)]
    assert planted in list_not_met(pack_flat_zip(PLANTED[point](few.parts)))


def test_it_meets_the_checklist_has_a_sheet_for_every_table_and_leads_to_each(
    book: Workbook, bundle: Path, tables: dict[str, pa.Table]
) -> None:
    assert [sheet.name for sheet in book.sheets] == [*FRONT, *TABLES]
    leads = {str(to) for to in book.find("//text:a/@xlink:href")}
    assert {f"#{name}.A1" for name in (*TABLES, "Contents", "Notes", "Symbols")} <= leads
    assert fake_facts().folder_address in leads
    explained = dict(next(sheet.table for sheet in book.sheets if sheet.name == "Symbols"))
    assert all(explained[f"[{flag}]"] == FLAG_MEANINGS[flag] for flag in Flag)
    published = (bundle / NAME).read_bytes()
    assert list_not_met(published) == []
    assert published == workbook.build_workbook_file(fake_facts(), tables)


@pytest.mark.parametrize("name", TABLES)
def test_cells_are_the_figures_of_the_table_or_the_symbol_of_why_there_is_none(
    name: str, content: bytes, book: Workbook, whole: dict[str, pa.Table]
) -> None:
    headings, *rows = next(sheet.table for sheet in book.sheets if sheet.name == name)
    source = whole[name].to_pylist()
    assert len(rows) == len(source)
    for cells, row in zip(rows, source, strict=True):
        told = dict(zip(headings, cells, strict=True))
        assert (told["Area code"], told["Area"]) == (row["area_code"], row["area_name"])
        for measure in TABLES[name].measures:
            value, flag = row[measure.name], row[f"{measure.name}_flag"]
            decimals = 0 if flag == "u" and measure.unit else measure.decimals
            assert told[measure.label] == (f"[{flag}]" if value is None else f"{value:,.{decimals}f}")
            if value is not None:
                lower, upper = (told[f"{measure.label}, {end} 95% limit"] for end in ("lower", "upper"))
                shown = [float(each.replace(",", "")) for each in (lower, told[measure.label], upper)]
                assert shown == sorted(shown)
            if not measure.is_count:
                reliability = told[f"{measure.label}, reliability"]
                assert reliability == "reliable" if flag is None else reliability.endswith(f"[{flag}]")
    # Numbers are numbers to a program.
    sheet = pd.read_excel(io.BytesIO(content), sheet_name=name, header=None, engine="calamine")
    read = sheet.iloc[sheet.index[sheet[0] == "Academic year"][0] :]
    measure = TABLES[name].measures[0]
    found = pd.to_numeric(read.iloc[1:, read.iloc[0].tolist().index(measure.label)], errors="coerce").tolist()
    assert [None if pd.isna(value) else value for value in found] == [row[measure.name] for row in source]


def test_a_notice_is_the_first_thing_in_every_sheet(tables: dict[str, pa.Table]) -> None:
    notice = "Synthetic data: no figure is about a real child."
    rows = {name: data.slice(0, 1) for name, data in tables.items()}
    book = Workbook(workbook.build_workbook_file(replace(fake_facts(), notice=notice), rows))
    assert all(sheet.rows[0][0].startswith(notice) for sheet in book.sheets)
    assert book.meta.xpath("//dc:title/text()", namespaces={"dc": "http://purl.org/dc/elements/1.1/"})[0].startswith(
        notice
    )


def test_of_many_rows_those_of_councils_are_left_out_and_it_says_so() -> None:
    tables = fake_tables(tuple(load_places()))
    sheets = {name: build_table_sheet(TABLES[name], data) for name, data in tables.items()}
    cut = {name for name, data in tables.items() if data.num_rows > MOST_ROWS}
    assert {"gld_headline", "parent_experience"} <= cut < set(TABLES)
    for name, sheet in sheets.items():
        said = [line for line in sheet.lines if isinstance(line, str) and "rows are in" in line]
        assert bool(said) == (name in cut)
        levels = list(sheet.columns[3].cells)
        assert len(levels) <= MOST_ROWS
        whole = tables[name].filter(pc.not_equal(tables[name]["geographic_level"], "Local authority")).num_rows
        assert name == "parent_experience" or sum(level != "Local authority" for level in levels) == whole
        assert name == "parent_experience" or levels.count("Local authority") >= len(load_places())


SMALL = [
    WorkbookSheet(
        name,
        "Title",
        ("Line",),
        (SheetColumn("Area", 3.0, ["Leeds", "Halton"]), SheetColumn("Number", 3.0, [1.0, "[x]"], 1)),
    )
    for name in ("first", "second")
]
ROW = "<table:table-row><table:table-cell/></table:table-row>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<text:p>Leeds<", "<text:p>Leads<"),
        ("<text:p>Leeds<", '<text:p>Leeds xmlns:a="b"<'),
        ('office:value="1.0"', 'office:value="1.5"'),
        ("<text:p>Number<", "<text:p>Percentage<"),
        ("</table:table-header-rows>", f"</table:table-header-rows>{ROW}"),
        ("</table:table>", f"{ROW}</table:table>"),
        ("</table:table>", '</table:table><table:table table:name="first"/>'),
        ('table table:name="first"', 'table table:name="third"'),
        ("<table:table-header-rows>", '<table:table-header-rows found="1"/><table:table-header-rows>'),
    ],
)
def test_a_table_that_is_another_than_the_figures_give_is_told(old: str, new: str) -> None:
    parts = Workbook(workbook.build_workbook("Title", "2026-11-26", SMALL)).parts
    assert find_differing_sheets(pack_flat_zip(parts), SMALL) == []
    assert find_differing_sheets(pack_flat_zip(swap(old, new)(parts)), SMALL) == ["first"]


def test_a_table_that_begins_like_another_is_compared_whole() -> None:
    shorter = WorkbookSheet(
        "third", "Title", ("Line",), (SheetColumn("Area", 3.0, ["Leeds"]), SheetColumn("Number", 3.0, [1.0], 1))
    )
    sheets = [shorter, *SMALL]
    assert find_differing_sheets(workbook.build_workbook("Title", "2026-11-26", sheets), sheets) == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("soffice") is None, reason=describe_missing("workbook"))
def test_libreoffice_reads_every_cell(bundle: Path, tmp_path: Path) -> None:
    command = ["soffice", f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", "--convert-to", "xlsx"]
    subprocess.run([*command, "--outdir", str(tmp_path), str(bundle / NAME)], check=True, capture_output=True)
    ours, theirs = (
        pd.read_excel(path, sheet_name=None, header=None, engine="calamine")
        for path in (bundle / NAME, (tmp_path / NAME).with_suffix(".xlsx"))
    )
    assert ours.keys() == theirs.keys()
    for name, sheet in ours.items():
        pd.testing.assert_frame_equal(sheet, theirs[name])
    with zipfile.ZipFile((tmp_path / NAME).with_suffix(".xlsx")) as archive:
        marked = b"".join(
            archive.read(name) for name in archive.namelist() if "tables/" in name or "workbook.xml" in name
        )
    assert all(name.encode() in marked for name in TABLES)

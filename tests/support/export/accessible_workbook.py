"""Checks an OpenDocument workbook against the Analysis Function's "Making spreadsheets accessible: a brief checklist of
the basics".

Points are in the checklist's words and order. Four can only be checked by people: spelling and grammar, an office
program's accessibility checker, whether the text is clear, and whether names and titles are meaningful.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from lxml import etree

NAMES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "style": "urn:oasis:names:tc:opendocument:xmlns:style:1.0",
    "fo": "urn:oasis:names:tc:opendocument:xmlns:xsl-fo-compatible:1.0",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xlink": "http://www.w3.org/1999/xlink",
}
TABLE = f"{{{NAMES['table']}}}"
FRONT = ("Cover", "Contents", "Notes", "Symbols")


@dataclass(frozen=True)
class Sheet:
    """A sheet as read: the text of every cell by row, and the rows that are marked as headings."""

    name: str
    rows: list[list[str]]
    marked: list[int]
    styles: list[str]

    @property
    def table(self) -> list[list[str]]:
        """Return headings and rows."""
        return self.rows[self.marked[0] :] if self.marked else []


class Workbook:
    """A workbook, read from its parts without the library that wrote it."""

    def __init__(self, content: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}
        self.content = etree.fromstring(self.parts["content.xml"])
        self.styles = etree.fromstring(self.parts["styles.xml"])
        self.meta = etree.fromstring(self.parts["meta.xml"])

    def find(self, path: str) -> list[etree._Element]:
        return [found for part in (self.content, self.styles) for found in part.xpath(path, namespaces=NAMES)]

    @cached_property
    def sheets(self) -> list[Sheet]:
        return [self._sheet(table) for table in self.content.iter(f"{TABLE}table")]

    def _sheet(self, table: etree._Element) -> Sheet:
        rows = list(table.iter(f"{TABLE}table-row"))
        return Sheet(
            table.get(f"{TABLE}name"),
            [["".join(cell.itertext()) for cell in row] for row in rows],
            [index for index, row in enumerate(rows) if row.getparent().tag == f"{TABLE}table-header-rows"],
            [row[0].get(f"{TABLE}style-name", "") if len(row) else "" for row in rows],
        )

    @cached_property
    def ranges(self) -> dict[str, str]:
        return {
            found.get(f"{TABLE}name"): found.get(f"{TABLE}target-range-address")
            for found in self.find("//table:database-range[@table:contains-header='true']")
        }

    @property
    def tables(self) -> list[Sheet]:
        return [sheet for sheet in self.sheets if sheet.marked]

    def style(self, name: str, attribute: str) -> str | None:
        """Return the value of an attribute of a style's properties."""
        found = self.find(f"//*[@style:name='{name}']//@{attribute}")
        return str(found[0]) if found else None


def _letters(number: int) -> str:
    return ("" if number <= 26 else chr(64 + (number - 1) // 26)) + chr(65 + (number - 1) % 26)


def _address(sheet: Sheet) -> str:
    return f"${sheet.name}.$A${sheet.marked[0] + 1}:.${_letters(len(sheet.table[0]))}${len(sheet.rows)}"


POINTS: dict[str, Callable[[Workbook], bool]] = {
    "Mark up tables": lambda book: book.ranges == {sheet.name: _address(sheet) for sheet in book.tables},
    "Give tables meaningful names": lambda book: all(
        re.fullmatch("[A-Za-z][A-Za-z0-9_]+", name) for name in book.ranges
    ),
    "Remove merged cells, split cells and nested tables": lambda book: (
        not book.find(
            "//table:covered-table-cell | //@table:number-columns-spanned | //@table:number-rows-spanned"
            " | //table:table-cell//table:table"
        )
    ),
    "Remove blank rows and columns within tables": lambda book: (
        all(len(row) == len(sheet.table[0]) for sheet in book.tables for row in sheet.table)
        and all(row and row[0].strip() for sheet in book.sheets for row in sheet.rows)
    ),
    "All tables should have one tagged header row": lambda book: all(
        len(sheet.marked) == 1 and len(set(sheet.table[0])) == len(sheet.table[0]) for sheet in book.tables
    ),
    "Wrap text within cells": lambda book: all(
        book.style(name, "fo:wrap-option") == "wrap" for name in ("Words", "Table_20_heading")
    ),
    "Avoid adding filters and freeze panes": lambda book: (
        not book.find("//table:filter | //@table:display-filter-buttons[.='true']") and "settings.xml" not in book.parts
    ),
    "Only leave cells with no data empty in certain circumstances": lambda book: all(
        cell.strip() for sheet in book.tables for row in sheet.table for cell in row
    ),
    "Avoid hiding rows or columns": lambda book: (
        not book.find(
            "//@table:visibility | //@table:display[.='false'] | //table:table-row-group | //table:table-column-group"
        )
    ),
    "Do not use symbols or superscript to signpost to notes": lambda book: (
        not book.find("//@style:text-position | //text:note | //office:annotation")
    ),
    "Use the word 'note' when referring to footnotes": lambda book: all(
        re.fullmatch(r"\[note \d+\]", row[0])
        for sheet in book.tables
        if sheet.name == "Notes"
        for row in sheet.table[1:]
    ),
    "Avoid putting note markers in specific cells": lambda book: (
        not [
            cell
            for sheet in book.tables
            if sheet.name not in FRONT
            for row in sheet.table[1:]
            for cell in row
            if "note" in cell.lower() and "[" in cell
        ]
    ),
    "Put note text in a notes table on a notes worksheet": lambda book: "Notes" in {each.name for each in book.tables},
    "Links must be accessible": lambda book: all(
        "".join(link.itertext()).strip() and "://" not in "".join(link.itertext()) for link in book.find("//text:a")
    ),
    "Format text to make it accessible": lambda book: (
        {float(str(size).removesuffix("pt")) >= 12 for size in book.find("//@fo:font-size")} == {True}
        and set(book.find("//@style:font-name")) == {"Arial"}
        and not book.find("//@fo:font-style[.='italic'] | //@style:text-underline-style")
    ),
    "All worksheets should have descriptive titles which are properly tagged and formatted": lambda book: all(
        len(sheet.rows[0]) == 1 and sheet.styles[0] == "Heading_20_1" for sheet in book.sheets
    ),
    "Avoid using symbols in general": lambda book: (
        not [cell for sheet in book.sheets for row in sheet.rows for cell in row if re.search(r"[*†‡§†#~^✓✗]", cell)]
    ),
    "Do not use headers and footers, floating text boxes or floating toolbars": lambda book: (
        not book.find("//style:header/* | //style:footer/* | //table:shapes | //draw:*")
    ),
    "Do not use visual devices to divide data regions": lambda book: (
        not book.find("//@fo:border | //@fo:border-top | //@fo:border-bottom")
    ),
    "Do not use a background fill": lambda book: not book.find("//@fo:background-color"),
    "Do not use colour as the only way to convey a message": lambda book: not book.find("//@fo:color"),
    "Avoid images in spreadsheets": lambda book: not [name for name in book.parts if name.startswith("Pictures")],
    "Remove macros": lambda book: not [name for name in book.parts if "Basic" in name or "Scripts" in name],
    "Give worksheets unique names or numbers": lambda book: (
        len({sheet.name for sheet in book.sheets}) == len(book.sheets) and book.sheets[0].name == "Cover"
    ),
    "Remove blank worksheets": lambda book: all(len(sheet.rows) > 1 for sheet in book.sheets),
    "Use cells in column A wisely": lambda book: all(
        len(row) == 1 for sheet in book.sheets for row in sheet.rows[: sheet.marked[0] if sheet.marked else None]
    ),
    "Position tables against the left-hand edges of each sheet": lambda book: all(
        ".$A$" in address for address in book.ranges.values()
    ),
    "Avoid putting content below a table": lambda book: all(
        int(address.rpartition("$")[2]) == len(sheet.rows)
        for sheet in book.tables
        for name, address in book.ranges.items()
        if name == sheet.name
    ),
    "Avoid worksheets with multiple tables": lambda book: all(
        sum(address.startswith(f"${sheet.name}.") for address in book.ranges.values()) == 1 for sheet in book.tables
    ),
    "Add document information": lambda book: bool(
        book.meta.findtext(".//dc:title", namespaces=NAMES)
        and book.meta.findtext(".//dc:language", namespaces=NAMES) == "en-GB"
        and book.find("//style:default-style//@fo:language") == ["en"]
    ),
    "Ensure the cursor is in cell A1 of the first worksheet when doing your final save": lambda book: (
        "settings.xml" not in book.parts
    ),
}
"""Checks by point of the checklist; each returns whether the point is met."""


def not_met(content: bytes) -> list[str]:
    """Return the points that a workbook does not meet."""
    book = Workbook(content)
    return [point for point, met in POINTS.items() if not met(book)]

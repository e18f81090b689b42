"""Checks an OpenDocument workbook against the Analysis Function's "Making spreadsheets accessible: a brief checklist of
the basics".

Points are in the checklist's words and order; those about what must not be there are one (`ABSENT`). Four can only be
checked by people: spelling and grammar, an office program's accessibility checker, whether the text is clear, and
whether names and titles are meaningful.
"""

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
ABSENT = (
    *("//table:covered-table-cell", "//@table:number-columns-spanned", "//@table:number-rows-spanned"),
    *("//table:table-cell//table:table", "//table:filter", "//@table:display-filter-buttons[.='true']"),
    *("//@table:visibility", "//@table:display[.='false']", "//table:table-row-group", "//table:table-column-group"),
    *("//@style:text-position", "//text:note", "//office:annotation", "//style:header/*", "//style:footer/*"),
    *("//table:shapes", "//draw:*", "//@fo:border", "//@fo:border-top", "//@fo:border-bottom"),
    *("//@fo:background-color", "//@fo:color", "//@fo:font-style[.='italic']", "//@style:text-underline-style"),
)
"""Merged cells, filters, hidden rows, footnotes, headers, drawings, borders, fills and colours."""


@dataclass(frozen=True)
class Sheet:
    """A sheet as read: the text of every cell by row, and the rows that are marked as headings."""

    name: str
    rows: list[list[str]]
    marked: list[int]
    styles: list[str]

    @property
    def table(self) -> list[list[str]]:
        return self.rows[self.marked[0] :] if self.marked else []


class Workbook:
    """A workbook, read from its parts without the library that wrote it."""

    def __init__(self, content: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}
        self.content, self.styles, self.meta = (
            etree.fromstring(self.parts[f"{part}.xml"]) for part in ("content", "styles", "meta")
        )

    def find(self, path: str) -> list[etree._Element]:
        return [found for part in (self.content, self.styles) for found in part.xpath(path, namespaces=NAMES)]

    @cached_property
    def sheets(self) -> list[Sheet]:
        return [self._read_sheet(table) for table in self.content.iter(f"{TABLE}table")]

    def _read_sheet(self, table: etree._Element) -> Sheet:
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

    @property
    def cells(self) -> list[str]:
        return [cell for sheet in self.sheets for row in sheet.rows for cell in row]

    def find_style(self, name: str, attribute: str) -> str | None:
        """Return the value of an attribute of a style's properties."""
        found = self.find(f"//*[@style:name='{name}']//@{attribute}")
        return str(found[0]) if found else None


def _address(sheet: Sheet) -> str:
    number = len(sheet.table[0])
    letters = ("" if number <= 26 else chr(64 + (number - 1) // 26)) + chr(65 + (number - 1) % 26)
    return f"${sheet.name}.$A${sheet.marked[0] + 1}:.${letters}${len(sheet.rows)}"


POINTS: dict[str, Callable[[Workbook], bool]] = {
    "Mark up tables, at the left edge, with nothing below": lambda book: (
        book.ranges == {sheet.name: _address(sheet) for sheet in book.tables}
        and all(re.fullmatch("[A-Za-z][A-Za-z0-9_]+", name) for name in book.ranges)
    ),
    "Avoid worksheets with multiple tables": lambda book: all(
        sum(address.startswith(f"${sheet.name}.") for address in book.ranges.values()) == 1 for sheet in book.tables
    ),
    "Remove blank rows and columns within tables": lambda book: (
        all(len(row) == len(sheet.table[0]) for sheet in book.tables for row in sheet.table)
        and all(row and row[0].strip() for sheet in book.sheets for row in sheet.rows)
    ),
    "All tables should have one tagged header row": lambda book: all(
        len(sheet.marked) == 1 and len(set(sheet.table[0])) == len(sheet.table[0]) for sheet in book.tables
    ),
    "Wrap text within cells": lambda book: all(
        book.find_style(name, "fo:wrap-option") == "wrap" for name in ("Words", "Table_20_heading")
    ),
    "Only leave cells with no data empty in certain circumstances": lambda book: all(
        cell.strip() for sheet in book.tables for row in sheet.table for cell in row
    ),
    "Put note text in a notes table on a notes worksheet": lambda book: (
        [
            all(re.fullmatch(r"\[note \d+\]", row[0]) for row in sheet.table[1:])
            for sheet in book.tables
            if sheet.name == "Notes"
        ]
        == [True]
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
    "Links must be accessible": lambda book: all(
        "".join(link.itertext()).strip() and "://" not in "".join(link.itertext()) for link in book.find("//text:a")
    ),
    "Format text to make it accessible": lambda book: (
        {float(str(size).removesuffix("pt")) >= 12 for size in book.find("//@fo:font-size")} == {True}
        and set(book.find("//@style:font-name")) == {"Arial"}
    ),
    "All worksheets should have descriptive titles which are properly tagged and formatted": lambda book: all(
        len(sheet.rows[0]) == 1 and sheet.styles[0] == "Heading_20_1" for sheet in book.sheets
    ),
    "Avoid using symbols in general": lambda book: not [c for c in book.cells if re.search(r"[*†‡§#~^✓✗]", c)],
    "What must not be there": lambda book: (
        not book.find(" | ".join(ABSENT))
        and not [name for name in book.parts if re.match("Pic|Bas|Scr|settings", name)]
    ),
    "Give worksheets unique names, and remove blank ones": lambda book: (
        len({sheet.name for sheet in book.sheets}) == len(book.sheets)
        and book.sheets[0].name == "Cover"
        and all(len(sheet.rows) > 1 for sheet in book.sheets)
    ),
    "Use cells in column A wisely": lambda book: all(
        len(row) == 1 for sheet in book.sheets for row in sheet.rows[: sheet.marked[0] if sheet.marked else None]
    ),
    "Add document information": lambda book: bool(
        book.meta.findtext(".//dc:title", namespaces=NAMES)
        and book.meta.findtext(".//dc:language", namespaces=NAMES) == "en-GB"
        and book.find("//style:default-style//@fo:language") == ["en"]
    ),
}
"""Checks by point of the checklist; each returns whether the point is met."""


def list_not_met(content: bytes) -> list[str]:
    book = Workbook(content)
    return [point for point, met in POINTS.items() if not met(book)]

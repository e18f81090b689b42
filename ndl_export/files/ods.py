"""A workbook in the OpenDocument format, laid out as the Analysis Function's "Making spreadsheets accessible" asks.

A sheet has its title in A1, then lines of text, then at most one table: no cell of it is empty or merged, its one row
of headings is marked as such, and its range has a name. Nothing is hidden, filtered, frozen, coloured or drawn. The
same content gives the same bytes: fixed times, nothing compressed (as in `archive`).

Parts and elements: OASIS, Open Document Format for Office Applications 1.3, part 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ndl_export.files.archive import flat_zip_bytes
from ndl_export.files.media_types import MEDIA_TYPES

_MEDIA_TYPE = MEDIA_TYPES["ods"]
_STYLES = (Path(__file__).parent / "ods_styles.xml").read_text(encoding="utf-8")
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in {
        "office": "office",
        "style": "style",
        "table": "table",
        "text": "text",
        "meta": "meta",
        "number": "datastyle",
        "fo": "xsl-fo-compatible",
    }.items()
)
_OTHERS = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:dc="http://purl.org/dc/elements/1.1/" office:version="1.3"'
_MANIFEST = f"""{_HEAD}<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" \
manifest:version="1.3">
<manifest:file-entry manifest:full-path="/" manifest:version="1.3" manifest:media-type="{_MEDIA_TYPE}"/>
<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>
<manifest:file-entry manifest:full-path="styles.xml" manifest:media-type="text/xml"/>
<manifest:file-entry manifest:full-path="meta.xml" manifest:media-type="text/xml"/>
</manifest:manifest>
"""
_WIDE = 28.0
"""Centimetres of the one column of a sheet without a table."""


@dataclass(frozen=True)
class Link:
    """Words that lead to an address, or to a sheet of the workbook (`#name`)."""

    words: str
    to: str


Words = str | Link


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, its width in centimetres, and its cells. With `decimals` these are numbers, or
    words in the place of numbers, else words."""

    heading: str
    width: float
    cells: Sequence[Words | float]
    decimals: int | None = None

    @property
    def style(self) -> str:
        """Of its cells."""
        return "Words" if self.decimals is None else f"n{self.decimals}"


@dataclass(frozen=True)
class Sheet:
    """A sheet, by whose name the table in it is called too; `lines` stand between title and table. Without columns it
    is text alone, of which some lines are `headings`."""

    name: str
    title: str
    lines: Sequence[Words]
    columns: Sequence[Column] = ()
    headings: frozenset[str] = frozenset()

    @cached_property
    def rows_xml(self) -> str:
        """The rows of the table as they stand in `content.xml`."""
        cells = ([_cell(cell, column.decimals) for cell in column.cells] for column in self.columns)
        return "".join(_row(*row) for row in zip(*cells, strict=True))


def workbook(title: str, day: str, sheets: Sequence[Sheet]) -> bytes:
    """The file; `title` and the `day` it was made on, as 2026-11-26, stand in its properties."""
    parts = {
        "mimetype": _MEDIA_TYPE,
        "content.xml": _content(sheets),
        "styles.xml": _STYLES,
        "meta.xml": _meta(title, day),
        "META-INF/manifest.xml": _MANIFEST,
    }
    return flat_zip_bytes({name: part.encode() for name, part in parts.items()})


def _meta(title: str, day: str) -> str:
    return (
        f"{_HEAD}<office:document-meta {_NAMESPACES} {_OTHERS}><office:meta><dc:title>{escape(title)}</dc:title>"
        f"<dc:language>en-GB</dc:language><meta:creation-date>{day}T00:00:00</meta:creation-date>"
        f"<dc:date>{day}T00:00:00</dc:date></office:meta></office:document-meta>\n"
    )


def _content(sheets: Sequence[Sheet]) -> str:
    ranges = "".join(_range(sheet) for sheet in sheets if sheet.columns)
    return (
        f"{_HEAD}<office:document-content {_NAMESPACES} {_OTHERS}>"
        f"<office:automatic-styles>{''.join(_styles(sheets))}</office:automatic-styles>"
        f"<office:body><office:spreadsheet>{''.join(map(_table, sheets))}"
        f"<table:database-ranges>{ranges}</table:database-ranges></office:spreadsheet></office:body>"
        "</office:document-content>\n"
    )


def _styles(sheets: Sequence[Sheet]) -> Iterator[str]:
    """Styles of sheets, of columns by their widths and of numbers by their decimals."""
    columns = [column for sheet in sheets for column in sheet.columns]
    yield (
        '<style:style style:name="sheet" style:family="table" style:master-page-name="Default">'
        '<style:table-properties table:display="true" style:writing-mode="lr-tb"/></style:style>'
        '<style:style style:name="row" style:family="table-row">'
        '<style:table-row-properties style:use-optimal-row-height="true"/></style:style>'
    )
    for width in sorted({_WIDE, *(column.width for column in columns)}):
        yield (
            f'<style:style style:name="{_width(width)}" style:family="table-column">'
            f'<style:table-column-properties style:column-width="{width:g}cm"/></style:style>'
        )
    for decimals in sorted({column.decimals for column in columns if column.decimals is not None}):
        yield (
            f'<number:number-style style:name="N{decimals}"><number:number number:decimal-places="{decimals}"'
            f' number:min-decimal-places="{decimals}" number:min-integer-digits="1" number:grouping="true"/>'
            f'</number:number-style><style:style style:name="n{decimals}" style:family="table-cell"'
            f' style:parent-style-name="Number" style:data-style-name="N{decimals}"/>'
        )


def _table(sheet: Sheet) -> str:
    columns = [(_width(column.width), column.style) for column in sheet.columns] or [(_width(_WIDE), "Words")]
    plain = "Default" if sheet.columns else "Words"
    lines = (_row(_words(line, "Heading_20_2" if line in sheet.headings else plain)) for line in sheet.lines)
    headings = _row(*(_words(column.heading, "Table_20_heading") for column in sheet.columns))
    return "".join(
        (
            f'<table:table table:name={quoteattr(sheet.name)} table:style-name="sheet">',
            *(
                f'<table:table-column table:style-name="{width}" table:default-cell-style-name="{style}"/>'
                for width, style in columns
            ),
            _row(_words(sheet.title, "Heading_20_1")),
            *lines,
            f"<table:table-header-rows>{headings}</table:table-header-rows>" if sheet.columns else "",
            sheet.rows_xml,
            "</table:table>",
        )
    )


def _range(sheet: Sheet) -> str:
    """The range of a sheet's table, headings included, under the sheet's name."""
    first = len(sheet.lines) + 2
    last = first + len(sheet.columns[0].cells)
    place = f"${sheet.name}.$A${first}:.${_letters(len(sheet.columns))}${last}"
    return (
        f"<table:database-range table:name={quoteattr(sheet.name)} table:target-range-address={quoteattr(place)}"
        ' table:contains-header="true" table:display-filter-buttons="false"/>'
    )


def _row(*cells: str) -> str:
    return f'<table:table-row table:style-name="row">{"".join(cells)}</table:table-row>'


def _cell(cell: Words | float, decimals: int | None) -> str:
    if not isinstance(cell, int | float):
        return _words(cell)
    shown = f"{float(cell):z,.{decimals or 0}f}"
    typed = f'office:value-type="float" office:value="{shown.replace(",", "")}"'
    return f"<table:table-cell {typed}><text:p>{shown}</text:p></table:table-cell>"


def _words(words: Words, style: str = "") -> str:
    named = f' table:style-name="{style}"' if style else ""
    if isinstance(words, Link):
        to = f"{words.to}.A1" if words.to.startswith("#") else words.to
        said = f'<text:a xlink:type="simple" xlink:href={quoteattr(to)}>{escape(words.words)}</text:a>'
    else:
        said = escape(words)
    return f'<table:table-cell{named} office:value-type="string"><text:p>{said}</text:p></table:table-cell>'


def _width(centimetres: float) -> str:
    return f"w{centimetres * 10:.0f}"


def _letters(number: int) -> str:
    """The name of a column, from 1: A, Z, AA."""
    before, last = divmod(number - 1, 26)
    return (_letters(before) if before else "") + chr(ord("A") + last)

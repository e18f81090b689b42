"""An OpenDocument workbook, laid out as the Analysis Function's "Making spreadsheets accessible" asks.

A sheet has its title in A1, then lines of text, then at most one table, without empty or merged cells, with one marked
heading row and a named range. The same content gives the same bytes: fixed times, nothing compressed (as in `archive`).

Its parts are the templates in `workbook/`, filled in without a library for workbooks: an object per cell (odfdo) takes
14 times as long as text, and lxml takes 16 MB. Elements: OASIS, Open Document Format 1.3, part 3.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from markupsafe import Markup

from ndl_export.files.archive import pack_flat_zip
from ndl_export.pages import kit

_PARTS = Path(__file__).parent / "workbook"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"


@dataclass(frozen=True)
class Link:
    """Text that links to an address, or to a sheet of the workbook (`#name`)."""

    words: str
    to: str


Words = str | Link


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, its width in centimetres, and its cells.

    With `decimals`, cells are numbers or text in place of numbers; without, text.
    """

    heading: str
    width: float
    cells: Sequence[Words | float]
    decimals: int | None = None

    @property
    def style(self) -> str:
        """Style of its cells."""
        return "Words" if self.decimals is None else f"n{self.decimals}"


@dataclass(frozen=True)
class Sheet:
    """A sheet; its table has the same name. `lines` are between title and table.

    Without columns it is only text, and some of its lines can be `headings`.
    """

    name: str
    title: str
    lines: Sequence[Words]
    columns: Sequence[Column] = ()
    headings: frozenset[str] = frozenset()

    @property
    def area(self) -> str:
        """Cells of its table, headings included."""
        from openpyxl.utils import get_column_letter  # imported here because it takes a quarter of a second

        first = len(self.lines) + 2
        last = first + len(self.columns[0].cells)
        return f"${self.name}.$A${first}:.${get_column_letter(len(self.columns))}${last}"

    def render_lines(self) -> Iterator[Markup]:
        """Yield the cell of its title, and of each line of text."""
        yield Markup(_render_words(self.title, "Heading_20_1"))
        plain = "Default" if self.columns else "Words"
        for line in self.lines:
            yield Markup(_render_words(line, "Heading_20_2" if line in self.headings else plain))

    def render_rows(self) -> Iterator[Markup]:
        """Yield the cells of each row of its table, headings first."""
        if self.columns:
            yield Markup("".join(_render_words(column.heading, "Table_20_heading") for column in self.columns))
        cells = ([_render_cell(cell, column.decimals) for cell in column.cells] for column in self.columns)
        yield from (Markup("".join(row)) for row in zip(*cells, strict=True))


_TEXT_COLUMN = Column("", 28.0, ())
"""The single column of a sheet without a table."""


def build_workbook(title: str, day: str, sheets: Sequence[Sheet]) -> bytes:
    """Return the workbook; `title` and `day` (written 2026-11-26) go into its properties."""
    meta = kit.render(_PARTS, "meta.xml", title=title, day=day)
    # OpenDocument requires `mimetype` to be the first member, uncompressed.
    parts = {
        "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
        "meta.xml": meta,
        "content.xml": _render_content(sheets),
        "styles.xml": _read_part("styles.xml"),
        "META-INF/manifest.xml": _read_part("META-INF/manifest.xml"),
    }
    return pack_flat_zip({name: part.encode() for name, part in parts.items()})


def _read_part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def find_differing_sheets(content: bytes, sheets: Sequence[Sheet]) -> list[str]:
    """Return the names of the `sheets` whose table differs from the one in the workbook `content`.

    Compares headings and all rows. Raises ValueError if `content` is not a workbook.
    """
    made = _cut_tables(_render_content(sheets))
    # Random, so that a workbook cannot hold one already.
    marks = {table: uuid4().hex for table in made.values()}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text = archive.read("content.xml").decode()
        # Expected tables become single elements, because parsing what is left takes a tenth of the time.
        for table, mark in marks.items():
            text = text.replace(table, f'<table:table-header-rows found="{mark}"/></table:table>')
        found = _read_marks(text)
    # SyntaxError is for XML that is not well-formed.
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, OSError, RuntimeError, SyntaxError) as error:
        raise ValueError(str(error)) from None
    return [name for name, table in made.items() if found.get(name) != [[marks[table]]]]


def _cut_tables(content: str) -> dict[str, str]:
    """Return the tables of sheets as `_render_content` writes them, from the headings on, by sheet name."""
    cut = {}
    for sheet in content.split("</table:table>")[:-1]:
        lines, _, rows = sheet.partition("<table:table-header-rows>")
        name = lines.rpartition('<table:table table:name="')[2].partition('"')[0]
        # With its end, because one table may begin with all rows of another.
        cut[name] = f"<table:table-header-rows>{rows}</table:table>"
    return cut


def _read_marks(content: str) -> dict[str | None, list[list[str | None]]]:
    """Return, by sheet name, the marks of a sheet's elements from the headings on; None for an unmarked element."""
    # Lists, because a second sheet of the same name must not hide the first.
    found: dict[str | None, list[list[str | None]]] = {}
    for sheet in ElementTree.fromstring(content).iter(f"{_TABLE}table"):
        rows = dropwhile(lambda part: part.tag != f"{_TABLE}table-header-rows", sheet)
        found.setdefault(sheet.get(f"{_TABLE}name"), []).append([row.get("found") for row in rows])
    return found


def _render_content(sheets: Sequence[Sheet]) -> str:
    columns = [column for sheet in sheets for column in sheet.columns]
    return kit.render(
        _PARTS,
        "content.xml",
        sheets=sheets,
        text_column=_TEXT_COLUMN,
        widths=sorted({_TEXT_COLUMN.width, *(column.width for column in columns)}),
        decimal_places=sorted({column.decimals for column in columns if column.decimals is not None}),
    )


def _render_cell(cell: Words | float, decimals: int | None) -> str:
    if not isinstance(cell, int | float):
        return _render_words(cell)
    # With `z`, a number that rounds to zero has no minus sign.
    shown = f"{float(cell):z,.{decimals or 0}f}"
    typed = f'office:value-type="float" office:value="{shown.replace(",", "")}"'
    return f"<table:table-cell {typed}><text:p>{shown}</text:p></table:table-cell>"


def _render_words(words: Words, style: str = "") -> str:
    named = f' table:style-name="{style}"' if style else ""
    if isinstance(words, Link):
        to = f"{words.to}.A1" if words.to.startswith("#") else words.to
        shown = f'<text:a xlink:type="simple" xlink:href={quoteattr(to)}>{escape(words.words)}</text:a>'
    else:
        shown = escape(words)
    return f'<table:table-cell{named} office:value-type="string"><text:p>{shown}</text:p></table:table-cell>'

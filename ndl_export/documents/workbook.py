"""`school_readiness_tables.ods`: the tables as one workbook for readers, in OpenDocument format.

Each table has a worksheet with figures as shown, their 95% limits and, in words, their reliability. Values for programs
are in other files: estimates for adding up, and models' estimates. Large tables leave out rows of councils: first those
below the totals, then all of them.

It is laid out as the Analysis Function's "Making spreadsheets accessible" asks: a sheet has its title in A1, then lines
of text, then at most one table, without empty or merged cells, with one marked heading row and a named range. The same
content gives the same bytes: fixed times, nothing compressed (as in `archive`).

Its parts are the templates in `workbook/`, filled in without a library for workbooks: an object per cell (odfdo) takes
14 times as long as text, and lxml takes 16 MB. Elements: OASIS, Open Document Format 1.3, part 3.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from uuid import uuid4
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from ndl_export.facts.description import OGL_ADDRESS, OGL_NAME
from ndl_export.facts.missing import explain_breaks, explain_missing
from ndl_export.facts.release_facts import TITLE, ReleaseFacts
from ndl_export.files.archive import pack_flat_zip
from ndl_export.pages import kit
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import ALL, Measure, Table, csv_files, geography, schema
from ndl_export.tables.rows import list_levels
from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort

# The pilot fits (5,913 rows); with all 153 authorities nine of the 13 tables are cut.
MOST_ROWS = 3_000
"""Largest number of rows on a worksheet. It is exceeded only by the rows above council level that are not broken
down."""

RELIABILITY: dict[str | None, str] = {
    None: "reliable",
    schema.Flag.UNRELIABLE: f"low reliability [{schema.Flag.UNRELIABLE}]",
    schema.Flag.LINKAGE: f"compare with care, many links are missed [{schema.Flag.LINKAGE}]",
    schema.Flag.WITHHELD: f"too uncertain to show [{schema.Flag.WITHHELD}]",
    schema.Flag.NOT_APPLICABLE: f"not applicable [{schema.Flag.NOT_APPLICABLE}]",
    schema.Flag.NOT_AVAILABLE: f"not available [{schema.Flag.NOT_AVAILABLE}]",
}
"""Text in a reliability column, by flag."""
_EVERY = "nobody: it is in every release"
_BREAKS = {None: "no break known", schema.BREAK: f"break [{schema.BREAK}]"}
_LINK = re.compile(r"\[(.*)\]\((.*)\)")
_NARROW, _NUMBER, _NAME, _WIDEST = 3.5, 4.6, 6.0, 9.0  # column widths in centimetres
_OF_A_LETTER = 0.25  # width of a letter in centimetres
_TEMPLATES = Path(__file__).parent / "templates"
_WORKBOOK = Path(__file__).parent / "workbook"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_NOTES: list[str] = read_yaml(_TEMPLATES / "workbook_notes.yaml")


@dataclass(frozen=True)
class Link:
    """Text that links to an address, or to a sheet of the workbook (`#name`)."""

    words: str
    to: str


Words = str | Link


@dataclass(frozen=True)
class Coarse:
    """A number with fewer decimals than others of its column."""

    number: float
    decimals: int


Cell = Words | float | Coarse


@dataclass(frozen=True)
class SheetColumn:
    """A column of a table, its width in centimetres. Without `decimals`, cells are text; with, numbers or text."""

    heading: str
    width: float
    cells: Sequence[Cell]
    decimals: int | None = None

    @property
    def style(self) -> str:
        """Style of its cells."""
        return "Words" if self.decimals is None else f"n{self.decimals}"


@dataclass(frozen=True)
class WorkbookSheet:
    """A sheet; its table has the same name. `lines` are between title and table.

    Without columns it is only text, and some of its lines can be `headings`.
    """

    name: str
    title: str
    lines: Sequence[Words]
    columns: Sequence[SheetColumn] = ()
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
        cells = (_render_cells(column) for column in self.columns)
        yield from (Markup("".join(row)) for row in zip(*cells, strict=True))


def build_workbook_file(facts: ReleaseFacts, tables: Mapping[str, pa.Table]) -> bytes:
    """Return the workbook of a release; `tables` by name, with their rows in order."""
    sheets = [
        build_table_sheet(facts.tables[name], data, facts.notice, facts.on_request.origins.get(name, ""))
        for name, data in tables.items()
    ]
    breaks = map(_strip_marks, explain_breaks(facts.cohorts, facts.councils, facts.missing))
    notes = {f"[note {number}]": note for number, note in enumerate((*_NOTES, *breaks), start=1)}
    symbols = {f"[{symbol}]": meaning for symbol, meaning in schema.SYMBOLS.items()}
    front = (
        _build_cover(facts),
        _build_contents(facts, tables, sheets),
        *(
            WorkbookSheet(
                f"{what}s",
                join_parts(facts.notice, f"{what}s"),
                (f"This worksheet has one table, of the {about}.",),
                (SheetColumn(what, width, list(listed)), SheetColumn(meaning, 24.0, list(listed.values()))),
            )
            for what, about, width, meaning, listed in (
                ("Note", "notes on all tables of figures", _NARROW, "Text", notes),
                ("Symbol", "symbols that stand in the place of numbers or beside them", _NUMBER, "Meaning", symbols),
            )
        ),
    )
    return build_workbook(
        join_parts(facts.notice, f"{TITLE}, release {facts.version}"), facts.published_on, (*front, *sheets)
    )


def build_table_sheet(table: Table, data: pa.Table, notice: str = "", origin: str = "") -> WorkbookSheet:
    """Return the worksheet of a table from all its rows; `origin` says who requested it, if anyone."""
    shown, left_out = _select_fitting_rows(table, data)
    elsewhere = f"{left_out} All {data.num_rows:,} rows are in {table.name}{csv_files.ALL_ROWS} of the release."
    return WorkbookSheet(
        name=table.name,
        title=join_parts(notice, table.title),
        lines=(
            f"This worksheet has one table, {table.name}, of {shown.num_rows:,} rows.",
            f"{table.description}.",
            f"Population: {table.population}.",
            *([f"{origin}."] if origin else []),
            *([elsewhere] if left_out else []),
            "A number that is not shown has a symbol in its place: worksheet Symbols says what each means. Notes 1 to"
            f" {len(_NOTES)} in worksheet Notes apply.",
            Link("Back to the contents", "#Contents"),
        ),
        columns=tuple(_iter_columns(table, shown)),
    )


def _select_fitting_rows(table: Table, data: pa.Table) -> tuple[pa.Table, str]:
    """Return the rows that fit on a worksheet, and a sentence about those left out."""
    above = pc.not_equal(data[schema.LEVEL], geography.LOCAL_AUTHORITY)
    totals = pa.chunked_array([pa.repeat(pa.scalar(value=True), data.num_rows)])
    for entry in table.filters:
        # A filter without a total, such as the question of the survey, keeps all its levels.
        if ALL.label in list_levels(table, entry.name):
            totals = pc.and_(totals, pc.equal(data[entry.name], ALL.label))
    choices = {
        "": pc.or_(above, pc.invert(above)),
        "For councils, it has only the rows that are not broken down.": pc.or_(above, totals),
        "It has no rows of councils.": above,
        "It has no rows of councils, and for other areas only those that are not broken down.": pc.and_(above, totals),
    }
    # From the fewest rows left out to the most. The choice depends on the release's layout, which is public, not on
    # figures.
    fitting = (words for words, kept in choices.items() if pc.sum(kept).as_py() <= MOST_ROWS)
    left_out = next(fitting, list(choices)[-1])
    return data.filter(choices[left_out]), left_out


def _iter_columns(table: Table, data: pa.Table) -> Iterator[SheetColumn]:
    """Yield the columns of a worksheet; each measure has its figure, limits and, unless it is a count, reliability."""
    described = {column.name: column for column in schema.list_columns(table)}
    years = {code: Cohort(code).label for code in pc.unique(data["time_period"]).to_pylist()}
    yield SheetColumn("Academic year", _NARROW, [years[code] for code in data["time_period"].to_pylist()])
    for name, width in (("area_code", _NUMBER), ("area_name", _NAME), (schema.LEVEL, _NAME)):
        yield SheetColumn(described[name].label, width, data[name].to_pylist())
    for entry in table.filters:
        longest = max(len(words) for words in (*list_levels(table, entry.name), entry.label))
        width = min(max(_OF_A_LETTER * longest, _NARROW), _WIDEST)
        yield SheetColumn(entry.label, width, data[entry.name].to_pylist())
    for measure in table.measures:
        flags = data[schema.get_column_name(measure, schema.ColumnRole.FLAG)].to_pylist()
        for role, end in zip(schema.WITH_INTERVAL, ("", ", lower 95% limit", ", upper 95% limit"), strict=True):
            numbers = data[schema.get_column_name(measure, role)].to_pylist()
            cells = [_build_cell(measure, number, flag) for number, flag in zip(numbers, flags, strict=True)]
            yield SheetColumn(measure.label + end, _NUMBER, cells, measure.decimals)
        if not measure.is_count:
            yield SheetColumn(f"{measure.label}, reliability", _NAME, [RELIABILITY[flag] for flag in flags])
    breaks = [_BREAKS[symbol] for symbol in data[schema.BREAK_COLUMN.name].to_pylist()]
    yield SheetColumn(schema.BREAK_COLUMN.label, _NUMBER, breaks)


def _build_cell(measure: Measure, number: float | None, flag: str | None) -> Cell:
    if number is None:
        return f"[{flag}]"
    decimals = schema.count_decimals(measure, flag)
    return number if decimals == measure.decimals else Coarse(number, decimals)


def _build_cover(facts: ReleaseFacts) -> WorkbookSheet:
    text = kit.render(
        _TEMPLATES,
        "workbook_cover.md",
        facts=facts,
        cohorts=[Cohort(cohort).label for cohort in sorted(facts.cohorts)],
        missing=explain_missing(facts.missing, facts.councils, facts.on_request.tables),
        most_rows=MOST_ROWS,
        licence=OGL_NAME,
        licence_address=OGL_ADDRESS,
    )
    lines = [(line.startswith("## "), _strip_marks(line.removeprefix("## "))) for line in text.splitlines() if line]
    links = {words: _LINK.fullmatch(words) for _, words in lines}
    return WorkbookSheet(
        "Cover",
        join_parts(facts.notice, TITLE),
        tuple(Link(*link.groups()) if (link := links[words]) else words for _, words in lines),
        headings=frozenset(words for is_heading, words in lines if is_heading),
    )


def _build_contents(
    facts: ReleaseFacts, tables: Mapping[str, pa.Table], sheets: Sequence[WorkbookSheet]
) -> WorkbookSheet:
    listed = [facts.tables[sheet.name] for sheet in sheets]
    requesters = {each.name: each.asked_by for each in facts.on_request.tables}
    return WorkbookSheet(
        "Contents",
        join_parts(facts.notice, "Contents"),
        (
            "This worksheet has one table, of the worksheets with figures.",
            Link("Notes", "#Notes"),
            Link("Symbols", "#Symbols"),
        ),
        (
            SheetColumn("Worksheet", _NAME, [Link(sheet.name, f"#{sheet.name}") for sheet in sheets]),
            SheetColumn("Title", 14.0, [table.title for table in listed]),
            *(
                [SheetColumn("Asked for by", _NAME, [requesters.get(table.name, _EVERY) for table in listed])]
                if requesters
                else []
            ),
            SheetColumn("Rows here", _NUMBER, [len(sheet.columns[0].cells) for sheet in sheets], 0),
            SheetColumn("Rows in the release", _NUMBER, [tables[sheet.name].num_rows for sheet in sheets], 0),
        ),
    )


def _strip_marks(words: str) -> str:
    """Return the text without Markdown marks."""
    return words.translate(str.maketrans("", "", "`<>"))


_TEXT_COLUMN = SheetColumn("", 28.0, ())
"""The single column of a sheet without a table."""


def build_workbook(title: str, day: str, sheets: Sequence[WorkbookSheet]) -> bytes:
    """Return the workbook; `title` and `day` (written 2026-11-26) go into its properties."""
    meta = kit.render(_WORKBOOK, "meta.xml", title=title, day=day)
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
    return (_WORKBOOK / name).read_text(encoding="utf-8")


def find_differing_sheets(content: bytes, sheets: Sequence[WorkbookSheet]) -> list[str]:
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


def _render_content(sheets: Sequence[WorkbookSheet]) -> str:
    columns = [column for sheet in sheets for column in sheet.columns]
    return kit.render(
        _WORKBOOK,
        "content.xml",
        sheets=sheets,
        text_column=_TEXT_COLUMN,
        widths=sorted({_TEXT_COLUMN.width, *(column.width for column in columns)}),
        decimal_places=sorted({0, *(column.decimals for column in columns if column.decimals is not None)}),
    )


def _render_cells(column: SheetColumn) -> list[str]:
    """Return the cells of a column, each different one rendered once: most repeat, as names of areas do."""
    rendered = {cell: _render_cell(cell, column.decimals) for cell in dict.fromkeys(column.cells)}
    return [rendered[cell] for cell in column.cells]


def _render_cell(cell: Cell, decimals: int | None) -> str:
    if isinstance(cell, str | Link):
        return _render_words(cell)
    style = ""
    if isinstance(cell, Coarse):
        style, decimals, cell = f' table:style-name="n{cell.decimals}"', cell.decimals, cell.number
    # With `z`, a number that rounds to zero has no minus sign.
    shown = f"{float(cell):z,.{decimals or 0}f}"
    typed = f'office:value-type="float" office:value="{shown.replace(",", "")}"'
    return f"<table:table-cell{style} {typed}><text:p>{shown}</text:p></table:table-cell>"


def _render_words(words: Words, style: str = "") -> str:
    named = f' table:style-name="{style}"' if style else ""
    if isinstance(words, Link):
        to = f"{words.to}.A1" if words.to.startswith("#") else words.to
        shown = f'<text:a xlink:type="simple" xlink:href={quoteattr(to)}>{escape(words.words)}</text:a>'
    else:
        shown = escape(words)
    return f'<table:table-cell{named} office:value-type="string"><text:p>{shown}</text:p></table:table-cell>'

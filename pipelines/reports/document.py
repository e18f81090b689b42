"""Reports of commands: facts for programs, and the same facts as text of 80 columns or as a page.

A report is made from its facts alone, so the three forms cannot differ.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

from assets.home.software import get_software_version
from ndl_export.pages import kit

WIDTH = 80
"""Columns of a terminal that no line exceeds."""
_GAP = 2
_NARROWEST = 10
_TEMPLATES = Path(__file__).parent / "templates"

Row = Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table: its caption, column headings and rows. The last `numbers` columns are numbers."""

    caption: str
    header: Row
    rows: Sequence[Row]
    numbers: int = 0


@dataclass(frozen=True)
class Section:
    """A part of a report: its title, sentences and tables."""

    title: str
    sentences: Sequence[str] = ()
    grids: Sequence[Grid] = ()


@dataclass(frozen=True)
class Report:
    """A report of a command.

    `kind` is the type of report and `title` its subject. `outcome` is the most important result, and `good` says
    whether everything is in order. `facts` are JSON-ready. A `public` report contains only public facts; an `own`
    report is about the reader's own file and stays with them.
    """

    kind: str
    title: str
    outcome: Sequence[str]
    sections: Sequence[Section]
    facts: Any
    good: bool = True
    public: bool = False
    own: bool = False

    def render_text(self) -> str:
        """Return the report as lines of at most `WIDTH` columns."""
        return "\n".join(self._iter_lines()).rstrip()

    def render_page(self) -> str:
        """Return the report as a page to read, print and sign; for the restricted zone unless it is public or own."""
        made_by = f"Made by readiness {get_software_version()} on {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC."
        return kit.render(_TEMPLATES, "report.html.j2", report=self, made_by=made_by)

    def _iter_lines(self) -> Iterator[str]:
        yield from wrap_text(self.title)
        yield ""
        for sentence in self.outcome:
            yield from wrap_text(sentence)
        for section in self.sections:
            yield ""
            yield from wrap_text(section.title)
            for sentence in section.sentences:
                yield from wrap_text(sentence, indent=2)
            for grid in section.grids:
                yield from wrap_text(f"{grid.caption}:", indent=2) if grid.caption else ()
                yield from iter_grid_lines(grid)


def format_minute(moment: str) -> str:
    """Format an ISO time in UTC: `2026-11-27 10:57`."""
    return f"{dt.datetime.fromisoformat(moment).astimezone(dt.UTC):%Y-%m-%d %H:%M}"


def wrap_text(text: str, indent: int = 0) -> list[str]:
    """Return lines of at most `WIDTH` columns, breaking words only if they are longer than a line."""
    space = " " * indent
    return wrap(text, WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False) or [""]


def iter_grid_lines(grid: Grid, width: int = WIDTH) -> Iterator[str]:
    """Yield the lines of a table of at most this width, without its caption."""
    widths = _compute_widths(grid, width)
    first_number = len(widths) - grid.numbers
    for row in (grid.header, *grid.rows):
        is_head = row is grid.header
        cells = [wrap(cell, width, break_on_hyphens=is_head) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (
                part.ljust(width) if number < first_number else part.rjust(width)
                for number, (part, width) in enumerate(zip(parts, widths, strict=True))
            )
            yield f"{' ' * _GAP}{(' ' * _GAP).join(padded)}".rstrip()


def _compute_widths(grid: Grid, most: int) -> list[int]:
    """Return the width that each column needs; if they are too wide together, the widest columns of words get less."""
    widths = [max(len(cell) for cell in column) for column in zip(grid.header, *grid.rows, strict=True)]
    words = range(len(widths) - grid.numbers)
    for number in range(len(words), len(widths)):  # headings of numbers may take several lines
        of_rows = max((len(row[number]) for row in grid.rows), default=0)
        widths[number] = max(of_rows, *(len(word) for word in grid.header[number].split()))
    while sum(widths) + _GAP * len(widths) > most:
        widest = max(words, key=widths.__getitem__)
        # narrower columns would break most words, so the table is then wider than a terminal
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths

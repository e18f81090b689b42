"""Reports of commands: facts for programs, and the same facts as text of 80 columns or as a page.

A template writes a report in Markdown: its title (`#`) and the outcome, then sections (`##`) of sentences, one a line,
and tables, each under its caption (`###`). Terminal and page show what this says, so the forms cannot differ.
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Any

import jinja2
from markupsafe import Markup

from assets.home.software import get_software_version
from ndl_export.pages import kit
from ndl_export.pages.number_format import format_count
from privacy.doors import clock
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

WIDTH = 80
"""Columns of a terminal that no line exceeds."""
_GAP = 2
_NARROWEST = 10
_TEMPLATES = Path(__file__).parent / "templates"
_SPECIAL = re.compile(r"([\\|#])")
_ESCAPED = re.compile(r"\\([\\|#])")
_BAR = re.compile(r"(?<!\\)\|")


def write_text(template: str, **values: Any) -> str:
    """Return the Markdown that a template writes; a value is words within a line, whatever characters it has."""
    return _make_environment().get_template(template).render(values)


def write_plain(template: str, **values: Any) -> str:
    """Return the lines that a template writes, as they are."""
    return kit.render(_TEMPLATES, template, **values).rstrip()


@cache
def _make_environment() -> jinja2.Environment:
    made = kit.make_environment(_TEMPLATES).overlay(autoescape=True, finalize=_escape)
    made.filters |= {
        "minute": format_minute,
        "count": format_count,
        "cohort": lambda code: Cohort(code).label,
        "council": lambda name: get_place(name).la_name,
    }
    return made


def _escape(value: Any) -> Markup:
    # A line break or bar in a value would begin another sentence or cell.
    return value if isinstance(value, Markup) else Markup(_SPECIAL.sub(r"\\\1", re.sub(r"\s+", " ", str(value))))


@dataclass
class Grid:
    """A table: its caption, and rows of cells, headings first. The last `numbers` columns are numbers."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)
    numbers: int = 0


@dataclass
class Section:
    """A part of a report: its title, sentences and tables."""

    title: str
    sentences: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)


def read_sections(text: str) -> list[Section]:
    """Return the sections of a text in Markdown; the first has the title and the outcome."""
    sections: list[Section] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        mark, _, words = line.partition(" ")
        if mark in ("#", "##"):
            sections.append(Section(_unescape(words)))
        elif mark == "###":
            sections[-1].grids.append(Grid(_unescape(words)))
        elif mark != "|":
            sections[-1].sentences.append(_unescape(line))
        elif line.startswith("| ---"):
            sections[-1].grids[-1].numbers = line.count("-:")
        else:
            sections[-1].grids[-1].rows.append([_unescape(cell.strip()) for cell in _BAR.split(line)[1:-1]])
    return sections


def _unescape(words: str) -> str:
    return _ESCAPED.sub(r"\1", words)


@dataclass(frozen=True)
class Report:
    """A report of a command: its text in Markdown, and its facts, which are JSON-ready.

    `kind` is the type of report, and `good` says whether everything is in order. A `public` report contains only public
    facts; an `own` report is about the reader's own file and stays with them.
    """

    kind: str
    text: str
    facts: Any
    good: bool = True
    public: bool = False
    own: bool = False

    def render_text(self) -> str:
        """Return the report as lines of at most `WIDTH` columns."""
        simulated = clock.describe_simulation()
        return format_text(self.text) + (f"\n\n{simulated}" if simulated else "")

    def render_page(self) -> str:
        """Return the report as a page to read, print and sign; for the restricted zone unless it is public or own."""
        made_by = f"Made by readiness {get_software_version()} on {clock.now():%Y-%m-%d %H:%M} UTC."
        outcome, *sections = read_sections(self.text)
        return kit.render(
            _TEMPLATES, "report.html.j2", report=self, outcome=outcome, sections=sections, made_by=made_by
        )


def format_text(text: str, width: int = WIDTH) -> str:
    """Return a text in Markdown as lines of at most `width` columns."""
    lines: list[str] = []
    for number, section in enumerate(read_sections(text)):
        indent = _GAP if number else 0
        # The title has a line of its own; other titles follow the line above them.
        lines += ["", *_wrap(section.title, width)] if number else [*_wrap(section.title, width), ""]
        for sentence in section.sentences:
            lines += _wrap(sentence, width, indent)
        for grid in section.grids:
            lines += _wrap(f"{grid.caption}:", width, indent) if grid.caption else []
            lines += _iter_grid_lines(grid.rows, grid.numbers, width)
    return "\n".join(lines).rstrip()


def format_minute(moment: str) -> str:
    """Format an ISO time in UTC: `2026-11-27 10:57`."""
    return f"{dt.datetime.fromisoformat(moment).astimezone(dt.UTC):%Y-%m-%d %H:%M}"


def _wrap(text: str, width: int, indent: int = 0) -> list[str]:
    """Return lines of at most `width` columns, breaking words only if they are longer than a line."""
    space = " " * indent
    return wrap(text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False) or [""]


def _iter_grid_lines(rows: Sequence[Sequence[str]], numbers: int, width: int) -> Iterator[str]:
    """Yield the lines of a table, headings first, of at most this width; its last columns are `numbers`."""
    widths = _compute_widths(rows, numbers, width)
    first_number = len(widths) - numbers
    for row in rows:
        cells = [wrap(cell, width, break_on_hyphens=row is rows[0]) for cell, width in zip(row, widths, strict=True)]
        for parts in zip_longest(*cells, fillvalue=""):
            padded = (
                part.ljust(width) if number < first_number else part.rjust(width)
                for number, (part, width) in enumerate(zip(parts, widths, strict=True))
            )
            yield f"{' ' * _GAP}{(' ' * _GAP).join(padded)}".rstrip()


def _compute_widths(rows: Sequence[Sequence[str]], numbers: int, most: int) -> list[int]:
    """Return the width that each column needs; if they are too wide together, the widest columns of words get less."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    words = range(len(widths) - numbers)
    for number in range(len(words), len(widths)):  # headings of numbers may take several lines
        of_rows = max((len(row[number]) for row in rows[1:]), default=0)
        widths[number] = max(of_rows, *(len(word) for word in rows[0][number].split()))
    while sum(widths) + _GAP * len(widths) > most:
        widest = max(words, key=widths.__getitem__)
        # narrower columns would break most words, so the table is then wider than a terminal
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    return widths

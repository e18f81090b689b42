"""The table of an opened return, as CSV and as a workbook. No cell can run as a formula in a spreadsheet program."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assets.returns.words import TITLES, Situation
from privacy.returns.seal import Header, ReturnProblem

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_FIRST, _LAST = ("Order", "Row"), ("What was returned", "Why", "What to do next")
_WIDTHS = {"Why": 60, "What to do next": 80, "What was returned": 40, "Order": 7, "Row": 7}


@dataclass(frozen=True)
class Line:
    """One row of the extract: its own columns by heading, and what was returned about it.

    `child` is the same for rows with the same numbers, names and date of birth.
    """

    row: int
    child: int
    own: dict[str, str]
    situation: Situation
    why: str
    next_step: str


def write_csv(path: Path, header: Header, lines: Sequence[Line]) -> None:
    """UTF-8 with a byte order mark, for spreadsheet programs; a cell that would be a formula starts with `'`."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_headings(lines))
        writer.writerows([_harmless(cell) for cell in _cells(line)] for line in lines)


def write_workbook(path: Path, header: Header, lines: Sequence[Line]) -> None:
    """Every cell but order and row is written as text. Nothing is put on disk but the workbook."""
    try:
        import xlsxwriter
    except ImportError:
        raise ReturnProblem("the workbook needs the library xlsxwriter: install the extra `returns`") from None
    with xlsxwriter.Workbook(str(path), {"in_memory": True}) as book:
        bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
        sheet = book.add_worksheet("Returned")
        headings = _headings(lines)
        for column, heading in enumerate(headings):
            sheet.set_column(column, column, _WIDTHS.get(heading, 18))
            sheet.write_string(0, column, heading, bold)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(len(lines), 1), len(headings) - 1)
        sheet.set_landscape()
        sheet.repeat_rows(0)
        for number, line in enumerate(lines, 1):
            for column, cell in enumerate(_cells(line)):
                if isinstance(cell, int):
                    sheet.write_number(number, column, cell, wrapped)
                else:
                    sheet.write_string(number, column, cell, wrapped)


def _headings(lines: Sequence[Line]) -> list[str]:
    return [*_FIRST, *(lines[0].own if lines else ()), *_LAST]


def _cells(line: Line) -> list[int | str]:
    return [line.situation.value, line.row, *line.own.values(), TITLES[line.situation], line.why, line.next_step]


def _harmless(cell: int | str) -> int | str:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_STARTS_A_FORMULA) else cell

"""What the team gets of an opened return: a table, as CSV and as a workbook, and a page that is made to be printed.

No cell of the table can run as a formula in a spreadsheet program. The page says whom to contact first, why, and what
to do next.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from assets.returns.words import TITLES, TO_CONTACT, Situation, about_new_children, next_step, sender
from ndl_export.pages import kit
from ndl_export.pages.number_format import listed, row_ranges
from privacy.returns.agreement import Fact
from privacy.returns.seal import Header, ReturnProblem
from privacy.row_keys import part_and_row, written
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import place

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_FIRST, _LAST = ("Order", "Row"), ("What was returned", "Why", "What to do next")
_WIDTHS = {"Why": 60, "What to do next": 80, "What was returned": 40, "Order": 7, "Row": 7}
FACT_WORDS = {
    Fact.KNOWN_TO.value: "that the child is known there",
    Fact.LAST_CONTACT.value: "the month of the last contact",
    Fact.CONCERN.value: "whether a concern was recorded",
    Fact.NO_OTHER.value: "that the child is not known there",
}
TEMPLATES = Path(__file__).parent / "templates"
_BORN = "Date of birth"
_IN_THE_NAME = ("Forename", "Surname", _BORN)


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
    return [line.situation.value, _row(line.row), *line.own.values(), TITLES[line.situation], line.why, line.next_step]


def _row(number: int) -> int | str:
    """A row as the team finds it: its number, or that of part and row."""
    return written(number) if part_and_row(number)[0] else number


def _places(rows: Sequence[int]) -> str:
    return row_ranges(rows) if not part_and_row(rows[0])[0] else ", ".join(map(written, rows))


def _harmless(cell: int | str) -> int | str:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_STARTS_A_FORMULA) else cell


def write_page(path: Path, header: Header, lines: Sequence[Line]) -> None:
    """The page; `lines` in order of situation, then of child."""
    found = {Situation(key): _children(of) for key, of in groupby(lines, key=lambda line: line.situation)}
    page = kit.render(
        TEMPLATES,
        "return.html.j2",
        header=header,
        source=CONTRACTS[header.source].title,
        council=place(header.council).la_name,
        year=Cohort(header.cohort).first_year + 1,
        new_children=about_new_children(header.new_children),
        situations=[_section(situation, found.get(situation, []), header) for situation in TO_CONTACT],
        others={TITLES[each]: len(found.get(each, [])) for each in (Situation.KNOWN, Situation.NOT_SAID)},
        tells={
            sender(teller): listed(words for fact, words in FACT_WORDS.items() if fact in kinds)
            for teller, kinds in header.tells.items()
        },
    )
    path.write_text(page, encoding="utf-8")


def _children(lines: Iterable[Line]) -> list[dict[str, Any]]:
    return [_child(list(rows)) for _, rows in groupby(lines, key=lambda line: line.child)]


def _child(rows: list[Line]) -> dict[str, Any]:
    """A child by name, date of birth and rows; its numbers by heading, each as the rows have it."""
    first = rows[0].own
    numbers = {label: [*dict.fromkeys(filter(None, (line.own[label] for line in rows)))] for label in first}
    return {
        "name": " ".join(filter(None, (first.get("Forename"), first.get("Surname")))) or "No name in the extract",
        "born": first.get(_BORN),
        "rows": [line.row for line in rows],
        "places": _places([line.row for line in rows]),
        "numbers": {label: values for label, values in numbers.items() if values and label not in _IN_THE_NAME},
        "why": rows[0].why,
    }


def _section(situation: Situation, children: list[dict[str, Any]], header: Header) -> dict[str, Any]:
    return {
        "anchor": f"s{situation.value}",
        "title": TITLES[situation],
        "children": children,
        "never": _never(situation, header),
        "next_step": next_step(situation, header.service),
    }


def _never(situation: Situation, header: Header) -> str | None:
    """Why no child can be in this section, whatever the records say."""
    told = {fact for kinds in header.tells.values() for fact in kinds}
    if situation in (Situation.CONCERN_ELSEWHERE, Situation.CONCERN_BOTH) and Fact.CONCERN not in told:
        return "Not returned: under the agreement no service tells you whether it recorded a concern."
    if situation is Situation.NOT_LATELY and Fact.LAST_CONTACT not in told:
        return "Not returned: under the agreement no service tells you when it last saw a child."
    if situation is Situation.NO_OTHER and header.absence_why_not:
        return f"Not said of any child: {_readable(header.absence_why_not)}."
    return None


def _readable(sentence: str) -> str:
    """The sentence with services in words."""
    return " ".join(
        sender(word.rstrip(",")) + ("," if word.endswith(",") else "") if "/" in word else word
        for word in sentence.split(" ")
    )

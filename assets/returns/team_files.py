"""Renders an opened return for the team: a table, as CSV and as a workbook, and a page to print.

No cell of the table can run as a formula in a spreadsheet program. The page says whom to contact first, why, and what
to do next. Sentences that name no child or service are in `words.yaml`.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby
from pathlib import Path
from typing import Any

from ndl_export.pages import kit
from ndl_export.pages.number_format import capitalise, format_month, join_words
from privacy.doors.shipped import read_yaml
from privacy.returns.seal import Header, ReturnProblem
from privacy.row_keys import format_row_number, split_number
from privacy.services import Fact
from sources.contracts import CONTRACTS, RecordAtAge
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_COUNCILS_NAMED = 2
LATELY_MONTHS = 24
"""If the latest month returned for a child is longer ago than this, and a service that knows it should have made a
record since, the child has no recent record. Without the second condition, 328 of 952 children at Reception had none,
because the last review is at two and a half."""


class Situation(IntEnum):
    """What a return says about a child; lower numbers come first. The SQL uses the numbers."""

    CONCERN_ELSEWHERE = 1
    NO_OTHER = 2
    CONCERN_BOTH = 3
    REVIEW = 4
    NOT_LATELY = 5
    KNOWN = 6
    NOT_SAID = 7


TO_CONTACT = tuple(each for each in Situation if each < Situation.KNOWN)
"""Situations whose children are listed by name on the page."""

MOST_FIRST = 20
"""Children named in the first paragraph of the page."""
WORDS = read_yaml(Path(__file__).with_name("words.yaml"))
TITLES: Mapping[Situation, str] = {Situation[name]: title for name, title in WORDS["titles"].items()}
SERVICES: Mapping[str, str] = WORDS["services"]
"""The name of a service in a sentence: `health visiting in Leeds`."""
NOTHING_FIRST = "Nothing to do first. The service named beside the child can be asked when you need to."
NOT_TOLD = "Nothing was returned about this row. That does not mean that nobody knows the child."


def get_next_step(situation: Situation, service: str) -> str:
    """Return the next step for the team of a service about a child."""
    general = NOTHING_FIRST if situation is Situation.KNOWN else NOT_TOLD
    return str(WORDS["next_steps"].get(situation.name, {}).get(service, general))


def _name_senders(*names: str) -> str:
    """Name senders such as `leeds/health` by service: `health visiting in Leeds and Wirral`, or `in 3 councils`."""
    councils: dict[str, list[str]] = {}
    for name in names:
        council, _, service = name.partition("/")
        councils.setdefault(service, []).append(get_place(council).la_name)
    return join_words(
        f"{SERVICES[service]} in {join_words(of) if len(of) <= _COUNCILS_NAMED else f'{len(of)} councils'}"
        for service, of in councils.items()
    )


def explain(situation: Situation, child: Mapping[str, Any], header: Header) -> str:
    """Explain a child's situation.

    `child` has `contacts`, each with sender, last_contact, concern, concern_month and concern_is_latest; `missing`, the
    codes of the reviews that are not recorded; and `born`, the day of birth. Each may be None.
    """
    missing_reviews, contacts = _explain_missing(child, header), child["contacts"] or []
    if situation is Situation.NO_OTHER:
        return " ".join([f"No record of {_name_senders(*header.absence_of)} could be linked.", *missing_reviews])
    if situation is Situation.NOT_SAID:
        return NOT_TOLD
    concerned = [contact for contact in contacts if contact["concern"]]
    others = [contact for contact in contacts if not contact["concern"]]
    sentences: list[str] = []
    if concerned:
        dated = (f"{capitalise(_format_contact(each))} recorded a concern{_date_concern(each)}." for each in concerned)
        sentences += dated
    if others:
        also = "Also known to" if concerned else "Known to"
        sentences.append(f"{also} {join_words(map(_format_contact, others))}.")
    return " ".join([*sentences, *missing_reviews])


def _explain_missing(child: Mapping[str, Any], header: Header) -> Iterator[str]:
    """Yield the sentence about the reviews that are not recorded, in the order in which they are due."""
    missing, born = child["missing"] or (), child["born"]
    records = [each for each in CONTRACTS["hv_reviews"].expected if isinstance(each, RecordAtAge)]
    named = [
        each.title.lower() + (f" (due in {format_month(f'{each.find_due_day(born):%Y-%m}')})" if born else "")
        for each in records
        if each.code in missing
    ]
    if named:
        services = _name_senders(*sorted({sender for code in missing for sender in header.reviews[code]}))
        yield WORDS["review_not_recorded"].format(services=services, reviews=join_words(named))


def _format_contact(contact: dict[str, object]) -> str:
    latest = f" (latest linked record: {format_month(str(contact['last_contact']))})" if contact["last_contact"] else ""
    return _name_senders(str(contact["sender"])) + latest


def _date_concern(contact: Mapping[str, Any]) -> str:
    if not contact["concern_month"]:
        return ""
    latest = "in its latest record" if contact["concern_is_latest"] else "and a later record has none"
    return f" in {format_month(contact['concern_month'])}, {latest}"


def list_to_call(situation: Situation, child: Mapping[str, Any], header: Header) -> list[str]:
    """Return the services to call about a child that have a contact: those with a concern, or all that know it.

    If none knows the child, or a review is missing, those of the receiver's council that have no record.
    """
    contacts = child["contacts"] or []
    senders = [each["sender"] for each in contacts if each["concern"]] or [each["sender"] for each in contacts]
    if situation is Situation.NO_OTHER:
        senders = header.absence_of
    elif situation is Situation.REVIEW:
        senders = [sender for code in child["missing"] for sender in header.reviews[code]]
    if situation in (Situation.NO_OTHER, Situation.REVIEW):
        senders = [sender for sender in senders if sender.startswith(f"{header.council}/")]
    return [sender for sender in dict.fromkeys(senders) if sender in header.contacts]


def format_call(sender: str, header: Header) -> str:
    """Return whom to call at a service: `health visiting in Leeds: duty health visitor, 0113 496 0000, a@b.example`."""
    contact = header.contacts[sender]
    return f"{_name_senders(sender)}: {contact['role']}, {contact['telephone']}, {contact['mail']}"


# Spreadsheet programs run a cell that begins with one of these.
_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_FIRST, _LAST = ("Order", "Rows"), ("What was returned", "Why", "Whom to call", "What to do next")
_WIDTHS = {"Why": 60, "Whom to call": 40, "What to do next": 80, "What was returned": 40, "Order": 7, "Rows": 12}
TEMPLATES = Path(__file__).parent / "templates"
_BORN = "Date of birth"
_IN_THE_NAME = ("Forename", "Surname", _BORN)


@dataclass(frozen=True)
class TeamLine:
    """One row of the extract: its own columns by heading, and what was returned about its child.

    `child` is the same for rows with the same identifiers, names and date of birth.
    """

    row: int
    child: int
    own: dict[str, str]
    situation: Situation
    why: str
    calls: tuple[str, ...]
    next_step: str


def render_csv(headings: Sequence[str], rows: Iterable[Sequence[int | str]]) -> bytes:
    """Return a CSV file in UTF-8 with a byte order mark; a cell that would be a formula starts with `'`."""
    text = io.StringIO(newline="")
    harmless = ([f"'{cell}" if str(cell).startswith(_STARTS_A_FORMULA) else cell for cell in row] for row in rows)
    csv.writer(text).writerows([headings, *harmless])
    # Without the mark, Excel reads the file in the code page of the machine.
    return text.getvalue().encode("utf-8-sig")


def render_workbook(headings: Sequence[str], rows: Sequence[Sequence[int | str]]) -> bytes:
    """Return a workbook in which every cell except numbers is text. Raises `ReturnProblem` without xlsxwriter."""
    try:
        import xlsxwriter
    except ImportError:
        raise ReturnProblem("the workbook needs the library xlsxwriter: install the extra `returns`") from None
    content = io.BytesIO()
    # In memory, because temporary files would hold names of children.
    with xlsxwriter.Workbook(
        content, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    ) as book:
        bold, wrapped = book.add_format({"bold": True}), book.add_format({"text_wrap": True, "valign": "top"})
        sheet = book.add_worksheet("Returned")
        for column, heading in enumerate(headings):
            sheet.set_column(column, column, _WIDTHS.get(heading, 18))
        sheet.write_row(0, 0, headings, bold)
        for number, row in enumerate(rows, 1):
            sheet.write_row(number, 0, row, wrapped)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, max(len(rows), 1), len(headings) - 1)
        sheet.set_landscape()
        sheet.repeat_rows(0)
    return content.getvalue()


def tabulate(lines: Sequence[TeamLine]) -> tuple[list[str], list[list[int | str]]]:
    """Return headings and rows of the table: a line for each child. `lines` must be sorted by child."""
    rows: list[list[int | str]] = []
    for _, of_child in groupby(lines, key=lambda line: line.child):
        own = list(of_child)
        first, places = own[0], [line.row for line in own]
        values = [", ".join(collect_values(own, label)) for label in first.own]
        texts = [TITLES[first.situation], first.why, "; ".join(first.calls), first.next_step]
        # A single number stays a number, to sort by. A range such as 3-7 would be a date in a spreadsheet program.
        is_number = len(places) == 1 and not split_number(places[0])[0]
        rows.append([first.situation.value, places[0] if is_number else format_places(places), *values, *texts])
    return [*_FIRST, *(lines[0].own if lines else ()), *_LAST], rows


def collect_values(lines: Iterable[TeamLine], label: str) -> list[str]:
    """Return the different values of a column in a child's rows, in their order."""
    return [*dict.fromkeys(line.own[label] for line in lines if line.own[label])]


def format_places(rows: Sequence[int]) -> str:
    """Return where a child's rows are: `3, 7`, or `2:17, 3:4` for rows of parts."""
    return ", ".join(map(format_row_number, rows))


def render_page(header: Header, lines: Sequence[TeamLine]) -> bytes:
    """Return the page. `lines` must be sorted by situation, then by child."""
    found = {
        Situation(key): [_build_child_entry(list(rows)) for _, rows in groupby(of, key=lambda line: line.child)]
        for key, of in groupby(lines, key=lambda line: line.situation)
    }
    page = kit.render(
        TEMPLATES,
        "return.html.j2",
        header=header,
        source=CONTRACTS[header.source].heading,
        council=get_place(header.council).la_name,
        year=Cohort(header.cohort).first_year + 1,
        situations=[
            {
                "anchor": f"s{situation.value}",
                "title": TITLES[situation],
                "children": found.get(situation, []),
                "never": _explain_empty_section(situation, header),
                "next_step": get_next_step(situation, header.service),
            }
            for situation in TO_CONTACT
        ],
        first=_list_first(found),
        others={TITLES[each]: len(found.get(each, [])) for each in (Situation.KNOWN, Situation.NOT_SAID)},
        tells={
            _name_senders(teller): join_words(words for fact, words in WORDS["facts"].items() if fact in kinds)
            for teller, kinds in header.tells.items()
        },
    )
    return page.encode()


def _list_first(found: Mapping[Situation, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return the first MOST_FIRST children to contact, in groups of the same situation and services to call."""
    children = [(situation, child) for situation in TO_CONTACT for child in found.get(situation, ())][:MOST_FIRST]
    groups: dict[tuple[Situation, tuple[str, ...]], list[Mapping[str, Any]]] = {}
    for situation, child in children:
        groups.setdefault((situation, child["calls"]), []).append(child)
    return [{"why": TITLES[why], "calls": calls, "children": of} for (why, calls), of in groups.items()]


def _build_child_entry(rows: list[TeamLine]) -> dict[str, Any]:
    """Return a child by name, date of birth and rows, with its identifiers by heading."""
    first, places = rows[0].own, [line.row for line in rows]
    numbers = {label: collect_values(rows, label) for label in first}
    return {
        "name": " ".join(filter(None, (first.get("Forename"), first.get("Surname")))) or "No name in the extract",
        "born": first.get(_BORN),
        "rows": places,
        "places": format_places(places),
        "numbers": {label: values for label, values in numbers.items() if values and label not in _IN_THE_NAME},
        "why": rows[0].why,
        "calls": rows[0].calls,
    }


def _explain_empty_section(situation: Situation, header: Header) -> str | None:
    """Return why no child can be in this section whatever the records say, or None if one can."""
    returned = {fact for kinds in header.tells.values() for fact in kinds}
    if situation in (Situation.CONCERN_ELSEWHERE, Situation.CONCERN_BOTH) and Fact.CONCERN not in returned:
        return "Not returned: under the agreement no service tells you whether it recorded a concern."
    if situation is Situation.NOT_LATELY and Fact.LAST_CONTACT not in returned:
        return "Not returned: under the agreement no service tells you the month of its latest record."
    why_nots = {Situation.NO_OTHER: header.absence_why_not, Situation.REVIEW: header.reviews_why_not}
    if why_not := why_nots.get(situation):
        named = re.sub("[^ ,]+/[^ ,]+", lambda name: _name_senders(name[0]), why_not)
        return f"Not returned for any child: {named}."
    return None

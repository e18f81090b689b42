"""The page of an opened return: whom to contact first, why, and what to do next. Made to be printed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from assets.pages.markup import Html, tag
from assets.pages.page import page
from assets.pages.parts import bullets, contents_list, facts, paragraph, section, table
from assets.pages.words import capital, listed, row_ranges
from assets.returns.words import TITLES, TO_CONTACT, Situation, next_step, sender
from privacy.returns.agreement import Fact
from privacy.returns.seal import Header
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import place

if TYPE_CHECKING:
    from assets.returns.open import Line

_FOOTER = (
    "This page names children. It is for the team that it was made for: keep it as you keep the children's records, and"
    " destroy it when it has been acted on."
)
FACT_WORDS = {
    Fact.KNOWN_TO.value: "that the child is known there",
    Fact.LAST_CONTACT.value: "the month of the last contact",
    Fact.CONCERN.value: "whether a concern was recorded",
    Fact.NO_OTHER.value: "that the child is not known there",
}
CAVEATS = (
    "Before you act, make sure with the other service that you both mean the same child: names, date of birth, address."
    " Records are linked by computer, without names, and a link can be wrong. It is told only where it is very likely"
    " right (95% or more by the model; on synthetic records more than 999 of 1,000 facts were right).",
    "“Known to no other service” means that no record which was sent for this cohort could be linked. It does not mean"
    " that nobody has seen the child: a record may be missing, late, or written under another name or date of birth. It"
    " is never said of a child with a common surname, or without forename, date of birth or postcode in your extract.",
    "A concern is that a service recorded one at some time. It says neither what it was nor whether it still holds. No"
    " recorded concern does not mean that all is well.",
    "Nothing is said of a child where a link is uncertain or an agreement does not allow it. Silence means nothing.",
    "Decide nothing about a child or a family on this page alone. It says whom to talk to.",
)


def render(header: Header, lines: Sequence[Line]) -> str:
    """The page; `lines` in order of situation, then of child."""
    title = f"Children to contact first: {CONTRACTS[header.source].title}, {place(header.council).la_name}"
    by_situation = {Situation(key): _children(found) for key, found in groupby(lines, key=lambda line: line.situation)}
    listed_now = {s: by_situation.get(s, []) for s in TO_CONTACT}
    anchors = {f"s{s.value}": f"{TITLES[s]} ({_number(len(found))})" for s, found in listed_now.items()}
    return page(
        "joined-up return",
        title,
        _FOOTER,
        facts(_about(header), class_="about-file"),
        contents_list(anchors | {"others": "The other children", "meaning": "What this can and cannot mean"}),
        *(_section(situation, found, header) for situation, found in listed_now.items()),
        _others(by_situation),
        section("meaning", "What this can and cannot mean", bullets(CAVEATS), *_told(header)),
    )


def _about(header: Header) -> list[tuple[str, str]]:
    return [
        ("For", header.recipient_name),
        ("Cohort", f"children who end Reception in {Cohort(header.cohort).first_year + 1}"),
        ("Made on", _day(header.made_on)),
        ("Agreement", f"{header.reference}, until {_day(header.expires)}"),
    ]


def _day(iso: str) -> str:
    """`2026-11-25` as `25 November 2026`."""
    day = dt.date.fromisoformat(iso)
    return f"{day.day} {day:%B %Y}"


def _children(lines: Iterable[Line]) -> list[list[Line]]:
    return [list(rows) for _, rows in groupby(lines, key=lambda line: line.child)]


def _number(children: int) -> str:
    return "1 child" if children == 1 else f"{children:,} children"


def _section(situation: Situation, children: list[list[Line]], header: Header) -> Html:
    if reason := _never(situation, header):
        return section(f"s{situation.value}", TITLES[situation], paragraph(reason))
    if not children:
        return section(f"s{situation.value}", TITLES[situation], paragraph("No child."))
    return section(
        f"s{situation.value}",
        TITLES[situation],
        paragraph(tag("strong", "What to do next: "), next_step(situation, header.service)),
        table(
            f"{_number(len(children))}, with the rows of the table beside this page",
            ("Child", "Numbers", "Why", "Dealt with: who, when"),
            map(_row, children),
            class_="people",
        ),
    )


_TO_FILL_IN = Html("&#160;")
"""Seen on paper alone."""
_BORN = "Date of birth"
_IN_THE_NAME = ("Forename", "Surname", _BORN)


def _row(rows: list[Line]) -> tuple[str, ...]:
    first = rows[0].own
    name = " ".join(filter(None, (first.get("Forename"), first.get("Surname")))) or "No name in the extract"
    born = f"born {first[_BORN]}, " if first.get(_BORN) else ""
    where = f"{born}row{'s' if len(rows) > 1 else ''} {row_ranges(line.row for line in rows)}"
    numbers = [
        f"{label} {', '.join(values)}"
        for label in first
        if label not in _IN_THE_NAME and (values := dict.fromkeys(filter(None, (line.own[label] for line in rows))))
    ]
    lines = tag("span", *(tag("span", number, class_="line") for number in numbers))
    child = tag("span", tag("strong", name), tag("span", where, class_="about"))
    return child, lines, rows[0].why, _TO_FILL_IN


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


def _others(by_situation: dict[Situation, list[list[Line]]]) -> Html:
    known, silent = (len(by_situation.get(s, [])) for s in (Situation.KNOWN, Situation.NOT_SAID))
    return section(
        "others",
        "The other children",
        paragraph(f"{TITLES[Situation.KNOWN]}: {_number(known)}. {TITLES[Situation.NOT_SAID]}: {_number(silent)}."),
        paragraph("They are in the table beside this page, row by row."),
    )


def _told(header: Header) -> list[Html]:
    lines = [
        f"{capital(sender(teller))}: {listed(FACT_WORDS[fact] for fact in FACT_WORDS if fact in kinds)}."
        for teller, kinds in header.tells.items()
    ]
    return [
        paragraph("Under the agreement, these services tell you, each of its own records:"),
        bullets(lines),
        paragraph(f"Legal basis: {header.legal_basis}. Impact assessment: {header.impact_assessment}."),
    ]

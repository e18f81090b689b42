"""The page of an opened return: whom to contact first, why, and what to do next. Made to be printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from assets.returns.table import Line
from assets.returns.words import TITLES, TO_CONTACT, Situation, next_step, sender
from ndl_export.pages import kit
from ndl_export.pages.words import listed
from privacy.returns.agreement import Fact
from privacy.returns.seal import Header
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import place

FACT_WORDS = {
    Fact.KNOWN_TO.value: "that the child is known there",
    Fact.LAST_CONTACT.value: "the month of the last contact",
    Fact.CONCERN.value: "whether a concern was recorded",
    Fact.NO_OTHER.value: "that the child is not known there",
}
TEMPLATES = Path(__file__).parent / "templates"
_BORN = "Date of birth"
_IN_THE_NAME = ("Forename", "Surname", _BORN)


def render(header: Header, lines: Sequence[Line]) -> str:
    """The page; `lines` in order of situation, then of child."""
    found = {Situation(key): _children(of) for key, of in groupby(lines, key=lambda line: line.situation)}
    return kit.render(
        TEMPLATES,
        "return.html.j2",
        header=header,
        source=CONTRACTS[header.source].title,
        council=place(header.council).la_name,
        year=Cohort(header.cohort).first_year + 1,
        situations=[_section(situation, found.get(situation, []), header) for situation in TO_CONTACT],
        others={TITLES[each]: len(found.get(each, [])) for each in (Situation.KNOWN, Situation.NOT_SAID)},
        tells={
            sender(teller): listed(words for fact, words in FACT_WORDS.items() if fact in kinds)
            for teller, kinds in header.tells.items()
        },
    )


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

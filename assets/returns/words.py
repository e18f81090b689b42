"""What a return says to a team, in plain words: situations, those to act on first on top; why; what to do next.

Sentences that name no child or service stand in `words.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import yaml

from ndl_export.pages.number_format import capital, listed, month
from sources.reference.places import place

_COUNCILS_NAMED = 2
LATELY_MONTHS = 24
"""A child whom no other service has seen for longer, by the months that were told, has not been seen lately."""


class Situation(IntEnum):
    """Children of a lower number come first. SQL sees the numbers."""

    CONCERN_ELSEWHERE = 1
    NO_OTHER = 2
    CONCERN_BOTH = 3
    NOT_LATELY = 4
    KNOWN = 5
    NOT_SAID = 6


TO_CONTACT = (Situation.CONCERN_ELSEWHERE, Situation.NO_OTHER, Situation.CONCERN_BOTH, Situation.NOT_LATELY)
"""Those who are listed by name on the page."""

_WORDS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
TITLES: Mapping[Situation, str] = {Situation[name]: title for name, title in _WORDS["titles"].items()}
SERVICES: Mapping[str, str] = _WORDS["services"]
"""What a service is called in a sentence: `health visiting in Leeds`."""
NEXT: Mapping[tuple[Situation, str], str] = {
    (Situation[name], service): step for name, steps in _WORDS["next_steps"].items() for service, step in steps.items()
}
"""What the team of a service does next about the children of a situation."""
NOTHING_FIRST = "Nothing to do first. The service named beside the child can be asked when you need to."
NOT_TOLD = "Nothing was returned about this row. That does not mean that nobody knows the child."


def next_step(situation: Situation, service: str) -> str:
    return NEXT.get((situation, service), NOTHING_FIRST if situation is Situation.KNOWN else NOT_TOLD)


def sender(name: str) -> str:
    """`leeds/health` as `health visiting in Leeds`."""
    council, _, service = name.partition("/")
    return f"{SERVICES[service]} in {place(council).la_name}"


def senders(names: list[str]) -> str:
    """Several of them, by service: `health visiting in Leeds and Wirral`; without the councils where they are many."""
    councils: dict[str, list[str]] = {}
    for name in names:
        council, _, service = name.partition("/")
        councils.setdefault(service, []).append(place(council).la_name)
    return listed(
        f"{SERVICES[service]} in {listed(of) if len(of) <= _COUNCILS_NAMED else f'{len(of)} councils'}"
        for service, of in councils.items()
    )


def why(situation: Situation, contacts: list[dict[str, object]], absence_of: list[str]) -> str:
    """One or two sentences about a child. `contacts` have sender, last_contact (or None), concern (or None)."""
    if situation is Situation.NO_OTHER:
        return f"No record of {senders(absence_of)} could be linked."
    if situation is Situation.NOT_SAID:
        return NOT_TOLD
    concerned = [contact for contact in contacts if contact["concern"]]
    others = [contact for contact in contacts if not contact["concern"]]
    sentences = []
    if concerned:
        sentences.append(f"{capital(listed(map(_seen, concerned)))} recorded a concern.")
    if others:
        also = "Also known to" if concerned else "Known to"
        sentences.append(f"{also} {listed(map(_seen, others))}.")
    return " ".join(sentences)


def about_new_children(rule: Mapping[str, Any]) -> str:
    """What is told of rows that have not stood, in a sentence or two."""
    days, times = rule["after_days"], rule["after_deliveries"]
    waits = f"{days} days" + (f" and in {times} deliveries" if times > 1 else "")
    meanwhile = "no more than who knows the child is said of it" if rule["until_then"] else "nothing is said of it"
    return (
        f"A row counts once all that identifies its child has been in your extracts, unchanged, for {waits}. Until then"
        f" {meanwhile}, whatever others know. Of a row without a valid UPN or NHS number, less is said, or nothing."
    )


def _seen(contact: dict[str, object]) -> str:
    seen = f" (last contact {month(str(contact['last_contact']))})" if contact["last_contact"] else ""
    return sender(str(contact["sender"])) + seen

"""What a return says to a team, in plain words: situations, those to act on first on top; why; what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ndl_export.pages.words import capital, listed, month
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

TITLES: Mapping[Situation, str] = {
    Situation.CONCERN_ELSEWHERE: "Another service recorded a concern, your rows do not",
    Situation.NO_OTHER: "Known to no other service",
    Situation.CONCERN_BOTH: "You and another service recorded a concern",
    Situation.NOT_LATELY: "Not seen by another service for over two years",
    Situation.KNOWN: "Known to another service, nothing to do first",
    Situation.NOT_SAID: "Nothing can be said",
}

SERVICES: Mapping[str, str] = {
    "education": "a school",
    "settings": "a nursery or childminder",
    "health": "health visiting",
}
"""What a service is called in a sentence: `health visiting in Leeds`."""

_ASK_CONCERN = (
    "Contact the service named beside the child, check that you both mean the same child, ask what the concern was and"
    " what is being done, and tell the parents that you did. "
)
_AGREE = (
    "Contact the service named beside the child, check that you both mean the same child, and agree who leads, so that"
    " the family tells its story once. "
)
NEXT: Mapping[tuple[Situation, str], str] = {
    (Situation.CONCERN_ELSEWHERE, "education"): _ASK_CONCERN
    + "Then talk it over with the class teacher and the SENCO, and write down what the school will do.",
    (Situation.CONCERN_ELSEWHERE, "settings"): _ASK_CONCERN
    + "Then look again at the progress check at age two with the child's key person.",
    (Situation.CONCERN_ELSEWHERE, "health"): _ASK_CONCERN
    + "Then offer the family a visit, or an assessment where the two-year review is more than six months old.",
    (
        Situation.NO_OTHER,
        "education",
    ): "Ask the parents, kindly, whether a health visitor or nursery knows the child. If"
    " not, ask whether you may tell the health visiting team and the school nurse, and do so.",
    (
        Situation.NO_OTHER,
        "settings",
    ): "Ask the parents whether the child had the two-year review. If not, ask whether you"
    " may tell the health visiting team, and do so.",
    (
        Situation.NO_OTHER,
        "health",
    ): "Ask the family whether the child has a nursery, childminder or school place. If not,"
    " tell them about funded hours, and ask whether the family information service may call them.",
    (Situation.CONCERN_BOTH, "education"): _AGREE + "Bring it to the next review of the child's support.",
    (Situation.CONCERN_BOTH, "settings"): _AGREE + "Plan the move to school together.",
    (Situation.CONCERN_BOTH, "health"): _AGREE + "Check whether each referral was taken up.",
    (
        Situation.NOT_LATELY,
        "education",
    ): "Ask the parents whether the service named beside the child still sees the family."
    " If they would welcome help, ask whether you may put them in touch.",
    (Situation.NOT_LATELY, "settings"): "Ask the parents whether they have seen the health visitor since. If not, ask"
    " whether you may let the team know.",
    (Situation.NOT_LATELY, "health"): "Check whether the child has moved or changed nursery, and whether a review or an"
    " appointment was missed. Offer one.",
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


def _seen(contact: dict[str, object]) -> str:
    seen = f" (last contact {month(str(contact['last_contact']))})" if contact["last_contact"] else ""
    return sender(str(contact["sender"])) + seen

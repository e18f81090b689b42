"""A sharing agreement: which service of a council may tell which other one what, until when, under whose key.

And the gate, `permitted`: which facts may flow from which service to which, by the agreements that stand on a day. A
fact flows from service s of council A to service t of council B where all of these hold:

- A's agreement stands, and says that s may tell t of B this fact;
- B's agreement stands, and names a recipient, with a key, for t;
- A is B and s is not t; or A is not B, and B's agreement accepts from A.

Nothing else lets a fact through, and what is not let through changes no byte of a return.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias


class Fact(StrEnum):
    """What can be told of a child that the receiver knows already. Every fact is switched on by itself."""

    KNOWN_TO = "known_to"
    """Which services, in which council, know the child."""
    LAST_CONTACT = "last_contact_month"
    """The month of a service's last contact."""
    CONCERN = "concern_recorded"
    """Whether a service recorded a concern; never what it was."""
    NO_OTHER = "known_to_no_other"
    """That none of the services that tell this knows the child."""


NO_CONCERNS = ("education",)
"""Services whose extracts say nothing of concerns: an outcome of the EYFS Profile is no concern."""
ABSENCE_TO = "education"
"""The service that is told that no other knows a child. Nearly every child of nurseries and health visitors is in some
school's records: of the few that seem to be in none, most were missed. With three times the usual slips, or slips by
gecko, 7 to 100% of what they would have been told was wrong."""
OTHERS_NEED = Fact.KNOWN_TO
"""Each other fact says that a service knows the child, or does not: it cannot be told without this one."""


class First(StrEnum):
    """Whether the children of a sender's very first delivery, all of whom are new, are told of at once."""

    LATER = "later"
    AT_ONCE = "at_once"


@dataclass(frozen=True)
class NewChildren:
    """What is told of children whose rows have not stood yet: a sender can put a child in to find out about it.

    A row has stood when everything that identifies its child in it (numbers, names, date of birth, postcode, sex) was
    in the sender's extracts, unchanged, in `after_deliveries` of them, first seen `after_days` days ago or earlier.
    `until_then` are the facts told before: none, or that a service knows the child. `without_number` are those told of
    a row that has stood, but has no UPN and no NHS number that passes its check.
    """

    after_days: int = 28
    after_deliveries: int = 1
    first_delivery: First = First.LATER
    until_then: frozenset[Fact] = frozenset()
    without_number: frozenset[Fact] = frozenset({Fact.KNOWN_TO})

    def content(self) -> dict[str, Any]:
        """JSON-ready, in one order."""
        return {
            "after_days": self.after_days,
            "after_deliveries": self.after_deliveries,
            "first_delivery": self.first_delivery.value,
            "until_then": sorted(self.until_then),
            "without_number": sorted(self.without_number),
        }


def strictest(rules: Iterable[NewChildren]) -> NewChildren:
    """What all of them allow."""
    every = list(rules)
    return NewChildren(
        after_days=max(rule.after_days for rule in every),
        after_deliveries=max(rule.after_deliveries for rule in every),
        first_delivery=First.LATER if any(rule.first_delivery is First.LATER for rule in every) else First.AT_ONCE,
        until_then=frozenset.intersection(*(rule.until_then for rule in every)),
        without_number=frozenset.intersection(*(rule.without_number for rule in every)),
    )


class Status(StrEnum):
    ACTIVE = "active"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Recipient:
    """Who receives the returns of a service, and the age X25519 public key (`age1...`) that they are encrypted to."""

    name: str
    key: str


@dataclass(frozen=True)
class Telling:
    """`teller`, of the agreement's council, may tell `receiver` of council `to_council` these facts."""

    teller: str
    receiver: str
    to_council: str
    facts: frozenset[Fact]


@dataclass(frozen=True)
class Agreement:
    """What the file of one council says. `recipients` are by service; `accepts_from` are other councils whose services
    may tell this one's; both days are within the agreement."""

    council: str
    reference: str
    legal_basis: str
    impact_assessment: str
    status: Status
    starts: dt.date
    expires: dt.date
    recipients: Mapping[str, Recipient]
    tells: tuple[Telling, ...]
    accepts_from: frozenset[str] = field(default_factory=frozenset)
    new_children: NewChildren = field(default_factory=NewChildren)

    def why_not(self, on: dt.date) -> str | None:
        """Why nothing follows from the agreement on a day; None where it stands."""
        if self.status is not Status.ACTIVE:
            return f"the agreement {self.reference} is revoked"
        if on < self.starts:
            return f"the agreement {self.reference} starts on {self.starts}"
        if on > self.expires:
            return f"the agreement {self.reference} expired on {self.expires}"
        return None

    @cached_property
    def version(self) -> str:
        """SHA-256 of what the agreement says, whatever the file's comments and layout."""
        tells = sorted(
            (telling.teller, telling.receiver, telling.to_council, sorted(telling.facts)) for telling in self.tells
        )
        content = {
            "council": self.council,
            "reference": self.reference,
            "legal_basis": self.legal_basis,
            "impact_assessment": self.impact_assessment,
            "status": self.status.value,
            "starts": self.starts.isoformat(),
            "expires": self.expires.isoformat(),
            "recipients": {service: asdict(recipient) for service, recipient in self.recipients.items()},
            "tells": tells,
            "accepts_from": sorted(self.accepts_from),
            "new_children": self.new_children.content(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Sender(NamedTuple):
    """A service of a council: who sent rows, and who may be told about them."""

    council: str
    service: str


Permitted: TypeAlias = dict[Sender, frozenset[Fact]]
"""The facts that each teller may tell one receiver; no teller without a fact."""


def permitted(agreements: Mapping[str, Agreement], receiver: Sender, on: dt.date) -> Permitted:
    """What may be told to `receiver` on a day, by agreements of councils by name; empty where nothing may."""
    own = agreements.get(receiver.council)
    if own is None or own.why_not(on) or receiver.service not in own.recipients:
        return {}
    found: Permitted = {}
    for agreement in agreements.values():
        elsewhere = agreement.council != receiver.council
        if agreement.why_not(on) or (elsewhere and agreement.council not in own.accepts_from):
            continue
        for telling in agreement.tells:
            teller = Sender(agreement.council, telling.teller)
            facts = telling.facts if receiver.service == ABSENCE_TO else telling.facts - {Fact.NO_OTHER}
            if (telling.to_council, telling.receiver) == receiver and teller != receiver and facts:
                found[teller] = found.get(teller, frozenset()) | facts
    return dict(sorted(found.items()))


def rule_of_new(agreements: Mapping[str, Agreement], receiver: Sender, allowed: Permitted) -> NewChildren:
    """The rule for new children in what `receiver` is told: the strictest of its own agreement and its tellers'."""
    councils = {receiver.council, *(teller.council for teller in allowed)}
    return strictest(agreements[council].new_children for council in sorted(councils))

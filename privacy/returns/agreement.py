"""Sharing agreements: which service of a council may disclose what to which other one, until when, under whose key.

The gate is `permitted`: a fact may flow from service s of council A to service t of council B on a day where all of
these hold:

- A's agreement is in force, and lets s disclose this fact to t of B;
- B's agreement is in force, and names a recipient, with a key, for t;
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
    """A fact about a child that the receiver already knows. Each is switched on separately."""

    KNOWN_TO = "known_to"
    """Which services, in which council, know the child."""
    LAST_CONTACT = "last_contact_month"
    """The month of a service's last contact."""
    CONCERN = "concern_recorded"
    """Whether a service recorded a concern; never what it was."""
    NO_OTHER = "known_to_no_other"
    """That none of the services that disclose this knows the child."""


NO_CONCERNS = ("education",)
"""Services whose extracts record no concerns: an outcome of the EYFS Profile is not a concern."""
ABSENCE_TO = "education"
"""The only service told that no other knows a child. Nearly every child of nurseries and health visitors is in some
school's records: of the few that seem to be in none, most were missed. With three times the usual slips, or slips by
gecko, 7 to 100% of what they would have been told was wrong."""
OTHERS_NEED = Fact.KNOWN_TO
"""Each other fact implies that a service knows the child, or does not, so it needs this one."""


class First(StrEnum):
    """Whether facts about a sender's first delivery, in which every child is new, are disclosed at once."""

    LATER = "later"
    AT_ONCE = "at_once"


@dataclass(frozen=True)
class NewChildren:
    """Limits what is disclosed about new rows, because a sender can put a child in to find out about it.

    A row has stood when everything that identifies its child in it (numbers, names, date of birth, postcode, sex) was
    in the sender's extracts, unchanged, in `after_deliveries` of them, first seen `after_days` days ago or earlier.
    `until_then` are the facts disclosed before: none, or that a service knows the child. `without_number` are those
    disclosed about a row that has stood, but has no UPN and no NHS number that passes its check.
    """

    after_days: int = 28
    after_deliveries: int = 1
    first_delivery: First = First.LATER
    until_then: frozenset[Fact] = frozenset()
    without_number: frozenset[Fact] = frozenset({Fact.KNOWN_TO})

    def content(self) -> dict[str, Any]:
        """Return the rule JSON-ready."""
        return {name: _plain(value) for name, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: a set as a sorted list, a day as text."""
    return sorted(value) if isinstance(value, frozenset) else str(value) if isinstance(value, dt.date) else value


def strictest(rules: Iterable[NewChildren]) -> NewChildren:
    """Return the rule that allows only what all of them allow."""
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
    """The recipient of a service's returns, and the age X25519 public key (`age1...`) that they are encrypted to."""

    name: str
    key: str


@dataclass(frozen=True)
class Disclosure:
    """Lets `teller`, of the agreement's council, disclose facts to `receiver` of council `to_council`."""

    teller: str
    receiver: str
    to_council: str
    facts: frozenset[Fact]


@dataclass(frozen=True)
class Agreement:
    """The agreement of one council.

    `recipients` are by service; `accepts_from` are other councils whose services may disclose facts to this one's; the
    days `starts` and `expires` are included.
    """

    council: str
    reference: str
    legal_basis: str
    impact_assessment: str
    status: Status
    starts: dt.date
    expires: dt.date
    recipients: Mapping[str, Recipient]
    tells: tuple[Disclosure, ...]
    accepts_from: frozenset[str] = field(default_factory=frozenset)
    new_children: NewChildren = field(default_factory=NewChildren)

    def why_not(self, on: dt.date) -> str | None:
        """Return why the agreement is not in force on a day, or None."""
        if self.status is not Status.ACTIVE:
            return f"the agreement {self.reference} is revoked"
        if on < self.starts:
            return f"the agreement {self.reference} starts on {self.starts}"
        if on > self.expires:
            return f"the agreement {self.reference} expired on {self.expires}"
        return None

    @cached_property
    def version(self) -> str:
        """Return the SHA-256 of the agreement's content, whatever the file's comments and layout."""
        content = asdict(self)
        content["tells"] = sorted(json.dumps(each, sort_keys=True, default=_plain) for each in content["tells"])
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()


class Sender(NamedTuple):
    """A service of a council, which sends rows and receives returns about them."""

    council: str
    service: str


Permitted: TypeAlias = dict[Sender, frozenset[Fact]]
"""The facts that each teller may disclose to one receiver; no teller without a fact."""


def permitted(agreements: Mapping[str, Agreement], receiver: Sender, on: dt.date) -> Permitted:
    """Return what may be disclosed to `receiver` on a day. `agreements` are by council."""
    own = agreements.get(receiver.council)
    if own is None or own.why_not(on) or receiver.service not in own.recipients:
        return {}
    found: Permitted = {}
    for agreement in agreements.values():
        elsewhere = agreement.council != receiver.council
        if agreement.why_not(on) or (elsewhere and agreement.council not in own.accepts_from):
            continue
        for disclosure in agreement.tells:
            teller = Sender(agreement.council, disclosure.teller)
            facts = disclosure.facts if receiver.service == ABSENCE_TO else disclosure.facts - {Fact.NO_OTHER}
            if (disclosure.to_council, disclosure.receiver) == receiver and teller != receiver and facts:
                found[teller] = found.get(teller, frozenset()) | facts
    return dict(sorted(found.items()))


def rule_of_new(agreements: Mapping[str, Agreement], receiver: Sender, allowed: Permitted) -> NewChildren:
    """Return the rule for new children for `receiver`: the strictest of its agreement and its tellers'."""
    councils = {receiver.council, *(teller.council for teller in allowed)}
    return strictest(agreements[council].new_children for council in sorted(councils))

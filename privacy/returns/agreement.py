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
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple, TypeAlias


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
OTHERS_NEED = Fact.KNOWN_TO
"""Each other fact says that a service knows the child, or does not: it cannot be told without this one."""


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
            if (telling.to_council, telling.receiver) == receiver and teller != receiver and telling.facts:
                found[teller] = found.get(teller, frozenset()) | telling.facts
    return dict(sorted(found.items()))

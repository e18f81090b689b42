"""The gate: which facts may flow from which service to which, by the agreements that stand on a day.

A fact flows from service s of council A to service t of council B where all of these hold:

- A's agreement stands, and says that s may tell t of B this fact;
- B's agreement stands, and names a recipient, with a key, for t;
- A is B and s is not t; or A is not B, and B's agreement accepts from A.

Nothing else lets a fact through, and what is not let through changes no byte of a return.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from privacy.returns.agreement import Agreement, Fact


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

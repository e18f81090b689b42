"""Acceptances of holds on a release: the names of the holds and a reason, signed by a person.

An acceptance is signed, kept and judged as a sign-off is (`approval`). It is bound to the ledger, the list of holds
that was read, the cohort and the subject of each hold, such as the MAC of a delivery: another file brings another hold,
which nobody has accepted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from privacy.doors.typed import A_REASON, is_reason
from privacy.release.approval import MayNotSign, Signature, SignOffs, add_line
from privacy.release.canonical import encode_canonical_json
from privacy.release.ledger import Ledger

_ACCEPTANCE = "acceptance"


@dataclass(frozen=True)
class Held:
    """A hold on a release: its name, and `about`, a hash of the delivery and the reason for the hold."""

    cohort: str
    name: str
    about: str


@dataclass(frozen=True)
class Acceptance(Signature):
    """One person's signature under holds of this ledger's home; `sheet_sha256` is the hash of the list as read."""

    ledger: str
    holds: Sequence[Mapping[str, str]]
    reason: str
    sheet_sha256: str

    purpose: ClassVar[bytes] = b"readiness acceptance 1\n"


@dataclass(frozen=True)
class Accepted:
    """An acceptance that counts: who signed it, the reason, the day it was recorded and its signature."""

    name: str
    role: str
    reason: str
    day: str
    signature: str


def build_acceptance(ledger: Ledger, held: Iterable[Held], reason: str, sheet_sha256: str) -> Acceptance:
    """Return the unsigned content. Raises `MayNotSign` if the reason is not fit for the sheet."""
    if not is_reason(reason):
        raise MayNotSign(f"{A_REASON}. Nothing was recorded")
    holds = [asdict(each) for each in sorted(held, key=lambda each: (each.cohort, each.name))]
    return Acceptance("", "", ledger.get_identity(), holds, reason, sheet_sha256)


def accept(ledger: Ledger, acceptance: Acceptance) -> None:
    """Record an acceptance, once; durable on return."""
    content = json.loads(encode_canonical_json(asdict(acceptance)))
    if content not in [each for each, _ in SignOffs(ledger).iter_lines(_ACCEPTANCE)]:
        add_line(ledger, _ACCEPTANCE, content)


def find_counting_acceptances(ledger: Ledger) -> dict[Held, Accepted]:
    """Return the newest acceptance of each hold that counts now."""
    books, found = SignOffs(ledger), dict[Held, Accepted]()
    for content, line in books.iter_lines(_ACCEPTANCE):
        each = Acceptance.parse(content)
        if each is not None and each.ledger == ledger.get_identity():
            person, why_not = books.identify_signer(each)
            if not why_not:
                day = line.recorded_at[:10]
                accepted = Accepted(person.name, person.role, each.reason, day, each.signature)
                found |= {Held(**held): accepted for held in each.holds}
    return found

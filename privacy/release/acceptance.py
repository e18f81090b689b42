"""Who has accepted what a release is held for: each hold by its name, with a reason, by a person's own signature.

An acceptance is signed as a release is signed off (`approval`), and stands in the same chain of the ledger. It is bound
to the ledger, to the cohort and to what the hold is about, such as the MAC of a delivery: another file brings another
hold, which nobody has accepted. What counts is decided when it is needed, as for approvals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacy.doors.typed import A_REASON, is_reason
from privacy.release.approval import (
    DEMONSTRATION,
    MayNotSign,
    OfAPerson,
    SignOffs,
    add_line,
    is_demonstration,
    note_people,
    who_may_sign,
)
from privacy.release.ledger import Ledger
from privacy.release.policy import SignOff, public_text

_ACCEPTANCE = "acceptance"


@dataclass(frozen=True)
class Held:
    """What a release waits for: `name` is what a person accepts, `about` a hash of the delivery and of what it is held
    for. The same hold of another cohort, or of another file, is another one."""

    cohort: str
    name: str
    about: str


@dataclass(frozen=True)
class Acceptance(OfAPerson):
    """One person's signature under a hold of this ledger's home. `signed_at` is ISO 8601 in UTC."""

    ledger: str
    held: Mapping[str, str]
    reason: str
    name: str
    role: str
    public: bool
    key: str
    is_demonstration: bool
    signed_at: str
    signature: str = ""
    purpose: ClassVar[bytes] = b"readiness acceptance 1\n"

    @property
    def code(self) -> str:
        """The signature in one word, without a name, for the configuration of a run, which many can read."""
        return "|".join((self.signed_at, self.key, self.signature))


def made(ledger: Ledger, sign_off: SignOff, held: Held, reason: str, key: Ed25519PrivateKey) -> Acceptance:
    """A person's acceptance, not recorded yet. Raises `MayNotSign`, also for a reason that the sheet cannot repeat."""
    if not is_reason(reason):
        raise MayNotSign(f"{A_REASON}: nothing was recorded")
    unsigned = _unsigned(
        ledger, sign_off, held, reason, public_text(key.public_key()), _now().isoformat("T", "seconds")
    )
    return replace(unsigned, signature=key.sign(unsigned.message).hex())


def from_code(ledger: Ledger, sign_off: SignOff, held: Held, reason: str, code: str) -> Acceptance:
    """The acceptance whose `code` this is. Raises `MayNotSign` where it is not of this hold and reason."""
    signed_at, key, signature = [*code.split("|"), "", ""][:3]
    found = replace(_unsigned(ledger, sign_off, held, reason, key, signed_at), signature=signature)
    if not found.is_genuine:
        raise MayNotSign(f"the signature is not of {held.name} as it stands, with this reason: nothing was recorded")
    return found


def accept(ledger: Ledger, sign_off: SignOff, acceptance: Acceptance) -> None:
    """Record an acceptance, once; durable on return."""
    note_people(ledger, sign_off)
    if acceptance not in recorded(ledger):
        add_line(ledger, _ACCEPTANCE, asdict(acceptance))


def recorded(ledger: Ledger) -> list[Acceptance]:
    """Every acceptance, oldest first, whether or not it counts."""
    return [Acceptance(**content) for content, _ in SignOffs(ledger).of(_ACCEPTANCE)]


def counting(
    ledger: Ledger, sign_off: SignOff, release_key: str = "", demonstration_key: str | None = None
) -> dict[Held, Acceptance]:
    """The newest acceptance of each hold that counts now: of this ledger, genuine, by somebody whom the policy names
    and whose time is not over, not by the key that signs releases (`release_key`), and of a demonstration's key only
    where nobody was ever named; any such where `demonstration_key` is not given."""
    alone = is_demonstration(ledger, sign_off)

    def counts(each: Acceptance) -> bool:
        if each.ledger != ledger.identity() or each.key == release_key or not each.is_genuine:
            return False
        if each.is_demonstration:
            return alone and demonstration_key in (None, each.key)
        person = sign_off.who_has(each.key)
        return person is not None and person.may_sign(_now().date())

    return {Held(**each.held): each for each in recorded(ledger) if counts(each)}


def _unsigned(ledger: Ledger, sign_off: SignOff, held: Held, reason: str, key: str, signed_at: str) -> Acceptance:
    """Raises `MayNotSign` where the key is nobody's who may sign."""
    alone = is_demonstration(ledger, sign_off)
    person = replace(DEMONSTRATION, key=key) if alone else who_may_sign(sign_off, key)
    return Acceptance(
        *(ledger.identity(), asdict(held), reason, person.name, person.role, person.public, key, alone, signed_at)
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)

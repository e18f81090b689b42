"""Who has signed a release off, and whether that is enough: before its noise is drawn, and before it is published.

A person signs a request with a key of their own (Ed25519): before noise the plans, cohorts, version, shares, councils
missing, inputs, the policy and what other releases have spent; before publication the sums of the bundle. With it they
sign the ledger that it is for, and the SHA-256 of the page that they were shown. What is signed stands in the ledger,
beside its entries, in a chain that only grows, and so does what it allowed.

What counts is decided when it is needed: the signature verifies, the request is to the letter what is about to be done,
the policy names the key, the person's time is not over, and the key is not the one that signs releases. A person counts
once. Where the policy names nobody, and the ledger has never seen one that does, the key of a demonstration counts, and
everything says that it did.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacy.release.canonical import canonical_json, sha256_hex
from privacy.release.ledger import Ledger
from privacy.release.policy import Person, SignOff, Stage, public_key, public_text

Request = Mapping[str, Any]
"""What is signed, JSON-ready: `stage`, `release`, and what would be done."""

DEMONSTRATION = Person("demonstration key", "demonstration", "", public=True)


class WaitsForApproval(Exception):
    """A release that people must sign first; the message says who has, what moved since, and which command to run."""


class MayNotSign(Exception):
    """A signature that would not count; nothing was recorded."""


class OfAPerson:
    """What a person has signed: a dataclass with the public `key`, the time and the signature (hexadecimal)."""

    purpose: ClassVar[bytes]
    """Stands before every message, so that no other signature of a key can be taken for one of this kind."""
    key: str
    signed_at: str
    signature: str

    @property
    def message(self) -> bytes:
        """What the signature is of."""
        content = asdict(self)  # type: ignore[call-overload]
        del content["signature"]
        return self.purpose + canonical_json(content)

    @property
    def is_genuine(self) -> bool:
        """Whether the key signed it."""
        try:
            public_key(self.key).verify(bytes.fromhex(self.signature), self.message)
        except (ValueError, InvalidSignature):
            return False
        return True

    @property
    def day(self) -> str:
        return self.signed_at[:10]


@dataclass(frozen=True)
class Approval(OfAPerson):
    """One person's signature under a request. `cohort` is the one that the release was asked for, `sheet_sha256` of the
    page that was shown, `signed_at` ISO 8601 in UTC."""

    request: Request
    cohort: str
    sheet_sha256: str
    name: str
    role: str
    public: bool
    key: str
    is_demonstration: bool
    signed_at: str
    signature: str = ""

    purpose: ClassVar[bytes] = b"readiness sign-off 1\n"


@dataclass(frozen=True)
class Signed:
    """An approval, and the hash of its line in the ledger."""

    approval: Approval
    entry_hash: str

    @property
    def request(self) -> Request:
        return self.approval.request


_APPROVAL, _ALLOWED, _PEOPLE = "approval", "allowed", "people"


class SignOffs:
    """What the ledger holds of signatures; read once."""

    def __init__(self, ledger: Ledger) -> None:
        self._lines = [(json.loads(line.content), line.entry_hash) for line in ledger.sign_offs()]

    @property
    def approvals(self) -> list[Signed]:
        """Every signature, oldest first."""
        return [Signed(Approval(**content), line) for content, line in self.of(_APPROVAL)]

    def allowed(self, stage: Stage, release: str) -> list[Signed]:
        """The signatures by which the release was allowed."""
        about = (stage, release)
        mine = (content for content, _ in self.of(_ALLOWED) if (content["stage"], content["release"]) == about)
        counted = {line for content in mine for line in content["approvals"]}
        return [signed for signed in self.approvals if signed.entry_hash in counted]

    def is_allowed(self, request: Request) -> bool:
        """Whether this very request was allowed before, by signatures that verify."""
        counted = [
            signed.approval
            for signed in self.allowed(request["stage"], request["release"])
            if signed.request == request
        ]
        return bool(counted) and all(approval.is_genuine for approval in counted)

    @property
    def people(self) -> dict[str, Any]:
        """Whom the policy named when it last changed, and how many must sign; empty where none ever did."""
        return next((content for content, _ in reversed(list(self.of(_PEOPLE)))), {})

    @property
    def has_seen_people(self) -> bool:
        """Whether a policy that names people was ever at work on this ledger."""
        return any(True for _ in self.of(_PEOPLE))

    def of(self, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The content of every line of a kind, oldest first, and its hash."""
        for content, line in self._lines:
            if content["kind"] == kind:
                yield {key: value for key, value in content.items() if key != "kind"}, line


def note_people(ledger: Ledger, sign_off: SignOff) -> None:
    """Record in the ledger whom the policy names, and how many of them must sign, where that is new."""
    people = [{"role": each.role, "key": each.key, "until": str(each.until or "")} for each in sign_off.people]
    named = {"people": people, "persons": dict(sign_off.persons)}
    if people and named != SignOffs(ledger).people:
        add_line(ledger, _PEOPLE, named)


def sign(
    ledger: Ledger, sign_off: SignOff, request: Request, cohort: str, sheet_sha256: str, key: Ed25519PrivateKey
) -> Signed:
    """Record a person's signature under a request; durable on return. Raises `MayNotSign`."""
    note_people(ledger, sign_off)
    person = who_may_sign(sign_off, public_text(key.public_key()))
    if any(signed.approval.key == person.key and signed.request == request for signed in SignOffs(ledger).approvals):
        raise MayNotSign(f"the {person.role} has signed this already, and a person counts once")
    return _signed(ledger, request, cohort, sheet_sha256, person, key, is_demonstration=False)


def who_may_sign(sign_off: SignOff, key: str) -> Person:
    """The person whom the policy names with this public key; raises `MayNotSign` where it names none, or none now."""
    person = sign_off.who_has(key)
    if person is None:
        raise MayNotSign("the policy names nobody with this key (sign_off.people): nothing was recorded")
    if not person.may_sign(_now().date()):
        raise MayNotSign(f"the time of the {person.role} is over by the policy ({person.until}): nothing was recorded")
    return person


def sign_as_demonstration(
    ledger: Ledger, sign_off: SignOff, request: Request, cohort: str, sheet_sha256: str, key: Ed25519PrivateKey
) -> Signed:
    """Record the signature of a demonstration's key. Raises `MayNotSign` where people are named, or ever were."""
    if not is_demonstration(ledger, sign_off):
        raise MayNotSign("people sign this installation's releases: a demonstration's key does not count")
    person = replace(DEMONSTRATION, key=public_text(key.public_key()))
    return _signed(ledger, request, cohort, sheet_sha256, person, key, is_demonstration=True)


def is_demonstration(ledger: Ledger, sign_off: SignOff) -> bool:
    """Whether nobody is named who could sign, by the policy or by any that the ledger has seen."""
    return not sign_off.people and not SignOffs(ledger).has_seen_people


def allow(ledger: Ledger, sign_off: SignOff, request: Request, release_key: str, demonstration_key: str = "") -> None:
    """Record that a request is allowed, where enough people have signed it; else raise `WaitsForApproval`.

    `release_key` is the public key that signs releases, `demonstration_key` that of a demonstration, if any. The
    message names roles, not people: logs may hold it.
    """
    note_people(ledger, sign_off)
    judge = _Judge(sign_off, request, release_key, demonstration_key if is_demonstration(ledger, sign_off) else "")
    books = SignOffs(ledger)
    reasons = {signed.entry_hash: judge.why_not(signed.approval) for signed in books.approvals}
    counting = {signed.approval.key: signed for signed in books.approvals if reasons[signed.entry_hash] is None}
    needed = sign_off.persons[request["stage"]]
    if len(counting) < needed and not any(signed.approval.is_demonstration for signed in counting.values()):
        same_stage = [each for each in books.approvals if each.request["stage"] == request["stage"]]
        about = [each for each in same_stage if each.request["release"] == request["release"]]
        said = [reasons[each.entry_hash] for each in about or same_stage[-1:]]
        raise WaitsForApproval(_waiting(request, len(counting), needed, [reason for reason in said if reason]))
    lines = sorted(signed.entry_hash for signed in counting.values())
    if lines != sorted(signed.entry_hash for signed in books.allowed(request["stage"], request["release"])):
        allowed = {"stage": request["stage"], "release": request["release"], "approvals": lines}
        add_line(ledger, _ALLOWED, allowed | {"request_sha256": sha256_hex(canonical_json(request))})


@dataclass(frozen=True)
class _Judge:
    """What a signature must be for it to count."""

    sign_off: SignOff
    request: Request
    release_key: str
    demonstration_key: str

    def why_not(self, approval: Approval) -> str | None:
        """Why it does not count, in words for a message; None where it does."""
        person = self.sign_off.who_has(approval.key)
        whose = f"that of {approval.day} by the {person.role if person else 'key of somebody'}"
        if not approval.is_genuine:
            return f"{whose} does not verify"
        if approval.key == self.release_key:
            return f"{whose} is of the key that signs releases, which may not sign them off"
        if approval.is_demonstration:
            if approval.key != self.demonstration_key:
                return f"that of {approval.day} is of a demonstration's key, which does not count here"
        elif person is None:
            return f"{whose} is of a key that the policy does not name any more"
        elif not person.may_sign(_now().date()):
            return f"{whose}, whose time is over"
        if moved := list(_moved(approval.request, self.request)):
            return f"{whose} does not count, because this differs: {', '.join(moved)}"
        return None


def _moved(before: Request, now: Request) -> Iterator[str]:
    """What differs between two requests, in words."""
    words = {
        "release": f"the release ({before.get('release')})",
        "stage": "what was signed",
        "ledger": "the ledger",
        "policy_sha256": "the policy",
        "sha256sums": "the bundle",
    }
    yield from (said for what, said in words.items() if before.get(what) != now.get(what))
    was, is_now = before.get("cohorts", {}), now.get("cohorts", {})
    if was.keys() != is_now.keys():
        yield "the cohorts"
    for cohort in sorted(was.keys() & is_now.keys()):
        yield from _moved_of_cohort(was[cohort], is_now[cohort])


def _moved_of_cohort(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    words = {
        "measured_in": "what is used again",
        "share": f"the share ({before.get('share')}, now {now.get('share')})",
        "charged_besides_nano_rho": "what other releases have charged",
        "missing": "which councils have sent nothing",
        "accepted": "what was accepted of what is held",
        "expected_rows": "the operator's expected numbers of rows",
        "requests": "which tables were asked for",
    }
    yield from (said for what, said in words.items() if before.get(what) != now.get(what))
    for what, said in (("plans", "the plan of {}"), ("inputs", "{}")):
        was, is_now = before.get(what, {}), now.get(what, {})
        names = sorted(name for name in {*was, *is_now} if was.get(name) != is_now.get(name))
        yield from (said.format(name) for name in names[:_NAMES_SHOWN])
        if len(names) > _NAMES_SHOWN:
            yield "and others"


_NAMES_SHOWN = 5


def _waiting(request: Request, found: int, needed: int, reasons: list[str]) -> str:
    what = {
        Stage.MEASUREMENT: "nothing was charged or drawn",
        Stage.PUBLICATION: "its bundle is made and held",
    }[Stage(request["stage"])]
    people = f"{needed} person" if needed == 1 else f"{needed} people"
    passed_over = f"; {'; '.join(reasons[-_NAMES_SHOWN:])}" if reasons else ""
    return (
        f"release {request['release']} waits for the approval of its {request['stage']} by {people}, and has"
        f" {found or 'none'}: {what}{passed_over}"
    )


def _signed(
    ledger: Ledger,
    request: Request,
    cohort: str,
    sheet_sha256: str,
    person: Person,
    key: Ed25519PrivateKey,
    *,
    is_demonstration: bool,
) -> Signed:
    unsigned = Approval(
        json.loads(canonical_json(request)),
        cohort,
        sheet_sha256,
        person.name,
        person.role,
        person.public,
        person.key,
        is_demonstration,
        _now().isoformat(timespec="seconds"),
    )
    approval = replace(unsigned, signature=key.sign(unsigned.message).hex())
    return Signed(approval, add_line(ledger, _APPROVAL, asdict(approval)))


def add_line(ledger: Ledger, kind: str, content: Mapping[str, Any]) -> str:
    """Record what somebody signed, or what it allowed, in the ledger; returns the hash of the line."""
    return ledger.add_sign_off(canonical_json({"kind": kind, **content}).decode()).entry_hash


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)

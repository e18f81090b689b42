"""The log of signatures, kept in the ledger in an append-only chain beside its entries.

This is the only module that adds lines to the chain: who may sign, which keys sign releases, signatures, and what
signatures allowed. What counts is judged by `privacy.release.approval`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacy.doors import clock
from privacy.doors.environment import SIMULATED_DATE
from privacy.release.approval import (
    NAMES_SHOWN,
    WORDS,
    Judgement,
    MayNotSign,
    RecordedSigners,
    SignOffs,
    WaitsForApproval,
)
from privacy.release.canonical import encode_canonical_json, hash_json
from privacy.release.ledger import Ledger
from privacy.release.policy import Person, SignOff, format_public_key
from privacy.release.signed_lines import (
    TEXT_PAGES,
    Acceptance,
    Allowed,
    Approval,
    ReleaseKey,
    Request,
    Signature,
    hash_text_page,
)

AnySignature = TypeVar("AnySignature", bound=Signature)


class DateIsSimulated(Exception):
    """Raised if something would be recorded under a simulated date outside a demonstration; nothing was."""


class SignatureLog:
    """The log of signatures of a ledger, opened for people named elsewhere.

    `named` are the people who may sign: first those named when the first extract was taken in, if any, then those of
    the policy. Opening the log records them, because a signature is judged by who is recorded. A change of people is
    recorded only after enough of those recorded before have signed it.
    """

    def __init__(self, ledger: Ledger, *named: SignOff) -> None:
        self.ledger = ledger
        self._named = named
        self._record_people()

    def read(self, *release_keys: str) -> SignOffs:
        """Return all signatures as judged now; `release_keys` are further public keys that sign releases."""
        return SignOffs(self.ledger, *release_keys)

    def build_change_of_people(self) -> Request | None:
        """Return the request to replace the recorded people with the policy's; None if there is nothing to change."""
        return self.read().build_change_of_people(self._named[-1])

    def record_keys(self, release_key: Ed25519PrivateKey, demonstration_key: str = "") -> None:
        """Record the key that signs releases, which may not approve them, and a demonstration's public key, if any."""
        books = self.read()
        if format_public_key(release_key.public_key()) not in books.release_keys:
            stated = ReleaseKey("", "", self.ledger.get_identity()).sign_with(release_key)
            self._add(stated.kind, asdict(stated))
        if demonstration_key and books.recorded.may_be_demonstration and not books.recorded.demonstration_key:
            self._add("demonstration", {"key": demonstration_key})

    def record_real_extract(self, extract: str) -> None:
        """Record an extract that `readiness synth` did not write, which ends a demonstration for good."""
        if not self.read().recorded.real_extract:
            self._add("not synthetic", {"extract": extract})

    def record_acceptance(self, acceptance: Acceptance) -> None:
        """Record the signed acceptance of holds, once."""
        if acceptance not in [known for known, _ in self.read().iter_lines(Acceptance)]:
            self._add(acceptance.kind, asdict(acceptance))

    def sign(
        self, request: Request, cohort: str, sheet_sha256: str, by: Ed25519PrivateKey | bytes
    ) -> tuple[Person, Judgement]:
        """Record a person's signature on a request; return who signed and the new judgement. Raises `MayNotSign`."""
        # As the ledger returns it (lists instead of tuples), so that equal requests compare equal.
        plain = json.loads(encode_canonical_json(request))
        person, approval = self.sign_content(Approval("", "", plain, cohort, sheet_sha256), by)
        if any(known.approval.key == approval.key for known in self.read().judge(plain, sheet_sha256).counting):
            raise MayNotSign(f"the {person.role} has signed this already, and a person counts once")
        self._add(approval.kind, asdict(approval))
        judgement = self.read().judge(plain, sheet_sha256)
        # The signature may have been the last that a change of people needed.
        self._record_people()
        return person, judgement

    def sign_content(self, unsigned: AnySignature, by: Ed25519PrivateKey | bytes) -> tuple[Person, AnySignature]:
        """Return who signed and the signed content, without recording it. Raises `MayNotSign` if it does not count."""
        books = self.read()
        signed = unsigned.sign_with(by) if isinstance(by, Ed25519PrivateKey) else _attach(unsigned, by, books.recorded)
        person, why_not = books.identify_signer(signed)
        if why_not:
            raise MayNotSign(f"the signature {why_not}. Nothing was recorded")
        return person, signed

    def allow(
        self, request: Request, sheet_sha256: str, by: Ed25519PrivateKey | None, release_key: str | None = None
    ) -> None:
        """Pass if enough people have signed a request; otherwise raise `WaitsForApproval`.

        `sheet_sha256` is the hash of its page as it is now. That the request is allowed is recorded under `by`, the key
        that signs releases; without it only if the page follows from the request. `release_key` is a further public key
        that signs releases. The message names roles, not people, because it may be logged.
        """
        books = self.read(*([release_key] if release_key else []))
        if not books.recorded.may_be_demonstration:
            refuse_simulated_date()
        judgement = books.judge(request, sheet_sha256)
        if not judgement.is_enough:
            raise WaitsForApproval(_explain_waiting(request, judgement))
        lines = sorted(signed.line.entry_hash for signed in judgement.counting)
        allowed = Allowed("", "", lines, hash_json(request), sheet_sha256)
        if by is not None:
            allowed = allowed.sign_with(by)
        # Recorded once, however often a run asks.
        elif request["stage"] not in TEXT_PAGES:
            return
        if allowed not in [content for content, _ in books.iter_lines(Allowed)]:
            self._add(allowed.kind, asdict(allowed))

    def _record_people(self) -> None:
        """Record who may sign and how many must; a change only if enough of those recorded have signed it."""
        for people in self._named:
            if not people.people:
                continue
            books = self.read()
            change = books.build_change_of_people(people)
            if books.recorded.sign_off is None or (change and books.judge(change, hash_text_page(change)).is_enough):
                self._add("people", people.build_document())

    def _add(self, kind: str, content: Mapping[str, Any]) -> None:
        if kind in ("people", "not synthetic") or not self.read().recorded.may_be_demonstration:
            refuse_simulated_date()
        self.ledger.get_identity()  # makes sure the first line exists: every request names it
        self.ledger.add_sign_off(encode_canonical_json({"kind": kind, **content}).decode())


def refuse_simulated_date() -> None:
    """Raise `DateIsSimulated` if the date is simulated: a signer's last day, among others, would mean nothing."""
    if clock.is_simulated():
        raise DateIsSimulated(
            f"the date is simulated, which only a demonstration may be: unset {SIMULATED_DATE}. Nothing was recorded"
        )


def parse_signature(text: str | bytes) -> bytes:
    """Parse a signature: 64 bytes as `openssl pkeyutl` writes them, or hexadecimal. Raises `MayNotSign`."""
    if isinstance(text, bytes) and len(text) == _SIGNATURE_BYTES:
        return text
    try:
        found = bytes.fromhex(text.decode("ascii") if isinstance(text, bytes) else text)  # spaces are allowed
    except ValueError:
        found = b""
    if len(found) != _SIGNATURE_BYTES:
        raise MayNotSign("this is no Ed25519 signature, 64 bytes as `openssl pkeyutl -sign -rawin` writes them")
    return found


_SIGNATURE_BYTES = 64


def _attach(unsigned: AnySignature, signature: bytes, recorded: RecordedSigners) -> AnySignature:
    """Return the content with the signature that a recorded person made elsewhere. Raises `MayNotSign`."""
    # A signature made elsewhere does not name its key, so every recorded key is tried.
    candidates = (replace(unsigned, key=person.key, signature=signature.hex()) for person in recorded.people)
    genuine = next((candidate for candidate in candidates if candidate.is_genuine), None)
    if genuine is None:
        raise MayNotSign(
            "the signature is of something else, or by nobody who may sign: the request or its sheet may have"
            " changed since it was signed. Nothing was recorded"
        )
    return genuine


def _explain_waiting(request: Request, judgement: Judgement) -> str:
    stage, release = request["stage"], request["release"]
    same_stage = [signed for signed in judgement.passed_over if signed.request["stage"] == stage]
    same_release = [signed for signed in same_stage if signed.request["release"] == release]
    reasons = [signed.why_not for signed in same_release or same_stage[-1:]]
    words = WORDS["waiting"][stage]
    of_whom = "signature of 1 person" if judgement.needed == 1 else f"signatures of {judgement.needed} people"
    passed_over = f"; {'; '.join(reasons[-NAMES_SHOWN:])}" if reasons else ""
    return (
        f"release {release} needs the {of_whom} before it is {words['done']}, and has"
        f" {len(judgement.counting) or 'none'}: {words['so_far']}{passed_over}"
    )

"""Signatures on a release and whether they are enough to measure, publish or withdraw it.

A person signs a request with their own key (Ed25519). Before measurement the request covers everything that decides it,
before publication the checksums of the bundle, and always the ledger it is for and the SHA-256 of the page that was
read. Signatures, and what they allowed, are kept in the ledger, in an append-only chain beside its entries.

Only `SignOffs` judges them. The ledger records who may sign: first the people named in the policy, then changes signed
by enough of those recorded. A signature counts if it verifies, the request is exactly what is about to be done, and its
key belongs to a recorded person whose last day has not passed and is not a key that signs releases. Each person counts
once. What was allowed is judged by who was recorded at the time.

In a demonstration one key, that of the key set, is enough for any number of people. This ends when people are recorded
or an extract is taken in that `readiness synth` did not write.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib import resources
from itertools import islice
from typing import Any, ClassVar, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from privacy.doors import clock
from privacy.doors.environment import SIMULATED_DATE
from privacy.doors.shipped import read_yaml
from privacy.release.canonical import encode_canonical_json, hash_json
from privacy.release.ledger import Ledger
from privacy.release.ledger_storage import SignOffLine
from privacy.release.policy import Person, PolicyError, SignOff, Stage, format_public_key, parse_public_key

Request = Mapping[str, Any]
"""The content of a signature, JSON-ready: `stage`, `release`, and what would be done."""

CHANGE_OF_PEOPLE = "people"
"""The stage of a request that changes who may sign."""
WITHDRAWAL = "withdrawal"
"""The stage of a request that tells readers that a release is withdrawn, and why."""
DEMONSTRATION = Person("demonstration key", "demonstration", "", public=True)
STRANGER = Person("", "somebody who is not recorded", "", public=False)


class WaitsForApproval(Exception):
    """A release that people must sign first; the message says who has, what has changed, and the command to run."""


class DateIsSimulated(Exception):
    """Raised if something would be recorded under a simulated date outside a demonstration; nothing was."""


class MayNotSign(Exception):
    """A signature that would not count; nothing was recorded."""


@dataclass(frozen=True)
class Signature:
    """Signed content, with the public `key` and the signature (hexadecimal)."""

    purpose: ClassVar[bytes]
    """Prefix of every message, so that a signature of another kind by the same key cannot be mistaken for this one."""
    key: str
    signature: str

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Self | None:
        """Read a line of the ledger; None if it is not of this kind."""
        names = {field.name for field in fields(cls)}
        is_text = all(isinstance(content.get(name), str) for name in ("key", "signature"))
        return cls(**content) if set(content) == names and is_text else None

    @property
    def message(self) -> bytes:
        """The bytes that are signed, the same for every signer."""
        content = asdict(self)
        return self.purpose + encode_canonical_json(
            {name: content[name] for name in content.keys() - {"key", "signature"}}
        )

    @property
    def is_genuine(self) -> bool:
        """True if the signature was made by the key."""
        try:
            parse_public_key(self.key).verify(bytes.fromhex(self.signature), self.message)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def sign(self, by: Ed25519PrivateKey | bytes, recorded: "Recorded") -> Self:
        """Return the content, signed with a private key or by a recorded person elsewhere. Raises `MayNotSign`."""
        if isinstance(by, Ed25519PrivateKey):
            return replace(self, key=format_public_key(by.public_key()), signature=by.sign(self.message).hex())
        # A signature made elsewhere does not name its key, so every recorded key is tried.
        found = (replace(self, key=person.key, signature=by.hex()) for person in recorded.people)
        genuine = next((each for each in found if each.is_genuine), None)
        if genuine is None:
            raise MayNotSign(
                "the signature is of something else, or by nobody who may sign: the request or its sheet may have"
                " changed since it was signed. Nothing was recorded"
            )
        return genuine


AnySignature = TypeVar("AnySignature", bound=Signature)


@dataclass(frozen=True)
class Approval(Signature):
    """One person's signature on a request for `cohort`; `sheet_sha256` is the hash of the page that was read."""

    request: Request
    cohort: str
    sheet_sha256: str

    purpose: ClassVar[bytes] = b"readiness sign-off 1\n"

    @property
    def is_request(self) -> bool:
        """True if its request is of a known stage; that of a forged line need not be."""
        return isinstance(self.request, Mapping) and self.request.get("stage") in [CHANGE_OF_PEOPLE, WITHDRAWAL, *Stage]


@dataclass(frozen=True)
class Signed:
    """An approval with its judgement: its ledger line, who signed, and why it does not count (empty if it does)."""

    approval: Approval
    line: SignOffLine
    person: Person
    why_not: str

    @property
    def request(self) -> Request:
        return self.approval.request

    @property
    def is_demonstration(self) -> bool:
        return self.person == replace(DEMONSTRATION, key=self.person.key)


@dataclass(frozen=True)
class Judgement:
    """The signatures on one request that count, one per person, and how many people are needed."""

    counting: Sequence[Signed]
    passed_over: Sequence[Signed]
    needed: int

    @property
    def is_enough(self) -> bool:
        return len(self.counting) >= self.needed or any(each.is_demonstration for each in self.counting)


@dataclass(frozen=True)
class Recorded:
    """Who may sign as of a line of the ledger, since which `line`, and the first extract that was not synthetic."""

    sign_off: SignOff | None = None
    line: str = ""
    demonstration_key: str = ""
    real_extract: str = ""

    @property
    def may_be_demonstration(self) -> bool:
        """True if no people are recorded, and every extract was written by `readiness synth`."""
        return self.sign_off is None and not self.real_extract

    @property
    def people(self) -> tuple[Person, ...]:
        """Everybody who may sign."""
        if self.may_be_demonstration:
            return (replace(DEMONSTRATION, key=self.demonstration_key),) if self.demonstration_key else ()
        return self.sign_off.people if self.sign_off else ()

    def find_holder(self, key: str) -> Person:
        """Return who signs with a key."""
        return next((person for person in self.people if person.key == key), STRANGER)

    def count_needed(self, stage: str) -> int:
        """Return how many must sign: to change people, the most of any stage; to withdraw, as many as to publish."""
        if self.sign_off is None:
            return 1
        persons = self.sign_off.persons
        if stage == CHANGE_OF_PEOPLE:
            return max(persons.values())
        return persons[Stage.PUBLICATION if stage == WITHDRAWAL else Stage(stage)]


@dataclass(frozen=True)
class ReleaseKey(Signature):
    """The key that signs releases, declared to this `ledger` under its own signature, which nobody can forge."""

    ledger: str

    purpose: ClassVar[bytes] = b"readiness release key 1\n"


_APPROVAL, _ALLOWED, _PEOPLE = "approval", "allowed", "people"
_RELEASE_KEY, _DEMONSTRATION, _REAL = "release key", "demonstration", "not synthetic"


class SignOffs:
    """The signatures in the ledger and the judgement of each, read once."""

    def __init__(self, ledger: Ledger, *release_keys: str) -> None:
        """Read the signatures in the ledger; `release_keys` are further public keys that sign releases."""
        contents = ((json.loads(line.content), line) for line in ledger.sign_offs())
        self._lines = [(content.pop("kind", ""), content, line) for content, line in contents]
        self.release_keys = {*release_keys, *self._iter_release_keys()}
        self._recorded = [Recorded()]
        for number in range(len(self._lines)):
            self._recorded.append(self._update_recorded(number))

    @property
    def recorded(self) -> Recorded:
        """Who may sign now."""
        return self._recorded[-1]

    @property
    def approvals(self) -> list[Signed]:
        """Every signature on a request, oldest first, as judged when it was recorded, whatever has changed since."""
        return [
            self._judge_signature(approval, line, self._recorded[number], line.recorded_at)
            for number, approval, line in self._iter_approvals()
        ]

    def judge(self, request: Request, sheet_sha256: str = "", at: int | None = None) -> Judgement:
        """Return the signatures that count for a request, given its page if any, now or just before line `at`."""
        number, now = (len(self._lines), clock.format_now()) if at is None else (at, self._lines[at][2].recorded_at)
        recorded, counting, passed_over = self._recorded[number], dict[str, Signed](), list[Signed]()
        for _, approval, line in self._iter_approvals(number):
            if moved := _list_differences(approval, request, sheet_sha256):
                person = recorded.find_holder(approval.key)
                reason = f"{_describe_signature(person, line)} does not count, because this differs: {', '.join(moved)}"
                passed_over.append(Signed(approval, line, person, reason))
                continue
            # Never judged at a time before the line's own, even if the clock was set back.
            judged = self._judge_signature(approval, line, recorded, max(now, line.recorded_at))
            if judged.why_not:
                passed_over.append(judged)
            else:
                # By key, because a person counts once however often they sign.
                counting.setdefault(approval.key, judged)
        return Judgement(list(counting.values()), passed_over, recorded.count_needed(request["stage"]))

    def identify_signer(
        self, signature: Signature, recorded: Recorded | None = None, at: str = ""
    ) -> tuple[Person, str]:
        """Return who signed, by default among those recorded now, and why it does not count (empty if it does)."""
        person = (recorded or self.recorded).find_holder(signature.key)
        # Checked first, because this key never counts, whoever is recorded with it.
        if signature.key in self.release_keys:
            return person, "is of the key that signs releases, which may not sign them off"
        if person is STRANGER:
            return person, "was made with a key that belongs to no recorded signer"
        if not person.may_sign((at or clock.format_now())[:10]):
            return person, f"does not count, because the time of the {person.role} is over"
        return person, "" if signature.is_genuine else "does not verify"

    def list_allowed(self, stage: str, release: str) -> list[Signed]:
        """Return the signatures that allowed the release at this stage, judged by who was recorded at the time."""
        found: dict[str, Signed] = {}
        for request, judgement in self._allowances:
            if (request.get("stage"), request.get("release")) == (stage, release):
                found |= {each.line.entry_hash: each for each in judgement.counting}
        return list(found.values())

    def iter_withdrawals(self) -> Iterator[tuple[Request, str]]:
        """Yield every allowed withdrawal, oldest first, with the day of its last counting signature."""
        for request, judgement in self._allowances:
            if request.get("stage") == WITHDRAWAL:
                yield request, max(each.line.recorded_at for each in judgement.counting)[:10]

    def is_allowed(self, request: Request) -> bool:
        """Return whether exactly this request was allowed before, judged by who was recorded at the time."""
        return any(each == request for each, _ in self._allowances)

    def list_signed(self) -> list[Signed]:
        """Return the newest counting signature of every request that enough people have signed by now, oldest first."""
        requests = {hash_json(each.request): each.request for _, each, _ in self._iter_approvals()}
        judged = (self.judge(request) for request in requests.values())
        return sorted((each.counting[-1] for each in judged if each.is_enough), key=lambda signed: signed.line.seq)

    def iter_lines(self, kind: str) -> Iterator[tuple[dict[str, Any], SignOffLine]]:
        """Yield the content of every line of a kind, oldest first."""
        yield from ((content, line) for each, content, line in self._lines if each == kind)

    def _iter_release_keys(self) -> Iterator[str]:
        """Yield the keys that have declared to this ledger that they sign releases."""
        for content, _ in self.iter_lines(_RELEASE_KEY):
            stated = ReleaseKey.parse(content)
            # A declaration that the key signed for another ledger does not count here.
            if stated is not None and stated.ledger == self._lines[0][2].entry_hash and stated.is_genuine:
                yield stated.key

    def build_change_of_people(self, sign_off: SignOff) -> Request | None:
        """Return the request to record the people of a policy; None if it names nobody or changes nothing."""
        before = self.recorded
        if (
            before.sign_off is None
            or not sign_off.people
            or sign_off.build_document() == before.sign_off.build_document()
        ):
            return None
        return self._build_change(before, sign_off.build_document())

    def _build_change(self, before: Recorded, people: Mapping[str, Any]) -> Request:
        assert before.sign_off
        whole = {"stage": CHANGE_OF_PEOPLE, "release": "", "ledger": self._lines[0][2].entry_hash}
        return whole | {"replaces": before.line, "before": before.sign_off.build_document(), "after": people}

    def _update_recorded(self, number: int) -> Recorded:
        """Return who may sign after a line."""
        before, (kind, content, line) = self._recorded[number], self._lines[number]
        if kind == _PEOPLE:
            try:
                named = SignOff.parse(content)
            except PolicyError:
                # A forged line need not hold valid people; it changes nothing.
                return before
            if before.sign_off is not None and not self.judge(self._build_change(before, content), at=number).is_enough:
                return before
            return replace(before, sign_off=named, line=line.entry_hash)
        if kind == _DEMONSTRATION and before.may_be_demonstration and not before.demonstration_key:
            return replace(before, demonstration_key=str(content.get("key", "")))
        if kind == _REAL and not before.real_extract:
            return replace(before, real_extract=str(content.get("extract") or "an extract"))
        return before

    @cached_property
    def _allowances(self) -> list[tuple[Request, Judgement]]:
        """Every allowed request with its judgement, by who was recorded at the time."""
        found = []
        by_line = {line.entry_hash: approval.request for _, approval, line in self._iter_approvals()}
        for number, (kind, content, _) in enumerate(self._lines):
            if kind == _ALLOWED:
                request = next((by_line[each] for each in content.get("approvals", ()) if each in by_line), None)
                if request is None or hash_json(request) != content.get("request_sha256"):
                    continue
                # As of that line: somebody who has left since does not undo what was allowed.
                judgement = self.judge(request, at=number)
                if judgement.is_enough:
                    found.append((request, judgement))
        return found

    def _iter_approvals(self, until: int | None = None) -> Iterator[tuple[int, Approval, SignOffLine]]:
        """Yield (line number, approval, line) for the approvals before the line numbered `until`."""
        for number, (kind, content, line) in enumerate(islice(self._lines, until)):
            approval = Approval.parse(content) if kind == _APPROVAL else None
            if approval is not None and approval.is_request:
                yield number, approval, line

    def _judge_signature(self, approval: Approval, line: SignOffLine, recorded: Recorded, at: str) -> Signed:
        person, why_not = self.identify_signer(approval, recorded, at)
        return Signed(approval, line, person, f"{_describe_signature(person, line)} {why_not}" if why_not else "")


def _describe_signature(person: Person, line: SignOffLine) -> str:
    by = person.role if person is STRANGER else f"the {person.role}"
    return f"the signature of {line.recorded_at[:10]} by {by}"


def has_no_signers(ledger: Ledger, sign_off: SignOff) -> bool:
    """Return whether neither the policy nor the ledger names anybody who may sign."""
    return not sign_off.people and SignOffs(ledger).recorded.sign_off is None


def is_demonstration(ledger: Ledger, sign_off: SignOff) -> bool:
    """Return whether nobody is named as a signer, and every extract is synthetic."""
    return has_no_signers(ledger, sign_off) and SignOffs(ledger).recorded.may_be_demonstration


def note_people(ledger: Ledger, sign_off: SignOff) -> None:
    """Record who may sign by the policy and how many must; a change only once enough of those recorded signed it."""
    if not sign_off.people:
        return
    books = SignOffs(ledger)
    change = books.build_change_of_people(sign_off)
    if books.recorded.sign_off is None or (change and books.judge(change).is_enough):
        add_line(ledger, _PEOPLE, sign_off.build_document())


def note_keys(ledger: Ledger, release_key: Ed25519PrivateKey, demonstration_key: str = "") -> None:
    """Record the key that signs releases, which may not sign them off, and a demonstration's public key, if any."""
    books = SignOffs(ledger)
    if format_public_key(release_key.public_key()) not in books.release_keys:
        stated = ReleaseKey("", "", ledger.get_identity()).sign(release_key, books.recorded)
        add_line(ledger, _RELEASE_KEY, asdict(stated))
    if demonstration_key and books.recorded.may_be_demonstration and not books.recorded.demonstration_key:
        add_line(ledger, _DEMONSTRATION, {"key": demonstration_key})


def note_not_synthetic(ledger: Ledger, extract: str) -> None:
    """Record an extract that `readiness synth` did not write, which ends a demonstration for good."""
    if not SignOffs(ledger).recorded.real_extract:
        add_line(ledger, _REAL, {"extract": extract})


def sign(
    ledger: Ledger,
    sign_off: SignOff,
    request: Request,
    cohort: str,
    sheet_sha256: str,
    by: Ed25519PrivateKey | bytes,
) -> tuple[Person, Judgement]:
    """Record a person's signature on a request; return who signed and the new judgement. Raises `MayNotSign`."""
    # As the ledger returns it (lists instead of tuples), so that equal requests compare equal.
    plain = json.loads(encode_canonical_json(request))
    person, approval = sign_content(ledger, sign_off, Approval("", "", plain, cohort, sheet_sha256), by)
    if any(each.approval.key == approval.key for each in SignOffs(ledger).judge(plain, sheet_sha256).counting):
        raise MayNotSign(f"the {person.role} has signed this already, and a person counts once")
    add_line(ledger, _APPROVAL, asdict(approval))
    return person, SignOffs(ledger).judge(plain, sheet_sha256)


def sign_content(
    ledger: Ledger, sign_off: SignOff, unsigned: AnySignature, by: Ed25519PrivateKey | bytes
) -> tuple[Person, AnySignature]:
    """Return who signed and the signed content, without recording it. Raises `MayNotSign` if it does not count."""
    # The policy may name people who are not recorded yet, and a signature is judged by who is recorded.
    note_people(ledger, sign_off)
    books = SignOffs(ledger)
    signed = unsigned.sign(by, books.recorded)
    person, why_not = books.identify_signer(signed)
    if why_not:
        raise MayNotSign(f"the signature {why_not}. Nothing was recorded")
    return person, signed


def allow(ledger: Ledger, sign_off: SignOff, request: Request, sheet_sha256: str = "", *release_keys: str) -> None:
    """Record that a request is allowed if enough people have signed it; otherwise raise `WaitsForApproval`.

    `sheet_sha256` is the hash of its page as it is now. The message names roles, not people, because it may be logged.
    """
    note_people(ledger, sign_off)
    books = SignOffs(ledger, *release_keys)
    if not books.recorded.may_be_demonstration:
        refuse_simulated_date()
    found = books.judge(request, sheet_sha256)
    if not found.is_enough:
        stage, release = request["stage"], request["release"]
        same_stage = [each for each in found.passed_over if each.request.get("stage") == stage]
        about = [each for each in same_stage if each.request.get("release") == release]
        raise WaitsForApproval(_explain_waiting(request, found, [each.why_not for each in about or same_stage[-1:]]))
    lines = sorted(signed.line.entry_hash for signed in found.counting)
    allowed = {"approvals": lines, "request_sha256": hash_json(request)}
    # Recorded once, however often a run asks.
    if allowed not in [content for content, _ in books.iter_lines(_ALLOWED)]:
        add_line(ledger, _ALLOWED, allowed)


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


_NAMES_SHOWN = 5
_WORDS = read_yaml(resources.files("privacy.release").joinpath("approval.yaml"))


def _list_differences(approval: Approval, now: Request, sheet_sha256: str) -> list[str]:
    """Return, in words, the differences between what was signed and what is about to be done."""
    before = approval.request
    differences = list(_iter_changes(_WORDS["request"], before, now))
    was, is_now = before.get("cohorts", {}), now.get("cohorts", {})
    if was.keys() != is_now.keys():
        differences.append("the cohorts")
    for cohort in sorted(was.keys() & is_now.keys()):
        differences += _iter_changes(_WORDS["cohort"], was[cohort], is_now[cohort])
        for what, phrase in (("plans", "the plan of {}"), ("inputs", "{}")):
            one, other = was[cohort].get(what, {}), is_now[cohort].get(what, {})
            names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
            differences += [phrase.format(name) for name in names[:_NAMES_SHOWN]]
            differences += ["and others"] if len(names) > _NAMES_SHOWN else []
    # A difference that has no words above must not go unnoticed.
    if not differences and before != now:
        differences.append("what was signed")
    if not differences and sheet_sha256 not in ("", approval.sheet_sha256):
        differences.append("the decision sheet")
    return differences


def _iter_changes(words: Mapping[str, str], before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for what, phrase in words.items():
        if before.get(what) != now.get(what):
            yield phrase.format(before.get(what), now.get(what))


def _explain_waiting(request: Request, found: Judgement, reasons: list[str]) -> str:
    words = _WORDS["waiting"][request["stage"]]
    of_whom = "signature of 1 person" if found.needed == 1 else f"signatures of {found.needed} people"
    passed_over = f"; {'; '.join(reasons[-_NAMES_SHOWN:])}" if reasons else ""
    return (
        f"release {request['release']} needs the {of_whom} before it is {words['done']}, and has"
        f" {len(found.counting) or 'none'}: {words['so_far']}{passed_over}"
    )


def add_line(ledger: Ledger, kind: str, content: Mapping[str, Any]) -> str:
    """Record a signature, or what signatures allowed, in the ledger; return the hash of the line."""
    if kind in (_PEOPLE, _REAL) or not SignOffs(ledger).recorded.may_be_demonstration:
        refuse_simulated_date()
    ledger.get_identity()  # makes sure the first line exists: every request names it
    return ledger.add_sign_off(encode_canonical_json({"kind": kind, **content}).decode()).entry_hash

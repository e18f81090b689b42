"""Signatures on a release and whether they are enough to measure, publish or withdraw it.

A person signs a request with their own key (Ed25519). Before measurement the request covers everything that decides it,
before publication the checksums of the bundle, and always the ledger it is for and the SHA-256 of the page that was
read. Signatures, and what they allowed, are kept in the ledger, in an append-only chain beside its entries.

Only `SignOffs` judges them. The ledger records who may sign: first the people named in the policy, then changes signed
by enough of those recorded. A signature counts if it verifies, the request is exactly what is about to be done, and its
page the one that is read now, and its key belongs to a recorded person whose last day has not passed and is not a key
that signs releases. Each person counts once. What was allowed is judged by who was recorded, and by the page, at the
time: the pipeline states that page under the key that signs releases.

In a demonstration one key, that of the key set, is enough for any number of people. This ends when people are recorded
or an extract is taken in that `readiness synth` did not write.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from itertools import islice
from typing import Any, TypeVar

from privacy.doors import clock
from privacy.doors.shipped import read_yaml
from privacy.release.canonical import hash_json
from privacy.release.ledger import Ledger
from privacy.release.ledger_storage import SignOffLine
from privacy.release.policy import Person, SignOff, Stage
from privacy.release.signed_lines import (
    CHANGE_OF_PEOPLE,
    TEXT_PAGES,
    WITHDRAWAL,
    Allowed,
    Approval,
    DemonstrationKey,
    Line,
    RealExtract,
    RecordedPeople,
    ReleaseKey,
    Request,
    Signature,
    hash_text_page,
    parse_line,
)

DEMONSTRATION = Person("demonstration key", "demonstration", "", public=True)
STRANGER = Person("", "somebody who is not recorded", "", public=False)


class WaitsForApproval(Exception):
    """A release that people must sign first; the message says who has, what has changed, and the command to run."""


class MayNotSign(Exception):
    """A signature that would not count; nothing was recorded."""


AnyLine = TypeVar("AnyLine", bound=Line)


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
class RecordedSigners:
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


class SignOffs:
    """The signatures in the ledger and the judgement of each, read once."""

    def __init__(self, ledger: Ledger, *release_keys: str) -> None:
        """Read the signatures in the ledger; `release_keys` are further public keys that sign releases."""
        self._lines = [(parse_line(line.content), line) for line in ledger.sign_offs()]
        self.release_keys = {*release_keys, *self._iter_release_keys()}
        self._recorded = [RecordedSigners()]
        for number in range(len(self._lines)):
            self._recorded.append(self._update_recorded(number))

    @property
    def recorded(self) -> RecordedSigners:
        """Who may sign now."""
        return self._recorded[-1]

    @property
    def ignored(self) -> list[SignOffLine]:
        """The lines that this software did not write, or not in this version: they decide nothing."""
        return [line for content, line in self._lines if content is None]

    @property
    def approvals(self) -> list[Signed]:
        """Every signature on a request, oldest first, as judged when it was recorded, whatever has changed since."""
        return [
            self._judge_signature(approval, line, self._recorded[number], line.recorded_at)
            for number, approval, line in self._iter_approvals()
        ]

    def judge(self, request: Request, sheet_sha256: str, at: int | None = None) -> Judgement:
        """Return the signatures that count for a request and its page, now or just before line `at`."""
        number, now = (len(self._lines), clock.format_now()) if at is None else (at, self._lines[at][1].recorded_at)
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
        self, signature: Signature, recorded: RecordedSigners | None = None, at: str = ""
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
        for allowed, request, judgement in self._allowances:
            if (request["stage"], request["release"]) == (stage, release) and allowed.key in self.release_keys:
                found |= {each.line.entry_hash: each for each in judgement.counting}
        return list(found.values())

    def iter_withdrawals(self) -> Iterator[tuple[Request, str]]:
        """Yield every allowed withdrawal, oldest first, with the day of its last counting signature."""
        for _, request, judgement in self._allowances:
            if request["stage"] == WITHDRAWAL:
                yield request, max(each.line.recorded_at for each in judgement.counting)[:10]

    def is_allowed(self, request: Request, release_key: str = "") -> bool:
        """Return whether exactly this request was allowed before, judged by who was recorded at the time.

        Unless its page is made from the request alone, a pipeline with this `release_key` must have allowed it.
        """
        return any(
            each == request and (request["stage"] in TEXT_PAGES or allowed.key == release_key)
            for allowed, each, _ in self._allowances
        )

    def list_signed(self) -> list[Signed]:
        """Return the newest counting signature of every request that enough people have signed by now, oldest first."""
        pages = {(hash_json(each.request), each.sheet_sha256): each for _, each, _ in self._iter_approvals()}
        judged = (self.judge(each.request, each.sheet_sha256) for each in pages.values())
        return sorted((each.counting[-1] for each in judged if each.is_enough), key=lambda signed: signed.line.seq)

    def iter_lines(self, kind: type[AnyLine]) -> Iterator[tuple[AnyLine, SignOffLine]]:
        """Yield the content of every line of a kind, oldest first."""
        yield from ((content, line) for content, line in self._lines if isinstance(content, kind))

    def _iter_release_keys(self) -> Iterator[str]:
        """Yield the keys that have declared to this ledger that they sign releases."""
        for stated, _ in self.iter_lines(ReleaseKey):
            # A declaration that the key signed for another ledger does not count here.
            if stated.ledger == self._lines[0][1].entry_hash and stated.is_genuine:
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

    def _build_change(self, before: RecordedSigners, people: Mapping[str, Any]) -> Request:
        assert before.sign_off
        whole = {"stage": CHANGE_OF_PEOPLE, "release": "", "ledger": self._lines[0][1].entry_hash}
        return whole | {"replaces": before.line, "before": before.sign_off.build_document(), "after": people}

    def _update_recorded(self, number: int) -> RecordedSigners:
        """Return who may sign after a line."""
        before, (content, line) = self._recorded[number], self._lines[number]
        match content:
            case RecordedPeople() if before.sign_off is None or self._is_change_signed(before, content, number):
                return replace(before, sign_off=SignOff(content.persons, content.people), line=line.entry_hash)
            case DemonstrationKey(key) if before.may_be_demonstration and not before.demonstration_key:
                return replace(before, demonstration_key=key)
            case RealExtract(extract) if not before.real_extract:
                return replace(before, real_extract=extract or "an extract")
        return before

    def _is_change_signed(self, before: RecordedSigners, people: RecordedPeople, at: int) -> bool:
        change = self._build_change(before, people.build_document())
        return self.judge(change, hash_text_page(change), at).is_enough

    @cached_property
    def _allowances(self) -> list[tuple[Allowed, Request, Judgement]]:
        """What was allowed: the line, the request and its judgement, by who was recorded at the time."""
        found = []
        by_line = {line.entry_hash: approval.request for _, approval, line in self._iter_approvals()}
        for number, (content, _) in enumerate(self._lines):
            if not isinstance(content, Allowed):
                continue
            request = next((by_line[each] for each in content.approvals if each in by_line), None)
            if request is None or hash_json(request) != content.request_sha256:
                continue
            is_text = request["stage"] in TEXT_PAGES
            if not is_text and not content.is_genuine:
                continue
            # As of that line: somebody who has left since does not undo what was allowed.
            judgement = self.judge(request, hash_text_page(request) if is_text else content.sheet_sha256, at=number)
            if judgement.is_enough:
                found.append((content, request, judgement))
        return found

    def _iter_approvals(self, until: int | None = None) -> Iterator[tuple[int, Approval, SignOffLine]]:
        """Yield (line number, approval, line) for the approvals before the line numbered `until`."""
        for number, (content, line) in enumerate(islice(self._lines, until)):
            if isinstance(content, Approval):
                yield number, content, line

    def _judge_signature(self, approval: Approval, line: SignOffLine, recorded: RecordedSigners, at: str) -> Signed:
        person, why_not = self.identify_signer(approval, recorded, at)
        return Signed(approval, line, person, f"{_describe_signature(person, line)} {why_not}" if why_not else "")


def _describe_signature(person: Person, line: SignOffLine) -> str:
    by = person.role if person is STRANGER else f"the {person.role}"
    return f"the signature of {line.recorded_at[:10]} by {by}"


def describe_ignored(lines: Sequence[SignOffLine]) -> str:
    """Return a sentence about lines of the ledger's signatures that are ignored, by number."""
    numbers = ", ".join(str(line.seq) for line in lines[:NAMES_SHOWN])
    more = ", and others" if len(lines) > NAMES_SHOWN else ""
    return (
        f"{len(lines)} lines beside the ledger's entries are not as this version writes signatures, and are ignored:"
        f" {numbers}{more}. Find out who wrote them"
    )


NAMES_SHOWN = 5
WORDS = read_yaml(resources.files("privacy.release").joinpath("approval.yaml"))


def _list_differences(approval: Approval, now: Request, sheet_sha256: str) -> list[str]:
    """Return, in words, the differences between what was signed and what is about to be done."""
    before = approval.request
    differences = list(_iter_changes(WORDS["request"], before, now))
    was, is_now = before.get("cohorts", {}), now.get("cohorts", {})
    if was.keys() != is_now.keys():
        differences.append("the cohorts")
    for cohort in sorted(was.keys() & is_now.keys()):
        differences += _iter_changes(WORDS["cohort"], was[cohort], is_now[cohort])
        for what, phrase in (("plans", "the plan of {}"), ("inputs", "{}")):
            one, other = was[cohort].get(what, {}), is_now[cohort].get(what, {})
            names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
            differences += [phrase.format(name) for name in names[:NAMES_SHOWN]]
            differences += ["and others"] if len(names) > NAMES_SHOWN else []
    # A difference that has no words above must not go unnoticed.
    if not differences and before != now:
        differences.append("what was signed")
    if not differences and sheet_sha256 != approval.sheet_sha256:
        differences.append("the decision sheet")
    return differences


def _iter_changes(words: Mapping[str, str], before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for what, phrase in words.items():
        if before.get(what) != now.get(what):
            yield phrase.format(before.get(what), now.get(what))

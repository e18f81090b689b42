"""Sharing agreements as files: one YAML file a council, all of it checked, so that every mistake is heard of at once.

Every value is read as text. `draft` is a starting file with a word on each line; docs/returns.md has all of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, SequenceNode

from privacy.doors.age import is_recipient
from privacy.returns.agreement import (
    NO_CONCERNS,
    OTHERS_NEED,
    Agreement,
    Disclosure,
    Fact,
    First,
    NewChildren,
    Recipient,
    Status,
)
from privacy.services import SERVICE_NAMES
from sources.councils.problems import Nodes, Problem, compose, perhaps
from sources.reference.places import UnknownCouncil, places, resolve

_KEYS = tuple(field.name for field in fields(Agreement))
_NEEDED_KEYS = tuple(name for name in _KEYS if name not in ("accepts_from", "new_children"))
_RULES = tuple(field.name for field in fields(NewChildren))
_LONGEST_DAYS, _MOST_DELIVERIES = 366, 12
_NONE = "none"
"""Written in place of facts where none is told."""
_NEEDED_OF_TELLING = ("from", "to", "facts")
_DRAFT = Path(__file__).with_name("agreement_draft.yaml")
FACT_NAMES = tuple(fact.value for fact in Fact)


class InvalidAgreement(Exception):
    """A file of an agreement that cannot be used; `problems` are all there are."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


def load_all(folder: Path) -> dict[str, Agreement]:
    """The agreements in a folder, by council; raises `InvalidAgreement` where one cannot be used, and for a key that
    two services share: each would read the other's returns."""
    if not folder.is_dir():
        raise InvalidAgreement([Problem(str(folder), 1, 1, "is no folder of sharing agreements")])
    found: dict[str, Agreement] = {}
    problems: list[Problem] = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".yaml", ".yml"):
            try:
                found[path.stem] = load(path)
            except InvalidAgreement as invalid:
                problems += invalid.problems
    holders: dict[str, str] = {}
    for council, agreement in found.items():
        for service, recipient in agreement.recipients.items():
            holder = holders.setdefault(recipient.key, f"{council}/{service}")
            if holder != f"{council}/{service}":
                sentence = f"recipients.{service}.key is the key of {holder} too; each service has a key of its own"
                problems.append(Problem(f"{council}.yaml", 1, 1, sentence))
    if problems:
        raise InvalidAgreement(problems)
    return found


def load(path: Path) -> Agreement:
    """Read and check one agreement; raises `InvalidAgreement` with all that is wrong with it."""
    nodes = Nodes(path.name)
    root = compose(path, nodes, f"{', '.join(_NEEDED_KEYS)}")
    if root is not None and not isinstance(root, MappingNode):
        nodes.problem(root, f"the file must be a mapping of {', '.join(_KEYS)}")
    if not isinstance(root, MappingNode):
        raise InvalidAgreement(nodes.problems)
    agreement = _Reader(nodes, path).read(root)
    if agreement is None or nodes.problems:
        raise InvalidAgreement(nodes.problems)
    return agreement


class _Reader:
    """Reads the nodes of one file; what is wrong is gathered in `nodes`."""

    def __init__(self, nodes: Nodes, path: Path) -> None:
        self.nodes, self.path = nodes, path

    def read(self, root: MappingNode) -> Agreement | None:
        entries = self._entries(root, "the file", ", ".join(_KEYS), _KEYS, "a key of an agreement", _NEEDED_KEYS)
        council = self._council(entries["council"]) if "council" in entries else None
        readers: dict[str, Callable[[Node, str], Any]] = {
            **dict.fromkeys(("reference", "legal_basis", "impact_assessment"), self._said),
            "status": self._status,
            **dict.fromkeys(("starts", "expires"), self._day),
            "recipients": self._recipients,
            "accepts_from": lambda node, where: self._others(node, where, council),
            "tells": lambda node, where: self._tells(node, where, council) if council else (),
            "new_children": self._new_children,
        }
        read = {name: reader(entries[name], name) for name, reader in readers.items() if name in entries}
        starts, expires = read.get("starts"), read.get("expires")
        if starts and expires and expires < starts:
            self.nodes.problem(entries["expires"], f"expires ({expires}) is before starts ({starts})")
        return Agreement(council=council, **read) if council and not self.nodes.problems else None

    def _entries(
        self, node: Node, where: str, holds: str, names: Sequence[str], called: str, needed: Sequence[str]
    ) -> dict[str, Node]:
        """The values of a mapping with these keys; one that is `needed` and not there is a problem."""
        found = {name: value for name, _, value in self.nodes.known(node, where, holds, names, called)}
        for name in needed:
            if name not in found:
                self.nodes.problem(node, f"{where} has no {name!r}")
        return found

    def _said(self, node: Node, where: str) -> str:
        """A text that somebody has filled in."""
        text = (self.nodes.text(node, where) or "").strip()
        if text.startswith("TODO"):
            self.nodes.problem(node, f"{where} is still to be filled in")
            return ""
        return text

    def _council(self, node: Node) -> str | None:
        text = self.nodes.text(node, "council")
        if text is None:
            return None
        try:
            council = resolve(text).council
        except UnknownCouncil as error:
            self.nodes.problem(node, f"council: {error}")
            return None
        if self.path.name != f"{council}.yaml":
            self.nodes.problem(node, f"council is {council!r} and the file is {self.path.name}; call it {council}.yaml")
        return council

    def _day(self, node: Node, where: str) -> dt.date | None:
        text = self._said(node, where)
        try:
            return dt.date.fromisoformat(text) if text else None
        except ValueError:
            self.nodes.problem(node, f"{where} must be a day written as 2026-09-01, not {text!r}")
            return None

    def _status(self, node: Node, where: str) -> Status | None:
        text = self._one_of(node, where, tuple(Status))
        return Status(text) if text else None

    def _one_of(self, node: Node, where: str, names: Sequence[str], called: str = "one that is known") -> str | None:
        text = self.nodes.text(node, where)
        if text is None or text in names:
            return text
        self.nodes.problem(node, f"{where}: {text!r} is not {called}{perhaps(text, names)}")
        return None

    def _recipients(self, node: Node, where: str) -> dict[str, Recipient]:
        found: dict[str, Recipient] = {}
        holds = f"services: {', '.join(SERVICE_NAMES)}"
        for service, value in self._entries(node, where, holds, SERVICE_NAMES, "a service", ()).items():
            own = f"{where}.{service}"
            parts = self._entries(value, own, "name and key", ("name", "key"), "a key of a recipient", ("name", "key"))
            texts = {name: self._said(part, f"{own}.{name}") for name, part in parts.items()}
            if len(parts) < 2:
                continue
            key, at = texts["key"], parts["key"]
            if key and not is_recipient(key):
                private = " and a private key belongs in no agreement" if key.upper().startswith("AGE-SECRET") else ""
                self.nodes.problem(at, f"{own}.key is no age public key: it starts with age1{private}")
            elif key and key in {recipient.key for recipient in found.values()}:
                self.nodes.problem(at, f"{own}.key is another service's too; each service has a key of its own")
            found[service] = Recipient(texts["name"], key)
        if not found and not self.nodes.problems:
            self.nodes.problem(node, f"{where} names nobody")
        return found

    def _new_children(self, node: Node, where: str) -> NewChildren:
        entries = self._entries(node, where, ", ".join(_RULES), _RULES, "a rule about new children", ())
        readers: dict[str, Callable[[Node, str], Any]] = {
            "after_days": lambda at, rule: self._whole(at, rule, 0, _LONGEST_DAYS),
            "after_deliveries": lambda at, rule: self._whole(at, rule, 1, _MOST_DELIVERIES),
            "first_delivery": lambda at, rule: (text := self._one_of(at, rule, tuple(First))) and First(text),
            "until_then": lambda at, rule: self._rule_facts(at, rule, (Fact.KNOWN_TO,)),
            "without_number": lambda at, rule: self._rule_facts(at, rule, tuple(Fact)),
        }
        read = {name: readers[name](value, f"{where}.{name}") for name, value in entries.items()}
        return NewChildren() if self.nodes.problems else NewChildren(**read)

    def _whole(self, node: Node, where: str, least: int, most: int) -> int:
        text = self.nodes.text(node, where) or ""
        if text.isascii() and text.isdigit() and least <= int(text[:9]) <= most:
            return int(text)
        self.nodes.problem(node, f"{where} must be a whole number from {least} to {most}")
        return least

    def _rule_facts(self, node: Node, where: str, names: Sequence[Fact]) -> frozenset[Fact]:
        """`none`, or facts among `names`; those that need another fact have it beside them."""
        called = "one that may be told" if len(names) < len(Fact) else "a fact"
        texts = [(at, self._one_of(at, where, (_NONE, *names), called)) for at, _ in self.nodes.texts(node, where)]
        if any(text == _NONE for _, text in texts) and len(texts) > 1:
            self.nodes.problem(node, f"{where}: {_NONE} stands alone")
        facts = frozenset(Fact(text) for _, text in texts if text and text != _NONE)
        if facts and OTHERS_NEED not in facts:
            self.nodes.problem(node, f"{where}: no fact can be told without {OTHERS_NEED.value}; add it")
        return facts

    def _others(self, node: Node, where: str, own: str | None) -> frozenset[str]:
        found = set()
        for at, _ in self.nodes.texts(node, where):
            council = self._authority(at, where)
            if council and council == own:
                self.nodes.problem(at, f"{where}: {council} is the agreement's own council")
            elif council:
                found.add(council)
        return frozenset(found)

    def _authority(self, node: Node, where: str) -> str | None:
        return self._one_of(node, where, tuple(places()), "the name of an English authority")

    def _tells(self, node: Node, where: str, council: str) -> tuple[Disclosure, ...]:
        if not isinstance(node, SequenceNode):
            self.nodes.problem(node, f"{where} must be a list of from, to, in and facts")
            return ()
        found: dict[tuple[str, str, str], Disclosure] = {}
        for number, entry in enumerate(node.value, 1):
            telling = self._telling(entry, f"{where}[{number}]", council)
            if telling is None:
                continue
            flow = (telling.teller, telling.receiver, telling.to_council)
            if flow in found:
                self.nodes.problem(entry, f"{where}[{number}] says again what {telling.teller} tells; keep one")
            found[flow] = telling
        return tuple(found.values())

    def _telling(self, node: Node, where: str, council: str) -> Disclosure | None:
        keys = ("from", "to", "in", "facts")
        parts = self._entries(node, where, ", ".join(keys), keys, "a key of it", _NEEDED_OF_TELLING)
        if not parts.keys() >= set(_NEEDED_OF_TELLING):
            return None
        teller = self._one_of(parts["from"], f"{where}.from", SERVICE_NAMES)
        receiver = self._one_of(parts["to"], f"{where}.to", SERVICE_NAMES)
        to_council = self._authority(parts["in"], f"{where}.in") if "in" in parts else council
        facts = self._facts(parts["facts"], f"{where}.facts", teller)
        if not (teller and receiver and to_council and facts):
            return None
        if (teller, council) == (receiver, to_council):
            self.nodes.problem(node, f"{where}: {teller} of {council} tells itself; a service knows its own rows")
            return None
        return Disclosure(teller, receiver, to_council, facts)

    def _facts(self, node: Node, where: str, teller: str | None) -> frozenset[Fact]:
        facts = set()
        for at, _ in self.nodes.texts(node, where):
            if (fact := self._one_of(at, where, FACT_NAMES, "a fact")) is None:
                continue
            if fact == Fact.CONCERN and teller in NO_CONCERNS:
                self.nodes.problem(at, f"{where}: the extracts of {teller} record no concerns; leave {fact} out")
            facts.add(Fact(fact))
        if facts and OTHERS_NEED not in facts:
            self.nodes.problem(
                node, f"{where}: {', '.join(sorted(facts))} cannot be told without {OTHERS_NEED.value}; add it"
            )
        return frozenset(facts)


def draft(council: str) -> str:
    """A starting file for a council, with a word on each line; it is not valid until the TODOs are filled in."""
    text = _DRAFT.read_text(encoding="utf-8")
    return text.replace("COUNCIL", council).replace("FACTS", ", ".join(FACT_NAMES))

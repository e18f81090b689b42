"""Sharing agreements as files: one YAML file a council, all of it checked, so that every mistake is heard of at once.

Every value is read as text. `draft` is a starting file with a word on each line; docs/returns.md has all of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from pathlib import Path

from yaml.nodes import MappingNode, Node, SequenceNode

from privacy.returns.agreement import NO_CONCERNS, OTHERS_NEED, Agreement, Fact, Recipient, Status, Telling
from privacy.returns.seal import is_recipient
from privacy.services import SERVICE_NAMES
from sources.councils.problems import Nodes, Problem, compose, perhaps
from sources.reference.places import UnknownCouncil, places, resolve

_NEEDED = (
    "council",
    "reference",
    "legal_basis",
    "impact_assessment",
    "status",
    "starts",
    "expires",
    "recipients",
    "tells",
)
_KEYS = (*_NEEDED, "accepts_from")
_TELLING = ("from", "to", "in", "facts")
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
    root = compose(path, nodes, f"{', '.join(_NEEDED)}")
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
        entries = {
            name: value
            for name, _, value in self.nodes.known(root, "the file", ", ".join(_KEYS), _KEYS, "a key of an agreement")
        }
        for name in _NEEDED:
            if name not in entries:
                self.nodes.problem(root, f"the file has no {name!r}")
        texts = {
            name: self._said(entries[name], name)
            for name in ("reference", "legal_basis", "impact_assessment")
            if name in entries
        }
        council = self._council(entries["council"]) if "council" in entries else None
        days = {name: self._day(entries[name], name) for name in ("starts", "expires") if name in entries}
        starts, expires = days.get("starts"), days.get("expires")
        if starts and expires and expires < starts:
            self.nodes.problem(entries["expires"], f"expires ({expires}) is before starts ({starts})")
        status = self._one_of(entries["status"], "status", tuple(Status)) if "status" in entries else None
        recipients = self._recipients(entries["recipients"]) if "recipients" in entries else {}
        accepts = self._others(entries["accepts_from"], "accepts_from", council) if "accepts_from" in entries else ()
        tells = self._tells(entries["tells"], council) if "tells" in entries and council else ()
        if self.nodes.problems or not (council and starts and expires and status):
            return None
        return Agreement(
            council=council,
            reference=texts["reference"],
            legal_basis=texts["legal_basis"],
            impact_assessment=texts["impact_assessment"],
            status=Status(status),
            starts=starts,
            expires=expires,
            recipients=recipients,
            tells=tuple(tells),
            accepts_from=frozenset(accepts),
        )

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

    def _one_of(self, node: Node, where: str, names: tuple[str, ...]) -> str | None:
        text = self.nodes.text(node, where)
        if text is None:
            return None
        if text not in names:
            self.nodes.problem(node, f"{where}: {text!r} is not one that is known{perhaps(text, names)}")
            return None
        return text

    def _recipients(self, node: Node) -> dict[str, Recipient]:
        found: dict[str, Recipient] = {}
        listed = self.nodes.known(
            node, "recipients", f"services: {', '.join(SERVICE_NAMES)}", SERVICE_NAMES, "a service"
        )
        for service, _, value in listed:
            where = f"recipients.{service}"
            parts = {
                name: (self._said(part, f"{where}.{name}"), part)
                for name, _, part in self.nodes.known(
                    value, where, "name and key", ("name", "key"), "a key of a recipient"
                )
            }
            for name in ("name", "key"):
                if name not in parts:
                    self.nodes.problem(value, f"{where} has no {name!r}")
            if len(parts) < 2:
                continue
            key, at = parts["key"]
            if key and not is_recipient(key):
                private = " and a private key belongs in no agreement" if key.upper().startswith("AGE-SECRET") else ""
                self.nodes.problem(at, f"{where}.key is no age public key: it starts with age1{private}")
            elif key and key in {recipient.key for recipient in found.values()}:
                self.nodes.problem(at, f"{where}.key is another service's too; each service has a key of its own")
            found[service] = Recipient(parts["name"][0], key)
        if not found and not self.nodes.problems:
            self.nodes.problem(node, "recipients names nobody")
        return found

    def _others(self, node: Node, where: str, own: str | None) -> list[str]:
        found = []
        for at, text in self.nodes.texts(node, where):
            council = self._other(at, where, text)
            if council and council == own:
                self.nodes.problem(at, f"{where}: {council} is the agreement's own council")
            elif council:
                found.append(council)
        return found

    def _other(self, at: Node, where: str, text: str) -> str | None:
        if text in places():
            return text
        self.nodes.problem(
            at, f"{where}: {text!r} is not the name of an English authority{perhaps(text, tuple(places()))}"
        )
        return None

    def _tells(self, node: Node, council: str) -> list[Telling]:
        if not isinstance(node, SequenceNode):
            self.nodes.problem(node, "tells must be a list of from, to, in and facts")
            return []
        found: dict[tuple[str, str, str], Telling] = {}
        for number, entry in enumerate(node.value, 1):
            telling = self._telling(entry, f"tells[{number}]", council)
            if telling is None:
                continue
            flow = (telling.teller, telling.receiver, telling.to_council)
            if flow in found:
                self.nodes.problem(entry, f"tells[{number}] says again what {telling.teller} tells; keep one")
            found[flow] = telling
        return list(found.values())

    def _telling(self, node: Node, where: str, council: str) -> Telling | None:
        parts: Mapping[str, Node] = {
            name: value
            for name, _, value in self.nodes.known(node, where, ", ".join(_TELLING), _TELLING, "a key of it")
        }
        for name in ("from", "to", "facts"):
            if name not in parts:
                self.nodes.problem(node, f"{where} has no {name!r}")
        if not {"from", "to", "facts"} <= set(parts):
            return None
        teller = self._one_of(parts["from"], f"{where}.from", SERVICE_NAMES)
        receiver = self._one_of(parts["to"], f"{where}.to", SERVICE_NAMES)
        other = self.nodes.text(parts["in"], f"{where}.in") if "in" in parts else council
        to_council = self._other(parts["in"], f"{where}.in", other) if "in" in parts and other else other
        facts = self._facts(parts["facts"], f"{where}.facts", teller)
        if not (teller and receiver and to_council and facts):
            return None
        if (teller, council) == (receiver, to_council):
            self.nodes.problem(node, f"{where}: {teller} of {council} tells itself; a service knows its own rows")
            return None
        return Telling(teller, receiver, to_council, facts)

    def _facts(self, node: Node, where: str, teller: str | None) -> frozenset[Fact]:
        facts = set()
        for at, text in self.nodes.texts(node, where):
            if text not in FACT_NAMES:
                self.nodes.problem(at, f"{where}: {text!r} is not a fact{perhaps(text, FACT_NAMES)}")
                continue
            if text == Fact.CONCERN and teller in NO_CONCERNS:
                self.nodes.problem(at, f"{where}: the extracts of {teller} record no concerns; leave {text} out")
            facts.add(Fact(text))
        if facts and OTHERS_NEED not in facts:
            self.nodes.problem(
                node, f"{where}: {', '.join(sorted(facts))} cannot be told without {OTHERS_NEED.value}; add it"
            )
        return frozenset(facts)


def draft(council: str) -> str:
    """A starting file for a council, with a word on each line; it is not valid until the TODOs are filled in."""
    return _DRAFT.format(council=council, facts=", ".join(FACT_NAMES))


_DRAFT = """\
# Sharing agreement of {council}. Keep it as {council}.yaml in the folder that READINESS_AGREEMENTS names.
# `readiness returns check {council}.yaml` says what is still to be filled in. Without a valid file nothing is returned.

council: {council}
reference: "TODO: the agreement's own number, such as ISA-2026-014"
legal_basis: "TODO: the power or duty to share, and the UK GDPR article, in one sentence"
impact_assessment: "TODO: the number of the data-protection impact assessment"
status: active               # or: revoked. Revoked stops every return of this council, to it and from it.
starts: "TODO: first day, as 2026-09-01"
expires: "TODO: last day, as 2027-08-31"

# Who receives the returns of each service, and under which key. `readiness returns keygen --out FILE` at the recipient
# makes a private key, which stays there, and shows the public one (age1...). A service without an entry gets nothing.
recipients:
  education:                 # rows of the EYFS Profile and of the school census
    name: "TODO: team, such as Early years team"
    key: "TODO: age1..."
  settings:                  # rows of the early years census
    name: "TODO"
    key: "TODO: age1..."
  health:                    # rows of health-visitor reviews
    name: "TODO"
    key: "TODO: age1..."

# What each service of this council may tell which other one. Every fact is switched on by itself: {facts}.
# known_to is the least: which service, in which council, knows the child. The others need it.
tells:
  - {{from: health, to: education, facts: [known_to]}}
  - {{from: health, to: settings, facts: [known_to]}}
  - {{from: settings, to: education, facts: [known_to]}}
  - {{from: settings, to: health, facts: [known_to]}}
  - {{from: education, to: health, facts: [known_to]}}
  - {{from: education, to: settings, facts: [known_to]}}
# To a service of another council, for children who moved; that council's file must accept it:
#  - {{from: health, to: health, in: wirral, facts: [known_to]}}

# Other councils whose services may tell this one's, if their own agreements say so.
# accepts_from: [wirral]
"""

"""What is wrong with a council file, or another file in YAML, each thing with its place in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sources.errors import ExtractStopped

_MAX_LISTED_NAMES = 12


@dataclass(frozen=True, order=True)
class Problem:
    """One thing to change: file, line and column (from 1), and a sentence."""

    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.sentence}"


class InvalidCouncilFile(ExtractStopped):
    """A council file that cannot be used; an extract that needs it is not taken. `problems` are all there are."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple({_same(problem): problem for problem in sorted(problems, reverse=True)}.values())[::-1]
        super().__init__("\n".join(map(str, self.problems)))


def _same(problem: Problem) -> tuple[int, int, str]:
    """What problems have in common that are one: a mapping that is used again by its name is read once a use."""
    return problem.line, problem.column, problem.sentence.partition(": ")[2] or problem.sentence


class Nodes:
    """Reads YAML nodes, every scalar as the text that stands there, and gathers the problems on the way.

    `where` arguments say what a node is, for the message. A node that cannot be read gives None or nothing.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def problem(self, at: Node | yaml.Mark | None, sentence: str) -> None:
        mark = at.start_mark if isinstance(at, Node) else at
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.problems.append(Problem(self.file, line, column, sentence))

    def mapping(self, node: Node, where: str, holds: str) -> dict[str, tuple[Node, Node]]:
        """Key node and value node by key; a key that stands twice is a problem, its second entry left out."""
        if _is_empty(node):
            return {}
        if not isinstance(node, MappingNode):
            self.problem(node, f"{where} must be a mapping of {holds}")
            return {}
        entries: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.problem(key, f"a key of {where} must be text")
            elif key.value in entries:
                first = entries[key.value][0].start_mark.line + 1
                self.problem(key, f"{key.value!r} stands twice in {where}, first on line {first}; keep one")
            else:
                entries[key.value] = (key, value)
        return entries

    def known(
        self, node: Node, where: str, holds: str, names: Sequence[str], called: str
    ) -> Iterator[tuple[str, Node, Node]]:
        """Entries of a mapping whose keys must be among `names`, which messages call `called`."""
        for name, (key, value) in self.mapping(node, where, holds).items():
            if name in names:
                yield name, key, value
            else:
                self.problem(key, f"{where}: {name!r} is not {called}{perhaps(name, names)}")

    def text(self, node: Node, where: str, or_empty: bool = False) -> str | None:
        if not isinstance(node, ScalarNode):
            self.problem(node, f"{where} must be one text")
            return None
        if not node.value.strip() and not or_empty:
            self.problem(node, f"{where} is empty")
            return None
        return str(node.value)

    def texts(self, node: Node, where: str) -> list[tuple[Node, str]]:
        """One text or a list of them."""
        if isinstance(node, SequenceNode) and not node.value:
            self.problem(node, f"{where} is an empty list")
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        return [(entry, text) for entry in nodes if (text := self.text(entry, where)) is not None]


def compose(path: Path, nodes: Nodes, needs: str) -> Node | None:
    """The root node of a YAML file that `needs` some keys; None, with a problem noted, where there is none."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        nodes.problems.append(Problem(path.name, line, 1, "the line is not UTF-8 text; save the file as UTF-8"))
        return None
    if tab := re.search(r"^ *\t", text, re.MULTILINE):
        line = text.count("\n", 0, tab.start()) + 1
        sentence = "the line is indented with a tab; YAML is indented with spaces"
        nodes.problems.append(Problem(path.name, line, tab.end() - tab.start(), sentence))
        return None
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        hint = '; a text that holds ": " or " #", or starts with a sign such as % or @ or [, stands in quotes'
        nodes.problem(error.problem_mark or error.context_mark, f"not readable as YAML: {error.problem}{hint}")
        return None
    except yaml.YAMLError as error:
        nodes.problem(None, f"not readable as YAML: {str(error).splitlines()[0]}")
        return None
    if root is None:
        nodes.problem(None, f"the file is empty; it needs {needs}")
    return root


def perhaps(name: str, names: Sequence[str]) -> str:
    """The closest valid name, and all of them where they are few."""
    by_lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    closest = f"; perhaps {by_lower[near[0]]!r}" if near else ""
    return closest + (f" (it may be {', '.join(names)})" if len(names) <= _MAX_LISTED_NAMES else "")


def _is_empty(node: Node) -> bool:
    """`columns:` with nothing behind it."""
    return isinstance(node, ScalarNode) and node.value == "" and node.style is None

"""YAML from strangers: text, lists and mappings of one short file, with nothing in it that surprises.

`Yes` and `No` are text, as everybody reads them. What a file of a person's own hand never needs is refused: aliases,
which unfold to any size, tags, a key that stands twice, deep nesting.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

LARGEST = 32 * 1024
"""Bytes of a file."""
DEEPEST = 12


class UnreadableYaml(ValueError):
    """A file that is not such YAML; the message names line and rule."""


def read_plain_yaml(path: Path) -> Any:
    """What the file says. Raises `UnreadableYaml`."""
    try:
        if not path.is_file():
            raise UnreadableYaml("there is no such file")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError:
        raise UnreadableYaml("the file cannot be read") from None
    if len(content) > LARGEST:
        raise UnreadableYaml(f"the file is larger than {LARGEST // 1024} KB, which no request needs")
    try:
        return _Plain(content.decode("utf-8-sig")).get_single_data()
    except UnicodeDecodeError:
        raise UnreadableYaml("the file is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = ": ".join(text for text in (error.context, error.problem) if text)
        raise UnreadableYaml(f"{where}{said}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UnreadableYaml(f"not readable as YAML: {str(error).splitlines()[0]}") from None


class _Plain(Reader, Scanner, Parser, Composer, SafeConstructor, BaseResolver):
    """Builds mappings, lists, text, true and false, and numbers written in plain digits."""

    def __init__(self, stream: str) -> None:
        Reader.__init__(self, stream)
        for part in (Scanner, Parser, Composer, SafeConstructor, BaseResolver):
            part.__init__(self)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _problem("names with & and * are not read: write it out", event.start_mark)
        if getattr(event, "tag", None):
            raise _problem("tags with ! are not read", event.start_mark)
        if self._depth >= DEEPEST:
            raise _problem("it is nested too deep", event.start_mark)
        self._depth += 1
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key.value, str):
                raise _problem("a key is one text", key.start_mark)
            if key.value in first:
                raise _problem(f"{key.value!r} stands twice, first on line {first[key.value]}", key.start_mark)
            first[key.value] = key.start_mark.line + 1
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}


def _problem(sentence: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=sentence, problem_mark=mark)


for _kind, _form, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"0|[1-9][0-9]{0,8}", "0123456789"),
    ("float", r"(0|[1-9][0-9]{0,8})\.[0-9]{1,9}", "0123456789"),
    ("null", r"~|null|", ["~", "n", ""]),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^({_form})$"), list(_first))

"""Texts and operations as they are written in a council file."""

from __future__ import annotations

import re

import yaml

from sources.councils.derived import Characters, Derived, Filled, FirstOf, Join, Pattern

_YAML_WORDS = ("y", "n", "yes", "no", "true", "false", "null", "on", "off")


def scalar(text: str) -> str:
    """Text as a YAML scalar: plain where that reads back as itself everywhere, else in double quotes."""
    plain = re.fullmatch(r"[A-Za-z]([\w /().&+-]*[\w).])?", text) and text.lower() not in _YAML_WORDS
    return text if plain else str(yaml.dump(text, default_style='"', width=10_000, allow_unicode=True)).strip()


def operation(derived: Derived) -> str:
    """The operation as it is written in a council file."""
    first = scalar(derived.inputs[0])
    several = "[" + ", ".join(map(scalar, derived.inputs)) + "]"
    match derived:
        case Pattern(pattern=pattern):
            return "{from: " + first + ", pattern: '" + pattern.replace("'", "''") + "'}"
        case Characters(first=start, last=end):
            return "{from: " + first + f", characters: {start}-{end}" + "}"
        case Filled(filled=filled, blank=blank):
            return "{from: " + first + f", filled: {scalar(filled)}, blank: {scalar(blank)}" + "}"
        case Join(separator=separator):
            return "{join: " + several + f", with: {scalar(separator)}" + "}"
        case FirstOf():
            return "{first_of: " + several + "}"
    raise NotImplementedError(type(derived).__name__)

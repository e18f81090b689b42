"""Who publishes a release: name, contact, address and status, from `publisher.yaml` or an installation's own file."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from privacy.doors.environment import settings

_NOTICE = "notice"
"""The key that may be left out."""
_OWN = Path(__file__).parent / "publisher.yaml"
_FORMS = {
    "contact": (r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address"),
    "address": (r"https?://[^\s/?#]+[^\s?#]*", "a web address without ? or #"),
    "organisation": (r"[a-z0-9]+(-[a-z0-9]+)*", "a name in small letters, digits and hyphens"),
}


class InvalidPublisher(ValueError):
    """A publisher file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Publisher:
    """`address` is that of the release directory, without a final slash; `organisation` its name on GOV.UK; `notice`
    stands above everything, where there is one."""

    name: str
    contact: str
    address: str
    organisation: str
    status: str
    notice: str = ""


def publisher() -> Publisher:
    """The publisher of this installation. Raises `InvalidPublisher`."""
    return read_publisher(settings().publisher or _OWN)


def read_publisher(path: Path) -> Publisher:
    """The publisher that the YAML file describes. Raises `InvalidPublisher`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InvalidPublisher(f"{path} is not a readable YAML file") from None
    names = [field.name for field in fields(Publisher) if field.name != _NOTICE]
    if not isinstance(content, dict) or sorted({*map(str, content)} - {_NOTICE}) != sorted(names):
        raise InvalidPublisher(f"{path} must have the keys {', '.join(names)}, and no others but {_NOTICE}")
    names += [_NOTICE] if _NOTICE in content else []
    for name in names:
        if not isinstance(content[name], str) or not content[name].strip():
            raise InvalidPublisher(f"{path}: {name} must be a text")
    stated = {name: content[name].strip() for name in names} | {"address": content["address"].strip().rstrip("/")}
    for name, (form, words) in _FORMS.items():
        if not re.fullmatch(form, stated[name]):
            raise InvalidPublisher(f"{path}: {name} must be {words}")
    return Publisher(**stated)

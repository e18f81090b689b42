"""Who publishes a release: name, contact, address and status, from an installation's own file.

A demonstration, whose records are made up, needs none, and everything that it publishes begins with a notice that says
so. Nobody else may publish under an address or a contact that stands for none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import yaml

from privacy.doors.environment import PUBLISHER, settings

_OPTIONAL = ("notice", "doi")
"""Keys that may be left out."""
_TEMPLATE = Path(__file__).parent / "publisher.yaml"
"""To be copied and filled in."""
_SYNTHETIC = Path(__file__).parent / "publisher_synthetic.yaml"
_FORMS = {
    "contact": (r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address"),
    "address": (r"https?://[^\s/?#]+[^\s?#]*", "a web address without ? or #"),
    "organisation": (r"[a-z0-9]+(-[a-z0-9]+)*", "a name in small letters, digits and hyphens"),
    "doi": (r"10\.[0-9]{4,}(\.[0-9]+)*/\S+", "a DOI such as 10.1234/abc, without https://doi.org/"),
}
_PLACEHOLDER = re.compile(
    r"(?:[@.]|//)(?:(?:example|invalid|localhost|test)|example\.(?:com|net|org))(?=$|[/:])|\btodo\b", re.IGNORECASE
)
"""A host, or the end of one, that RFC 2606 and 6761 keep from ever being anybody's; and what is still to be done."""


class InvalidPublisher(ValueError):
    """A publisher file that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Publisher:
    """`address` is that of the release directory, without a final slash; `organisation` its name on GOV.UK; `notice`
    stands above everything, where there is one; `doi` is that of all releases together, where they have one."""

    name: str
    contact: str
    address: str
    organisation: str
    status: str
    notice: str = ""
    doi: str = ""


def publisher(*, demonstration: bool) -> Publisher:
    """The publisher of this installation; in a `demonstration` with the notice that nothing is about a real child.

    Raises `InvalidPublisher`, outside a demonstration also for a placeholder.
    """
    own = settings().publisher
    if not demonstration:
        return _without_placeholder(own or _TEMPLATE)
    synthetic = read_publisher(_SYNTHETIC)
    stated = read_publisher(own) if own else synthetic
    return replace(stated, notice=" ".join(dict.fromkeys((synthetic.notice, stated.notice))).strip())


def read_publisher(path: Path) -> Publisher:
    """The publisher that the YAML file describes. Raises `InvalidPublisher`."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InvalidPublisher(f"{path} is not a readable YAML file") from None
    names = [field.name for field in fields(Publisher) if field.name not in _OPTIONAL]
    if not isinstance(content, dict) or sorted({*map(str, content)} - {*_OPTIONAL}) != sorted(names):
        raise InvalidPublisher(
            f"{path} must have the keys {', '.join(names)}, and no others but {' and '.join(_OPTIONAL)}"
        )
    names += [name for name in _OPTIONAL if name in content]
    for name in names:
        if not isinstance(content[name], str) or not content[name].strip():
            raise InvalidPublisher(f"{path}: {name} must be a text")
    stated = {name: content[name].strip() for name in names} | {"address": content["address"].strip().rstrip("/")}
    for name, (form, words) in ((name, told) for name, told in _FORMS.items() if name in stated):
        if not re.fullmatch(form, stated[name]):
            raise InvalidPublisher(f"{path}: {name} must be {words}")
    return Publisher(**stated)


def _without_placeholder(path: Path) -> Publisher:
    found = read_publisher(path)
    for key, value in vars(found).items():
        if _PLACEHOLDER.search(value):
            raise InvalidPublisher(
                f"{path}: {key} is a placeholder ({value}), and only a demonstration is published under one: write who"
                f" publishes into a file of your own, which {PUBLISHER} names"
            )
    return found

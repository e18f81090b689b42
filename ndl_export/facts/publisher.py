"""Who publishes a release: name, contact, address and status, from an installation's own file.

A demonstration, whose records are made up, needs none, and everything that it publishes begins with a notice that says
so. Nobody else may publish under an address or a contact that stands for none.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from privacy.doors.environment import PUBLISHER, settings
from privacy.doors.settings_file import InvalidSettings, Problem, Settings, Text, read_settings, without

_TEMPLATE = Path(__file__).parent / "publisher.yaml"
"""To be copied and filled in."""
_SYNTHETIC = Path(__file__).parent / "publisher_synthetic.yaml"
_PLACEHOLDER = re.compile(
    r"(?:[@.]|//)(?:(?:example|invalid|localhost|test)|example\.(?:com|net|org))(?=$|[/:])|\btodo\b", re.IGNORECASE
)
"""A host, or the end of one, that RFC 2606 and 6761 keep from ever being anybody's; and what is still to be done."""


class InvalidPublisher(InvalidSettings):
    """A publisher file that cannot be used."""


def _in_form(form: str, words: str) -> AfterValidator:
    return without(lambda text: None if re.fullmatch(form, text) else f"must be {words}")


class Publisher(Settings):
    """`address` is that of the release directory, without a final slash; `organisation` its name on GOV.UK; `notice`
    begins every document; `doi` identifies all releases together."""

    name: Text
    contact: Annotated[Text, _in_form(r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address")]
    address: Annotated[
        Text,
        AfterValidator(lambda text: text.rstrip("/")),
        _in_form(r"https?://[^\s/?#]+[^\s?#]*", "a web address without ? or #"),
    ]
    organisation: Annotated[Text, _in_form(r"[a-z0-9]+(-[a-z0-9]+)*", "a name in small letters, digits and hyphens")]
    status: Text
    notice: Text = ""
    doi: Annotated[
        Text, _in_form(r"10\.[0-9]{4,}(\.[0-9]+)*/\S+", "a DOI such as 10.1234/abc, without https://doi.org/")
    ] = ""


def publisher(*, demonstration: bool) -> Publisher:
    """The publisher of this installation; in a `demonstration` with the notice that nothing is about a real child.

    Raises `InvalidPublisher`, outside a demonstration also for a placeholder.
    """
    own = settings().publisher
    if not demonstration:
        return _without_placeholder(own or _TEMPLATE)
    synthetic = read_publisher(_SYNTHETIC)
    stated = read_publisher(own) if own else synthetic
    return stated.model_copy(update={"notice": " ".join(dict.fromkeys((synthetic.notice, stated.notice))).strip()})


def read_publisher(path: Path) -> Publisher:
    """The publisher that the YAML file describes. Raises `InvalidPublisher`."""
    return read_settings(path, Publisher, InvalidPublisher)


def _without_placeholder(path: Path) -> Publisher:
    found = read_publisher(path)
    for key, value in vars(found).items():
        if _PLACEHOLDER.search(value):
            sentence = (
                f"{key} is a placeholder ({value}), and only a demonstration is published under one: write who"
                f" publishes into a file of your own, and name it in {PUBLISHER}"
            )
            raise InvalidPublisher([Problem(str(path), 1, 1, sentence)])
    return found

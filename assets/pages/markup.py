"""HTML by function: whatever is not already `Html` is escaped, so that no text of a council's can become markup.

What comes out is well-formed XML as well.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTION_MARKS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that make a reader see text in another order than it is written."""


class Html(str):
    """A piece of markup that is safe to put into a page."""


def text(value: str) -> Html:
    """`value` as text of a page or an attribute."""
    if value.isascii() and value.isprintable():
        return Html(html.escape(value))
    return Html(html.escape(_DIRECTION_MARKS.sub("", _NOT_IN_XML.sub("\ufffd", value))))


def joined(parts: Iterable[str]) -> Html:
    return Html("".join(part if isinstance(part, Html) else text(part) for part in parts))


def tag(name: str, *content: str, **attributes: str | None) -> Html:
    """An element. An attribute that is a word of Python ends in `_`, `_` stands for `-`, None leaves it out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    written = "".join(f' {key}="{text(value)}"' for key, value in given.items())
    return Html(f"<{name}{written}>{joined(content)}</{name}>")

"""One self-contained HTML document: the template, the style, a title, a heading, a footer and what stands between."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from string import Template

from assets.pages.markup import joined, tag, text

_TEMPLATES = Path(__file__).parent / "templates"


def page(kind: str, title: str, footer: str, *sections: str) -> str:
    """The document; `kind` says what report it is ("quality report"), `footer` who may read it."""
    body = joined((tag("h1", title), *sections))
    return Template(_file("page.html")).substitute(
        title=text(f"{kind.capitalize()}: {title}"),
        kind=text(kind),
        footer=text(footer),
        style=_file("style.css").strip(),
        body=body,
    )


@cache
def _file(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")

"""Parts that every page is made of: sections, tables, lists, notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assets.pages.markup import Html, tag

Row = Sequence[str]
NARROW = 4
"""A table of no more columns fits a telephone."""


def section(anchor: str, title: str, *content: str) -> Html:
    return tag("section", tag("h2", title, id=anchor), *content, aria_labelledby=anchor)


def paragraph(*content: str, class_: str | None = None) -> Html:
    return tag("p", *content, class_=class_)


def bullets(items: Iterable[str]) -> Html:
    return tag("ul", *(tag("li", item) for item in items))


def contents_list(sections: Mapping[str, str]) -> Html:
    """Links to the sections of a page, which are titles by anchor."""
    links = bullets(tag("a", title, href=f"#{anchor}") for anchor, title in sections.items())
    return tag("nav", links, aria_label="In this report")


def details(summary: str, *content: str) -> Html:
    return tag("details", tag("summary", summary), *content)


def facts(pairs: Iterable[tuple[str, str]], class_: str) -> Html:
    """A list of names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs), class_=class_)


def table(caption: str, header: Row, body: Iterable[Row], numbers: int = 0, class_: str | None = None) -> Html:
    """A table whose first column names the row and whose last `numbers` columns are numbers.

    Wide ones scroll inside their own frame, which can be reached by keyboard.
    """
    first_number = len(header) - numbers
    head = (
        tag("th", name, scope="col", class_="number" if place >= first_number else None)
        for place, name in enumerate(header)
    )
    lines = (
        tag(
            "tr",
            tag("th", line[0], scope="row"),
            *(_cell(c, place >= first_number) for place, c in enumerate(line) if place),
        )
        for line in body
    )
    drawn = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *lines), class_=class_)
    if len(header) <= NARROW:
        return tag("div", drawn, class_="frame")
    return tag("div", drawn, class_="frame", role="region", tabindex="0", aria_label=caption)


def _cell(content: str, is_number: bool) -> Html:
    return tag("td", content or Html("&#8211;"), class_="number" if is_number else None)

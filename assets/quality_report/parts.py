"""Parts that the pages of both reports share: tables, lists, notes, keys to drawings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assets.quality_report.charts import swatch
from assets.quality_report.markup import Html, joined, tag
from assets.quality_report.words import percent, rows

Row = Sequence[str]
NARROW = 4
"""A table of no more columns fits a telephone."""


def section(anchor: str, title: str, *content: str) -> Html:
    return tag("section", tag("h2", title, id=anchor), *content, aria_labelledby=anchor)


def paragraph(*content: str, class_: str | None = None) -> Html:
    return tag("p", *content, class_=class_)


def bullets(items: Iterable[str]) -> Html:
    return tag("ul", *(tag("li", item) for item in items))


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


def column_name(entry: Mapping[str, Any]) -> Html:
    """A column by the file's own heading, with the contract's name and what it is."""
    ours = "" if entry["heading"] == entry["column"] else joined((" ", tag("code", entry["column"])))
    about = entry.get("description")
    return joined((entry["heading"], ours, tag("span", about, class_="about") if about else ""))


def rows_and_share(entry: Mapping[str, Any]) -> str:
    return f"{rows(entry['rows'])} ({percent(entry['share'])})"


def key(has_last: bool, has_published: bool) -> Html:
    """What the bars of a table stand for; nothing where there is but one."""
    kinds = [("now", "this file")]
    kinds += [("last", "last delivery")] if has_last else []
    kinds += [("published", "published figure")] if has_published else []
    if len(kinds) == 1:
        return Html("")
    return paragraph(*(tag("span", swatch(kind), f" {words}") for kind, words in kinds), class_="key")

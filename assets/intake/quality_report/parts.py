"""Parts that the pages of both reports share: names of columns, rows with their share, keys to drawings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.intake.quality_report.charts import swatch
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import paragraph
from assets.pages.words import percent, rows


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

"""How the values of each column are spread, drawn against the last delivery."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from assets.intake.quality_report.charts import MAX_SEGMENTS, bar, columns, stacked, swatch
from assets.intake.quality_report.parts import column_name, key
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import details, paragraph, table
from assets.pages.words import percent
from sources.contracts import Kind

TOGETHER = 3
"""So many columns in a row with the same codes are shown in one table."""


def values(report: dict[str, Any]) -> Iterator[Html]:
    if not report["values"]:
        yield paragraph("There is nothing to show.")
    for labels, group in groupby(report["values"], key=_codes_of):
        members = list(group)
        if not labels:
            yield tag("div", *(tag("div", *_drawn(column)) for column in members), class_="small")
        elif len(members) >= TOGETHER and len(labels) <= MAX_SEGMENTS:
            yield from _many(members, labels)
        else:
            for column in members:
                yield from _codes(column)


def _codes_of(column: dict[str, Any]) -> tuple[str, ...]:
    """The codes of a column, none for a number or a date."""
    return tuple(group["label"] for group in column["groups"]) if column["kind"] == Kind.CODE else ()


def _many(members: list[dict[str, Any]], labels: tuple[str, ...]) -> Iterator[Html]:
    """Columns with the same codes, one line each."""
    first, last = members[0]["heading"], members[-1]["heading"]
    yield tag("h3", f"{first} to {last}")
    yield paragraph(
        *(tag("span", swatch(f"part{number}"), f" {label}") for number, label in enumerate(labels)), class_="key"
    )
    body = [
        (
            joined((column_name(column), stacked([group["share"] for group in column["groups"]]))),
            *(_now_and_before(group) for group in column["groups"]),
        )
        for column in members
    ]
    yield table("Share of the filled rows", ("Column", *labels), body, numbers=len(labels))


def _now_and_before(group: dict[str, Any]) -> Html:
    before = group["last_share"]
    return joined((_share(group), tag("span", f"was {percent(before)}", class_="was") if before is not None else ""))


def _codes(column: dict[str, Any]) -> Iterator[Html]:
    yield _heading(column)
    has_last = column["last_filled"] is not None
    yield key(has_last, False)
    body = [
        (
            joined((group["label"], bar(group["share"], group["last_share"]))),
            *_numbers(group, has_last),
        )
        for group in column["groups"]
    ]
    yield _table(column, "Value", body, has_last)


def _drawn(column: dict[str, Any]) -> Iterator[Html]:
    """A number or a date: a column chart, with its table to open."""
    yield _heading(column)
    if not column["filled"]:
        yield paragraph("No row has a value.")
        return
    is_date = column["kind"] == Kind.DATE
    groups = _without_empty_ends(column["groups"]) if is_date else column["groups"]
    has_last = column["last_filled"] is not None
    yield columns(
        f"{column['heading']} by {'month' if is_date else 'value'}",
        [group["label"] for group in groups],
        [group["share"] for group in groups],
        [group["last_share"] or 0.0 for group in groups] if column["last_filled"] else None,
        _month_ticks(groups) if is_date else _bin_ticks(column["edges"]),
    )
    yield key(has_last, False)
    body = [(group["label"], *_numbers(group, has_last)) for group in groups]
    yield details("Show as a table", _table(column, "Month" if is_date else "Value", body, has_last))


def _heading(column: dict[str, Any]) -> Html:
    return tag("h3", column_name(column | {"description": None}), tag("span", column["description"], class_="about"))


def _numbers(group: dict[str, Any], has_last: bool) -> tuple[str, ...]:
    before = (percent(group["last_share"]),) if has_last else ()
    return f"{group['rows']:,}", _share(group), *before


def _share(group: dict[str, Any]) -> Html | str:
    """Bold where it has changed by more than the rule allows."""
    return tag("strong", percent(group["share"])) if group["changed"] else percent(group["share"])


def _table(column: dict[str, Any], what: str, body: list[tuple[str, ...]], has_last: bool) -> Html:
    header = (what, "Rows", "This file", *(["Last delivery"] if has_last else []))
    return table(f"{column['heading']}: share of the filled rows", header, body, len(header) - 1, class_="bars")


def _without_empty_ends(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    used = [place for place, group in enumerate(groups) if group["rows"] or group["last_share"]]
    return groups[used[0] : used[-1] + 1]


def _month_ticks(groups: list[dict[str, Any]]) -> dict[float, str]:
    """The year at each January; the first and last group where there is none."""
    years = {
        float(place): group["label"].removeprefix("January ")
        for place, group in enumerate(groups)
        if group["label"].startswith("January ")
    }
    return years or {0.0: groups[0]["label"], **({float(len(groups)): groups[-1]["label"]} if len(groups) > 1 else {})}


def _bin_ticks(edges: list[float]) -> dict[float, str]:
    return {float(place): f"{edge:g}" for place, edge in enumerate(edges) if place % 2 == 0}

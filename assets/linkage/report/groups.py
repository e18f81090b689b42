"""How many children of each group are linked to a two-year review and to a setting, with Wilson's 95% intervals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy.special import ndtri

from ndl_export.tables import dimensions, pupil
from privacy.doors.database import in_memory
from sources.reference.places import place

COUNCIL = "council"
GROUPED_BY = (dimensions.SEX, pupil.ETHNIC, dimensions.FSM, dimensions.IMD, pupil.SEN, pupil.TERM)
LINKED_TO = {
    "review": f"asq3 <> '{pupil.NO_REVIEW}'",
    "setting": f"entitlement <> '{pupil.NOT_LINKED_TO_SETTING}'",
}
"""What a child may be linked to, as a condition over the children's table."""
_Z = float(ndtri(0.975))


def rates_by_group(children: Path) -> list[dict[str, Any]]:
    """A line a group: topic, group, children and, for a review and a setting, linked, share, lower and upper limit.

    `children` is the confidential table of family pupil. All children first, then councils, then every category of the
    public domain of each characteristic, empty ones included.
    """
    counted = ", ".join(f"count(*) FILTER ({condition}) AS {name}" for name, condition in LINKED_TO.items())
    columns = [COUNCIL, *(attribute.name for attribute in GROUPED_BY)]
    with in_memory() as con:
        found = con.sql(
            f"SELECT {', '.join(columns)}, count(*) AS children, {counted} FROM '{children}'"
            f" GROUP BY GROUPING SETS ((), {', '.join(f'({column})' for column in columns)})"
        )
        by_group = {_key(row, columns): row for row in found.to_arrow_table().to_pylist()}
    return [{"topic": topic, "group": label, **_line(by_group.get(key, {}))} for topic, label, key in _groups(by_group)]


def wilson(events: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share, 95%."""
    share, spread = events / trials, _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * ((share * (1 - share) + spread / 4) / trials) ** 0.5 / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)


_Key = tuple[str, str] | None


def _key(row: dict[str, Any], columns: list[str]) -> _Key:
    """The column and category that a line of the query is about; None for all children."""
    return next(((column, row[column]) for column in columns if row[column] is not None), None)


def _groups(by_group: dict[_Key, dict[str, Any]]) -> Iterator[tuple[str, str, _Key]]:
    yield "All", "All children", None
    for council in sorted(key[1] for key in by_group if key and key[0] == COUNCIL):
        yield "Council", place(council).la_name, (COUNCIL, council)
    for attribute in GROUPED_BY:
        for category in attribute.categories:
            yield attribute.label, category, (attribute.name, category)


def _line(counts: dict[str, Any]) -> dict[str, Any]:
    children = counts.get("children", 0)
    return {"children": children, **{name: _rate(counts.get(name, 0), children) for name in LINKED_TO}}


def _rate(linked: int, children: int) -> dict[str, Any]:
    if not children:
        return {"linked": 0, "share": None, "lower": None, "upper": None}
    lower, upper = wilson(linked, children)
    return {"linked": linked, "share": linked / children, "lower": lower, "upper": upper}

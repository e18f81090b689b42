"""Who is linked, and what missed links may do to the linked tables.

First how many children of each group are linked to a two-year review and to a setting, with Wilson's 95% intervals.
Then the linked tables' rates of a good level of development, weighted and unweighted: children who are linked stand for
those of their group who are not, so each counts as the inverse of the group's share of linked children. A rate that
hardly moves does not depend on which groups are missed more often. What this assumes is said in
`docs/linkage-report.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from scipy.special import ndtri

from ndl_export.tables import Attribute, dimensions, pupil
from privacy.doors.database import in_memory
from privacy.doors.sql import parquet
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
            f"SELECT {', '.join(columns)}, count(*) AS children, {counted} FROM {parquet(children)}"
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


JOINTLY = "FSM, IMD quintile and sex jointly"
WEIGHTED_BY = {
    dimensions.FSM.label: (dimensions.FSM.name,),
    dimensions.IMD.label: (dimensions.IMD.name,),
    pupil.ETHNIC.label: (pupil.ETHNIC.name,),
    dimensions.SEX.label: (dimensions.SEX.name,),
    "Council": (COUNCIL,),
    JOINTLY: (dimensions.FSM.name, dimensions.IMD.name, dimensions.SEX.name),
}
"""Each weighting, and the columns whose categories are its groups."""


@dataclass(frozen=True)
class _Linked:
    """A linked table: the attribute it shows rates for, those of its categories that are linked, and the condition."""

    table: str
    title: str
    attribute: Attribute
    labels: dict[str, str]
    condition: str


_TABLES = (
    _Linked(
        pupil.READINESS_PATHWAY.name,
        pupil.READINESS_PATHWAY.title,
        pupil.ASQ3,
        {category: category for category in pupil.LINKED},
        LINKED_TO["review"],
    ),
    _Linked(
        pupil.FUNDED_ENTITLEMENT.name,
        pupil.FUNDED_ENTITLEMENT.title,
        pupil.ENTITLEMENT,
        {c: c for c in pupil.ENTITLEMENT.categories if c != pupil.NOT_LINKED_TO_SETTING},
        LINKED_TO["setting"],
    ),
    _Linked(
        pupil.JOINED_DOTS.name,
        pupil.JOINED_DOTS.title,
        pupil.DOTS,
        {
            pupil.dots_category(pupil.BOTH, concern): f"Seen by both; concern: {concern.lower()}"
            for concern in pupil.CONCERN_GIVEN_SEEN[pupil.BOTH]
        },
        " AND ".join(f"({condition})" for condition in LINKED_TO.values()),
    ),
)


_COLUMNS = dict.fromkeys(
    (
        "gld",
        *(column for columns in WEIGHTED_BY.values() for column in columns),
        *(linked.attribute.name for linked in _TABLES),
    )
)
"""What is read of the children's table."""


def weighted_figures(children: Path) -> list[dict[str, Any]]:
    """A line a linked category: table, title, category, children, share at a good level of development (unweighted),
    and `weighted`, the same by each of `WEIGHTED_BY`. `children` is the confidential table of family pupil."""
    with in_memory() as con:
        con.execute(f"CREATE TABLE children AS SELECT {', '.join(_COLUMNS)} FROM {parquet(children)}").fetchall()
        return [line for linked in _TABLES for line in _lines(con, linked)]


def _lines(con: duckdb.DuckDBPyConnection, linked: _Linked) -> list[dict[str, Any]]:
    plain = _rates(con, linked, ())
    weighted = {name: _rates(con, linked, columns) for name, columns in WEIGHTED_BY.items()}
    return [
        {
            "table": linked.table,
            "title": linked.title,
            "category": label,
            "children": plain[category][0],
            "unweighted": plain[category][1],
            "weighted": {name: rates[category][1] for name, rates in weighted.items()},
        }
        for category, label in linked.labels.items()
        if category in plain
    ]


def _rates(con: duckdb.DuckDBPyConnection, linked: _Linked, columns: tuple[str, ...]) -> dict[str, tuple[int, float]]:
    """Children, and share at a good level of development, of each linked category; one group where there are no
    columns."""
    listed = "".join(f"{column}, " for column in columns)
    group = f"PARTITION BY {', '.join(columns)}" if columns else ""
    found = con.execute(
        f"""
        WITH cells AS (
            SELECT {listed} {linked.attribute.name} AS category, gld = 'Yes' AS good, {linked.condition} AS linked,
                   count(*) AS n
              FROM children GROUP BY ALL
        ), weighed AS (
            SELECT category, good, linked, n,
                   n * sum(n) OVER ({group}) / sum(n) FILTER (linked) OVER ({group}) AS weight
              FROM cells)
        SELECT category, sum(n), sum(weight * good::INTEGER) / sum(weight) FROM weighed WHERE linked GROUP BY category
        """
    ).fetchall()
    return {category: (int(count), share) for category, count, share in found}

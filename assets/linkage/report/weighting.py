"""What missed links may do to the linked tables: their rates of a good level of development, weighted and unweighted.

Children who are linked stand for those of their group who are not: each counts as the inverse of the group's share of
linked children. A rate that hardly moves does not depend on which groups are missed more often. What this assumes is
said in `docs/linkage-report.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from assets.linkage.report.groups import COUNCIL, LINKED_TO
from ndl_export.tables import Attribute, dimensions, pupil
from privacy.doors.database import in_memory

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
        con.execute(f"CREATE TABLE children AS SELECT {', '.join(_COLUMNS)} FROM '{children}'").fetchall()
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
    """Children, and share at a good level of development, of each linked category; one group where there are no"
    " columns."""
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

"""Which rows a table has in which area: those that are expected to be readable there, by public sizes alone.

The noise plan decides it before any data are read, and states it in its document, which is hashed: for every row the
least size of an area, in rows of the confidential table, at which the row is published, by level of geography. What is
not published is not measured at that detail, and has no row. Plans of before there was a decision publish every row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ndl_export.tables.geography import ALL_TOGETHER, NATIONAL, Geography

Levels = tuple[str, ...]
"""The level of each filter, in order of the table's."""


@dataclass(frozen=True, eq=False)
class Detail:
    """`sizes` by council, and by table, levels of its filters and geographic level the least size that has the row."""

    sizes: Mapping[str, int]
    least: Mapping[str, Mapping[Levels, Mapping[str, int]]]

    def publishes(self, table: str, levels: Levels, area: Geography) -> bool:
        """Whether the table has the row in that area. One without any council that sent something keeps its rows."""
        least = self.least[table].get(levels, {}).get(level_of(area))
        return least is not None and (not area.councils or self.size(area) >= least)

    def size(self, area: Geography) -> int:
        """Rows of the confidential table that are expected of an area."""
        return sum(self.sizes.get(council, 0) for council in area.councils)

    def document(self) -> dict[str, Any]:
        """JSON-ready, as a plan states it."""
        least = {
            table: [{"levels": list(levels), "least_size": dict(by_level)} for levels, by_level in rows.items()]
            for table, rows in self.least.items()
        }
        return {"sizes": dict(self.sizes), "rows": least}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Detail:
        """As a plan states it. Raises KeyError and TypeError for what is none."""
        rows = {
            table: {tuple(row["levels"]): row["least_size"] for row in rows} for table, rows in document["rows"].items()
        }
        return cls(document["sizes"], rows)


def level_of(area: Geography) -> str:
    """The geographic level that an area's rows are decided by: England is all councils together."""
    return ALL_TOGETHER if area.level == NATIONAL else area.level


def detail_of(plan: bytes) -> Detail | None:
    """The decision that a plan's document states; None where it publishes every row."""
    document = json.loads(plan).get("detail")
    return Detail.of(document) if document else None

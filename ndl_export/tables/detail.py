"""Which rows a table has in which kind of area: every one that can be made from what a plan measures.

The noise plan states it in its document, which is hashed, before any data are read. What cannot be read has its row all
the same: whether its figure is withheld follows from the noisy counts. Plans without a decision have every row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ndl_export.tables.geography import ALL_TOGETHER, NATIONAL, Geography

Levels = tuple[str, ...]
"""The level of each filter, in order of the table's."""


@dataclass(frozen=True, eq=False)
class Detail:
    """The kinds of area that have a row, by table and levels of its filters."""

    areas: Mapping[str, Mapping[Levels, Collection[str]]]

    def publishes(self, table: str, levels: Levels, area: Geography) -> bool:
        """Whether the table has the row in that area."""
        return level_of(area) in self.areas[table].get(levels, ())

    def document(self) -> dict[str, Any]:
        """JSON-ready, as a plan states it."""
        return {
            table: [{"levels": list(levels), "areas": sorted(kinds)} for levels, kinds in rows.items()]
            for table, rows in self.areas.items()
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Detail:
        """As a plan states it. Raises KeyError and TypeError for what is none."""
        return cls({table: {tuple(row["levels"]): row["areas"] for row in rows} for table, rows in document.items()})


def level_of(area: Geography) -> str:
    """The geographic level that an area's rows are decided by: England is all councils together."""
    return ALL_TOGETHER if area.level == NATIONAL else area.level


def detail_of(plan: bytes) -> Detail | None:
    """The decision that a plan's document states; None where it has every row."""
    document = json.loads(plan).get("detail")
    return Detail.of(document) if document else None

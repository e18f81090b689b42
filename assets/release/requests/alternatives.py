"""Requests for less: what somebody might do with instead of the table that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from assets.release.requests.known import Sizes
from assets.release.requests.request import WIDEST_POINTS, Request, request_of
from ndl_export.tables import FAMILIES, Attribute
from ndl_export.tables.definition import Column, InvalidDefinition
from ndl_export.tables.model import Selection, each

COARSER = (1.5, 2.0)
_LONGEST_LABEL = 80


def alternatives(request: Request, sizes: Sizes) -> Iterator[tuple[str, Request]]:
    """Each with what it is in words: all councils together; without one of the columns; a coarser accuracy; every
    column in two levels."""
    for words, change in _changes(request, sizes):
        try:
            yield words, request_of(request.document() | change)
        except InvalidDefinition:
            continue


def _changes(request: Request, sizes: Sizes) -> Iterator[tuple[str, dict[str, Any]]]:
    columns = [column.model_dump(mode="json") for column in request.columns]
    if request.geography == "councils":
        yield "for all councils together", {"geography": "all_councils_together"}
    if len(columns) > 1:
        for place, entry in enumerate(request.table.filters):
            yield f"without {entry.label}", {"columns": columns[:place] + columns[place + 1 :]}
    for factor in COARSER:
        points = request.accuracy.half_width_points * factor
        if points <= WIDEST_POINTS:
            accuracy = request.accuracy.model_dump() | {"half_width_points": points}
            yield f"within {points:g} points", {"accuracy": accuracy}
    merged = [_in_two(column, request.family, sizes) for column in request.columns]
    if merged != columns:
        yield "with every column in two levels", {"columns": merged}


def _in_two(column: Column, family: str, sizes: Sizes) -> dict[str, Any]:
    """The column with its levels merged to two, neighbours together, as even as can be by published sizes."""
    attribute = FAMILIES[family].attribute(column.attribute)
    stated = [Selection(label, categories) for label, categories in (column.levels or {}).items()] or each(attribute)
    document = column.model_dump(mode="json")
    if len(stated) <= 2:
        return document
    shares = list(accumulate(_share(attribute, level, sizes) for level in stated))
    first = 1 + int(np.argmin([abs(share - shares[-1] / 2) for share in shares[:-1]]))
    merged = dict(_merged(part) for part in (stated[:first], stated[first:]))
    return document | {"levels": merged}


def _share(attribute: Attribute, level: Selection, sizes: Sizes) -> float:
    return sizes.share(attribute.name, [attribute.categories.index(category) for category in level.categories or ()])


def _merged(levels: Sequence[Selection]) -> tuple[str, list[str]]:
    label = levels[0].label if len(levels) == 1 else f"{levels[0].label} to {levels[-1].label}"
    categories = [category for level in levels for category in level.categories or ()]
    return label[:_LONGEST_LABEL].strip(), list(dict.fromkeys(categories))

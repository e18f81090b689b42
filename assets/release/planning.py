"""The plan of a family: at which detail each of its blocks is measured and published, and with how much noise.

Both follow from the table definitions, the councils, their public sizes and the policy, and from nothing else. A block
is told apart by council only where most of its rows can then be read in some council, or in an area made of some; else
it is measured for all councils together, or for regions, and where none of its rows can be read there either, not at
all: its share of the budget goes where a figure can be read. A row is published in the areas in which it is expected to
be readable (`ndl_export.tables.detail`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from assets.release.expected_widths import Widths, expected_rows, expected_widths
from assets.release.noise_workload import blocks_of, is_measured, noise_family
from ndl_export.tables import FAMILIES, Family
from ndl_export.tables.detail import Detail, Levels, level_of
from ndl_export.tables.geography import ALL_TOGETHER, DEVOLVED, LOCAL_AUTHORITY
from ndl_export.tables.model import COUNCIL
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Array

_MOST = 0.5
"""Of a block's rows, the share that must be readable in some area for it to be told apart by council."""
_ROUNDED = 6
"""Decimals to which half-widths are compared, so that platforms decide alike."""


def plan_family(family: str, councils: Sequence[str], policy: Policy) -> Plan:
    """The plan of a family: a function of the table definitions, the councils and the policy alone."""
    return _planned(family, tuple(councils), policy)


@lru_cache(maxsize=32)
def _planned(name: str, councils: tuple[str, ...], policy: Policy) -> Plan:
    family, readable = FAMILIES[name], policy.readable_half_width
    places = {id(block): place for place, (_, block) in enumerate(blocks_of(family))}
    together, left_out = set[int](), set[int]()
    while True:
        asked = noise_family(family, councils, policy, together, left_out)
        plan = make_plan(asked, policy.rho(name), delta=policy.delta)
        widths = expected_widths(plan, councils)
        weighed = {places[id(each.block)]: each for each in widths if each.block.measured and not each.block.everywhere}
        told = {p: each for p, each in weighed.items() if p not in together and _not_by_council(each, plan, readable)}
        unread = {p: each for p, each in weighed.items() if p not in left_out and _may_go(each, family, readable)}
        if told:
            together |= _most_detailed(told)
        elif unread:
            left_out |= _most_detailed(unread)
        else:
            return replace(plan, detail=_detail(family, councils, widths, readable).document())


def _most_detailed(unreadable: Mapping[int, Widths]) -> set[int]:
    """Of the blocks that cannot be read, those with the most axes: others may gain by what they free."""
    axes = {place: len(each.block.axes) for place, each in unreadable.items()}
    return {place for place, number in axes.items() if number == max(axes.values())}


def _not_by_council(widths: Widths, plan: Plan, readable: float) -> bool:
    """Whether a block is told apart by council, and most of its rows cannot be read in any council or devolved area."""
    if len(plan.family.attribute(COUNCIL).categories) == 1:
        return False
    if not widths.block.councils or not is_measured(widths.block, plan.family, {COUNCIL}):
        return False
    small = [index for index, area in enumerate(widths.areas) if area.level in (LOCAL_AUTHORITY, DEVOLVED)]
    possible = ~np.isnan(widths.judged).all(axis=0)
    read = _reads(widths.judged[small], readable)[:, possible]
    return bool(np.mean(read.any(axis=0)) < _MOST)


def _may_go(widths: Widths, family: Family, readable: float) -> bool:
    """Whether no row of a block can be read anywhere. The least detailed blocks of a family stay whatever they say."""
    fewest = min(len(block.axes) for _, block in blocks_of(family) if block.measured)
    return len(widths.block.axes) > fewest and not _reads(widths.judged, readable).any()


def _reads(half_widths: Array, readable: float) -> NDArray[np.bool_]:
    return np.asarray(np.round(half_widths, _ROUNDED) <= readable)


def _detail(family: Family, councils: Sequence[str], widths: Sequence[Widths], readable: float) -> Detail:
    """The least size of an area that has each row. A table without a readable row has its least detailed ones for all
    councils together."""
    sizes = {council: round(expected_rows(family, [council])) for council in councils}
    least: dict[str, dict[Levels, dict[str, int]]] = {table.name: {} for table in family.tables}
    for each in widths:
        for row, levels in enumerate(each.levels):
            found = _least_sizes(each, row, sizes, readable)
            known = least[each.table.name].setdefault(levels, {})
            known |= {level: min(size, known.get(level, size)) for level, size in found.items()}
    for table in (table for table in family.tables if not any(least[table.name].values())):
        fewest = min((each for each in widths if each.table is table), key=lambda each: len(each.block.axes))
        least[table.name] = {levels: {ALL_TOGETHER: 0} for levels in fewest.levels}
    return Detail(sizes, least)


def _least_sizes(widths: Widths, row: int, sizes: dict[str, int], readable: float) -> dict[str, int]:
    """By geographic level, the size from which on every area can read the row; 0 for what is always published."""
    half_widths: dict[str, list[tuple[int, float]]] = {}
    for area, half_width in zip(widths.areas, widths.judged[:, row], strict=True):
        size = sum(sizes[council] for council in area.councils)
        half_widths.setdefault(level_of(area), []).append((size, round(float(half_width), _ROUNDED)))
    if widths.block.everywhere:
        return dict.fromkeys(half_widths, 0)
    found = {level: _least_size(level, own, readable) for level, own in half_widths.items()}
    return {level: size for level, size in found.items() if size is not None}


def _least_size(level: str, half_widths: Sequence[tuple[int, float]], readable: float) -> int | None:
    """Of areas with size and half-width, the least size above all that cannot read the row; None where none can.

    All councils together are fewer where some send nothing: their interval is taken to be as wide in inverse proportion
    to their size.
    """
    if level == ALL_TOGETHER:
        ((size, half_width),) = half_widths
        return math.ceil(size * half_width / readable) if half_width <= readable else None
    cannot = max((size for size, half_width in half_widths if not half_width <= readable), default=-1)
    return min((size for size, half_width in half_widths if half_width <= readable and size > cannot), default=None)

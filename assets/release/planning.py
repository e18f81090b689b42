"""The plan of a family: at which detail each of its blocks is measured, and with how much noise.

Both follow from the table definitions, the councils, their public sizes and the policy, and from nothing else. A block
is told apart by council unless most of its rows could be read in no council, nor in an area made of some, at any
plausible shares; then it is measured for all councils together, or for regions, and where none of its rows could be
read there either, not at all: its share of the budget goes where a figure can be read. What is measured has its row in
every area (`ndl_export.tables.rows`); the noisy counts decide where its figure is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from assets.release.expected_widths import Widths, expected_widths
from assets.release.noise_workload import blocks_of, is_measured, noise_family
from ndl_export.tables import FAMILIES, Family
from ndl_export.tables.geography import DEVOLVED, LOCAL_AUTHORITY
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.rows import Detail, Levels, level_of
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
    family, readable = FAMILIES[name], policy.reliability.unreliable_half_width
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
            return replace(plan, detail=_detail(family, widths).document())


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
    possible = ~np.isnan(widths.middle).all(axis=0)
    read = _reads(widths.narrowest[small], readable)[:, possible]
    return bool(np.mean(read.any(axis=0)) < _MOST)


def _may_go(widths: Widths, family: Family, readable: float) -> bool:
    """Whether no row of a block can be read anywhere. The least detailed blocks of a family stay whatever they say."""
    fewest = min(len(block.axes) for _, block in blocks_of(family) if block.measured)
    return len(widths.block.axes) > fewest and not _reads(widths.narrowest, readable).any()


def _reads(half_widths: Array, readable: float) -> NDArray[np.bool_]:
    return np.asarray(np.round(half_widths, _ROUNDED) <= readable)


def _detail(family: Family, widths: Sequence[Widths]) -> Detail:
    """Every row that can be made from what is measured, in each kind of area."""
    areas: dict[str, dict[Levels, set[str]]] = {table.name: {} for table in family.tables}
    for each in widths:
        kinds = {level_of(area) for area in each.areas}
        for row in np.flatnonzero(~np.isnan(each.middle).all(axis=0)):
            areas[each.table.name].setdefault(each.levels[row], set()).update(kinds)
    return Detail(areas)

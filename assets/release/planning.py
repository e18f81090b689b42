"""Plans a family: the detail at which each block is measured, and the amount of noise.

Both follow from the table definitions, the councils, their public sizes and the policy alone. A block is broken down by
council unless most of its rows would be unreadable in every council, and in every area made of some, at all plausible
shares. It is then measured for all councils together, or for regions. If none of its rows would be readable there
either, it is not measured, and its share of the budget goes to readable figures. A measured block has its row in every
area (`ndl_export.tables.rows`); the noisy counts decide where its figure is shown.

`expected_widths` gives how wide the intervals of a plan's figures will be, from public sizes alone: denominators are
the published size of each council's cohort times the share of each level, and rates are shares too, in `SCENARIOS` of
plausible populations (`sources.reference.plausible_shares`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from assets.release.noise_workload import BlockFigures, Rate, block_figures, blocks_of, is_measured, noise_family
from ndl_export.tables import FAMILIES, Attribute, Block, Family, Table
from ndl_export.tables.geography import DEVOLVED, LOCAL_AUTHORITY, Geography
from ndl_export.tables.model import COUNCIL, Count, Ratio
from ndl_export.tables.rows import Detail, Levels, level_of
from privacy.estimation.covariance import Covariances
from privacy.estimation.intervals import (
    expected_difference_half_widths,
    expected_half_widths,
    expected_rate_half_widths,
)
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Array
from sources.reference.places import place
from sources.reference.plausible_shares import Range, plausible_shares, rows_per_child
from sources.reference.profile_results import council_size

_MOST = 0.5
"""Least share of a block's rows that must be readable in some area for it to be broken down by council."""
_ROUNDED = 6
"""Decimals to which half-widths are compared, so that all platforms decide alike."""


def plan_family(family: str, councils: Sequence[str], policy: Policy) -> Plan:
    """Return the plan of a family, from the table definitions, the councils and the policy alone."""
    return _planned(family, tuple(councils), policy)


@lru_cache(maxsize=32)
def _planned(name: str, councils: tuple[str, ...], policy: Policy) -> Plan:
    family, readable = FAMILIES[name], policy.reliability.unreliable_half_width
    places = {id(block): place for place, (_, block) in enumerate(blocks_of(family))}
    together, left_out = set[int](), set[int]()
    while True:
        measured = noise_family(family, councils, policy, together, left_out)
        plan = make_plan(measured, policy.rho(name), delta=policy.delta)
        widths = expected_widths(plan, councils)
        weighed = {places[id(each.block)]: each for each in widths if each.block.measured and not each.block.everywhere}
        too_detailed = {
            p: each for p, each in weighed.items() if p not in together and _not_by_council(each, plan, readable)
        }
        unread = {p: each for p, each in weighed.items() if p not in left_out and _may_go(each, family, readable)}
        if too_detailed:
            together |= _most_detailed(too_detailed)
        elif unread:
            left_out |= _most_detailed(unread)
        else:
            return replace(plan, detail=_detail(family, widths).document())


def _most_detailed(unreadable: Mapping[int, Widths]) -> set[int]:
    """Return the unreadable blocks with the most axes; the others may become readable with the budget these free."""
    axes = {place: len(each.block.axes) for place, each in unreadable.items()}
    return {place for place, number in axes.items() if number == max(axes.values())}


def _not_by_council(widths: Widths, plan: Plan, readable: float) -> bool:
    """Return whether a block is broken down by council but mostly unreadable in every council and devolved area."""
    if len(plan.family.attribute(COUNCIL).categories) == 1:
        return False
    if not widths.block.councils or not is_measured(widths.block, plan.family, {COUNCIL}):
        return False
    small = [index for index, area in enumerate(widths.areas) if area.level in (LOCAL_AUTHORITY, DEVOLVED)]
    possible = ~np.isnan(widths.middle).all(axis=0)
    read = _reads(widths.narrowest[small], readable)[:, possible]
    return bool(np.mean(read.any(axis=0)) < _MOST)


def _may_go(widths: Widths, family: Family, readable: float) -> bool:
    """Return whether no row of a block is readable anywhere. The least detailed blocks of a family always stay."""
    fewest = min(len(block.axes) for _, block in blocks_of(family) if block.measured)
    return len(widths.block.axes) > fewest and not _reads(widths.narrowest, readable).any()


def _reads(half_widths: Array, readable: float) -> NDArray[np.bool_]:
    return np.asarray(np.round(half_widths, _ROUNDED) <= readable)


def _detail(family: Family, widths: Sequence[Widths]) -> Detail:
    """Return every row that can be made from what is measured, in each kind of area."""
    areas: dict[str, dict[Levels, set[str]]] = {table.name: {} for table in family.tables}
    for each in widths:
        kinds = {level_of(area) for area in each.areas}
        for row in np.flatnonzero(~np.isnan(each.middle).all(axis=0)):
            areas[each.table.name].setdefault(each.levels[row], set()).update(kinds)
    return Detail(areas)


@dataclass(frozen=True, eq=False)
class Widths:
    """Expected half-widths of a block; arrays are (areas, rows), NaN if there is no such figure.

    - `levels`: levels of the table's filters; `labels`: names of rows in warnings
    - `counts` in units; `counts` and `denominators` in the middle of the plausible range
    - `judged`: (scenarios, areas, rows), the middle first: half-widths of the rate, or difference of two, in points;
      for a block of counts alone (`is_rate` is false), of the count as a share
    """

    table: Table
    block: Block
    areas: tuple[Geography, ...]
    levels: tuple[Levels, ...]
    labels: tuple[str, ...]
    counts: Array
    is_rate: bool
    denominators: Array
    judged: Array

    def only(self, area: int) -> Widths:
        """Return the half-widths of one area, by its index."""
        counts, denominators = (values[area : area + 1] for values in (self.counts, self.denominators))
        judged = self.judged[:, area : area + 1]
        return replace(self, areas=(self.areas[area],), counts=counts, denominators=denominators, judged=judged)

    @property
    def middle(self) -> Array:
        return np.asarray(self.judged[0])

    @property
    def narrowest(self) -> Array:
        """Least half-widths over all plausible shares, (areas, rows)."""
        return np.asarray(self.judged.min(axis=0))


SCENARIOS = 32
"""Number of populations a plan is judged over: the middle of all plausible shares, and others anywhere in them."""
# one for each range of `_drawn`
_PRIMES = tuple(n for n in range(2, 400) if all(n % d for d in range(2, int(n**0.5) + 1)))

Children = tuple[tuple[str, int], ...]
"""Councils with an expected number of children that replaces the published one."""


def expected_widths(plan: Plan, councils: Sequence[str], children: Children = ()) -> list[Widths]:
    """Return the half-widths of every block that has a figure in some area, in order of the definitions."""
    return _expected_widths(replace(plan, detail={}), tuple(councils), children)  # no width depends on the detail


@lru_cache(maxsize=32)
def _expected_widths(plan: Plan, councils: tuple[str, ...], children: Children) -> list[Widths]:
    return widths_of(blocks_of(FAMILIES[plan.family.name]), plan, councils, children)


def widths_of(
    blocks: Iterable[tuple[Table, Block]], plan: Plan, councils: Sequence[str], children: Children = ()
) -> list[Widths]:
    """Return the half-widths of blocks, each with its table, that have a figure in some area."""
    covariances, sizes = Covariances(plan), dict(children)
    found = ((table, block, block_figures(block, plan.family, councils)) for table, block in blocks)
    return [
        _widths(_Public(table, block, figures.areas, sizes), figures, covariances)
        for table, block, figures in found
        if figures is not None
    ]


def _widths(public: _Public, figures: BlockFigures, covariances: Covariances) -> Widths:
    table, block = public.table, public.block
    chosen = [tuple(level.label for level in levels) for levels in product(*(axis.selections for axis in block.axes))]
    possible = np.array([levels not in block.structural_zeros for levels in chosen])
    flat = (len(figures.areas), len(chosen))

    def shown(values: Array) -> Array:
        return np.where(possible, values.reshape(-1, *flat), np.nan)

    nothing = np.full(flat, np.nan)
    ratio = block.judged_by[0]
    widths, of = public.half_widths(ratio, figures.judged_by[0], covariances)
    constants = [label for label in block.constants.values() if label not in ("Total", table.title)]
    by_filter = [dict(block.constants) | dict(zip((a.filter for a in block.axes), c, strict=True)) for c in chosen]
    return Widths(
        table,
        block,
        figures.areas,
        tuple(tuple(levels[each.name] for each in table.filters) for levels in by_filter),
        tuple(" / ".join([*constants, *levels]) or "Total" for levels in chosen),
        nothing if block.differs else shown(expected_half_widths(covariances, figures.base))[0],
        bool(block.ratios),
        nothing if ratio.taken_off else shown(of)[0],
        shown(widths),
    )


@dataclass(frozen=True)
class _Public:
    """Public figures about the rows of a block: arrays over `SCENARIOS`, areas and levels."""

    table: Table
    block: Block
    areas: tuple[Geography, ...]
    children: Mapping[str, int]

    def half_widths(
        self, ratio: Ratio, rates: tuple[Rate, Rate | None], covariances: Covariances
    ) -> tuple[Array, Array]:
        """Return half-widths of a ratio, in points of its range, or of a difference of two; and denominators."""
        size, share = self._ratio(ratio)
        rate, taken_off = rates
        if taken_off is None or ratio.taken_off is None:
            return expected_rate_half_widths(covariances, *rate, size, share) / len(ratio.parts), size
        other, other_share = self._ratio(ratio.taken_off)
        return expected_difference_half_widths(
            covariances, (rate, taken_off), (size, other), (share, other_share)
        ), size

    def _ratio(self, ratio: Ratio) -> tuple[Array, Array]:
        """Return denominator and rate."""
        whole = self._count(ratio.whole)
        part = np.sum([self._count(count) for count in ratio.parts], axis=0)
        return whole, part / np.maximum(whole, np.finfo(float).tiny)

    def _count(self, count: Count) -> Array:
        """Return the expected count, summed over the councils of each area."""
        family = FAMILIES[self.table.family]
        councils = tuple(dict.fromkeys(council for area in self.areas for council in area.councils))
        sizes = np.array([self.children.get(council, council_size(council)) for council in councils])
        expected = _rows_per_child(family)[:, None] * sizes
        for attribute, categories in count.groups:
            expected = expected * _shares(family, attribute, (categories,), councils)[..., 0]
        for axis in self.block.axes:
            levels = tuple(axis.whole if axis.filter == count.over else level.categories for level in axis.selections)
            of_levels = _shares(family, axis.attribute, levels, councils)
            expected = expected[..., None] * of_levels.reshape(*expected.shape[:2], *[1] * (expected.ndim - 2), -1)
        inside = [[council in area.councils or count.all_together for council in councils] for area in self.areas]
        return np.moveaxis(np.tensordot(np.array(inside, dtype=np.float64), expected, axes=(1, 1)), 1, 0)


def expected_rows(family: Family, council: str) -> float:
    """Return a council's expected rows in the family's confidential table, in the middle of the plausible range."""
    return float(_rows_per_child(family)[0]) * council_size(council)


def _rows_per_child(family: Family) -> Array:
    return _drawn(family.name, (rows_per_child(family.name),))[:, 0]


@lru_cache(maxsize=512)
def _shares(
    family: Family, attribute: str, levels: tuple[tuple[str, ...] | None, ...], councils: tuple[str, ...]
) -> Array:
    """Return the share of each level of an attribute among a council's rows, (scenarios, councils, levels)."""
    domain = family.attribute(attribute)
    of_level = np.array([[levels is None or name in levels for levels in levels] for name in domain.categories])
    return np.stack([_drawn(attribute, _ranges(domain, each)) @ of_level for each in councils], axis=1)


@lru_cache(maxsize=4096)
def _ranges(attribute: Attribute, council: str) -> tuple[Range, ...]:
    return tuple(plausible_shares(attribute.name, attribute.label, attribute.categories, place(council)).values())


@lru_cache(maxsize=4096)
def _drawn(name: str, ranges: tuple[Range, ...]) -> Array:
    """Return the middle of each range, then shares from anywhere in them, (scenarios, ranges).

    Shares are drawn alike in all councils. Several shares add up to 1. The fractional parts of multiples of square
    roots of primes fill the ranges evenly, and are the same on every platform.
    """
    # the checksum of the name gives each attribute its own starting point, the same in every process
    steps = (
        np.sqrt(np.array(_PRIMES)[: len(ranges)]) * np.arange(SCENARIOS)[:, None] + zlib.crc32(name.encode()) / 2**32
    )
    at = np.where(np.arange(SCENARIOS)[:, None] == 0, 0.5, steps % 1)
    least, middle, most = (np.array([getattr(each, end) for each in ranges]) for end in ("least", "middle", "most"))
    shares = np.where(at < 0.5, least + (middle - least) * 2 * at, middle + (most - middle) * (2 * at - 1))
    return shares / shares.sum(axis=1, keepdims=True) if len(ranges) > 1 else shares

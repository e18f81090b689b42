"""From table definitions to what the noise plan needs: attributes, marginals with weights, and cubes of figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations

from ndl_export.tables import FAMILIES, Block, Family
from ndl_export.tables.geography import REGIONS_ABOVE, Geography, geographies
from ndl_export.tables.model import COUNCIL, Axis, Count, Ratio, SharedTotal
from privacy.release import workload as noise
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Policy
from privacy.release.workload import Cube, LinearCombination, Selector
from sources.reference.places import place

REGION = "region"
"""The attribute of the region a council lies in, where regions are measured."""


def noise_family(family: Family, councils: Sequence[str], policy: Policy) -> noise.Family:
    """The family as the plan sees it: everything its tables publish, over the councils that take part.

    A marginal's weight multiplies the sum of the variances of its cells. A block that is published at several levels of
    detail counts at each, with its own weights; a marginal that several blocks publish counts once, at the greatest.
    With more councils than `REGIONS_ABOVE`, every marginal is planned for their regions as well.
    """
    nesting = _regions(councils, policy.regions_share) if len(councils) > REGIONS_ABOVE else None
    attributes = {
        COUNCIL: noise.Attribute(COUNCIL, tuple(councils)),
        **({REGION: noise.Attribute(REGION, tuple(nesting.members))} if nesting else {}),
        **{entry.name: noise.Attribute(entry.name, entry.categories) for entry in family.attributes},
    }
    weights: dict[frozenset[str], float] = defaultdict(float)
    for block in (block for table in family.tables for block in table.blocks):
        for marginal, kind in _marginals(block).items():
            for level in _levels(marginal, nesting):
                weights[level] = max(weights[level], policy.weight(kind))
    for name, kind in family.measured_apart:
        for level in _levels(frozenset({name}), nesting):
            weights[level] = policy.weight(kind)
    order = list(attributes)
    return noise.Family(
        family.name,
        family.unit,
        tuple(attributes.values()),
        tuple(
            noise.Marginal(tuple(sorted(marginal, key=order.index)), weight)
            for marginal, weight in sorted(weights.items(), key=lambda item: sorted(map(order.index, item[0])))
        ),
        tuple(_identity(shared) for shared in family.shared_totals),
        nesting,
    )


def _regions(councils: Sequence[str], share: float) -> noise.Nesting:
    """The councils by region, in order of the regions' codes."""
    members: dict[str, list[str]] = defaultdict(list)
    for council in councils:
        members[place(council).region_code].append(council)
    return noise.Nesting(COUNCIL, REGION, {region: tuple(members[region]) for region in sorted(members)}, share)


def _levels(marginal: frozenset[str], nesting: noise.Nesting | None) -> list[frozenset[str]]:
    """The marginal at the levels of place at which it is measured; one of all councils together by their regions."""
    if nesting is None:
        return [marginal]
    by_region = marginal - {COUNCIL} | {REGION}
    return [marginal, by_region] if COUNCIL in marginal else [by_region]


def plan_family(family: str, councils: Sequence[str], policy: Policy) -> Plan:
    """The noise plan of a family: a function of the table definitions, the councils and the policy alone."""
    return _planned(family, tuple(councils), policy)


@lru_cache(maxsize=32)
def _planned(family: str, councils: tuple[str, ...], policy: Policy) -> Plan:
    return make_plan(noise_family(FAMILIES[family], councils, policy), policy.rho(family), delta=policy.delta)


Rate = tuple[Cube | LinearCombination, Cube]
"""Numerator and denominator of a ratio."""


@dataclass(frozen=True)
class BlockFigures:
    """The figures behind a block, each of shape (areas, *levels of the axes), for areas that are available."""

    areas: tuple[Geography, ...]
    base: Cube
    """The children of each row."""
    counts: Mapping[str, Cube]
    """By measure."""
    ratios: Mapping[str, tuple[Rate, Rate | None]]
    """By measure, a rate and the one that is taken off it, where one is."""


def block_figures(
    block: Block, family: noise.Family, councils: Sequence[str], not_sent: Collection[str] = ()
) -> BlockFigures:
    """Cubes of a block over the areas that have figures where of these councils some have not sent what is counted."""
    places = _places(family.attribute(COUNCIL), tuple(councils), frozenset(not_sent), _which_areas(block))
    cube = cache(lambda count: _cube(block, family, places, count))

    def rate(ratio: Ratio) -> Rate:
        parts = [cube(part) for part in ratio.parts]
        part = parts[0] if len(parts) == 1 else LinearCombination(tuple((1.0, each) for each in parts))
        return part, cube(ratio.whole)

    return BlockFigures(
        places.areas,
        cube(Count()),
        {name: cube(count) for name, count in block.counts.items()},
        {
            name: (rate(ratio), rate(ratio.taken_off) if ratio.taken_off else None)
            for name, ratio in block.ratios.items()
        },
    )


def _cube(block: Block, family: noise.Family, places: _Places, count: Count) -> Cube:
    axes = {axis.attribute: _selector(family, axis, axis.filter == count.over) for axis in block.axes}
    where = places.together if count.all_together else places.councils
    groups = {name: Selector.only(family.attribute(name), *categories) for name, categories in count.groups}
    return Cube({COUNCIL: where, **axes}, groups)


@dataclass(frozen=True)
class _Places:
    """Areas that have figures, the councils that each adds up, and beside each all councils together."""

    areas: tuple[Geography, ...]
    councils: Selector
    together: Selector


def _which_areas(block: Block) -> tuple[int | None, int | None]:
    """Of all areas, of which the first is all councils together, the span that the block has rows for."""
    return 1 if block.with_all_together else None, None if block.councils else 1


@lru_cache(maxsize=32)
def _places(
    council: noise.Attribute, councils: tuple[str, ...], not_sent: frozenset[str], span: tuple[int | None, int | None]
) -> _Places:
    available = tuple(area for area in geographies(councils, not_sent) if area.available)
    areas, whole = available[slice(*span)], available[0]
    return _Places(
        areas,
        Selector.of(council, {area.code: area.councils for area in areas}),
        Selector.of(council, {area.code: whole.councils for area in areas}),
    )


def _marginals(block: Block) -> dict[frozenset[str], str]:
    """Attribute sets a block reads, with kinds of weight: at full detail, and without each axis that has a total."""
    fixed = {COUNCIL} if block.councils else set()
    detailed = {axis.attribute for axis in block.axes if not _has_total(block, axis)}
    optional = [axis.attribute for axis in block.axes if _has_total(block, axis)]
    tails = [{attribute for attribute, _ in count.groups} for count in block.measured]
    at_total = block.total_weight or block.weight
    return {
        frozenset(fixed | detailed | set(kept) | tail): block.weight if size == len(optional) else at_total
        for size in range(len(optional) + 1)
        for kept in combinations(optional, size)
        for tail in tails
        if fixed | detailed | set(kept) | tail
    }


def _has_total(block: Block, axis: Axis) -> bool:
    at_total = any(count.over == axis.filter for count in block.needed)
    return at_total or any(selection.categories is None for selection in axis.selections)


def _selector(family: noise.Family, axis: Axis, at_total: bool) -> Selector:
    """The levels of an axis, of which one may be of no category; `at_total` each is the whole, so that shapes agree."""
    attribute = family.attribute(axis.attribute)
    weights = {}
    for level in axis.selections:
        chosen = attribute.categories if at_total or level.categories is None else level.categories
        weights[level.label] = {category: float(category in chosen) for category in attribute.categories}
    return Selector.of(attribute, weights)


def _identity(shared: SharedTotal) -> noise.Identity:
    over = (COUNCIL, shared.within)
    return noise.Identity(
        noise.Batch(over, (noise.Term(dict([shared.left])),)),
        noise.Batch(over, (noise.Term(dict([shared.right])),)),
        shared.description,
    )

"""Translates table definitions into the noise plan's terms: attributes, weighted marginals, and cubes of figures."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import combinations, product

import numpy as np
import pyarrow as pa

from ndl_export.facts.missing import list_missing_councils
from ndl_export.facts.noisy_counts import COVARIANCE_COUNTS, COVARIANCE_SCHEMA, WITHIN
from ndl_export.tables import TABLES, Block, Family, Table
from ndl_export.tables.geography import REGIONS_ABOVE, Geography, MissingByCohort, list_geographies
from ndl_export.tables.model import COUNCIL, Axis, Count, Ratio, SharedTotal
from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import drop_categories
from privacy.release import workload as noise
from privacy.release.plan import Plan
from privacy.release.policy import Policy
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, LinearCombination, Selector
from sources.reference.places import get_place

REGION = "region"
"""The attribute of a council's region, if regions are measured."""


def list_blocks(family: Family) -> list[tuple[Table, Block]]:
    """Return every block of a family, with its table."""
    return [(table, block) for table in family.tables for block in table.blocks]


def build_noise_family(
    family: Family, councils: Sequence[str], policy: Policy, together: Collection[int], left_out: Collection[int]
) -> noise.MeasuredFamily:
    """Return the family as the plan sees it: everything its tables publish, for the participating councils.

    Blocks in `together`, by their index, are not broken down by council; those in `left_out` are not measured. A
    marginal gets the greatest weight that any block or level of detail gives it.
    """
    nesting = None
    if len(councils) > REGIONS_ABOVE:
        members: dict[str, tuple[str, ...]] = defaultdict(tuple)
        for council in councils:
            members[get_place(council).region_code] += (council,)
        nesting = noise.Nesting(COUNCIL, REGION, dict(sorted(members.items())), policy.regions_share)
    attributes = {
        COUNCIL: noise.Attribute(COUNCIL, tuple(councils)),
        **({REGION: noise.Attribute(REGION, tuple(nesting.members))} if nesting else {}),
        **{entry.name: noise.Attribute(entry.name, entry.categories) for entry in family.attributes},
    }
    measured = [(number, block) for number, (_, block) in enumerate(list_blocks(family)) if number not in left_out]
    by_council = ((block, block.councils and number not in together) for number, block in measured)
    weights = _compute_weights(by_council, attributes[COUNCIL], nesting, policy)
    # counted to estimate linkage error: no table shows them, so no block brings them in
    for names, kind in family.measured_apart:
        for level in _list_levels(frozenset(names), nesting):
            weights[level] = policy.get_weight(kind)
    identities = (_build_identity(shared, list(weights)) for shared in family.shared_totals)
    return noise.MeasuredFamily(
        family.name,
        family.unit,
        tuple(attributes.values()),
        _sort_marginals(weights, list(attributes)),
        tuple(identity for identity in identities if identity is not None),
        nesting,
    )


def build_requested_family(
    base: noise.MeasuredFamily, tables: Iterable[tuple[Table, Mapping[str | None, float]]], policy: Policy
) -> noise.MeasuredFamily:
    """Return a family with the marginals of requested tables, for the child table of `base`, which was planned before.

    It has no identities, because `base` imposes them on all marginals together. Each table comes with divisors of its
    weights by attribute of place (None without a nesting), by default 1.
    """
    weights: dict[frozenset[str], float] = {}
    for table, divisors in tables:
        by_council = ((block, block.councils) for block in table.blocks)
        for names, weight in _compute_weights(by_council, base.get_attribute(COUNCIL), base.nesting, policy).items():
            at = (COUNCIL if COUNCIL in names else REGION) if base.nesting else None
            weights[names] = max(weights.get(names, 0.0), weight / divisors.get(at, 1.0))
    return replace(base, marginals=_sort_marginals(weights, [each.name for each in base.attributes]), identities=())


def _compute_weights(
    blocks: Iterable[tuple[Block, bool]], councils: noise.Attribute, nesting: noise.Nesting | None, policy: Policy
) -> dict[frozenset[str], float]:
    """Return the weights of marginals at every level of place; a block's flag is true if it is by council."""
    weights: dict[frozenset[str], float] = defaultdict(float)
    # One council is all councils together: if it were measured both ways, one of the two would get no precision.
    alone = councils.size == 1
    for block, by_council in blocks:
        for marginal, kind in _list_marginals(block, by_council=alone or by_council).items():
            for level in _list_levels(marginal, nesting):
                weights[level] = max(weights[level], policy.get_weight(kind))
    return weights


def _sort_marginals(weights: Mapping[frozenset[str], float], order: Sequence[str]) -> tuple[noise.Marginal, ...]:
    # the order of a set of names differs between processes, and the plan's hash must not depend on it
    return tuple(
        noise.Marginal(tuple(sorted(marginal, key=order.index)), weight)
        for marginal, weight in sorted(weights.items(), key=lambda item: sorted(map(order.index, item[0])))
    )


def _list_levels(marginal: frozenset[str], nesting: noise.Nesting | None) -> list[frozenset[str]]:
    """Return a marginal at each level of place; with a nesting, one of all councils together is by region."""
    if nesting is None:
        return [marginal]
    # England is the sum of its regions, so nothing is measured for all of it at once
    by_region = marginal - {COUNCIL} | {REGION}
    return [marginal, by_region] if COUNCIL in marginal else [by_region]


Rate = tuple[Cube | LinearCombination, Cube]
"""Numerator and denominator of a ratio."""


@dataclass(frozen=True)
class BlockFigures:
    """The figures behind a block, each of shape (areas, *levels of the axes), for available areas."""

    areas: tuple[Geography, ...]
    base: Cube
    """Number of children in each row."""
    counts: Mapping[str, Cube]
    """Counts, by measure."""
    ratios: Mapping[str, tuple[Rate, Rate | None]]
    """By measure, a rate and the rate subtracted from it, if any."""
    judged_by: tuple[tuple[Rate, Rate | None], ...]
    """The rates that decide where a row is published."""


def build_block_figures(
    block: Block, family: noise.MeasuredFamily, councils: Sequence[str], not_sent: Collection[str] = ()
) -> BlockFigures | None:
    """Return the cubes of a block for areas with figures, None if no area has any; `not_sent` councils sent nothing."""
    council, nesting = family.get_attribute(COUNCIL), family.nesting
    groups: tuple[tuple[str, ...], ...] = ()
    if is_measured(block, family, {REGION} if nesting else set()):
        groups = tuple(nesting.members.values()) if nesting else (council.categories,)
    any_councils = is_measured(block, family, {COUNCIL})
    places = _select_places(
        council, tuple(councils), frozenset(not_sent), any_councils, groups, block.with_all_together
    )
    if places is None:
        return None
    areas, by_area, together = places

    @cache
    def build_cube(count: Count) -> Cube:
        axes = {axis.attribute: _build_selector(family, axis, axis.filter == count.over) for axis in block.axes}
        groups = {
            name: Selector.for_categories(family.get_attribute(name), *categories) for name, categories in count.groups
        }
        return Cube({COUNCIL: together if count.all_together else by_area, **axes}, groups)

    def build_rate(ratio: Ratio) -> Rate:
        parts = [build_cube(part) for part in ratio.parts]
        part = parts[0] if len(parts) == 1 else LinearCombination(tuple((1.0, each) for each in parts))
        return part, build_cube(ratio.whole)

    def build_rates(ratio: Ratio) -> tuple[Rate, Rate | None]:
        return build_rate(ratio), build_rate(ratio.taken_off) if ratio.taken_off else None

    return BlockFigures(
        areas,
        build_cube(Count()),
        {name: build_cube(count) for name, count in block.counts.items()},
        {name: build_rates(ratio) for name, ratio in block.ratios.items()},
        tuple(build_rates(ratio) for ratio in block.judged_by),
    )


def is_measured(block: Block, family: noise.MeasuredFamily, at: set[str]) -> bool:
    """Return whether everything behind a block's figures is measured with the attribute of place `at`, if any."""

    def list_attributes(count: Count) -> set[str]:
        distinguished = {a.attribute for a in block.axes if a.whole or (a.filter != count.over and not _is_total(a))}
        return distinguished | {attribute for attribute, _ in count.groups}

    return all(family.has_marginal_over(at | list_attributes(count)) for count in block.needed)


def _is_total(axis: Axis) -> bool:
    return all(level.categories is None for level in axis.selections)


@lru_cache(maxsize=64)
def _select_places(
    council: noise.Attribute,
    councils: tuple[str, ...],
    not_sent: frozenset[str],
    any_councils: bool,
    groups: tuple[tuple[str, ...], ...],
    others: bool,
) -> tuple[tuple[Geography, ...], Selector, Selector] | None:
    """Return the areas with figures, the councils that each adds up, and for each area all councils together.

    If councils are not measured, only areas that consist of whole groups have figures. With `others`, the area of all
    councils together is left out, because it has no others to be compared with.
    """

    def is_reached(area: Geography) -> bool:
        inside = {member for group in groups if set(group) <= set(area.councils) for member in group}
        return any_councils or inside == set(area.councils)

    available = tuple(area for area in list_geographies(councils, not_sent) if area.available)
    # the first area is that of all councils together
    areas = tuple(area for area in available[1 if others else 0 :] if is_reached(area))
    if not areas:
        return None
    everyone = available[0].councils
    by_area = Selector.for_groups(council, {area.code: area.councils for area in areas})
    return areas, by_area, Selector.for_groups(council, {area.code: everyone for area in areas})


def _list_marginals(block: Block, *, by_council: bool) -> dict[frozenset[str], str]:
    """Return the attribute sets that a block reads, in full detail and at totals, each with its kind of weight."""
    fixed = {COUNCIL} if by_council else set()
    detailed = {axis.attribute for axis in block.axes if not _has_total(block, axis)}
    optional = [axis.attribute for axis in block.axes if _has_total(block, axis) and not _is_total(axis)]
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


def _build_selector(family: noise.MeasuredFamily, axis: Axis, at_total: bool) -> Selector:
    """Return the levels of an axis; with `at_total`, each level is the whole, so that shapes agree."""
    attribute = family.get_attribute(axis.attribute)
    weights = {}
    for level in axis.selections:
        chosen = (axis.whole if at_total else level.categories) or attribute.categories
        weights[level.label] = {category: float(category in chosen) for category in attribute.categories}
    return Selector.for_groups(attribute, weights)


def _build_identity(shared: SharedTotal, marginals: Collection[frozenset[str]]) -> noise.Identity | None:
    """Return the identity at the finest detail at which both sides are measured; None if there is no such detail."""

    def is_covered(over: tuple[str, ...]) -> bool:
        sides = ({*over, name} for name, _ in (shared.left, shared.right))
        return all(any(side <= marginal for marginal in marginals) for side in sides)

    # finest first: an identity holds for sums over councils or categories if it holds for each of them
    details: tuple[tuple[str, ...], ...] = ((COUNCIL, shared.within), (COUNCIL,), (shared.within,), ())
    over = next((over for over in details if is_covered(over)), None)
    if over is None:
        return None
    return noise.Identity(
        noise.Batch(over, (noise.Term(dict([shared.left])),)),
        noise.Batch(over, (noise.Term(dict([shared.right])),)),
        shared.description,
    )


_TABLE, _FAMILY = TABLES["gld_headline"], "pupil"
_CHILDREN, _GLD = "children_count", "gld_children_count"
_DECIMALS = 6
"""Decimals to round to, so that the numbers are the same on every machine."""


def compute_noise_covariance(measured: Sequence[MeasuredCohort], missing: MissingByCohort) -> pa.Table:
    """Return every cohort's noise covariances as in `ndl_export.facts.noisy_counts`, without `missing` councils."""
    rows: list[tuple[str | float, ...]] = []
    for own in measured:
        whole, absent = own.plans[_FAMILY], list_missing_councils(missing.get(own.cohort, {}), _FAMILY)
        if set(whole.family.get_attribute(COUNCIL).categories) <= set(absent):
            continue
        plan, _ = drop_categories(whole, own.measurements[_FAMILY], COUNCIL, absent)
        rows += [(own.cohort, *row) for row in _iter_plan_covariances(plan)]
    columns = zip(*rows, strict=True) if rows else [()] * len(COVARIANCE_SCHEMA.names)
    return pa.table(dict(zip(COVARIANCE_SCHEMA.names, map(list, columns), strict=True)), schema=COVARIANCE_SCHEMA)


def _iter_plan_covariances(plan: Plan) -> Iterator[tuple[str | float, ...]]:
    """Yield the covariances by region, block and pair of rows."""
    # covariances are the same for every council of a region, so that a few kilobytes hold them all; councils of
    # different regions share no noise
    nesting, covariances = plan.family.nesting, Covariances(plan)
    everyone = plan.family.get_attribute(COUNCIL).categories
    for region, councils in (nesting.members if nesting else {"": everyone}).items():
        for block in _TABLE.blocks:
            if _GLD in block.counts and is_measured(block, plan.family, {COUNCIL}):
                yield from ((region, *row) for row in _iter_block_covariances(block, plan, covariances, councils))


def _iter_block_covariances(
    block: Block, plan: Plan, covariances: Covariances, councils: Sequence[str]
) -> Iterator[tuple[str | float, ...]]:
    figures = build_block_figures(block, plan.family, plan.family.get_attribute(COUNCIL).categories)
    assert figures is not None
    children, gld = figures.counts[_CHILDREN], figures.counts[_GLD]
    pairs = ((children, children), (gld, children), (gld, gld))
    found = [
        covariances.compute_covariance(_lay_out_pairs(one, councils, 0), _lay_out_pairs(other, councils, 1))
        for one, other in pairs
    ]
    # adding 0.0 turns -0.0 into 0.0
    values = np.round(np.stack(found), _DECIMALS) + 0.0  # (counts, same or apart, pairs of levels of each axis)
    # `_lay_out_pairs` has then compared the only council with itself
    if len(councils) == 1:
        values[:, 1] = 0.0
    by_pair = values.swapaxes(0, 1).reshape(len(WITHIN) * len(COVARIANCE_COUNTS), -1).T
    for names, numbers in zip(_iter_row_pairs(block), by_pair.tolist(), strict=True):
        yield (*names, *numbers)


def _lay_out_pairs(cube: Cube, councils: Sequence[str], side: int) -> Cube:
    """Return one side of all pairs of levels, axis by axis, for a council with itself and for two councils."""
    attribute = cube.selectors[COUNCIL].attribute
    other = councils[min(side, len(councils) - 1)]
    place = Selector.for_groups(attribute, {"same": (councils[0],), "apart": (other,)})
    axes = {COUNCIL: place}
    for name, selector in cube.selectors.items():
        if name != COUNCIL:
            axes[name] = selector.take([pair[side] for pair in product(range(len(selector.rows)), repeat=2)])
    return Cube(axes, cube.where)


def _iter_row_pairs(block: Block) -> Iterator[tuple[str, ...]]:
    """Yield breakdown topic, then breakdown and sex of each row of a pair, in the order of the pairs."""
    for chosen in product(*(product(axis.selections, repeat=2) for axis in block.axes)):
        sides = [
            dict(block.constants)
            | {axis.filter: pair[side].label for axis, pair in zip(block.axes, chosen, strict=True)}
            for side in (0, 1)
        ]
        one, other = sides
        yield one["breakdown_topic"], one["breakdown"], one["sex"], other["breakdown"], other["sex"]

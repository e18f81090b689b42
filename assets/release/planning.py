"""Plans a family: the detail at which each block is measured, and the amount of noise.

Both follow from the table definitions, the councils, their public sizes and the policy alone. A block is broken down by
council unless most of its rows would be unreadable in every council, and in every area made up of councils, at all
plausible shares. In that case it is measured for all councils together, or for regions, or not at all if no row would
be readable there either, so that its share of the budget goes to readable figures. The noisy counts decide where a
row's figure is shown.

`compute_expected_widths` gives the expected widths of the intervals of a plan's figures, from published sizes of
councils times shares, in `SCENARIOS` plausible populations (`sources.reference.published_figures`).
`compute_expected_accuracy` sums that up: how many rates will be published, how wide their intervals will be, and
whether that is worth the budget.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from assets.release import noise_workload
from ndl_export.tables import FAMILIES, Block, Family, Table, TableAttribute
from ndl_export.tables.geography import DEVOLVED, LOCAL_AUTHORITY, Geography
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.rows import Detail, Levels, get_level, iter_rows
from privacy.estimation import intervals
from privacy.estimation.covariance import Covariances
from privacy.release.mechanism import compute_epsilon
from privacy.release.plan import Plan, make_plan
from privacy.release.policy import Policy, Reliability
from privacy.release.workload import Array, Cube, Figures, Selector, list_terms
from sources.reference.places import get_place
from sources.reference.published_figures import Range, estimate_council_size, get_plausible_shares, get_rows_per_child

_MOST = 0.5
"""Least share of a block's rows that must be readable in some area for it to be broken down by council."""


def plan_family(family: str, councils: Sequence[str], policy: Policy) -> Plan:
    """Return the plan of a family, from the table definitions, the councils and the policy alone."""
    return _plan_family(family, tuple(councils), policy)


@lru_cache(maxsize=32)
def _plan_family(name: str, councils: tuple[str, ...], policy: Policy) -> Plan:
    family, readable = FAMILIES[name], policy.reliability.unreliable_half_width
    places = {id(block): place for place, (_, block) in enumerate(noise_workload.list_blocks(family))}
    fewest = min(len(block.axes) for _, block in noise_workload.list_blocks(family) if block.measured)
    together, left_out = set[int](), set[int]()
    # at the full detail of the definitions, budget would go to rows that nobody can read: 14% of the pilot's 10,432
    # rates were usable
    while True:
        measured = noise_workload.build_noise_family(family, councils, policy, together, left_out)
        plan = make_plan(measured, policy.get_rho(name), delta=policy.delta)
        widths = compute_expected_widths(plan, councils, policy.reliability)
        weighed = {places[id(each.block)]: each for each in widths if each.block.measured and not each.block.everywhere}
        too_detailed = {
            p: each
            for p, each in weighed.items()
            if p not in together and _is_unreadable_by_council(each, plan, readable)
        }
        # no row is readable anywhere; the least detailed blocks of a family always stay
        unread = {
            p: each
            for p, each in weighed.items()
            if p not in left_out
            and len(each.block.axes) > fewest
            and not intervals.is_within(each.narrowest, readable).any()
        }
        # a block loses its breakdown by council before it is left out: it may still be readable for all together
        if too_detailed:
            together |= _select_most_detailed(too_detailed)
        elif unread:
            left_out |= _select_most_detailed(unread)
        else:
            return replace(plan, detail=_build_detail(family, widths).build_document())


def _select_most_detailed(unreadable: Mapping[int, "Widths"]) -> set[int]:
    """Return the unreadable blocks with the most axes; the others may become readable with the budget these free."""
    axes = {place: len(each.block.axes) for place, each in unreadable.items()}
    return {place for place, number in axes.items() if number == max(axes.values())}


def _is_unreadable_by_council(widths: "Widths", plan: Plan, readable: float) -> bool:
    """Return whether a block is broken down by council but mostly unreadable in every council and devolved area."""
    # a single council is the area of all councils together, so there is nothing to merge
    if len(plan.family.get_attribute(COUNCIL).categories) == 1:
        return False
    if not widths.block.councils or not noise_workload.is_measured(widths.block, plan.family, {COUNCIL}):
        return False
    small = [index for index, area in enumerate(widths.areas) if area.level in (LOCAL_AUTHORITY, DEVOLVED)]
    possible = ~np.isnan(widths.middle).all(axis=0)
    read = intervals.is_within(widths.narrowest[small], readable)[:, possible]
    return bool(np.mean(read.any(axis=0)) < _MOST)


def _build_detail(family: Family, widths: Sequence["Widths"]) -> Detail:
    """Return the rows to be published, in each kind of area: those with a readable rate in some plausible cohort.

    Rows of counts alone are published wherever they are measured.
    """
    possible, shown = ({table.name: defaultdict[Levels, set[_Area]](set) for table in family.tables} for _ in range(2))
    for each in widths:
        areas, can_be = [(get_level(area), area.code) for area in each.areas], ~np.isnan(each.middle)
        for found, there in ((possible, can_be), (shown, np.isfinite(each.narrowest) if each.is_rate else can_be)):
            for place, row in np.argwhere(there):
                found[each.table.name][each.levels[row]].add(areas[place])
    return Detail(
        {name: {row: {kind for kind, _ in shown[name][row]} for row in rows} for name, rows in possible.items()},
        {
            name: {row: {code for _, code in areas - shown[name][row]} for row, areas in rows.items()}
            for name, rows in possible.items()
        },
    )


_Area = tuple[str, str]
"""Kind and code of an area."""


@dataclass(frozen=True, eq=False)
class Widths:
    """Expected half-widths of a block; arrays are (areas, rows), NaN if there is no such figure.

    - `levels`: levels of the table's filters; `labels`: names of rows in warnings
    - `counts` in units; `counts` and `denominators` in the middle of the plausible range
    - `judged`: (scenarios, areas, rows), the middle first: half-widths of the rate, or difference of two, in points;
      for a block of counts alone (`is_rate` is false), of the count as a share; infinite if it would be withheld
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

    def select_area(self, area: int) -> Self:
        """Return the half-widths of one area, by its index."""
        counts, denominators = (values[area : area + 1] for values in (self.counts, self.denominators))
        judged = self.judged[:, area : area + 1]
        return replace(self, areas=(self.areas[area],), counts=counts, denominators=denominators, judged=judged)

    @property
    def middle(self) -> Array:
        return np.asarray(self.judged[0])

    @property
    def narrowest(self) -> Array:
        """Least half-widths over all plausible shares, (areas, rows), without the middle: no assumed share counts."""
        return np.asarray(self.judged[1:].min(axis=0))


# a plan for one assumed share fails elsewhere: with 65% of parents assumed and 25% found, none of 59 rates was usable
SCENARIOS = 32
"""Number of populations a plan is judged over: one in the middle of all plausible ranges, the others anywhere."""
# one for each range of `_draw_shares`
_PRIMES = tuple(n for n in range(2, 400) if all(n % d for d in range(2, int(n**0.5) + 1)))

Children = tuple[tuple[str, int], ...]
"""Councils with an expected number of children that replaces the published one."""


def compute_expected_widths(
    plan: Plan, councils: Sequence[str], limits: Reliability, children: Children = ()
) -> list[Widths]:
    """Return the half-widths of every block that has a figure in some area, in order of the definitions."""
    # no width depends on the detail
    return _compute_expected_widths(replace(plan, detail={}), tuple(councils), limits, children)


@lru_cache(maxsize=32)
def _compute_expected_widths(
    plan: Plan, councils: tuple[str, ...], limits: Reliability, children: Children
) -> list[Widths]:
    family = FAMILIES[plan.family.name]
    sizes = _estimate_public_sizes(family, plan.family.get_attribute(COUNCIL).categories, children)
    moments = ExpectedMoments(plan, sizes)
    blocks = (
        (*each, noise_workload.build_block_figures(each[1], plan.family, councils))
        for each in noise_workload.list_blocks(family)
    )
    return [
        _compute_block_widths(table, block, figures, moments, limits)
        for table, block, figures in blocks
        if figures is not None
    ]


def _compute_block_widths(
    table: Table,
    block: Block,
    figures: noise_workload.BlockFigures,
    moments: "ExpectedMoments",
    limits: Reliability,
) -> Widths:
    rows = list(iter_rows(table, block))
    possible = np.array([is_possible for *_, is_possible in rows])
    flat = (len(figures.areas), len(rows))

    def show(values: Array) -> Array:
        return np.where(possible, values.reshape(-1, *flat), np.nan)

    nothing = np.full(flat, np.nan)
    rate, taken_off = figures.judged_by[0]
    if taken_off is None:
        largest = float(len(block.judged_by[0].parts))
        found = intervals.compute_published_ratios(moments, *rate, limits, largest=largest, unit=100 / largest)
    else:
        found = intervals.compute_rate_differences(moments, rate, taken_off, limits)
    constants = [label for label in block.constants.values() if label not in ("Total", table.title)]
    return Widths(
        table,
        block,
        figures.areas,
        tuple(levels for levels, *_ in rows),
        tuple(" / ".join([*constants, *(level.label for level in chosen)]) or "Total" for _, chosen, _ in rows),
        nothing if block.differs else show(intervals.compute_count_half_widths(moments, figures.base))[0],
        bool(block.ratios),
        nothing if taken_off else show(moments.compute_values(rate[1]))[0],
        show(found.half_width),
    )


@dataclass(frozen=True, eq=False)
class Sizes:
    """Expected rows of each council, (..., councils), and shares by attribute, (..., councils, categories)."""

    rows: Array
    shares: Mapping[str, Array]

    def compute_values(self, figures: Figures) -> Array:
        """Return the expected rows of each figure, as if attributes were independent; the shape of `figures` last."""
        return np.sum([coefficient * self._compute_cube(cube) for coefficient, cube in list_terms(figures)], axis=0)

    def _compute_cube(self, cube: Cube) -> Array:
        found, council = self.rows, self.rows.ndim - 1
        for name, selector in cube.where.items():
            found = found * (selector.matrix[0] if name == COUNCIL else self.shares[name] @ selector.matrix[0])
        for name, selector in cube.selectors.items():
            if name != COUNCIL:
                levels = self.shares[name] @ selector.matrix.T
                flat = [1] * (found.ndim - council - 1)
                found = found[..., None] * levels.reshape(*levels.shape[: council + 1], *flat, -1)
        if COUNCIL not in cube.selectors:
            return np.asarray(found.sum(axis=council))
        by_area = np.tensordot(cube.selectors[COUNCIL].matrix, found, axes=(1, council))
        return np.moveaxis(by_area, 0, council + [*cube.selectors].index(COUNCIL))

    def compute_share(self, attribute: str, categories: list[int]) -> float:
        """Return the share of all rows in any of the categories, given by their indices in the domain."""
        return float(self.rows @ self.shares[attribute][:, categories].sum(axis=1) / max(self.rows.sum(), 1.0))


class ExpectedMoments(Covariances):
    """Moments of figures not measured yet: public sizes of groups, with the noise of a plan."""

    def __init__(self, plan: Plan, sizes: Sizes) -> None:
        super().__init__(plan)
        self._sizes = sizes

    def compute_values(self, figures: Figures) -> Array:
        return self._sizes.compute_values(figures)


class _PlausibleShares(dict[str, Array]):
    """Shares of an attribute's categories, (scenarios, councils, categories), drawn when first used."""

    def __init__(self, family: Family, councils: tuple[str, ...]) -> None:
        self._family, self._councils = family, councils

    def __missing__(self, name: str) -> Array:
        ranges = [_list_ranges(self._family.get_attribute(name), council) for council in self._councils]
        self[name] = np.stack([_draw_shares(name, each) for each in ranges], axis=1)
        return self[name]


@lru_cache(maxsize=32)
def _estimate_public_sizes(family: Family, councils: tuple[str, ...], children: Children) -> Sizes:
    """Return the public sizes of a family in every scenario."""
    known = dict(children)
    sizes = np.array([known.get(council, estimate_council_size(council)) for council in councils])
    return Sizes(draw_rows_per_child(family)[:, None] * sizes, _PlausibleShares(family, councils))


def estimate_counts(plan: Plan) -> dict[tuple[str, ...], NDArray[np.int64]]:
    """Return made-up counts of a plan's marginals: public sizes in the middle of their ranges, rounded."""
    name, councils = plan.family.name, plan.family.get_attribute(COUNCIL).categories
    public = _estimate_public_sizes(FAMILIES[name], councils, ())
    sizes = Sizes(public.rows[0], {each.name: public.shares[each.name][0] for each in FAMILIES[name].attributes})
    attribute = plan.family.get_attribute
    cubes = {names: Cube({each: Selector.for_each(attribute(each)) for each in names}) for names in plan.sigmas}
    return {names: np.rint(sizes.compute_values(cube)).astype(np.int64) for names, cube in cubes.items()}


def draw_rows_per_child(family: Family) -> Array:
    return _draw_shares(family.name, (get_rows_per_child(family.name),))[:, 0]


@lru_cache(maxsize=4096)
def _list_ranges(attribute: TableAttribute, council: str) -> tuple[Range, ...]:
    return tuple(
        get_plausible_shares(attribute.name, attribute.label, attribute.categories, get_place(council)).values()
    )


@lru_cache(maxsize=4096)
def _draw_shares(name: str, ranges: tuple[Range, ...]) -> Array:
    """Return shares, (scenarios, ranges): the middle of each range, then anywhere in it; alike in all councils."""
    # fractional parts of multiples of square roots of primes fill the ranges evenly, alike on every platform; the
    # checksum of the name gives each attribute its own starting point, the same in every process
    steps = (
        np.sqrt(np.array(_PRIMES)[: len(ranges)]) * np.arange(SCENARIOS)[:, None] + zlib.crc32(name.encode()) / 2**32
    )
    at = np.where(np.arange(SCENARIOS)[:, None] == 0, 0.5, steps % 1)
    least, middle, most = (np.array([getattr(each, end) for each in ranges]) for end in ("least", "middle", "most"))
    shares = np.where(at < 0.5, least + (middle - least) * 2 * at, middle + (most - middle) * (2 * at - 1))
    return shares / shares.sum(axis=1, keepdims=True) if len(ranges) > 1 else shares


LeastAndMost = tuple[int, int]


class NotAccurateEnough(Exception):
    """A plan that is not expected to be worth its budget under the policy; nothing was charged."""


def compute_expected_accuracy(
    councils: Sequence[str], policy: Policy, children: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return the plan and expected accuracy of every table, JSON-ready; `children` replace published numbers.

    `policy` has the share of the split that the release spends.
    """
    return _compute_expected_accuracy(tuple(councils), policy, tuple(sorted((children or {}).items())))


# a release writes the page with these numbers once for each family it measures
@lru_cache(maxsize=4)
def _compute_expected_accuracy(councils: tuple[str, ...], policy: Policy, children: Children) -> dict[str, Any]:
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    widths = {
        family: compute_expected_widths(plan, councils, policy.reliability, children) for family, plan in plans.items()
    }
    tables = {
        table: list(found)
        for own in widths.values()
        for table, found in groupby(own, key=lambda widths: widths.table.name)
    }
    limits = policy.reliability
    return {
        "councils": list(councils),
        "cap_rho": {unit: account.cap_rho for unit, account in policy.accounts.items()},
        "delta": policy.delta,
        "families": [
            {
                "family": family,
                "rho": plan.rho,
                "epsilon": compute_epsilon(plan.rho, policy.delta),
                "plan_sha256": plan.sha256,
                "measured_marginals": len(plan.sigmas),
            }
            for family, plan in plans.items()
        ],
        "minimum_accuracy": [_compare_with_minimum(family, found, policy) for family, found in widths.items()],
        "by_table": [{"table": name} | _compute_outlook(found, limits) for name, found in tables.items()],
        "warnings": [line for name, found in tables.items() for line in _iter_warnings(name, found, limits)],
        "tables": [area for name, found in tables.items() for area in _summarise_by_area(name, found, limits)],
    }


def check_accuracy(family: str, plan: Plan, councils: Sequence[str], policy: Policy) -> None:
    """Raise `NotAccurateEnough` if the plan is not expected to meet the policy's minimum accuracy."""
    wanted = policy.minimum_accuracy[family]
    found = _compare_with_minimum(family, compute_expected_widths(plan, councils, policy.reliability), policy)
    if not found["met"]:
        raise NotAccurateEnough(
            f"the tables of {family} are not worth their budget: of the {found['rates']} rates that they define, at"
            f" most {found['share_accurate']:.0%} can be expected within {wanted.half_width_points:g} points, and the"
            f" policy asks for {wanted.share_of_rates:.0%}; `readiness plan` shows which"
        )


def _compute_outlook(widths: Sequence[Widths], limits: Reliability) -> dict[str, Any]:
    """Return how many defined rates will be published, and how many usable."""
    judged = [each.judged for each in widths if each.is_rate]
    # in each scenario; the least and the most of any are returned
    published = np.sum([np.isfinite(each).sum(axis=(1, 2)) for each in judged], axis=0)
    usable = np.sum(
        [intervals.is_within(each, limits.unreliable_half_width).sum(axis=(1, 2)) for each in judged], axis=0
    )
    return {
        "rates": sum(int((~np.isnan(each[0])).sum()) for each in judged),
        "published": [int(np.min(published)), int(np.max(published))],
        "usable": [int(np.min(usable)), int(np.max(usable))],
    }


def _compare_with_minimum(family: str, widths: Sequence[Widths], policy: Policy) -> dict[str, Any]:
    """Return a family's share of accurate rates, at the most favourable plausible shares, against the minimum."""
    wanted = policy.minimum_accuracy[family]
    judged = [each.judged for each in widths if each.is_rate]
    rates = sum(int((~np.isnan(each[0])).sum()) for each in judged)
    accurate = sum(intervals.is_within(each, wanted.half_width_points).sum(axis=(1, 2)) for each in judged)
    share = float(np.max(accurate)) / rates if rates else 0.0
    met = share >= wanted.share_of_rates
    return {"family": family, "rates": rates, "share_accurate": round(share, 4), "met": met}


def _iter_warnings(table: str, widths: Sequence[Widths], limits: Reliability) -> Iterator[dict[str, Any]]:
    """Yield rows marked `everywhere` that will be unreliable or withheld in at least half of their councils."""
    for each in (each for each in widths if each.is_rate and each.block.everywhere):
        at_councils = [index for index, area in enumerate(each.areas) if area.level == LOCAL_AUTHORITY]
        for row, label in enumerate(each.labels):
            half_widths, denominators = each.middle[at_councils, row], each.denominators[at_councils, row]
            councils = int((~np.isnan(half_widths)).sum())
            withheld = int(np.isinf(half_widths).sum())
            usable = int(intervals.is_within(half_widths, limits.unreliable_half_width).sum())
            if councils and 2 * usable <= councils:
                yield {
                    "table": table,
                    "rows": label,
                    "denominator": round(float(np.nanmedian(denominators)), 1),
                    "councils": councils,
                    "flagged_unreliable": councils - usable - withheld,
                    "withheld": withheld,
                }


def _summarise_by_area(table: str, widths: Sequence[Widths], limits: Reliability) -> Iterator[dict[str, Any]]:
    """Yield how much of a table is published in each area, with median half-widths at the middle of the range."""
    for area in {area.name: area for each in widths for area in each.areas}.values():
        own = [each.select_area(each.areas.index(area)) for each in widths if area in each.areas]
        yield _summarise_area(table, area, own, limits)


def _summarise_area(table: str, area: Geography, widths: Sequence[Widths], limits: Reliability) -> dict[str, Any]:
    counts = np.concatenate([each.counts.ravel() for each in widths])
    rates = [each.middle[np.isfinite(each.middle)] for each in widths if each.is_rate]
    # `concatenate` refuses an empty list, which a table of counts alone would give
    count_widths, rate_widths = counts[~np.isnan(counts)], np.concatenate([*rates, np.zeros(0)])
    return {
        "table": table,
        "area": area.name,
        "level": get_level(area),
        "council": area.councils[0] if area.level == LOCAL_AUTHORITY else None,
        "figures": len(count_widths),
        **_compute_outlook(widths, limits),
        "median_count_half_width": round(float(np.median(count_widths)), 1) if count_widths.size else None,
        "median_rate_half_width": round(float(np.median(rate_widths)), 2) if rate_widths.size else None,
    }

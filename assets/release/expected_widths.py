"""How wide the intervals of a plan's figures will be, worked out from public sizes before any data is read.

Denominators are the published size of each council's cohort times the share that the definition assumes of each level,
or else what is published for the council, or for England; where there is neither, levels are taken as equally common.
Rates are the published ones, or a half, which is the widest. Nothing confidential goes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from assets.release.noise_workload import BlockFigures, Rate, block_figures, blocks_of
from ndl_export.tables import FAMILIES, Attribute, Block, Family, Table
from ndl_export.tables.detail import Levels
from ndl_export.tables.geography import Geography
from ndl_export.tables.model import UNKNOWN, Count, Ratio
from privacy.release.covariance import Covariances
from privacy.release.intervals import expected_difference_half_widths, expected_half_widths, expected_rate_half_widths
from privacy.release.plan import Plan
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY, place
from sources.reference.profile_results import PUBLISHED_COHORT, SEX, TOTAL, children_by, council_size, shares

Array = NDArray[np.float64]

_UNKNOWN_RATE = 0.5


@dataclass(frozen=True, eq=False)
class Widths:
    """Expected half-widths of a block; arrays are (areas, rows), NaN where there is no such figure.

    `levels` are those of the table's filters, `labels` what a warning calls the row. Counts in units; rates, or
    differences of rates, in points, and with their denominators; `judged` is what decides where a row is published.
    """

    table: Table
    block: Block
    areas: tuple[Geography, ...]
    levels: tuple[Levels, ...]
    labels: tuple[str, ...]
    counts: Array
    rates: Array
    denominators: Array
    judged: Array


def expected_widths(plan: Plan, councils: Sequence[str]) -> list[Widths]:
    """The half-widths of every block that has a figure in some area, in order of the definitions."""
    return _expected_widths(replace(plan, detail={}), tuple(councils))  # which no width depends on


@lru_cache(maxsize=32)
def _expected_widths(plan: Plan, councils: tuple[str, ...]) -> list[Widths]:
    return widths_of(blocks_of(FAMILIES[plan.family.name]), plan, councils)


def widths_of(blocks: Iterable[tuple[Table, Block]], plan: Plan, councils: Sequence[str]) -> list[Widths]:
    """The half-widths of blocks, each with its table, that have a figure in some area."""
    covariances = Covariances(plan)
    found = ((table, block, block_figures(block, plan.family, councils)) for table, block in blocks)
    return [_widths(table, block, figures, covariances) for table, block, figures in found if figures is not None]


def _widths(table: Table, block: Block, figures: BlockFigures, covariances: Covariances) -> Widths:
    chosen = [tuple(level.label for level in levels) for levels in product(*(axis.selections for axis in block.axes))]
    possible = np.array([levels not in block.structural_zeros for levels in chosen])
    flat = (len(figures.areas), len(chosen))

    def shown(values: Array) -> Array:
        return np.where(possible, values.reshape(flat), np.nan)

    nothing = np.full(flat, np.nan)
    judged, denominators = zip(
        *(
            (shown(width), nothing if ratio.taken_off else shown(of))
            for ratio, rates in zip(block.judged_by, figures.judged_by, strict=True)
            for width, of in [_ratio(table, block, figures.areas, ratio, rates, covariances)]
        ),
        strict=True,
    )
    is_rate = [len(ratio.parts) == 1 for ratio in block.ratios.values()]
    constants = [label for label in block.constants.values() if label not in ("Total", table.title)]
    by_filter = [dict(block.constants) | dict(zip((a.filter for a in block.axes), c, strict=True)) for c in chosen]
    return Widths(
        table,
        block,
        figures.areas,
        tuple(tuple(levels[each.name] for each in table.filters) for levels in by_filter),
        tuple(" / ".join([*constants, *levels]) or "Total" for levels in chosen),
        nothing if block.differs else shown(expected_half_widths(covariances, figures.base)),
        judged[0] if any(is_rate) else nothing,
        denominators[0] if any(is_rate) else nothing,
        judged[0],
    )


def _ratio(
    table: Table,
    block: Block,
    areas: tuple[Geography, ...],
    ratio: Ratio,
    rates: tuple[Rate, Rate | None],
    covariances: Covariances,
) -> tuple[Array, Array]:
    """Half-width in points, and denominator, of a rate or of a difference of two."""
    size = _expected(table, block, ratio.whole, areas)
    rate, taken_off = rates
    public = np.full(size.shape, _public_rate(ratio))
    if taken_off is None or ratio.taken_off is None:
        return expected_rate_half_widths(covariances, *rate, size, public), size
    sizes = (size, _expected(table, block, ratio.taken_off.whole, areas))
    return expected_difference_half_widths(covariances, (rate, taken_off), sizes, (public, public)), size


def _public_rate(ratio: Ratio) -> float:
    attributes = {attribute for part in ratio.parts for attribute, _ in part.groups}
    return _public_gld_rate() if "gld" in attributes else _UNKNOWN_RATE


def _expected(table: Table, block: Block, count: Count, areas: Sequence[Geography]) -> Array:
    """What is expected of a count by public figures, (areas, *levels): the sum of what is expected of each council."""
    family = FAMILIES[table.family]
    councils = tuple(dict.fromkeys(council for area in areas for council in area.councils))
    expected = np.array([expected_rows(family, [council]) for council in councils])
    for attribute, categories in count.groups:
        expected = expected * _shares(family, attribute, (categories,), councils)[:, 0]
    for axis in block.axes:
        levels = tuple(axis.whole if axis.filter == count.over else level.categories for level in axis.selections)
        of_levels = _shares(family, axis.attribute, levels, councils)
        expected = expected[..., None] * of_levels.reshape(len(councils), *[1] * (expected.ndim - 1), -1)
    inside = np.array([[council in area.councils or count.all_together for council in councils] for area in areas])
    return np.asarray(np.tensordot(inside.astype(np.float64), expected, axes=1))


def expected_rows(family: Family, councils: Sequence[str]) -> float:
    """Rows of the family's confidential table that are expected of these councils."""
    return family.rows_per_child * sum(council_size(council) for council in councils)


@lru_cache(maxsize=512)
def _shares(
    family: Family, attribute: str, levels: tuple[tuple[str, ...] | None, ...], councils: tuple[str, ...]
) -> Array:
    """(councils, levels): share of each level of an attribute among a council's rows."""
    domain = family.attribute(attribute)
    known = [public_shares(domain, council) for council in councils]
    chosen = [domain.categories if categories is None else categories for categories in levels]
    return np.array([[sum(shares_of[category] for category in each) for each in chosen] for shares_of in known])


def _public_gld_rate() -> float:
    return float(children_by(SEX)[COUNTRY[0], PUBLISHED_COHORT][TOTAL]["gld_children_percent"]) / 100


@cache
def public_shares(attribute: Attribute, council: str) -> dict[str, float]:
    """Share of each category in a council: what the definition assumes, or what is published for the council or else
    for England; equal shares where there is neither. Of nobody an attribute is taken to be unknown."""
    if attribute.shares:
        return dict(zip(attribute.categories, attribute.shares, strict=True))
    categories = [category for category in attribute.categories if category != UNKNOWN]
    found = shares(place(council), Cohort(PUBLISHED_COHORT), attribute.label, categories)
    known = {category: found[category].value if found else 1 / len(categories) for category in categories}
    return {category: known.get(category, 0.0) for category in attribute.categories}

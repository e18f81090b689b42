"""Whether the tables of a family agree: one number for one set of children, wherever it is published.

Works on the unbiased estimates. These must hold up to rounding error: the same children counted in two rows or tables
give the same number; the categories of an attribute add up to the number they split; the areas add up. That holds of
children as they were linked, and once corrected for linkage error, each for itself. As they were linked, shared totals
of different attributes agree too; corrected, they agree within their intervals, as each attribute is corrected by
itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.tables import FAMILIES, Family
from ndl_export.tables.geography import Geography
from ndl_export.tables.rows import Children, Layout
from ndl_export.tables.schema import ColumnRole, column_name

TOLERANCE = 1e-5
"""Largest difference between two sums of estimates that is put down to rounding, in rows of the child table."""

Sums = dict[Children, NDArray[np.float64]]
"""Estimate by children counted: (areas,), NaN where not published for the area."""

Splits = dict[tuple[Children, str], list[frozenset[str]]]
"""Sets of categories, smallest first, by which a number is published further split: by (children, attribute)."""


def disagreements(tables: Mapping[str, pa.Table], layouts: Mapping[str, Layout]) -> Iterator[tuple[str, str]]:
    """(table or family, what disagrees), for ordered tables of one release and their layouts, both by table name."""
    for family in FAMILIES.values():
        of_family = [name for name, rows in layouts.items() if rows.table.family == family.name and name in tables]
        for period in layouts[of_family[0]].cohorts if of_family else ():
            present = [name for name in of_family if period in layouts[name].cohorts]
            own = {name: layouts[name].of(period) for name in present}
            data = {name: tables[name].filter(pc.equal(tables[name]["time_period"], period)) for name in present}
            for as_linked in (False, True):
                sums: Sums = {}
                for name in present:
                    for counted, values in _estimates(data[name], own[name], as_linked):
                        known = sums.get(counted)
                        sums[counted] = values if known is None else np.where(np.isnan(known), values, known)
                        if known is not None and not _equal(known, values):
                            yield name, f"{period}: {_named(counted)} differs from the same number elsewhere"
                splits = _splits(sums)
                yield from (
                    (family.name, f"{period}: {fault}")
                    for fault in (
                        *_unequal_parts(sums, splits, family),
                        *(_unequal_shared(sums, splits, family) if as_linked else ()),
                        *(_unequal_areas(sums, own[present[0]].areas) if sums else ()),
                    )
                )


def _estimates(data: pa.Table, layout: Layout, as_linked: bool) -> Iterator[tuple[Children, NDArray[np.float64]]]:
    """Every count of a table of one cohort, as (children counted, estimate by area): of children as they were linked,
    or every other."""
    grid = np.full((len(layout.areas), len(layout.rows)), np.nan)
    for measure in layout.table.measures:
        if measure.is_count and measure.as_linked == as_linked:
            grid[layout.area_of, layout.row_of] = data[column_name(measure, ColumnRole.ESTIMATE)].to_numpy()
            for index, row in enumerate(layout.rows):
                if measure.name in row.counts:
                    yield row.counts[measure.name], grid[:, index].copy()


def _splits(sums: Sums) -> Splits:
    splits: Splits = {}
    for counted in sums:
        for name, categories in counted:
            splits.setdefault((counted - {(name, categories)}, name), []).append(categories)
    return {key: sorted(found, key=lambda categories: (len(categories), *categories)) for key, found in splits.items()}


def _unequal_parts(sums: Sums, splits: Splits, family: Family) -> Iterator[str]:
    """Numbers that differ from the sum over one attribute's categories, where all of these are published."""
    domains = {attribute.name: frozenset(attribute.categories) for attribute in family.attributes}
    for whole, name in splits:
        total = _sum_over(sums, splits, whole, name, domains[name])
        if whole in sums and total is not None and not _equal(total, sums[whole]):
            yield f"{_named(whole)} is not the sum over {name}"


def _unequal_shared(sums: Sums, splits: Splits, family: Family) -> Iterator[str]:
    """Shared totals of two attributes that differ, where both sides are published."""
    for shared in family.shared_totals:
        for category in (None, *family.attribute(shared.within).categories):
            within: Children = frozenset({(shared.within, frozenset({category}))} if category else ())
            left, right = (
                _sum_over(sums, splits, within, name, frozenset(categories))
                for name, categories in (shared.left, shared.right)
            )
            if left is not None and right is not None and not _equal(left, right):
                yield f"it does not hold that {shared.description}"


def _sum_over(
    sums: Sums, splits: Splits, whole: Children, name: str, categories: frozenset[str]
) -> NDArray[np.float64] | None:
    """Sum of the numbers that split `whole` by `name`, over `categories`; None where not all are published."""
    total, left = np.zeros(()), categories
    for chosen in splits.get((whole, name), ()):
        if chosen <= left:
            total, left = total + sums[whole | {(name, chosen)}], left - chosen
    return None if left else total


def _unequal_areas(sums: Sums, areas: Sequence[Geography]) -> Iterator[str]:
    """Numbers of areas that differ from the sum over their councils."""
    councils = {area.councils[0]: index for index, area in enumerate(areas) if len(area.councils) == 1}
    counted, values = list(sums), np.array(list(sums.values()))
    for index, area in enumerate(areas):
        inside = [councils[council] for council in area.councils]
        differs = np.abs(values[:, inside].sum(axis=1) - values[:, index]) > TOLERANCE
        for position in np.flatnonzero(differs):
            yield f"{_named(counted[position])} of {area.name} is not the sum of its councils"


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> bool:
    """Equal where both are published."""
    return not (np.abs(left - right) > TOLERANCE).any()


def _named(counted: Children) -> str:
    if not counted:
        return "the number of all"
    return "the number with " + ", ".join(
        f"{name} = {' or '.join(sorted(categories))}" for name, categories in sorted(counted, key=str)
    )

"""Whether the tables of a family agree: one number for one set of children, wherever it is published.

Works on the unbiased estimates. Three things must hold up to rounding error: the same children counted in two rows or
tables give the same number; the categories of an attribute add up to the number they split; the areas add up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ndl_export.geography import Geography
from ndl_export.rows import Children, Layout
from ndl_export.schema import Role, column_name
from ndl_export.tables import FAMILIES, Family, MeasureKind

TOLERANCE = 1e-5
"""Largest difference between two sums of estimates that is put down to rounding, in rows of the child table."""

Sums = dict[Children, NDArray[np.float64]]
"""Estimate by children counted: (areas,), NaN where not published for the area."""


def disagreements(tables: Mapping[str, pa.Table], layouts: Mapping[str, Layout]) -> Iterator[tuple[str, str]]:
    """(table, what disagrees), for ordered tables of one release and their layouts, both by table name."""
    for family in FAMILIES.values():
        present = [table.name for table in family.tables if table.name in tables]
        for period in layouts[present[0]].cohorts if present else ():
            sums: Sums = {}
            for name in present:
                for counted, values in _estimates(tables[name], layouts[name], period):
                    known = sums.get(counted)
                    sums[counted] = values if known is None else np.where(np.isnan(known), values, known)
                    if known is not None and not _equal(known, values):
                        yield name, f"{period}: {_named(counted)} differs from the same number elsewhere"
            areas = layouts[present[0]].areas
            for fault in (*_unequal_parts(sums, family), *_unequal_areas(sums, areas)):
                yield family.tables[0].name, f"{period}: {fault}"


def _estimates(data: pa.Table, layout: Layout, period: str) -> Iterator[tuple[Children, NDArray[np.float64]]]:
    """Every count of a table in one cohort, as (children counted, estimate by area)."""
    chosen = layout.cohort_of == layout.cohorts.index(period)
    grid = np.full((len(layout.areas), len(layout.rows)), np.nan)
    for measure in layout.table.measures:
        if measure.kind is MeasureKind.COUNT:
            estimates = data[column_name(measure, Role.ESTIMATE)].to_numpy()
            grid[layout.area_of[chosen], layout.row_of[chosen]] = estimates[chosen]
            for index, row in enumerate(layout.rows):
                if measure.name in row.counts:
                    yield row.counts[measure.name], grid[:, index].copy()


def _unequal_parts(sums: Sums, family: Family) -> Iterator[str]:
    """Numbers that differ from the sum over one attribute's categories, where all of these are published."""
    domains = {attribute.name: attribute.categories for attribute in family.attributes}
    wholes = {
        (counted - {(name, categories)}, name)
        for counted in sums
        for name, categories in counted
        if len(categories) == 1
    }
    for whole, name in sorted(wholes, key=lambda pair: (_named(pair[0]), pair[1])):
        parts = [whole | {(name, frozenset({category}))} for category in domains[name]]
        if whole in sums and all(part in sums for part in parts):
            total = np.sum([sums[part] for part in parts], axis=0)
            if not _equal(total, sums[whole]):
                yield f"{_named(whole)} is not the sum over {name}"


def _unequal_areas(sums: Sums, areas: Sequence[Geography]) -> Iterator[str]:
    """Numbers of areas that differ from the sum over their councils."""
    councils = {area.councils[0]: index for index, area in enumerate(areas) if len(area.councils) == 1}
    for index, area in enumerate(areas):
        inside = [councils[council] for council in area.councils]
        for counted, values in sums.items():
            if not _equal(values[inside].sum(), values[index]):
                yield f"{_named(counted)} of {area.name} is not the sum of its councils"


def _equal(left: NDArray[np.float64], right: NDArray[np.float64]) -> bool:
    """Equal where both are published."""
    return not (np.abs(left - right) > TOLERANCE).any()


def _named(counted: Children) -> str:
    if not counted:
        return "the number of all"
    return "the number with " + ", ".join(
        f"{name} = {' or '.join(sorted(categories))}" for name, categories in sorted(counted, key=str)
    )

"""The published percentages of a cohort, each with the counts that it is made of and its interval."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from assets.release.noise_workload import block_figures
from assets.release.tabulate import positions
from ndl_export.tables import Measure, MeasureKind, Table
from ndl_export.tables.rows import Layout
from ndl_export.tables.schema import WITH_INTERVAL, column_name
from privacy.estimation.intervals import Moments
from privacy.release import workload as noise
from privacy.release.workload import Array, Cube
from privacy.synthetic.repair import Rates


@dataclass(frozen=True, eq=False)
class PublishedRates:
    """Percentages of a block of a table, as fractions of one shape: the figures, and with their intervals what they are
    rates of. NaN for those that are not published, or of a group smaller than asked for."""

    table: Table
    measure: Measure
    value: Array
    rates: Rates


def published_rates(
    of: Sequence[Table],
    measured: noise.Family,
    moments: Moments,
    tables: Mapping[str, pa.Table],
    layouts: Mapping[str, Layout],
    councils: Sequence[str],
    absent: Collection[str],
    smallest: int,
) -> Iterator[PublishedRates]:
    """Those `of` tables of one family, of groups that the release estimates at `smallest` or more. `tables` and
    `layouts` are those of one cohort, `measured` is the family as that was planned, and the councils that are `absent`
    have sent nothing of it."""
    for table in of:
        layout, published = layouts[table.name], tables[table.name]
        for block in table.blocks:
            if (figures := block_figures(block, measured, councils, absent)) is None:
                continue
            places = positions(layout, block, figures.areas).reshape(figures.base.shape)
            for name, ((part, whole), taken_off) in figures.ratios.items():
                measure = table.measure(name)
                if measure.kind is not MeasureKind.PERCENT or taken_off or not isinstance(part, Cube):
                    continue
                large = (places >= 0) & (moments.values(whole) >= smallest)
                columns = (published[column_name(measure, role)] for role in WITH_INTERVAL)
                value, lower, upper = (_laid(column, places, large) for column in columns)
                shown = ~np.isnan(value)
                rates = Rates(part, whole, *(np.where(shown, bound, np.nan) for bound in (lower, upper)))
                if shown.any():
                    yield PublishedRates(table, measure, value, rates)


def _laid(column: pa.ChunkedArray, places: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Array:
    """A column of percentages laid out as fractions; NaN where none is wanted, or none is there."""
    values: Array = column.to_numpy() / 100
    return np.where(wanted, values[places], np.nan)

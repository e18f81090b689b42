"""How many figures of each table a release is expected to publish, for the page that people read before they sign.

Before the measurement it follows from public figures and the noise plan, afterwards from the flags in the bundle.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from assets.linkage.inputs import PROFILE
from assets.release.planning import LeastAndMost, compute_expected_accuracy
from assets.release.record import CohortRecord, ReleaseRecord
from assets.release.release import CohortRelease, Release
from assets.release.requests.register import read_known
from assets.release.taken_extracts import (
    iter_expectations,
)
from ndl_export.facts.on_request import RequestedTable
from ndl_export.tables import TABLES
from ndl_export.tables.geography import ALL_TOGETHER
from ndl_export.tables.schema import ColumnRole, Flag, get_column_name
from privacy.estimation.intervals import UNRELIABLE, WITHHELD


@dataclass(frozen=True)
class Usable:
    """Numbers of rates in a table: all that it defines and, as (least, most), those published and those usable."""

    title: str
    rates: int
    published: LeastAndMost
    usable: LeastAndMost
    half_width: float | None
    """Median half-width, in points, of the published rates in the middle of the plausible range."""
    detail: str = ""
    """The detail at which the plan defines the rates, in words."""


def iter_expected(release: Release, record: ReleaseRecord) -> Iterator[Usable]:
    """Yield the expected figures by table, from public figures alone, then those of every requested table."""
    # the first cohort alone, because the others have the same plan
    for cohort in record.measured[:1]:
        store = release.home.get_cohort(cohort)
        # the operator's expected numbers of Profiles, for councils where they differ from the published ones
        expected = iter_expectations(store)
        children = {council: number for source, council, number, _ in expected if source == PROFILE}
        policy = release.get_cohort(cohort).load_policy()
        found = compute_expected_accuracy(record[cohort].councils, policy, children)
        areas = {name: list(of_table) for name, of_table in groupby(found["tables"], key=itemgetter("table"))}
        for line in found["by_table"]:
            own = areas[line["table"]]
            widths = [row["median_rate_half_width"] for row in own if row["median_rate_half_width"] is not None]
            half_width = median(widths) if widths else None
            published, usable = tuple(line["published"]), tuple(line["usable"])
            title = TABLES[line["table"]].title
            yield Usable(title, line["rates"], published, usable, half_width, _describe_areas(own))
    for cohort, entry in record.items():
        for table in ReleaseRecord(record.version, {cohort: entry}).answers:
            yield _estimate_requested(release.get_cohort(cohort), entry, table)


def _estimate_requested(part: CohortRelease, entry: CohortRecord, requested: RequestedTable) -> Usable:
    """Return the expected figures of a requested table, given everything that will have been measured by then."""
    found = read_known(part, entry).estimate(requested)
    assert found is not None  # the plan was made for the table, or the table followed from known counts
    unreliable, withheld = (int((found.flags == flag).sum()) for flag in (UNRELIABLE, WITHHELD))
    published, usable = found.flags.size - withheld, found.flags.size - withheld - unreliable
    about, half_width = f"cohort {part.cohort}, for {requested.asked_by}", float(np.median(found.half_widths))
    return Usable(requested.table.title, found.flags.size, (published, published), (usable, usable), half_width, about)


def iter_published(bundle: Path) -> Iterator[Usable]:
    """Yield the figures by table, from the flags in the bundle, which are computed from noisy figures alone."""
    for name, table in TABLES.items():
        # counts are never withheld, so their flags say nothing about how much of a table can be used
        columns = [get_column_name(measure, ColumnRole.FLAG) for measure in table.measures if not measure.is_count]
        flags = pq.ParquetFile(bundle / f"{name}.parquet").read(columns).to_pydict().values()
        no_figure = (Flag.NOT_APPLICABLE, Flag.NOT_AVAILABLE)
        if shown := [flag for flag in chain.from_iterable(flags) if flag not in no_figure]:
            published, usable = len(shown) - shown.count(Flag.WITHHELD), shown.count(None)
            yield Usable(table.title, len(shown), (published, published), (usable, usable), None)


def _describe_areas(areas: Sequence[dict[str, Any]]) -> str:
    """Return the number of rates of a table in words: for all councils together, for areas of several, for councils."""
    together = sum(row["rates"] for row in areas if row["level"] == ALL_TOGETHER)
    councils = [row["rates"] for row in areas if row["council"] is not None]
    larger = [row["rates"] for row in areas if row["council"] is None and row["level"] != ALL_TOGETHER]
    counted = ((larger, "area of several", "areas of several"), (councils, "council", "councils"))
    found = [f"{sum(own):,} in {len(own)} {one if len(own) == 1 else more}" for own, one, more in counted if own]
    return ", ".join([f"{together:,} of all together", *found])

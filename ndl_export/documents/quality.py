"""`quality.md`: how good the figures of a release are, and how well its records are linked, from its own figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ndl_export.documents.markdown import bullets, grid
from ndl_export.tables import TABLES, Measure
from ndl_export.tables.geography import CODE_COLUMNS, NAME_COLUMNS
from ndl_export.tables.schema import Flag, Role, column_name
from sources.reference.cohorts import Cohort

LINKAGE_TABLE, LINKED_PERCENT = "linkage_quality", "linked_children_percent"
_SHOWN = (Flag.RELIABLE, Flag.UNRELIABLE, Flag.WITHHELD, Flag.NOT_AVAILABLE)


def reliability_grid(tables: Mapping[str, pa.Table]) -> str:
    """For each table and rate: figures of each flag, and the median half-width of the intervals."""
    return grid(
        (
            "table",
            "figure",
            "reliable",
            "unreliable",
            "withheld",
            "not available",
            "median half-width of the interval",
        ),
        (
            _reliability(name, measure, tables[name])
            for name, table in TABLES.items()
            for measure in table.measures
            if not measure.is_count
        ),
    )


def _reliability(name: str, measure: Measure, data: pa.Table) -> tuple[str, ...]:
    flags = data[column_name(measure, Role.FLAG)]
    numbers = [int(pc.sum(pc.equal(flags, flag.value)).as_py() or 0) for flag in _SHOWN]
    width = pc.subtract(data[column_name(measure, Role.UPPER)], data[column_name(measure, Role.LOWER)]).drop_null()
    return (f"`{name}`", measure.label, *(f"{number:,}" for number in numbers), _half_width(measure, width.to_numpy()))


def _half_width(measure: Measure, widths: NDArray[np.float64]) -> str:
    if not len(widths):
        return ""
    half = float(np.median(widths)) / 2
    return f"{half:.1f} points" if measure.kind.unit else f"{half:.2f} {measure.of}"


def linkage_grid(linkage: pa.Table, cohorts: Collection[str]) -> str:
    """The percentage of children linked to a two-year review, by area and cohort, with its interval."""
    totals = linkage
    for column in ("linked_to_review", "breakdown_topic", "breakdown"):
        totals = totals.filter(pc.equal(totals[column], "Total"))
    if len(cohorts) == 1:
        return grid(("area", "linked, %", "95% interval"), (_linked(row, _area(row)) for row in totals.to_pylist()))
    return grid(
        ("cohort", "area", "linked, %", "95% interval"),
        ((Cohort(row["time_period"]).label, *_linked(row, _area(row))) for row in totals.to_pylist()),
    )


def linkage_gaps(linkage: pa.Table) -> str:
    """For each characteristic, the groups with the lowest and highest percentage linked, in the first area of the
    newest cohort."""
    linkage = linkage.filter(pc.equal(linkage["time_period"], pc.max(linkage["time_period"])))
    level = linkage["geographic_level"][0]
    ours = linkage.filter(pc.equal(linkage["geographic_level"], level))
    ours = ours.filter(
        pc.and_(pc.equal(ours["linked_to_review"], "Total"), pc.not_equal(ours["breakdown_topic"], "Total"))
    )
    ours = ours.filter(pc.is_valid(ours[LINKED_PERCENT]))
    return bullets(_gaps(ours.to_pylist()))


def _gaps(rows: list[dict[str, object]]) -> Iterator[str]:
    for topic in dict.fromkeys(row["breakdown_topic"] for row in rows):
        groups = sorted(
            (row for row in rows if row["breakdown_topic"] == topic), key=lambda row: float(str(row[LINKED_PERCENT]))
        )
        if len(groups) > 1:
            low, high = groups[0], groups[-1]
            yield f"{topic}: from {_told(low)} to {_told(high)}"


def _told(row: Mapping[str, object]) -> str:
    name, percent, interval = _linked(row, str(row["breakdown"]))
    return f"{percent}% ({interval}) of `{name}`"


def _linked(row: Mapping[str, object], name: str) -> tuple[str, str, str]:
    percent, lower, upper = (row[LINKED_PERCENT + suffix] for suffix in ("", "_lower_ci", "_upper_ci"))
    interval = "" if lower is None else f"{lower:.1f} to {upper:.1f}"
    return name, "not shown" if percent is None else f"{percent:.1f}", interval


def _area(row: Mapping[str, object]) -> str:
    level = str(row["geographic_level"])
    return str(row[NAME_COLUMNS[level]]) if level in CODE_COLUMNS else level


def coherence(reconciliation: str) -> str:
    """How many official figures lie within our intervals; `reconciliation` is the text of `reconciliation.csv`."""
    told = [line["within_interval"] for line in csv.DictReader(io.StringIO(reconciliation)) if line["within_interval"]]
    if not told:
        return "There are no official figures to compare with yet."
    return (
        f"Of {len(told)} published percentages at a good level of development for the same areas and groups,"
        f" {told.count('yes')} lie within our 95% intervals; `reconciliation.csv` has each. Official figures count"
        " every child assessed, ours those in the extracts."
    )

"""Comparison of our percentages at a good level of development with those of the Department for Education.

Official figures are exact counts of all children assessed in a council's schools; ours are noisy and cover the children
in the extracts. Both describe this year's children, not children in general, so 95 in 100 official figures should be
within our intervals.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import pyarrow as pa

from ndl_export.documents.markdown import format_csv
from ndl_export.facts.official import OfficialFigure, read_official_figures
from ndl_export.tables.geography import CODE_COLUMNS
from ndl_export.tables.pupil import GLD_PERCENT
from ndl_export.tables.schema import WITH_INTERVAL, ColumnRole, Flag, get_column_name

_HEADER = (
    "time_period",
    "geographic_level",
    "area_code",
    "area_name",
    "breakdown_topic",
    "breakdown",
    "sex",
    "official_percent",
    "percent",
    "lower_ci",
    "upper_ci",
    "difference",
    "within_interval",
    "source",
    "note",
)


def build_reconciliation_csv(gld_headline: pa.Table, cohorts: tuple[str, ...]) -> str:
    """Return one line for each official figure of an area in the release; only the header if there are none."""
    ours = {_build_key(row): row for row in gld_headline.to_pylist()}
    figures = chain.from_iterable(map(read_official_figures, cohorts))
    # Official figures of areas or groups that the release does not have are left out: there is nothing to compare.
    return format_csv(_HEADER, (_line(figure, ours[figure.key]) for figure in figures if figure.key in ours))


def _build_key(row: dict[str, Any]) -> tuple[str, ...]:
    level = row["geographic_level"]
    area = row[CODE_COLUMNS[level]] if level in CODE_COLUMNS else ""
    return (row["time_period"], level, area, row["breakdown_topic"], row["breakdown"], row["sex"])


def _line(figure: OfficialFigure, ours: dict[str, Any]) -> tuple[str, ...]:
    percent, lower, upper = (ours[get_column_name(GLD_PERCENT, role)] for role in WITH_INTERVAL)
    # A withheld figure still has its interval, so the comparison counts it.
    available = ours[get_column_name(GLD_PERCENT, ColumnRole.FLAG)] != Flag.NOT_AVAILABLE
    inside = available and lower <= figure.percent <= upper
    return (
        figure.cohort,
        figure.geographic_level,
        figure.area_code,
        figure.area_name,
        figure.breakdown_topic,
        figure.breakdown,
        figure.sex,
        f"{figure.percent:.2f}",
        "" if percent is None else f"{percent:.1f}",
        f"{lower:.2f}" if available else "",
        f"{upper:.2f}" if available else "",
        "" if percent is None else f"{percent - figure.percent:.2f}",
        ("yes" if inside else "no") if available else "",
        figure.source,
        _note(inside, ours[get_column_name(GLD_PERCENT, ColumnRole.FLAG)]),
    )


def _note(inside: bool, flag: str | None) -> str:
    if flag == Flag.NOT_AVAILABLE:
        return "Not available: the council has sent no EYFS Profile"
    notes = [] if inside else ["The published figure lies outside our 95% interval"]
    if flag == Flag.WITHHELD:
        notes.append("Our figure is withheld because it is too uncertain")
    return "; ".join(notes)

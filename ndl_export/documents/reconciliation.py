"""Our percentages at a good level of development against the figures the Department for Education has published.

Official figures are exact counts of all children assessed in a council's schools; ours are noisy and cover the children
in the extracts, so most differences should lie within the interval and none should surprise.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from importlib import resources
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.tables import ALL
from ndl_export.tables.geography import CODE_COLUMNS, LOCAL_AUTHORITY, NATIONAL
from ndl_export.tables.pupil import GLD_PERCENT
from ndl_export.tables.schema import WITH_INTERVAL, ColumnRole, Flag, column_name
from sources.reference.places import COUNTRY

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
    "note",
)


@dataclass(frozen=True)
class OfficialFigure:
    """One published percentage of children at a good level of development."""

    cohort: str
    geographic_level: str
    area_code: str
    area_name: str
    breakdown_topic: str
    breakdown: str
    sex: str
    percent: float

    @property
    def key(self) -> tuple[str, ...]:
        """What it is of, which no two of them share."""
        return (self.cohort, self.geographic_level, self.area_code, self.breakdown_topic, self.breakdown, self.sex)

    @property
    def is_total(self) -> bool:
        """Whether it is of all children of its area."""
        return (self.breakdown_topic, self.breakdown, self.sex) == (ALL.label,) * 3


def official_figures(cohort: str) -> list[OfficialFigure]:
    """Published figures of the cohort, in the order of the reference file; none where nothing is published yet.

    By characteristic where the project holds them, else of all children.
    """
    file = resources.files("sources.reference") / f"published_eyfsp_{cohort}.csv"
    if not file.is_file():
        return _of_all_children(cohort)
    return [
        OfficialFigure(
            cohort,
            row["geographic_level"],
            row["new_la_code"],
            row["la_name"],
            row["breakdown_topic"],
            row["breakdown"],
            row["sex"],
            float(row["gld_children_percent"]),
        )
        for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
        if row["gld_children_percent"]
    ]


def _of_all_children(cohort: str) -> list[OfficialFigure]:
    file = resources.files("sources.reference") / "published_expected_level.csv"
    code, _ = COUNTRY
    return [
        OfficialFigure(
            cohort,
            NATIONAL if row["new_la_code"] == code else LOCAL_AUTHORITY,
            row["new_la_code"],
            row["la_name"],
            *(ALL.label, ALL.label, ALL.label),
            float(row["percent"]),
        )
        for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8")))
        if (row["cohort"], row["figure"]) == (cohort, "gld")
    ]


def reconciliation_csv(gld_headline: pa.Table, cohorts: tuple[str, ...]) -> str:
    """One line for each official figure of an area in the release; only a header where there are none."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_HEADER)
    for cohort in cohorts:
        ours = gld_headline.filter(pc.equal(gld_headline["time_period"], cohort))
        writer.writerows(_compared(ours, official_figures(cohort)))
    return stream.getvalue()


def _compared(gld_headline: pa.Table, figures: list[OfficialFigure]) -> Iterator[tuple[str, ...]]:
    ours = {_key(row): row for row in gld_headline.to_pylist()} if figures else {}
    return (_line(figure, ours[figure.key]) for figure in figures if figure.key in ours)


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    level = row["geographic_level"]
    area = row[CODE_COLUMNS[level]] if level in CODE_COLUMNS else ""
    return (row["time_period"], level, area, row["breakdown_topic"], row["breakdown"], row["sex"])


def _line(figure: OfficialFigure, ours: dict[str, Any]) -> tuple[str, ...]:
    percent, lower, upper = (ours[column_name(GLD_PERCENT, role)] for role in WITH_INTERVAL)
    available = ours[column_name(GLD_PERCENT, ColumnRole.FLAG)] != Flag.NOT_AVAILABLE
    inside = available and lower <= figure.percent <= upper
    return (
        *astuple(figure)[:-1],
        f"{figure.percent:.2f}",
        "" if percent is None else f"{percent:.1f}",
        f"{lower:.2f}" if available else "",
        f"{upper:.2f}" if available else "",
        "" if percent is None else f"{percent - figure.percent:.2f}",
        ("yes" if inside else "no") if available else "",
        _note(inside, ours[column_name(GLD_PERCENT, ColumnRole.FLAG)]),
    )


def _note(inside: bool, flag: str | None) -> str:
    if flag == Flag.NOT_AVAILABLE:
        return "Not available: the council has sent no EYFS Profile"
    notes = [] if inside else ["The published figure lies outside our 95% interval"]
    if flag == Flag.WITHHELD:
        notes.append("Our figure is withheld because it is too uncertain")
    return "; ".join(notes)

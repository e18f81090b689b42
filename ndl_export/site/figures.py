"""Figures of the pages: those of the released tables, and official ones, which are exact and count all children."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from ndl_export.facts.official import AT_EXPECTED, USED_ASQ3, read_official_figures, read_official_reviews
from ndl_export.pages.number_format import join_parts
from ndl_export.tables import ALL, TABLES, Measure, MeasureKind, Table
from ndl_export.tables.dimensions import FSM, IMD, SEX, TOPIC_FILTER
from ndl_export.tables.geography import CODE_COLUMNS, Geography
from ndl_export.tables.health import ALL_FIVE, DOMAINS
from ndl_export.tables.pupil import ASQ3, ETHNIC, GLD_PERCENT, SEN, TERM
from ndl_export.tables.rows import Row, list_rows
from ndl_export.tables.schema import BREAK, BREAK_COLUMN, WITH_INTERVAL, ColumnRole, Flag, get_column_name
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY

_SHOWN_TOPICS = (ALL.label, *(attribute.label for attribute in (SEX, FSM, ETHNIC, SEN, TERM, ASQ3, IMD)))
_MINUS = "\u2212"
_ENGLAND = COUNTRY[0]
EVERYONE = (ALL.label,) * 3
_GAP = TABLES["gld_differences"].measure("gld_difference_points")
Levels = tuple[str, ...]
Sentences = tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """A published figure with its interval and flag, as in the table.

    `value` is None if the flag says that no figure is shown. `lower` and `upper` are None if there is no interval, as
    for official statistics; an interval is about the children in the data. A figure that is too uncertain to be
    published for an area is withheld without an interval.
    """

    measure: Measure
    value: float | None
    lower: float | None
    upper: float | None
    flag: Flag | None

    @property
    def unpublished(self) -> bool:
        return self.flag is Flag.WITHHELD and self.lower is None

    @property
    def reliable(self) -> bool:
        return self.flag is None

    @property
    def unreliable(self) -> bool:
        return self.flag in (Flag.UNRELIABLE, Flag.LINKAGE)

    @cached_property
    def text(self) -> str:
        """The figure with its unit and symbol: `63.8%`, `20.8 points`, `34.2% [u]`, or the symbol: `[withheld]`."""
        return self._with_symbol(" points" if self.measure.kind is MeasureKind.DIFFERENCE else "")

    @property
    def short(self) -> str:
        """The figure for a chart, without the word for its unit and without `[linkage]`.

        The chart gives the unit once. The shape of the mark already shows `[linkage]`, for which a phone has no room.
        """
        return self._with_symbol("").removesuffix(f" [{Flag.LINKAGE}]")

    @cached_property
    def range(self) -> str:
        """The interval: `62.2% to 63.3%`; empty if there is none."""
        if self.lower is None or self.upper is None:
            return ""
        return " to ".join(f"{self._format_number(end)}{self._percent}" for end in (self.lower, self.upper))

    @cached_property
    def with_interval(self) -> str:
        """The figure and its interval, for use within a sentence."""
        if self.unpublished:
            return "not published, because it is too uncertain to use"
        if not self.range:
            if self.value is not None:
                return self.text
            return "not available [x]" if self.flag is Flag.NOT_AVAILABLE else "not applicable [z]"
        shown = "withheld as too uncertain" if self.value is None else self.text
        return f"{shown} (95% interval {self.range})"

    def _with_symbol(self, unit: str) -> str:
        shown = "" if self.value is None else self._format_number(self.value) + self._percent + unit
        return join_parts(shown, f"[{self.flag}]" if self.flag else "")

    @property
    def _percent(self) -> str:
        return "%" if self.measure.kind is MeasureKind.PERCENT else ""

    def _format_number(self, number: float) -> str:
        return _format_signed(number, self.measure.decimals)


def format_points(number: float) -> str:
    """Format percentage points, without the unit."""
    return _format_signed(number, 1)


def _format_signed(number: float, decimals: int) -> str:
    written = f"{abs(number):,.{decimals}f}"
    # What is rounded to zero has no sign.
    return _MINUS + written if number < 0 and written.strip("0.,") else written


@dataclass(frozen=True)
class Concluded:
    """A conclusion as a sentence, and as a short heading (`finding`), empty if the data cannot say."""

    sentence: str
    finding: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a panel: its label, its area, and its figures in the order of the columns.

    `compared` is the figure of all councils together on another area's panel; over time, and beside official figures,
    it is England's official one. `official` are official figures in the order of the panel's headings. `text` is the
    text if its area is chosen, which ends with the distance from the `target`, `inferred` are conclusions about
    children like these, and `finding` is the text of a heading. `levels` are those of a group of children. `cohort` is
    set if lines are cohorts, and `broken` if a break in the series precedes the line.
    """

    label: str
    area: Geography
    figures: tuple[Figure, ...]
    compared: Figure | None = None
    official: tuple[Figure | None, ...] = ()
    text: str = ""
    target: str = ""
    inferred: tuple[Concluded, ...] = ()
    finding: str = ""
    levels: Levels = ()
    cohort: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Wanted:
    """A figure to look up: the measure of a table, and the levels of its filters."""

    table: str
    measure: str
    levels: Levels


class Released:
    """The rows that the page shows, by table, cohort, area code and levels of the filters."""

    def __init__(self, tables: Mapping[str, pa.Table], defined: Mapping[str, Table]) -> None:
        self.defined = defined
        self._rows = {name: _index_rows(table, tables[name]) for name, table in defined.items()}

    def figure(self, wanted: Wanted, cohort: str, area: str) -> Figure:
        """Return a figure; one that is not published for the area is withheld.

        Raises KeyError if the definition has no such row.
        """
        measure, row = self.defined[wanted.table].measure(wanted.measure), self._find_row(wanted, cohort, area)
        if row is None:
            return Figure(measure, None, None, None, Flag.WITHHELD)
        value, lower, upper = (row[get_column_name(measure, role)] for role in WITH_INTERVAL)
        flag = row[get_column_name(measure, ColumnRole.FLAG)]
        return Figure(measure, value, lower, upper, Flag(flag) if flag else None)

    def is_broken(self, wanted: Wanted, cohort: str, area: str) -> bool:
        """Check whether the row of the figure is flagged as a break in the time series."""
        row = self._find_row(wanted, cohort, area)
        return row is not None and bool(row[BREAK_COLUMN.name] == BREAK)

    def _find_row(self, wanted: Wanted, cohort: str, area: str) -> dict[str, Any] | None:
        """Return the row of these children with the measure, under any of its names, or None if the area has none."""
        published = self._rows[wanted.table]
        for same in _group_same_children(self.defined[wanted.table])[wanted.levels]:
            has_measure = same.levels == wanted.levels or wanted.measure in same.applies
            if has_measure and (cohort, area, *same.levels) in published:
                return published[cohort, area, *same.levels]
        return None


@cache
def _group_same_children(table: Table) -> dict[tuple[str, ...], tuple[Row, ...]]:
    """Return, by the levels of each row, all rows about the same children, the row itself first.

    A child about whom both services had a concern was seen by both, so a figure that is published under one name is not
    withheld under the other.
    """
    groups: dict[object, list[Row]] = {}
    for row in list_rows(table, all_together=True):
        # A row that counts nothing cannot be recognised by its counts and is a group by itself.
        groups.setdefault(frozenset(row.counts.items()) or row.levels, []).append(row)
    return {
        row.levels: (row, *(same for same in group if same is not row)) for group in groups.values() for row in group
    }


def _index_rows(table: Table, data: pa.Table) -> dict[tuple[str, ...], dict[str, Any]]:
    filters = [entry.name for entry in table.filters]
    if TOPIC_FILTER.name in filters:
        data = data.filter(pc.is_in(data[TOPIC_FILTER.name], value_set=pa.array(_SHOWN_TOPICS)))
    return {
        (
            row["time_period"],
            row[CODE_COLUMNS.get(row["geographic_level"], "geographic_level")],
            *(row[entry] for entry in filters),
        ): row
        for row in data.to_pylist()
    }


def england(cohort: str) -> tuple[Figure | None, ...]:
    """Return England's percentage at a good level of development, and nothing for two further columns."""
    return _index_official_figures(cohort).get((_ENGLAND, *EVERYONE)), None, None


def england_gap(cohort: str) -> tuple[Figure | None, ...]:
    """Return England's percentages of children eligible and not eligible for free school meals, and the gap."""
    found = [
        _index_official_figures(cohort).get((_ENGLAND, FSM.label, group, ALL.label)) for group in FSM.categories[:2]
    ]
    values = [figure.value for figure in found if figure and figure.value is not None]
    if len(values) < len(found):
        return (*found, None)
    eligible, others = values
    return (*found, Figure(_GAP, round(others - eligible, 1), None, None, None))


def official_group(cohort: str, area: Geography, levels: Levels) -> tuple[Figure | None, Figure | None]:
    """Return England's percentage of a group of children and the area's own, each None if not published."""
    figures = _index_official_figures(cohort)
    return figures.get((_ENGLAND, *levels)), figures.get((area.code, *levels))


def _index_official_figures(cohort: str) -> dict[tuple[str, ...], Figure]:
    return {
        (each.area_code, each.breakdown_topic, each.breakdown, each.sex): Figure(
            GLD_PERCENT, round(each.percent, 1), None, None, None
        )
        for each in read_official_figures(cohort)
    }


_REMARKS: dict[str, str] = yaml.safe_load(
    (Path(__file__).parent / "templates" / "remarks.yaml").read_text(encoding="utf-8")
)


def england_remarks(cohort: str) -> Sentences:
    """Explain the source of England's figures by area, and how they differ from ours."""
    return (_explain_sources("england", cohort, _ENGLAND),)


def gld_remarks(cohort: str, area: Geography) -> Sentences:
    """Explain the source of official figures by characteristic, and how they differ from ours."""
    own = _REMARKS["own"] if _format_sources(cohort, area.code) else ""
    return (join_parts(_explain_sources("groups", cohort, _ENGLAND, area.code), own),)


def _explain_sources(name: str, cohort: str, *areas: str) -> str:
    sources = _format_sources(cohort, *areas)
    return _REMARKS[name if sources else "not held"].format(year=Cohort(cohort).label, sources=sources)


def _format_sources(cohort: str, *areas: str) -> str:
    return "; ".join(dict.fromkeys(each.source for each in read_official_figures(cohort) if each.area_code in areas))


def review_remarks(cohort: str, area: Geography) -> Sentences:
    """Explain which official figures on the review exist, and why they cannot be compared with ours directly."""
    found = {(each.area_code, each.measure, each.domain): each for each in read_official_reviews(cohort)}
    expected = found.get((_ENGLAND, AT_EXPECTED, DOMAINS[ALL_FIVE]))
    used = [(who, found.get((code, USED_ASQ3, ""))) for who, code in (("England", _ENGLAND), (area.name, area.code))]
    official = [f"{each.percent:.1f}% of reviews in {who} used ASQ-3" for who, each in used if each]
    if expected:
        children = f"{expected.percent:.1f}% of England’s children with a score were at or above the expected level in"
        official.insert(0, f"{children} all five areas")
    if not official:
        return ()
    # Eleven in twelve: children who turn 2½ from April to March were born from October to September, and cohorts are
    # born from September to August.
    year = next(iter(found.values())).financial_year
    return (_REMARKS["review"].format(year=f"{year[:4]}/{year[4:]}", figures="; ".join(official)),)

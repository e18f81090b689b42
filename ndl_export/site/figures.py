"""Figures of the pages: those of the released tables, and official ones, which are exact and count all children."""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from ndl_export.facts.official import AT_EXPECTED, USED_ASQ3, read_official_figures, read_official_reviews
from ndl_export.pages.number_format import format_decimal, join_parts
from ndl_export.tables import ALL, TABLES, Measure, MeasureKind, health, pupil
from ndl_export.tables.geography import Geography
from ndl_export.tables.model import FSM
from ndl_export.tables.schema import Flag, count_decimals
from privacy.doors.shipped import read_yaml
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY

_ENGLAND = COUNTRY[0]
EVERYONE = (ALL.label,) * 3
_GAP = TABLES["gld_differences"].get_measure("gld_difference_points")
Levels = tuple[str, ...]
Sentences = tuple[str, ...]


@dataclass(frozen=True)
class PanelFigure:
    """A published figure with its interval and flag, as in the table.

    `value` is None if the flag says that no figure is shown. `lower` and `upper` are None if there is no interval, as
    for official statistics; an interval is about the children in the data. A figure that is too uncertain to be
    published for an area is withheld without an interval.
    """

    measure: Measure
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    flag: Flag | None = None

    @property
    def unpublished(self) -> bool:
        return self.flag is Flag.WITHHELD and self.lower is None

    @property
    def unreliable(self) -> bool:
        return self.flag in (Flag.UNRELIABLE, Flag.LINKAGE)

    @cached_property
    def text(self) -> str:
        """The figure with its unit and symbol: `63.8%`, `20.8 points`, `34.2% [u]`, or the symbol: `[withheld]`."""
        return self._add_symbol(" points" if self.measure.kind is MeasureKind.DIFFERENCE else "")

    @property
    def short(self) -> str:
        """The figure for a chart, without its unit, which is shown once, and `[linkage]`, which its mark shows."""
        return self._add_symbol("").removesuffix(f" [{Flag.LINKAGE}]")

    @cached_property
    def range(self) -> str:
        """The interval: `62.2% to 63.3%`; empty if there is none."""
        if self.lower is None or self.upper is None:
            return ""
        return " to ".join(self._format_number(end) for end in (self.lower, self.upper))

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

    def _add_symbol(self, unit: str) -> str:
        shown = "" if self.value is None else self._format_number(self.value) + unit
        return join_parts(shown, f"[{self.flag}]" if self.flag else "")

    @property
    def decimals(self) -> int:
        """The decimals that the figure and its interval are shown with."""
        return count_decimals(self.measure, self.flag)

    def _format_number(self, number: float) -> str:
        return format_decimal(number, self.decimals) + ("%" if self.measure.kind is MeasureKind.PERCENT else "")


@dataclass(frozen=True)
class Concluded:
    """A conclusion as a sentence, and as a short heading (`finding`), empty if the data cannot say."""

    sentence: str
    finding: str = ""


@dataclass(frozen=True)
class PanelRow:
    """A row of a panel: its label, its area, and its figures in the order of the columns.

    `compared` is the figure of all councils together on another area's panel; over time, and beside official figures,
    it is England's official one. `official` are official figures in the order of the panel's headings. `text` is shown
    if a reader chooses the line's area, and ends with `target`, its distance from the target. `inferred` are
    conclusions about children like these, and `finding` is the text of a heading. `levels` are those of a group of
    children. `cohort` is set if lines are cohorts, and `broken` if a break in the series precedes the line.
    """

    label: str
    area: Geography
    figures: tuple[PanelFigure, ...]
    compared: PanelFigure | None = None
    official: tuple[PanelFigure | None, ...] = ()
    text: str = ""
    target: str = ""
    inferred: tuple[Concluded, ...] = ()
    finding: str = ""
    levels: Levels = ()
    cohort: str = ""
    broken: bool = False


def find_england(cohort: str) -> tuple[PanelFigure | None, ...]:
    """Return England's percentage at a good level of development, and None for two further columns."""
    return _find_official(cohort, _ENGLAND), None, None


def find_england_gap(cohort: str) -> tuple[PanelFigure | None, ...]:
    """Return England's percentages for children eligible and not eligible for free school meals, and the gap."""
    eligible, others = (_find_official(cohort, _ENGLAND, (FSM.label, group, ALL.label)) for group in FSM.categories[:2])
    if not (eligible and others):
        return eligible, others, None
    return eligible, others, PanelFigure(_GAP, round((others.value or 0) - (eligible.value or 0), 1))


def find_official_group(cohort: str, area: Geography, levels: Levels) -> tuple[PanelFigure | None, PanelFigure | None]:
    """Return England's percentage and the area's own for a group of children, each None if not published."""
    return _find_official(cohort, _ENGLAND, levels), _find_official(cohort, area.code, levels)


def _find_official(cohort: str, area: str, levels: Levels = EVERYONE) -> PanelFigure | None:
    percent = _index_official_percentages(cohort).get((area, *levels))
    return None if percent is None else PanelFigure(pupil.GLD_PERCENT, round(percent, 1))


@cache
def _index_official_percentages(cohort: str) -> dict[tuple[str, ...], float]:
    return {
        (each.area_code, each.breakdown_topic, each.breakdown, each.sex): each.percent
        for each in read_official_figures(cohort)
    }


_REMARKS: dict[str, str] = read_yaml(Path(__file__).parent / "templates" / "remarks.yaml")


def explain_england(cohort: str) -> Sentences:
    """Explain the source of England's figures by area, and how they differ from ours."""
    return (_explain_sources("england", cohort, _ENGLAND),)


def explain_official_gld(cohort: str, area: Geography) -> Sentences:
    """Explain the source of official figures by characteristic, and how they differ from ours."""
    own = _REMARKS["own"] if _format_sources(cohort, area.code) else ""
    return (join_parts(_explain_sources("groups", cohort, _ENGLAND, area.code), own),)


def _explain_sources(name: str, cohort: str, *areas: str) -> str:
    sources = _format_sources(cohort, *areas)
    return _REMARKS[name if sources else "not held"].format(year=Cohort(cohort).label, sources=sources)


def _format_sources(cohort: str, *areas: str) -> str:
    return "; ".join(dict.fromkeys(each.source for each in read_official_figures(cohort) if each.area_code in areas))


def explain_official_reviews(cohort: str, area: Geography) -> Sentences:
    """Explain which official figures on the review exist, and why they cannot be compared with ours directly."""
    found = {(each.area_code, each.measure, each.domain): each for each in read_official_reviews(cohort)}
    expected = found.get((_ENGLAND, AT_EXPECTED, health.DOMAINS[health.ALL_FIVE]))
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

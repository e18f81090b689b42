"""The content of the pages: charts of panels of lines, and how their drawings follow from the figures.

Three findings about each area, and the page of each council, are selected from the panels of the other pages.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ndl_export.facts.official import read_official_cohorts
from ndl_export.pages import charts
from ndl_export.site.figures import EVERYONE, Concluded, Levels, PanelFigure, PanelRow, Sentences, find_official_group
from ndl_export.site.inference import Inference
from ndl_export.tables.geography import LOCAL_AUTHORITY, REGIONS_ABOVE, Geography
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place, load_tiles

ENGLAND = "England, official statistics"
Wanted = tuple[str, str, Levels]
"""A figure to look up: the table, its measure, and the levels of its filters."""


def say_nothing(*_: object) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Shape:
    """Definition of a chart: what it shows, and what its panels have in common.

    `name` is the name of the chart's download; `heading` and `intro` are shown above all panels. `finding` is the text
    of a heading if nothing is concluded, formatted as `says`, with one line alone if lines are areas.

    Lines are areas if `by_area`, cohorts if `over_time`, and otherwise groups of children, goals or answers, in a panel
    for each area, or for all councils alone if `together`. `lines` are the levels of each line by label; areas and
    cohorts have the same levels, under an empty label. The figures of a line are the `measures` of `table` at its
    levels, or else `figures`: table, measure and levels, in which `*` is the line's first level.

    `columns` are the headings of each line's figures. `drawn` are the columns in the chart, each with its own marks,
    and `written` is the column written beside each row. `spans` draws a line between the two drawn columns. `mapped`
    also shows the first drawn column on a map if there are many councils. If every child is in exactly one line,
    `whole` has the colours of a bar with the lines as parts. A `roomy` chart is replaced by a table in a narrow window.

    `says` are sentences about the children in the data, formatted with the lines, the `first` and the `last` of them,
    and the `lowest` and `highest` line whose first figure is shown; without enough lines for these, there are none.
    `infer` concludes about children like these from all lines, and `infer_each` from an area and all councils
    together, to which `with_targets` adds the distance from targets. `official` returns official figures: for a cohort,
    England's by column; for a cohort, area and levels, England's and the area's. `remarks` explains these.
    """

    name: str
    table: str
    title: str
    row_heading: str
    columns: tuple[str, ...]
    heading: str
    intro: str = ""
    finding: str = ""
    lines: Mapping[str, Levels] = field(default_factory=dict)
    measures: tuple[str, ...] = ()
    figures: tuple[tuple[str, ...], ...] = ()
    by_area: bool = False
    over_time: bool = False
    together: bool = False
    drawn: tuple[int, ...] = (0,)
    written: int | None = 0
    spans: bool = False
    mapped: bool = False
    whole: tuple[str, ...] = ()
    roomy: bool = False
    says: tuple[str, ...] = ("{0.label}: {0.figures[0].with_interval}.",)
    infer: Inference = say_nothing
    infer_each: Inference = say_nothing
    with_targets: bool = False
    official: Callable[..., tuple[PanelFigure | None, ...]] = say_nothing
    remarks: Callable[..., Sentences] = say_nothing

    def list_wanted(self, label: str = "") -> tuple[Wanted, ...]:
        """Return the figures of a line."""
        levels = self.lines[label]
        return tuple(
            (table, measure, tuple(levels[0] if level == "*" else level for level in its_levels))
            for table, measure, *its_levels in self.figures
        ) or tuple((self.table, measure, levels) for measure in self.measures)

    def say(self, lines: Sequence[PanelRow]) -> Sentences:
        """Return the sentences about the children in the data."""
        return self.fill(self.says, lines)

    def fill(self, texts: Sequence[str], lines: Sequence[PanelRow]) -> Sentences:
        """Return texts with what they say of the lines; none of them if too few figures are shown for their ends."""
        shown = sorted((line for line in lines if line.figures[0].value is not None), key=_get_first_value)
        # With one figure, the lowest and the highest would be the same line.
        needed = sum(any(f"{{{end}." in each for each in texts) for end in ("lowest", "highest"))
        if len(shown) < needed:
            return ()
        # Not the last of `shown`: if figures are equal, `max` takes the first line, as `lowest` does.
        ends = {"lowest": shown[0], "highest": max(shown, key=_get_first_value)} if shown else {}
        # The first and the last line are cohorts in a chart over time.
        return tuple(each.format(*lines, **ends, first=lines[0], last=lines[-1]) for each in texts)


def _get_first_value(line: PanelRow) -> float:
    return line.figures[0].value or 0.0


@dataclass(frozen=True)
class Panel:
    """One drawing with its table and its text; `area` is None if each line is an area.

    `sentences` describe the children in the data, `inferred` are conclusions about children like these, and `finding`
    is the text of a heading. `together` means that the panel is about all councils, and `beside` names the areas that
    lines are compared with. `official` are headings of the lines' official figures, `england` are England's by column
    if lines are areas, and `remarks` explain which official figures exist and how they are defined.
    """

    shape: Shape
    cohort: str
    lines: tuple[PanelRow, ...]
    scale: charts.Scale
    sentences: tuple[str, ...]
    area: Geography | None = None
    area_name: str = ""
    together: bool = True
    beside: str = ""
    inferred: tuple[Concluded, ...] = ()
    finding: str = ""
    official: tuple[str, ...] = ()
    england: tuple[PanelFigure | None, ...] = ()
    remarks: tuple[str, ...] = ()

    @cached_property
    def anchor(self) -> str:
        parts = (self.shape.name, self.cohort, self.area.code.replace(" ", "-").lower() if self.area else "")
        return "-".join(part for part in parts if part)

    @property
    def cohort_label(self) -> str:
        """Label of the cohort: `2024/25`, or `2023/24 to 2024/25` over time."""
        return Cohort(self.cohort).label if self.cohort else f"{self.lines[0].label} to {self.lines[-1].label}"

    @cached_property
    def about(self) -> str:
        """Area and cohort: `Leeds, 2024/25`."""
        return ", ".join(part for part in (self.area_name, self.cohort_label) if part)

    @property
    def flags(self) -> list[Flag]:
        """Symbols used in the panel, in the order of their definition."""
        met = {figure.flag for line in self.lines for figure in line.figures}
        return [flag for flag in Flag if flag in met]

    @property
    def _drawn(self) -> list[tuple[PanelRow, int]]:
        """Each line with each drawn column."""
        return [(line, column) for line in self.lines for column in self.shape.drawn]

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything to draw."""
        figures = (line.figures[column] for line, column in self._drawn)
        return any(figure.range or figure.value is not None for figure in figures)

    @property
    def shows_nothing(self) -> bool:
        """Whether no figure of the chart is shown: a sentence takes the place of the chart."""
        return bool(self.shape.drawn) and all(line.figures[column].value is None for line, column in self._drawn)

    @property
    def has_short_labels(self) -> bool:
        """Whether every label fits to the left of the marks in a wide window."""
        return max(len(line.label) for line in self.lines) <= charts.LONGEST_AT_LEFT

    @property
    def has_intervals(self) -> bool:
        return any(figure.range for line in self.lines for figure in line.figures)

    @cached_property
    def drawn_flags(self) -> set[Flag | None]:
        return {line.figures[column].flag for line, column in self._drawn}

    @property
    def notes(self) -> list[str]:
        """Notes that a reader needs to understand the chart correctly."""
        narrowest = charts.NARROW_SHARE * (self.scale.high - self.scale.low)
        intervals = ((line.figures[column].lower, line.figures[column].upper) for line, column in self._drawn)
        hidden = any(
            lower is not None and upper is not None and upper - lower < narrowest for lower, upper in intervals
        )
        narrow = "Where no bar shows, the interval is narrower than the mark." if hidden else ""
        return [note for note in (narrow, charts.explain_scale(self.scale), *self.remarks) if note]

    @property
    def references(self) -> list[tuple[int, int, PanelFigure]]:
        """Series, column and figure of each drawn column with an official figure of England."""
        drawn = enumerate(self.shape.drawn if self.england else ())
        found = ((series, column, self.england[column]) for series, column in drawn)
        return [(series, column, figure) for series, column, figure in found if figure and figure.value is not None]

    @property
    def top(self) -> int:
        """Height above the rows of the chart: the axis, and the label of each reference line."""
        return charts.AXIS_HEIGHT + charts.REFERENCE_HEIGHT * len(self.references)

    def find_span(self, row: int) -> tuple[str, str] | None:
        """Return both ends of the line between the two figures of a row, or None if one is not shown."""
        first, second = (self.lines[row].figures[column].value for column in self.shape.drawn)
        if first is None or second is None:
            return None
        return self.scale.format_position(first), self.scale.format_position(second)

    @property
    def stack(self) -> list[float]:
        """The first figures of the lines as parts of a whole; empty if they are not parts, or one is not shown."""
        values = [line.figures[0].value for line in self.lines]
        shown = [value for value in values if value is not None]
        if not self.shape.whole or len(shown) < len(values) or not sum(shown):
            return []
        # Shares of noisy counts need not add up to 100%, and a bar has one length.
        return [value / sum(shown) for value in shown]

    @cached_property
    def map(self) -> charts.TileMap | None:
        """The first drawn figure of every council on a tile map, or None if there are few enough for a chart."""
        councils = [line for line in self.lines if line.area.level == LOCAL_AUTHORITY] if self.shape.mapped else []
        if len(councils) <= REGIONS_ABOVE:
            return None
        return charts.build_tile_map(
            load_tiles(), {line.area.code: (line.label, line.figures[self.shape.drawn[0]]) for line in councils}
        )


@dataclass(frozen=True)
class Chart:
    """Panels of one shape, for each cohort and, unless lines are areas, for one or every area."""

    shape: Shape
    panels: tuple[Panel, ...]

    @cached_property
    def in_each_area(self) -> bool:
        return len({panel.area.code for panel in self.panels if panel.area}) > 1

    @property
    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Cohort, code of the area (empty for all councils together) and text of every finding for the section.

        A panel of another area has its finding in its own heading.
        """
        for panel in self.panels:
            if panel.together:
                yield panel.cohort, "", panel.finding
            for line in panel.lines if self.shape.by_area else ():
                yield panel.cohort, line.area.code, line.finding


Charts = Mapping[str, Sequence[Chart]]
"""The charts of each page, by page name."""
_BESIDE = ("gld-by-area", "gap-by-area", "neither-by-area")
_SERIES = Shape(
    "official-series",
    "",
    "Good level of development, official statistics",
    "Year",
    ("The council, official",),
    "Official statistics over time",
    written=None,
    over_time=True,
)


@dataclass(frozen=True)
class PanelFindings:
    """Findings about an area: how many children were ready, their gap by free school meals, and who had seen them.

    `known` says how long before school a concern was known, empty if a figure in it cannot be used. `official` are the
    council's and England's official figures for all children.
    """

    cohort: str
    area: Geography
    together: bool
    name: str
    ready: PanelFigure
    gap: tuple[PanelFigure, ...]
    seen: Panel
    known: str
    official: tuple[tuple[str, PanelFigure], ...]


def name_council_page(council: str) -> str:
    return f"council-{council}"


def list_findings(of_pages: Charts) -> tuple[PanelFindings, ...]:
    """Return the findings about every area in every cohort, all councils together first."""
    by_name = _index_charts(of_pages)
    ready, gaps = (by_name[name].panels for name in ("gld-by-area", "gap-by-area"))
    seen, known = (
        {(panel.cohort, panel.area.code): panel for panel in by_name[name].panels if panel.area}
        for name in ("seen-by", "lead-time")
    )
    found = []
    for panel, other in zip(ready, gaps, strict=True):
        for number, (line, gap) in enumerate(zip(panel.lines, other.lines, strict=True)):
            england, own = find_official_group(panel.cohort, line.area, EVERYONE)
            official = tuple((name, each) for name, each in ((line.area.name, own), ("England", england)) if each)
            where = panel.cohort, line.area.code
            figures = line.figures[0], gap.figures, seen[where], known[where].finding, official
            found.append(PanelFindings(panel.cohort, line.area, number == 0, line.label, *figures))
    return tuple(found)


def build_council_values(of_pages: Charts, found: Sequence[PanelFindings], name: str) -> dict[str, Any]:
    """Return the content of the page of the participating council `name`, for the newest cohort that it sent.

    `stands_out` lists conclusions with their page and chart. `beside` compares the council with the others or, if there
    are many, with those of its region (`of_region`).
    """
    code, by_name = get_place(name).new_la_code, _index_charts(of_pages)
    of_council = [each for each in found if each.area.code == code]
    # The newest cohort that the council sent, or the first one if it sent none.
    own = [each for each in of_council if each.area.available or each is of_council[0]][-1]
    panels = [next(p for p in by_name[chart].panels if p.cohort == own.cohort) for chart in _BESIDE]
    of_region = sum(each.area.level == LOCAL_AUTHORITY for each in panels[0].lines) > REGIONS_ABOVE
    return {
        "area": own.area,
        "findings": own,
        "target": _build_line(panels[0], code).target,
        "stands_out": list(_iter_conclusions(of_pages, code, own.cohort)),
        "beside": [_reduce_panel(panel, own.area, of_region=of_region) for panel in panels],
        "series": _build_series(own.area),
        "of_region": of_region,
    }


def _index_charts(of_pages: Charts) -> dict[str, Chart]:
    return {chart.shape.name: chart for shown in of_pages.values() for chart in shown}


def _build_line(panel: Panel, code: str) -> PanelRow:
    return next(line for line in panel.lines if line.area.code == code)


def _iter_conclusions(of_pages: Charts, code: str, cohort: str) -> Iterator[tuple[Concluded, str, Shape]]:
    """Yield every conclusion about the council's children in which the data can say something."""
    for page, shown in of_pages.items():
        # The survey is about responses, not children.
        for chart in (chart for chart in shown if chart.shape.table != "parent_experience"):
            # Panels over time have no cohort.
            for panel in (panel for panel in chart.panels if panel.cohort in ("", cohort)):
                of_lines = [line for line in panel.lines if chart.shape.by_area and line.area.code == code]
                own = panel.area and panel.area.code == code
                inferred = [*(panel.inferred if own else ()), *(each for line in of_lines for each in line.inferred)]
                yield from ((concluded, page, chart.shape) for concluded in inferred if concluded.finding)


def _reduce_panel(panel: Panel, area: Geography, *, of_region: bool) -> Panel:
    """Reduce a panel of areas to the council, all councils together, and others (of its region, if there are many)."""
    together, own = panel.lines[0], _build_line(panel, area.code)
    region = area.columns["region_code"]
    others = (
        line
        for line in panel.lines
        if line.area.level == LOCAL_AUTHORITY
        and line is not own
        and (not of_region or line.area.columns["region_code"] == region)
    )
    # The council first; the others stay in alphabetical order, never in the order of their figures.
    lines = tuple(replace(line, text="", inferred=(), finding="") for line in (own, together, *others))
    return replace(
        panel,
        shape=replace(panel.shape, mapped=False),
        lines=lines,
        sentences=(own.text.removesuffix(own.target).strip(),),
        inferred=own.inferred,
        finding=own.finding,
    )


def _build_series(area: Geography) -> Panel | None:
    """Return a panel of the council's official percentages by year with England's, or None if there are none."""
    lines = []
    for cohort in read_official_cohorts():
        england, own = find_official_group(cohort, area, EVERYONE)
        if own:
            lines.append(PanelRow(Cohort(cohort).label, area, (own,), england, (england,), cohort=cohort))
    if not lines:
        return None
    scale = charts.fit_scale([each for line in lines for each in (line.figures[0], line.compared) if each])
    sentences = (f"{area.name}, official: {'; '.join(f'{line.label} {line.figures[0].text}' for line in lines)}.",)
    first, last = lines[0], lines[-1]
    change = f"{first.figures[0].text} in {first.label}, {last.figures[0].text} in {last.label}"
    finding = f"Of children in {area.name}, {change} had a good level of development"
    return Panel(
        _SERIES, "", tuple(lines), scale, sentences, together=False, finding=finding, official=("England, official",)
    )

"""The content of the page: charts of panels of lines, and how their drawings follow from the figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ndl_export.pages.charts import (
    AXIS_HEIGHT,
    NARROW_NOTE,
    REFERENCE_HEIGHT,
    SERIES_SYMBOLS,
    Bars,
    Mark,
    Reference,
    Scale,
    TileMap,
    Timeline,
    mark,
    reference,
    scale_note,
    stacked,
    tile_map,
    timeline,
)
from ndl_export.site.figures import Concluded, Figure, Levels, Line
from ndl_export.tables.geography import LOCAL_AUTHORITY, REGIONS_ABOVE, Geography
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import tiles

ENGLAND = "England, official statistics"


@dataclass(frozen=True)
class Wanted:
    """A figure to look up: the measure of a table, and the levels of its filters."""

    table: str
    measure: str
    levels: Levels


@dataclass(frozen=True)
class Shape:
    """The common properties of a chart's panels.

    `name` is the name of the chart's download; `heading` and `intro` are shown above all panels. `finding` is the text
    of a heading if nothing is concluded, formatted with the figures of a line by column if lines are areas, else with
    lines and columns.

    `columns` are the headings of each line's figures. `drawn` are the columns in the chart, each with its own marks,
    and `written` is the column written beside each row. `spans` draws a line between the two drawn columns. `mapped`
    also shows the first drawn column on a map if there are many councils. `measures` are those of the columns, if these
    have the same levels of the same table.

    Lines are areas if `by_area`, cohorts if `over_time`, and otherwise groups of children, goals or answers within one
    area. If every child is in exactly one line, `whole` has the colours of a bar with the lines as parts. A `roomy`
    chart is replaced by a table in a narrow window.
    """

    name: str
    table: str
    title: str
    row_heading: str
    columns: tuple[str, ...]
    heading: str
    intro: str = ""
    finding: str = ""
    drawn: tuple[int, ...] = (0,)
    written: int | None = 0
    spans: bool = False
    mapped: bool = False
    by_area: bool = False
    whole: tuple[str, ...] = ()
    over_time: bool = False
    roomy: bool = False
    measures: tuple[str, ...] = ()

    def wanted(self, levels: Levels) -> tuple[Wanted, ...]:
        """Return the figures of a line whose columns are its `measures`."""
        return tuple(Wanted(self.table, measure, levels) for measure in self.measures)


@dataclass(frozen=True)
class Panel:
    """One drawing with its table and its text; `area` is None if each line is an area.

    `words` describe the children in the data, `inferred` are conclusions about children like these, and `finding` is
    the text of a heading. `together` means that the panel is about all councils, and `beside` names the areas that
    lines are compared with. `official` are headings of the lines' official figures, `england` are England's by column
    if lines are areas, and `remarks` explain which official figures exist and how they are defined.
    """

    shape: Shape
    cohort: str
    lines: tuple[Line, ...]
    scale: Scale
    words: tuple[str, ...]
    area: Geography | None = None
    area_name: str = ""
    together: bool = True
    beside: str = ""
    inferred: tuple[Concluded, ...] = ()
    finding: str = ""
    official: tuple[str, ...] = ()
    england: tuple[Figure | None, ...] = ()
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
    def units(self) -> str:
        """What the panel counts: `children`, or `responses`."""
        return self.lines[0].figures[0].measure.of

    @property
    def flags(self) -> list[Flag]:
        """Symbols used in the panel, in the order of their definition."""
        met = {figure.flag for line in self.lines for figure in line.figures}
        return [flag for flag in Flag if flag in met]

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything to draw."""
        drawn = (line.figures[column] for line in self.lines for column in self.shape.drawn)
        return any(figure.range or figure.value is not None for figure in drawn)

    @property
    def has_intervals(self) -> bool:
        return any(figure.range for line in self.lines for figure in line.figures)

    @cached_property
    def drawn_flags(self) -> set[Flag | None]:
        return {line.figures[column].flag for line in self.lines for column in self.shape.drawn}

    @property
    def notes(self) -> list[str]:
        """Notes that a reader needs to understand the chart correctly."""
        narrow = any(mark.narrow for marks in self.marks for mark in marks)
        return [note for note in (NARROW_NOTE if narrow else "", scale_note(self.scale), *self.remarks) if note]

    @cached_property
    def references(self) -> list[Reference]:
        """England's official figures for the drawn columns, as lines."""
        drawn = [(column, self.england[column]) for column in self.shape.drawn] if self.england else []
        several = len(drawn) > 1
        found = (
            reference(
                figure,
                series,
                self.scale,
                " ".join(("England", *SERIES_SYMBOLS[series : series + several], figure.text)),
                f"{ENGLAND}{', ' + self.shape.columns[column].lower() if several else ''}: {figure.text}",
            )
            for series, (column, figure) in enumerate(drawn)
            if figure
        )
        return [each for each in found if each]

    @property
    def top(self) -> int:
        """Height above the rows of the chart: the axis, and the label of each reference line."""
        return AXIS_HEIGHT + REFERENCE_HEIGHT * len(self.references)

    def span(self, row: int) -> tuple[str, str] | None:
        """Return both ends of the line between the two figures of a row, or None if one is not shown."""
        first, second = (self.lines[row].figures[column].value for column in self.shape.drawn)
        return None if first is None or second is None else (self.scale.at(first), self.scale.at(second))

    @property
    def stack(self) -> Bars | None:
        """The first figures of the lines as parts of a whole; None if they are not parts, or one is not shown."""
        values = [line.figures[0].value for line in self.lines]
        shown = [value for value in values if value is not None]
        if not self.shape.whole or len(shown) < len(values) or not sum(shown):
            return None
        return stacked([value / sum(shown) for value in shown])

    @cached_property
    def map(self) -> TileMap | None:
        """The first drawn figure of every council on a tile map, or None if there are few enough for a chart."""
        councils = [line for line in self.lines if line.area.level == LOCAL_AUTHORITY] if self.shape.mapped else []
        if len(councils) <= REGIONS_ABOVE:
            return None
        return tile_map(tiles(), {line.area.code: (line.label, line.figures[self.shape.drawn[0]]) for line in councils})

    @property
    def has_breaks(self) -> bool:
        return any(line.broken for line in self.lines)

    @property
    def over_time(self) -> Timeline:
        """The drawing of a panel whose lines are cohorts."""
        series = [[line.figures[column] for line in self.lines] for column in self.shape.drawn]
        beside = [line.compared for line in self.lines]
        return timeline(series, beside, [line.broken for line in self.lines], self.scale, self.shape.columns)

    @cached_property
    def marks(self) -> list[list[Mark]]:
        """The marks of each row; a figure without an interval has none."""
        labels = self.shape.columns if len(self.shape.drawn) > 1 else [""] * len(self.shape.columns)
        columns = [(series, column, labels[column]) for series, column in enumerate(self.shape.drawn)]
        found = (
            (mark(line.figures[column], series, self.scale, label) for series, column, label in columns)
            for line in self.lines
        )
        return [[each for each in marks if each] for marks in found]


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
        """Cohort, code of the area (empty for all councils together) and text of every finding."""
        for panel in self.panels:
            yield panel.cohort, "" if panel.together or not panel.area else panel.area.code, panel.finding
            for line in panel.lines if self.shape.by_area else ():
                yield panel.cohort, line.area.code, line.finding

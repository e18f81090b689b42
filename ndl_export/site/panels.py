"""What there is to see on the page: one panel for each chart, with its table and its words."""

from __future__ import annotations

from dataclasses import dataclass

from ndl_export.pages.charts import NARROW_NOTE, Mark, Scale, Timeline, mark, scale_note, timeline
from ndl_export.site.figures import Figure
from ndl_export.tables.geography import ALL_TOGETHER, Geography
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import place


@dataclass(frozen=True)
class Areas:
    """The areas that one family of tables has rows for, all councils together first, and how the page names them.

    `absent` are the councils that take part and are not among them.
    """

    every: tuple[Geography, ...]
    absent: tuple[str, ...]

    @property
    def together(self) -> Geography:
        return self.every[0]

    def name(self, area: Geography) -> str:
        """The area's own name; all councils together are named by who is not among them."""
        if area.level != ALL_TOGETHER:
            return area.name
        if not self.absent:
            return "All councils together"
        alone = len(self.absent) == 1
        return f"All councils but {place(self.absent[0]).la_name if alone else len(self.absent)}"


@dataclass(frozen=True)
class Shape:
    """What the panels of a chart have in common; `name` is that of the chart's download.

    `columns` head the figures of each line. `drawn` are the columns that the chart shows, each with marks of its own,
    and `told` is the one that is written beside each row of the chart. Lines are areas where it is `by_area`, cohorts
    where it is `over_time`, and else groups of children, goals or answers within one.
    """

    name: str
    table: str
    title: str
    row_heading: str
    columns: tuple[str, ...]
    drawn: tuple[int, ...] = (0,)
    told: int | None = 0
    by_area: bool = False
    over_time: bool = False


@dataclass(frozen=True)
class Line:
    """A row of a panel: its label, the area it is about, and its figures in the order of the columns.

    `compared` is the figure drawn, for all councils together, on the panel of another area; over time, England's of
    the official statistics. `words` say the line where its area is chosen. `cohort` is given where lines are cohorts,
    and `broken` where a break lies before it.
    """

    label: str
    area: Geography
    figures: tuple[Figure, ...]
    compared: Figure | None = None
    words: str = ""
    cohort: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Panel:
    """One drawing with its table and its words; `area` is None where each line is an area of its own.

    `together` says that it is about all councils, `beside` names those whose figures lines are compared with.
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

    @property
    def anchor(self) -> str:
        parts = (self.shape.name, self.cohort, self.area.code.replace(" ", "-").lower() if self.area else "")
        return "-".join(part for part in parts if part)

    @property
    def cohort_label(self) -> str:
        """`2024/25`, or `2023/24 to 2024/25` over time."""
        return Cohort(self.cohort).label if self.cohort else f"{self.lines[0].label} to {self.lines[-1].label}"

    @property
    def about(self) -> str:
        """`Leeds, 2024/25`."""
        return ", ".join(part for part in (self.area_name, self.cohort_label) if part)

    @property
    def flags(self) -> list[Flag]:
        """The symbols that a reader meets in the panel, in the order of their definition."""
        met = {figure.flag for line in self.lines for figure in line.figures}
        return [flag for flag in Flag if flag in met and flag is not Flag.RELIABLE]

    @property
    def is_drawn(self) -> bool:
        """Whether there is anything to draw."""
        return self.drawn_flags != {Flag.NOT_AVAILABLE}

    @property
    def drawn_flags(self) -> set[Flag]:
        return {line.figures[column].flag for line in self.lines for column in self.shape.drawn}

    @property
    def notes(self) -> list[str]:
        """What a reader must know to see the chart for what it is."""
        narrow = any(mark.narrow for line in self.lines for mark in self.marks(line))
        return [note for note in (NARROW_NOTE if narrow else "", scale_note(self.scale)) if note]

    @property
    def has_breaks(self) -> bool:
        return any(line.broken for line in self.lines)

    @property
    def over_time(self) -> Timeline:
        """The drawing of a panel whose lines are cohorts."""
        series = [[line.figures[column] for line in self.lines] for column in self.shape.drawn]
        beside = [line.compared for line in self.lines]
        return timeline(series, beside, [line.broken for line in self.lines], self.scale, self.shape.columns)

    def marks(self, line: Line) -> list[Mark]:
        """The marks of a row; none for a figure without an interval."""
        several = len(self.shape.drawn) > 1
        found = (
            mark(line.figures[column], series, self.scale, self.shape.columns[column] if several else "")
            for series, column in enumerate(self.shape.drawn)
        )
        return [each for each in found if each]


@dataclass(frozen=True)
class Chart:
    """Panels of one shape, for each cohort and, where lines are not areas themselves, for one or each area."""

    shape: Shape
    heading: str
    intro: str
    panels: tuple[Panel, ...]

    @property
    def in_each_area(self) -> bool:
        return len({panel.area.code for panel in self.panels if panel.area}) > 1

"""What there is to see on the page: charts of panels of lines, and how they are made of the released figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress, product

import pyarrow as pa

from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.facts.on_request import RequestedTable, all_tables
from ndl_export.pages.charts import (
    AXIS_HEIGHT,
    NARROW_NOTE,
    REFERENCE_HEIGHT,
    SERIES_SYMBOLS,
    WHOLE,
    Bars,
    Mark,
    Reference,
    Scale,
    TileMap,
    Timeline,
    fitted,
    from_nothing,
    mark,
    of_points,
    reference,
    scale_note,
    stacked,
    tile_map,
    timeline,
)
from ndl_export.site.conclusions import Conclusions
from ndl_export.site.figures import Figure, Released
from ndl_export.tables import FAMILIES, TABLES, MeasureKind, Table
from ndl_export.tables.geography import ALL_TOGETHER, LOCAL_AUTHORITY, REGIONS_ABOVE, Geography, geographies
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import place, tiles


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
    """What the panels of a chart have in common; `name` is that of the chart's download, `heading` and `intro` stand
    above them all.

    `finding` is what a heading says where nothing is concluded, of the figures of a line by column where lines are
    areas, else of lines and columns. `columns` head the figures of each line. `drawn` are the columns that the chart
    shows, each with marks of its own, and `told` is the one that is written beside each row of the chart; where it
    `spans` the two that are drawn, a line between them shows it. With many councils, the first column that is drawn is
    `mapped` too. Lines are areas where it is `by_area`, cohorts where it is `over_time`, and else groups of children,
    goals or answers within one. Where every child is in one of these, `whole` has the colours of a bar that they are
    parts of. A table stands in for a chart that is `roomy` in a narrow window.
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
    told: int | None = 0
    spans: bool = False
    mapped: bool = False
    by_area: bool = False
    whole: tuple[str, ...] = ()
    over_time: bool = False
    roomy: bool = False


@dataclass(frozen=True)
class Concluded:
    """A sentence that is concluded, and the same in a few words for a heading, empty where the data cannot say."""

    words: str
    finding: str = ""


@dataclass(frozen=True)
class Line:
    """A row of a panel: its label, the area it is about, and its figures in the order of the columns.

    `compared` is the figure drawn, for all councils together, on the panel of another area; over time, and where
    official ones stand beside, England's of the official statistics. `official` are the ones in the order of the
    panel's headings. `words` say the line where its area is chosen, `alike`
    what it would be for children like these, and `finding` what a heading says of it. `cohort` is given where lines are
    cohorts, and `broken` where a break lies before it.
    """

    label: str
    area: Geography
    figures: tuple[Figure, ...]
    compared: Figure | None = None
    official: tuple[Figure | None, ...] = ()
    words: str = ""
    alike: tuple[Concluded, ...] = ()
    finding: str = ""
    cohort: str = ""
    broken: bool = False


@dataclass(frozen=True)
class Panel:
    """One drawing with its table and its words; `area` is None where each line is an area of its own.

    `words` say what it was for these children, `alike` what it would be for children like these, and `finding` is for a
    heading. `together` says that it is about all councils, `beside` names those whose figures lines are compared with.
    `official` head the official figures of the lines, `england` are those of England by column where lines are areas,
    and `remarks` say what official figures there are and how they are defined.
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
    alike: tuple[Concluded, ...] = ()
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
        """`2024/25`, or `2023/24 to 2024/25` over time."""
        return Cohort(self.cohort).label if self.cohort else f"{self.lines[0].label} to {self.lines[-1].label}"

    @cached_property
    def about(self) -> str:
        """`Leeds, 2024/25`."""
        return ", ".join(part for part in (self.area_name, self.cohort_label) if part)

    @property
    def units(self) -> str:
        """What the panel is about: `children`, or `responses`."""
        return self.lines[0].figures[0].measure.of

    @property
    def flags(self) -> list[Flag]:
        """The symbols that a reader meets in the panel, in the order of their definition."""
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
        """What a reader must know to see the chart for what it is."""
        narrow = any(mark.narrow for marks in self.marks for mark in marks)
        return [note for note in (NARROW_NOTE if narrow else "", scale_note(self.scale), *self.remarks) if note]

    @cached_property
    def references(self) -> list[Reference]:
        """England's official figures of the columns that are drawn, as lines."""
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
        """Height of what is above the rows of the chart: the axis, and the words of each line through them."""
        return AXIS_HEIGHT + REFERENCE_HEIGHT * len(self.references)

    def span(self, row: int) -> tuple[str, str] | None:
        """Where the line between the two figures of a row begins and ends; None where one of them is not shown."""
        first, second = (self.lines[row].figures[column].value for column in self.shape.drawn)
        return None if first is None or second is None else (self.scale.at(first), self.scale.at(second))

    @property
    def stack(self) -> Bars | None:
        """The first figures of the lines as parts of a whole; None where they are none, or one is not shown."""
        values = [line.figures[0].value for line in self.lines]
        shown = [value for value in values if value is not None]
        if not self.shape.whole or len(shown) < len(values) or not sum(shown):
            return None
        return stacked([value / sum(shown) for value in shown])

    @cached_property
    def map(self) -> TileMap | None:
        """The first figure of every council on a map of tiles, where a chart of so many is hard to take in."""
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
        """The marks of each row; none for a figure without an interval."""
        labels = self.shape.columns if len(self.shape.drawn) > 1 else [""] * len(self.shape.columns)
        columns = [(series, column, labels[column]) for series, column in enumerate(self.shape.drawn)]
        found = (
            (mark(line.figures[column], series, self.scale, label) for series, column, label in columns)
            for line in self.lines
        )
        return [[each for each in marks if each] for marks in found]


@dataclass(frozen=True)
class Chart:
    """Panels of one shape, for each cohort and, where lines are not areas themselves, for one or each area."""

    shape: Shape
    panels: tuple[Panel, ...]

    @cached_property
    def in_each_area(self) -> bool:
        return len({panel.area.code for panel in self.panels if panel.area}) > 1

    @property
    def findings(self) -> Iterator[tuple[str, str, str]]:
        """Cohort, code of the area (empty for all councils together) and words of every finding."""
        for panel in self.panels:
            yield panel.cohort, "" if panel.together or not panel.area else panel.area.code, panel.finding
            for line in panel.lines if self.shape.by_area else ():
                yield panel.cohort, line.area.code, line.finding


Levels = tuple[str, ...]
Sentences = tuple[str, ...]
Words = Callable[[tuple[Line, ...]], Sentences]
"""What a panel says of its lines."""
Alike = Callable[[tuple[Line, ...], Conclusions, str], tuple[Concluded, ...]]
"""What it concludes from them, in a cohort."""
ENGLAND = "England, official statistics"


def silent(*_: object) -> tuple[()]:
    return ()


def no_official(_: str) -> tuple[Figure | None, ...]:
    return ()


@dataclass(frozen=True)
class Wanted:
    """A figure: the measure of a table, and the levels of its filters."""

    table: str
    measure: str
    levels: Levels


@dataclass(frozen=True)
class Release:
    """The released tables and their definitions by name, the areas that each family has rows for in each cohort, and
    what is concluded from them."""

    released: Released
    defined: Mapping[str, Table]
    areas: Mapping[tuple[str, str], Areas]
    cohorts: tuple[str, ...]
    conclusions: Conclusions | None

    def alike(self, alike: Alike, lines: tuple[Line, ...], cohort: str) -> tuple[Concluded, ...]:
        """What is concluded from lines; nothing where figures alone are asked for."""
        return alike(lines, self.conclusions, cohort) if self.conclusions else ()

    def of(self, table: str, cohort: str) -> Areas:
        return self.areas[self.defined[table].family, cohort]

    def figure(self, wanted: Wanted, cohort: str, area: Geography) -> Figure:
        measure = self.defined[wanted.table].measure(wanted.measure)
        return self.released.figure(measure, wanted.table, cohort, area.code, *wanted.levels)

    def broken(self, wanted: Wanted, cohort: str, area: Geography) -> bool:
        """Whether the row of the figure is flagged as a break."""
        measure = self.defined[wanted.table].measure(wanted.measure)
        return self.released.broken(measure, wanted.table, cohort, area.code, *wanted.levels)

    def figures(self, wanted: tuple[Wanted, ...], cohort: str, area: Geography) -> tuple[Figure, ...]:
        return tuple(self.figure(each, cohort, area) for each in wanted)


def release_of(
    tables: Mapping[str, pa.Table],
    councils: tuple[str, ...],
    cohorts: tuple[str, ...],
    missing: MissingByCohort,
    requested: Sequence[RequestedTable] = (),
    conclusions: Conclusions | None = None,
) -> Release:
    areas, defined = {}, all_tables(requested)
    for family, cohort in product(FAMILIES, cohorts):
        absent = not_sent(missing.get(cohort, {}), family)
        areas[family, cohort] = Areas(geographies(councils, absent), absent)
    return Release(Released(tables, defined), defined, areas, tuple(sorted(cohorts)), conclusions)


@dataclass(frozen=True)
class ByArea:
    """A panel for each cohort, with a line for each area; it says the first, what else is `asked` of it, and what
    `alike` concludes from all; of a line that is chosen it says the same, and what `alike_each` concludes from it and
    the first. `official` are England's figures by column, and `remarks` say what they are."""

    shape: Shape
    wanted: tuple[Wanted, ...]
    say: Callable[[Line], str]
    alike: Alike
    alike_each: Alike
    asked: Alike = silent
    official: Callable[[str], tuple[Figure | None, ...]] = no_official
    remarks: Callable[[str], Sentences] = silent

    def panels(self, release: Release) -> tuple[Panel, ...]:
        return tuple(self._panel(release, cohort) for cohort in release.cohorts)

    def _panel(self, release: Release, cohort: str) -> Panel:
        areas = release.of(self.shape.table, cohort)
        lines = tuple(Line(areas.name(area), area, release.figures(self.wanted, cohort, area)) for area in areas.every)
        first, *others = lines

        def say(line: Line) -> str:
            asked = release.alike(self.asked, (line,), cohort)
            return " ".join((self.say(line), *(each.words for each in asked)))

        said = (
            replace(line, words=say(line), alike=alike, finding=_found(self.shape, alike, line.figures))
            for line in others
            for alike in [release.alike(self.alike_each, (line, first), cohort)]
        )
        england, alike = self.official(cohort), release.alike(self.alike, lines, cohort)
        return Panel(
            self.shape,
            cohort,
            (first, *said),
            _scale(self.shape, lines, england),
            (say(first),),
            alike=alike,
            finding=_found(self.shape, alike, first.figures),
            england=england,
            remarks=self.remarks(cohort),
        )


@dataclass(frozen=True)
class InEachArea:
    """A panel for each cohort and area, with a line for each label of `wanted`; of all councils alone where figures are
    only `together`. With `official`, a line has England's official figure and the area's own beside it, and not the one
    of all councils together; `remarks` say what official figures there are of a cohort and area."""

    shape: Shape
    wanted: Mapping[str, tuple[Wanted, ...]]
    words: Words
    alike: Alike = silent
    together: bool = False
    official: Callable[[str, Geography, Levels], tuple[Figure | None, ...]] | None = None
    remarks: Callable[[str, Geography], Sentences] = silent

    def panels(self, release: Release) -> tuple[Panel, ...]:
        found: list[Panel] = []
        for cohort in release.cohorts:
            areas = release.of(self.shape.table, cohort)
            shown = (areas.together,) if self.together else areas.every
            found += [self._panel(release, cohort, areas, area) for area in shown]
        return tuple(found)

    def _panel(self, release: Release, cohort: str, areas: Areas, area: Geography) -> Panel:
        together = area == areas.together
        lines = tuple(self._line(release, cohort, areas, area, label) for label in self.wanted)
        beside = ENGLAND if self.official else areas.name(areas.together)
        headings = ("England, official",) if together else ("England, official", f"{area.name}, official")
        shown = [any(official) for official in zip(*(line.official for line in lines), strict=True)]
        alike = release.alike(self.alike, lines, cohort)
        return Panel(
            self.shape,
            cohort,
            tuple(replace(line, official=tuple(compress(line.official, shown))) for line in lines),
            _scale(self.shape, lines),
            self.words(lines) if self.together else available(lines, self.words),
            area,
            areas.name(area),
            together,
            beside if any(line.compared for line in lines) else "",
            alike=alike,
            finding=_found(self.shape, alike, [line.figures for line in lines]),
            official=tuple(compress(headings, shown)),
            remarks=self.remarks(cohort, area),
        )

    def _line(self, release: Release, cohort: str, areas: Areas, area: Geography, label: str) -> Line:
        wanted = self.wanted[label]
        figures = release.figures(wanted, cohort, area)
        if self.official:
            official = self.official(cohort, area, wanted[0].levels)
            return Line(label, area, figures, official[0], official=official[: 1 if area == areas.together else None])
        if area == areas.together:
            return Line(label, area, figures)
        return Line(label, area, figures, _comparable(release.figure(wanted[0], cohort, areas.together)))


@dataclass(frozen=True)
class OverTime:
    """A panel for each area, with a line for each cohort; none where there is one cohort alone.

    `official` is the figure of the official statistics of a cohort for England, if any. A cohort without rows of an
    area is not available there.
    """

    shape: Shape
    wanted: tuple[Wanted, ...]
    official: Callable[[str], Figure | None]
    words: Words
    alike: Alike

    def panels(self, release: Release) -> tuple[Panel, ...]:
        if len(release.cohorts) == 1:
            return ()
        areas = {
            (area.level, area.code): (area, area == areas.together)
            for areas in (release.of(self.shape.table, cohort) for cohort in release.cohorts)
            for area in areas.every
        }
        return tuple(self._panel(release, area, together) for area, together in areas.values())

    def _panel(self, release: Release, area: Geography, together: bool) -> Panel:
        lines = tuple(self._line(release, cohort, area) for cohort in release.cohorts)
        drawn = [line.figures[column] for line in lines for column in self.shape.drawn]
        shown = drawn + [line.compared for line in lines if line.compared]
        scale = of_points(shown) if drawn[0].measure.kind is MeasureKind.DIFFERENCE else fitted(shown)
        name = "All councils together" if area.level == ALL_TOGETHER else area.name
        words = available(lines, self.words)
        alike = release.alike(self.alike, lines, "")
        finding = _found(self.shape, alike[-1:])
        return Panel(self.shape, "", lines, scale, words, area, name, together, alike=alike, finding=finding)

    def _line(self, release: Release, cohort: str, area: Geography) -> Line:
        known = area.code in {each.code for each in release.of(self.shape.table, cohort).every}
        figures = release.figures(self.wanted, cohort, area) if known else tuple(map(_not_available, self.wanted))
        broken = known and any(release.broken(each, cohort, area) for each in self.wanted)
        label = Cohort(cohort).label
        return Line(label, area, figures, self.official(cohort), cohort=cohort, broken=broken)


def _found(shape: Shape, alike: tuple[Concluded, ...], figures: Sequence[object] = ()) -> str:
    """What a heading says: what is concluded, else the figures that the shape names, unless one has a symbol."""
    told = next((each.finding for each in alike if each.finding), "")
    if told or not figures:
        return told
    plain = shape.finding.format(*figures)
    return "" if "[" in plain else plain


View = ByArea | InEachArea | OverTime
"""What makes the panels of a chart of a release."""


def available(lines: tuple[Line, ...], words: Words) -> Sentences:
    """What `words` say, where there is anything to say."""
    if all(line.figures[0].flag is Flag.NOT_AVAILABLE for line in lines):
        return ("These figures are not available [x]: the council has not sent the records.",)
    if all(line.figures[0].unpublished for line in lines):
        return ("No figure is published here: all are too uncertain to use.",)
    return words(lines)


def _not_available(wanted: Wanted) -> Figure:
    return Figure(TABLES[wanted.table].measure(wanted.measure), None, None, None, Flag.NOT_AVAILABLE)


def _comparable(figure: Figure) -> Figure | None:
    """A percentage of all councils together; counts of an area and of all are not to be compared."""
    return None if figure.measure.kind is MeasureKind.COUNT or figure.value is None else figure


def _scale(shape: Shape, lines: tuple[Line, ...], england: tuple[Figure | None, ...] = ()) -> Scale:
    figures = [line.figures[column] for line in lines for column in shape.drawn]
    figures += [each for column in shape.drawn[: len(england)] if (each := england[column])]
    if not figures:
        return WHOLE
    if figures[0].measure.kind is MeasureKind.COUNT:
        return from_nothing(figures)
    return fitted(figures) if shape.by_area else WHOLE

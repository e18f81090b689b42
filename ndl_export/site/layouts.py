"""Layouts: build the panels of a chart from released figures, by area, within each area or over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, product

import pyarrow as pa

from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.facts.on_request import RequestedTable, all_tables
from ndl_export.pages.charts import (
    WHOLE,
    Scale,
    fitted,
    from_nothing,
    of_points,
)
from ndl_export.site.figures import Concluded, Figure, Levels, Line, Released, Sentences
from ndl_export.site.inference import Conclusions, Inference, to_targets
from ndl_export.site.panels import ENGLAND, Panel, Shape, Wanted
from ndl_export.tables import FAMILIES, TABLES, MeasureKind, Table
from ndl_export.tables.geography import ALL_TOGETHER, Geography, geographies
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import place

Words = Callable[[tuple[Line, ...]], Sentences]
"""Returns the sentences of a panel, from its lines."""


def silent(*_: object) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Areas:
    """The areas with rows in one family of tables, all councils together first, and their names on the page.

    `absent` are the councils that take part but have no rows.
    """

    every: tuple[Geography, ...]
    absent: tuple[str, ...]

    @property
    def together(self) -> Geography:
        return self.every[0]

    def name(self, area: Geography) -> str:
        """Return the name of an area; all councils together are named by the councils that are absent."""
        if area.level != ALL_TOGETHER:
            return area.name
        if not self.absent:
            return "All councils together"
        alone = len(self.absent) == 1
        return f"All councils but {place(self.absent[0]).la_name if alone else len(self.absent)}"


@dataclass(frozen=True)
class Release:
    """The released tables and their definitions by name, the areas of each family and cohort, and the conclusions."""

    released: Released
    defined: Mapping[str, Table]
    areas: Mapping[tuple[str, str], Areas]
    cohorts: tuple[str, ...]
    conclusions: Conclusions | None

    def infer(self, inference: Inference, lines: tuple[Line, ...], cohort: str) -> tuple[Concluded, ...]:
        """Return what `inference` concludes from the lines, or nothing if only figures are wanted."""
        return tuple(inference(lines, self.conclusions, cohort)) if self.conclusions else ()

    def of(self, table: str, cohort: str) -> Areas:
        return self.areas[self.defined[table].family, cohort]

    def figure(self, wanted: Wanted, cohort: str, area: Geography) -> Figure:
        measure = self.defined[wanted.table].measure(wanted.measure)
        return self.released.figure(measure, wanted.table, cohort, area.code, *wanted.levels)

    def broken(self, wanted: Wanted, cohort: str, area: Geography) -> bool:
        """Check whether the row of the figure is flagged as a break."""
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
    """A panel for each cohort, with a line for each area.

    Its text is about the first line: the figure, what `infer` concludes from all lines, and the distance from targets
    if `with_targets`. If a reader chooses an area, the text is about that line, with what `infer_each` concludes from
    it and the first line. `official` returns England's figures by column, and `remarks` explains them.
    """

    shape: Shape
    wanted: tuple[Wanted, ...]
    say: Callable[[Line], str]
    infer: Inference = silent
    infer_each: Inference = silent
    with_targets: bool = False
    official: Callable[[str], tuple[Figure | None, ...]] = silent
    remarks: Callable[[str], Sentences] = silent

    def panels(self, release: Release) -> tuple[Panel, ...]:
        return tuple(self._panel(release, cohort) for cohort in release.cohorts)

    def _panel(self, release: Release, cohort: str) -> Panel:
        areas = release.of(self.shape.table, cohort)
        lines = tuple(Line(areas.name(area), area, release.figures(self.wanted, cohort, area)) for area in areas.every)
        first, *others = lines

        def say(line: Line) -> str:
            targets = release.infer(to_targets, (line,), cohort) if self.with_targets else ()
            return " ".join((self.say(line), *(each.words for each in targets)))

        def chosen(line: Line) -> Line:
            inferred = release.infer(self.infer_each, (line, first), cohort)
            finding = _finding(self.shape, inferred, line.figures)
            return replace(line, words=say(line), inferred=inferred, finding=finding)

        england, inferred = self.official(cohort), release.infer(self.infer, lines, cohort)
        return Panel(
            self.shape,
            cohort,
            (first, *map(chosen, others)),
            _scale(self.shape, lines, england),
            (say(first),),
            inferred=inferred,
            finding=_finding(self.shape, inferred, first.figures),
            england=england,
            remarks=self.remarks(cohort),
        )


@dataclass(frozen=True)
class InEachArea:
    """A panel for each cohort and area, with a line for each label of `wanted`; only for all councils if `together`.

    With `official`, a line is shown beside England's official figure and the area's own, and not beside the figure of
    all councils together. `remarks` explains which official figures exist for a cohort and area.
    """

    shape: Shape
    wanted: Mapping[str, tuple[Wanted, ...]]
    words: Words
    infer: Inference = silent
    together: bool = False
    official: Callable[[str, Geography, Levels], tuple[Figure | None, ...]] | None = None
    remarks: Callable[[str, Geography], Sentences] = silent

    def panels(self, release: Release) -> tuple[Panel, ...]:
        return tuple(
            self._panel(release, cohort, areas, area)
            for cohort in release.cohorts
            for areas in [release.of(self.shape.table, cohort)]
            for area in ((areas.together,) if self.together else areas.every)
        )

    def _panel(self, release: Release, cohort: str, areas: Areas, area: Geography) -> Panel:
        lines = tuple(self._line(release, cohort, areas, area, label) for label in self.wanted)
        beside = ENGLAND if self.official else areas.name(areas.together)
        headings = ("England, official", f"{area.name}, official")[: len(lines[0].official)]
        shown = [any(official) for official in zip(*(line.official for line in lines), strict=True)]
        inferred = release.infer(self.infer, lines, cohort)
        return Panel(
            self.shape,
            cohort,
            tuple(replace(line, official=tuple(compress(line.official, shown))) for line in lines),
            _scale(self.shape, lines),
            self.words(lines) if self.together else available(lines, self.words),
            area,
            areas.name(area),
            area == areas.together,
            beside if any(line.compared for line in lines) else "",
            inferred=inferred,
            finding=_finding(self.shape, inferred, [line.figures for line in lines]),
            official=tuple(compress(headings, shown)),
            remarks=self.remarks(cohort, area),
        )

    def _line(self, release: Release, cohort: str, areas: Areas, area: Geography, label: str) -> Line:
        wanted = self.wanted[label]
        line = Line(label, area, release.figures(wanted, cohort, area))
        together = area == areas.together
        if self.official:
            official = self.official(cohort, area, wanted[0].levels)
            return replace(line, compared=official[0], official=official[: 1 if together else None])
        if together:
            return line
        of_all = release.figure(wanted[0], cohort, areas.together)
        # The count of one area cannot be compared with that of all councils together.
        comparable = of_all.measure.kind is not MeasureKind.COUNT and of_all.value is not None
        return replace(line, compared=of_all if comparable else None)


@dataclass(frozen=True)
class OverTime:
    """A panel for each area, with a line for each cohort; no panels if there is only one cohort.

    `official` returns England's official figure for a cohort, if any. A cohort without rows for an area is shown as not
    available.
    """

    shape: Shape
    wanted: tuple[Wanted, ...]
    official: Callable[[str], Figure | None]
    words: Words
    infer: Inference

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
        words, inferred = available(lines, self.words), release.infer(self.infer, lines, "")
        finding = _finding(self.shape, inferred[-1:])
        return Panel(self.shape, "", lines, scale, words, area, name, together, inferred=inferred, finding=finding)

    def _line(self, release: Release, cohort: str, area: Geography) -> Line:
        known = area.code in {each.code for each in release.of(self.shape.table, cohort).every}
        absent = tuple(
            Figure(TABLES[each.table].measure(each.measure), None, None, None, Flag.NOT_AVAILABLE)
            for each in self.wanted
        )
        figures = release.figures(self.wanted, cohort, area) if known else absent
        broken = known and any(release.broken(each, cohort, area) for each in self.wanted)
        return Line(Cohort(cohort).label, area, figures, self.official(cohort), cohort=cohort, broken=broken)


View = ByArea | InEachArea | OverTime
"""Builds the panels of a chart from a release."""


def _finding(shape: Shape, inferred: tuple[Concluded, ...], figures: Sequence[object] = ()) -> str:
    """Return the text of a heading: a conclusion, or else the figures that the shape names unless one has a symbol."""
    found = next((each.finding for each in inferred if each.finding), "")
    plain = shape.finding.format(*figures) if figures else ""
    return found or ("" if "[" in plain else plain)


def available(lines: tuple[Line, ...], words: Words) -> Sentences:
    """Return the sentences of `words`, or the reason why no figures are shown."""
    if all(line.figures[0].flag is Flag.NOT_AVAILABLE for line in lines):
        return ("These figures are not available [x]: the council has not sent the records.",)
    if all(line.figures[0].unpublished for line in lines):
        return ("No figure is published here: all are too uncertain to use.",)
    return words(lines)


def _scale(shape: Shape, lines: tuple[Line, ...], england: tuple[Figure | None, ...] = ()) -> Scale:
    figures = [line.figures[column] for line in lines for column in shape.drawn]
    figures += [each for column in shape.drawn[: len(england)] if (each := england[column])]
    if not figures:
        return WHOLE
    if figures[0].measure.kind is MeasureKind.COUNT:
        return from_nothing(figures)
    return fitted(figures) if shape.by_area else WHOLE

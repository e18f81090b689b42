"""Layouts: build the panels of a chart from released figures, by area, within each area or over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, product

import pyarrow as pa

from ndl_export.facts.missing import MissingByCohort, list_missing_councils
from ndl_export.facts.on_request import RequestedTable, merge_tables
from ndl_export.pages.charts import WHOLE, Scale, fit_scale, scale_of_counts, scale_of_points
from ndl_export.site.figures import Concluded, Figure, Line, Released, Sentences, Wanted
from ndl_export.site.inference import Conclusions, Inference, conclude_targets
from ndl_export.site.panels import ENGLAND, Panel, Shape, say_nothing
from ndl_export.tables import FAMILIES, TABLES, MeasureKind
from ndl_export.tables.geography import ALL_TOGETHER, Geography, list_geographies
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place


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
        return f"All councils but {get_place(self.absent[0]).la_name if alone else len(self.absent)}"


@dataclass(frozen=True)
class Release:
    """The released figures, the areas of each family and cohort, and the conclusions."""

    released: Released
    areas: Mapping[tuple[str, str], Areas]
    cohorts: tuple[str, ...]
    conclusions: Conclusions | None

    def infer(self, inference: Inference, lines: tuple[Line, ...], cohort: str) -> tuple[Concluded, ...]:
        """Return what `inference` concludes from the lines, or nothing if only figures are wanted."""
        return tuple(inference(lines, self.conclusions, cohort)) if self.conclusions else ()

    def get_areas(self, table: str, cohort: str) -> Areas:
        return self.areas[self.released.defined[table].family, cohort]

    def figures(self, wanted: tuple[Wanted, ...], cohort: str, area: Geography) -> tuple[Figure, ...]:
        return tuple(self.released.figure(each, cohort, area.code) for each in wanted)


def release_of(
    tables: Mapping[str, pa.Table],
    councils: tuple[str, ...],
    cohorts: tuple[str, ...],
    missing: MissingByCohort,
    requested: Sequence[RequestedTable] = (),
    conclusions: Conclusions | None = None,
) -> Release:
    """Return the release of these tables; without `conclusions` its panels have figures only."""
    areas = {}
    for family, cohort in product(FAMILIES, cohorts):
        absent = list_missing_councils(missing.get(cohort, {}), family)
        areas[family, cohort] = Areas(list_geographies(councils, absent), absent)
    return Release(Released(tables, merge_tables(requested)), areas, tuple(sorted(cohorts)), conclusions)


def build_panels(shape: Shape, release: Release) -> tuple[Panel, ...]:
    """Build the panels of a chart: one for each cohort, and for each area unless lines are areas."""
    if shape.over_time:
        return tuple(_iter_panels_over_time(shape, release))
    found: list[Panel] = []
    for cohort in release.cohorts:
        areas = release.get_areas(shape.table, cohort)
        if shape.by_area:
            found.append(_build_panel_by_area(shape, release, cohort, areas))
        else:
            shown = (areas.together,) if shape.together else areas.every
            found += [_build_panel_in_area(shape, release, cohort, areas, area) for area in shown]
    return tuple(found)


def _build_panel_by_area(shape: Shape, release: Release, cohort: str, areas: Areas) -> Panel:
    """Return a panel with a line for each area, whose text is about the first line until a reader chooses another."""
    first, *others = (
        Line(areas.name(area), area, release.figures(shape.wanted(), cohort, area)) for area in areas.every
    )

    def with_text(line: Line) -> Line:
        targets = release.infer(conclude_targets, (line,), cohort) if shape.with_targets else ()
        target = " ".join(each.sentence for each in targets)
        return replace(line, text=" ".join(filter(None, (*shape.say([line]), target))), target=target)

    def chosen(line: Line) -> Line:
        inferred = release.infer(shape.infer_each, (line, first), cohort)
        return replace(with_text(line), inferred=inferred, finding=_choose_finding(shape, inferred, line.figures))

    lines, england = (first, *others), shape.official(cohort)
    inferred = release.infer(shape.infer, lines, cohort)
    return Panel(
        shape,
        cohort,
        (first, *map(chosen, others)),
        _scale(shape, lines, england),
        (with_text(first).text,),
        inferred=inferred,
        finding=_choose_finding(shape, inferred, first.figures),
        england=england,
        remarks=shape.remarks(cohort),
    )


def _build_panel_in_area(shape: Shape, release: Release, cohort: str, areas: Areas, area: Geography) -> Panel:
    """Return a panel with a line for each group, beside official figures or those of all councils together."""
    together = area == areas.together

    def line(label: str) -> Line:
        wanted = shape.wanted(label)
        own = Line(label, area, release.figures(wanted, cohort, area), levels=wanted[0].levels)
        if shape.official is not say_nothing:
            official = shape.official(cohort, area, own.levels)
            return replace(own, compared=official[0], official=official[: 1 if together else None])
        if together:
            return own
        of_all = release.released.figure(wanted[0], cohort, areas.together.code)
        # The count of one area cannot be compared with that of all councils together.
        comparable = of_all.measure.kind is not MeasureKind.COUNT and of_all.value is not None
        return replace(own, compared=of_all if comparable else None)

    lines = tuple(map(line, shape.lines))
    beside = areas.name(areas.together) if shape.official is say_nothing else ENGLAND
    headings = ("England, official", f"{area.name}, official")[: len(lines[0].official)]
    # A column of official figures in which none is published would be empty from top to bottom.
    shown = [any(official) for official in zip(*(line.official for line in lines), strict=True)]
    inferred = release.infer(shape.infer, lines, cohort)
    return Panel(
        shape,
        cohort,
        tuple(replace(line, official=tuple(compress(line.official, shown))) for line in lines),
        _scale(shape, lines),
        shape.say(lines) if shape.together else _describe_figures(shape, lines),
        area,
        areas.name(area),
        together,
        beside if any(line.compared for line in lines) else "",
        inferred=inferred,
        finding=_choose_finding(shape, inferred, [line.figures for line in lines]),
        official=tuple(compress(headings, shown)),
        remarks=shape.remarks(cohort, area),
    )


def _iter_panels_over_time(shape: Shape, release: Release) -> Iterator[Panel]:
    """Yield a panel for each area with a line for each cohort, unless there is only one.

    A cohort without rows for an area is shown as not available.
    """
    if len(release.cohorts) == 1:
        return
    of_cohort = {cohort: release.get_areas(shape.table, cohort) for cohort in release.cohorts}
    wanted = shape.wanted()
    absent = tuple(
        Figure(TABLES[each.table].measure(each.measure), None, None, None, Flag.NOT_AVAILABLE) for each in wanted
    )

    def line(cohort: str, area: Geography) -> Line:
        # A council that did not take part in this cohort has no rows, and a missing row would count as withheld.
        known = area.code in {each.code for each in of_cohort[cohort].every}
        figures = release.figures(wanted, cohort, area) if known else absent
        broken = known and any(release.released.is_broken(each, cohort, area.code) for each in wanted)
        england = shape.official(cohort)[shape.drawn[0]]
        return Line(Cohort(cohort).label, area, figures, compared=england, cohort=cohort, broken=broken)

    areas = {(area.level, area.code): (area, each.together) for each in of_cohort.values() for area in each.every}
    for area, together in areas.values():
        lines = tuple(line(cohort, area) for cohort in release.cohorts)
        drawn = [line.figures[column] for line in lines for column in shape.drawn]
        shown = drawn + [line.compared for line in lines if line.compared]
        scale = scale_of_points(shown) if drawn[0].measure.kind is MeasureKind.DIFFERENCE else fit_scale(shown)
        # Not `Areas.name`, which names absent councils: they may differ from cohort to cohort.
        name = "All councils together" if area.level == ALL_TOGETHER else area.name
        inferred = release.infer(shape.infer, lines, "")
        yield Panel(
            shape,
            "",
            lines,
            scale,
            _describe_figures(shape, lines),
            area,
            name,
            area == together,
            inferred=inferred,
            # Of several changes the heading has the newest; the text has them all.
            finding=_choose_finding(shape, inferred[-1:]),
        )


def _choose_finding(shape: Shape, inferred: tuple[Concluded, ...], figures: Sequence[object] = ()) -> str:
    """Return the text of a heading: a conclusion, or else the figures that the shape names unless one has a symbol."""
    found = next((each.finding for each in inferred if each.finding), "")
    plain = shape.finding.format(*figures) if figures else ""
    return found or ("" if "[" in plain else plain)


def _describe_figures(shape: Shape, lines: tuple[Line, ...]) -> Sentences:
    """Return the sentences of the chart, or the reason why no figures are shown."""
    if all(line.figures[0].flag is Flag.NOT_AVAILABLE for line in lines):
        return ("These figures are not available [x]: the council has not sent the records.",)
    if all(line.figures[0].unpublished for line in lines):
        return ("No figure is published here: all are too uncertain to use.",)
    if not shape.over_time:
        return shape.say(lines)
    breaks = " and ".join(line.label for line in lines[1:] if line.broken)
    warning = f"There is a break in the series before {breaks} [b]: do not compare across it."
    return (*(sentence for line in lines for sentence in shape.say([line])), *([warning] if breaks else []))


def _scale(shape: Shape, lines: tuple[Line, ...], england: tuple[Figure | None, ...] = ()) -> Scale:
    figures = [line.figures[column] for line in lines for column in shape.drawn]
    figures += [each for column in shape.drawn[: len(england)] if (each := england[column])]
    if not figures:
        return WHOLE
    if figures[0].measure.kind is MeasureKind.COUNT:
        return scale_of_counts(figures)
    # A chart by area is one drawing and may fit its intervals; panels within areas are compared with each other.
    return fit_scale(figures) if shape.by_area else WHOLE

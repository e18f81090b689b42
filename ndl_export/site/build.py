"""Panels from the released figures: a line for each area, or a panel for each area."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product

import pyarrow as pa

from ndl_export.facts.missing import MissingByCohort, not_sent
from ndl_export.pages.charts import WHOLE, Scale, fitted, from_nothing
from ndl_export.site.figures import Figure, Released
from ndl_export.site.panels import Areas, Line, Panel, Shape
from ndl_export.site.words import Words, available
from ndl_export.tables import FAMILIES, TABLES, MeasureKind
from ndl_export.tables.geography import ALL_TOGETHER, Geography, geographies
from ndl_export.tables.schema import Flag
from sources.reference.cohorts import Cohort

Levels = tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """A figure: the measure of a table, and the levels of its filters."""

    table: str
    measure: str
    levels: Levels


@dataclass(frozen=True)
class Release:
    """The released tables, and the areas that each family has rows for in each cohort."""

    released: Released
    areas: Mapping[tuple[str, str], Areas]
    cohorts: tuple[str, ...]

    def of(self, table: str, cohort: str) -> Areas:
        return self.areas[TABLES[table].family, cohort]

    def figure(self, wanted: Wanted, cohort: str, area: Geography) -> Figure:
        measure = TABLES[wanted.table].measure(wanted.measure)
        return self.released.figure(measure, wanted.table, cohort, area.code, *wanted.levels)

    def broken(self, wanted: Wanted, cohort: str, area: Geography) -> bool:
        """Whether the row of the figure is flagged as a break."""
        return self.released.broken(wanted.table, cohort, area.code, *wanted.levels)

    def figures(self, wanted: tuple[Wanted, ...], cohort: str, area: Geography) -> tuple[Figure, ...]:
        return tuple(self.figure(each, cohort, area) for each in wanted)


def release_of(
    tables: Mapping[str, pa.Table], councils: tuple[str, ...], cohorts: tuple[str, ...], missing: MissingByCohort
) -> Release:
    areas = {}
    for family, cohort in product(FAMILIES, cohorts):
        absent = not_sent(missing.get(cohort, {}), family)
        areas[family, cohort] = Areas(geographies(councils, absent), absent)
    return Release(Released(tables), areas, tuple(sorted(cohorts)))


def by_area(
    release: Release, shape: Shape, wanted: tuple[Wanted, ...], say: Callable[[Line], str], more: Words
) -> tuple[Panel, ...]:
    """A panel for each cohort, with a line for each area; it says the first, and then `more` of all of them."""
    panels = []
    for cohort in release.cohorts:
        areas = release.of(shape.table, cohort)
        lines = tuple(Line(areas.name(area), area, release.figures(wanted, cohort, area)) for area in areas.every)
        said = tuple(replace(line, words=say(line)) for line in lines[1:])
        panels.append(Panel(shape, cohort, (lines[0], *said), _scale(shape, lines), (say(lines[0]), *more(lines))))
    return tuple(panels)


def in_each_area(
    release: Release, shape: Shape, wanted: Mapping[str, Levels], measures: tuple[str, ...], words: Words
) -> tuple[Panel, ...]:
    """A panel for each cohort and area, with a line for each label of `wanted`; the first measure is the one drawn."""
    panels = []
    asked = {label: tuple(Wanted(shape.table, name, levels) for name in measures) for label, levels in wanted.items()}
    for cohort in release.cohorts:
        areas = release.of(shape.table, cohort)
        whole = {label: release.figure(each[0], cohort, areas.together) for label, each in asked.items()}
        for area in areas.every:
            lines = tuple(
                Line(label, area, release.figures(each, cohort, area), _compared(whole[label], area, areas))
                for label, each in asked.items()
            )
            beside = areas.name(areas.together) if any(line.compared for line in lines) else ""
            together, scale = area == areas.together, _scale(shape, lines)
            said = available(lines, words)
            panels.append(Panel(shape, cohort, lines, scale, said, area, areas.name(area), together, beside))
    return tuple(panels)


def over_time(
    release: Release, shape: Shape, wanted: tuple[Wanted, ...], official: Callable[[str], Figure | None], words: Words
) -> tuple[Panel, ...]:
    """A panel for each area, with a line for each cohort; none where there is one cohort alone.

    `official` is the figure of the official statistics of a cohort for England, if any. A cohort without rows of an
    area is not available there.
    """
    if len(release.cohorts) == 1:
        return ()
    areas = {
        (area.level, area.code): (area, release.of(shape.table, cohort))
        for cohort in release.cohorts
        for area in release.of(shape.table, cohort).every
    }
    panels = []
    for area, of_cohort in areas.values():
        together = area.code == of_cohort.together.code
        lines = []
        for cohort in release.cohorts:
            known = {each.code for each in release.of(shape.table, cohort).every}
            figures = tuple(
                release.figure(each, cohort, area)
                if area.code in known
                else Figure(TABLES[each.table].measure(each.measure), None, None, None, Flag.NOT_AVAILABLE)
                for each in wanted
            )
            broken = area.code in known and any(release.broken(each, cohort, area) for each in wanted)
            label = Cohort(cohort).label
            lines.append(Line(label, area, figures, official(cohort), cohort=cohort, broken=broken))
        drawn = [line.figures[column] for line in lines for column in shape.drawn]
        drawn += [line.compared for line in lines if line.compared]
        name = "All councils together" if area.level == ALL_TOGETHER else area.name
        said = available(tuple(lines), words)
        panels.append(Panel(shape, "", tuple(lines), fitted(drawn), said, area, name, together))
    return tuple(panels)


def _compared(figure: Figure, area: Geography, areas: Areas) -> Figure | None:
    """The same percentage for all councils together; counts of an area and of all are not to be compared."""
    together = area == areas.together or figure.measure.kind is MeasureKind.COUNT
    return None if together or figure.value is None else figure


def _scale(shape: Shape, lines: tuple[Line, ...]) -> Scale:
    figures = [line.figures[column] for line in lines for column in shape.drawn]
    if figures[0].measure.kind is MeasureKind.COUNT:
        return from_nothing(figures)
    return fitted(figures) if shape.by_area else WHOLE

"""The charts of each page: those in `charts.yaml`, and one for each question of the survey and table on request.

Their panels are laid out by area, within each area or over time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import compress, product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ndl_export.facts.missing import list_missing_councils
from ndl_export.facts.on_request import RequestedTable, get_page_name, merge_tables
from ndl_export.pages.charts import WHOLE, Scale, fit_count_scale, fit_point_scale, fit_scale
from ndl_export.pages.number_format import join_words
from ndl_export.site import figures, inference
from ndl_export.site.figures import Concluded, Levels, PanelFigure, PanelRow, Sentences
from ndl_export.site.inference import Conclusions, Inference, conclude_targets
from ndl_export.site.panels import ENGLAND, Chart, Panel, Shape, Wanted, say_nothing
from ndl_export.tables import ALL, FAMILIES, MeasureKind, Table, TableAttribute, health, parents
from ndl_export.tables.geography import ALL_TOGETHER, Geography, MissingByCohort, list_geographies
from ndl_export.tables.model import FSM, IMD, SEX, TOPIC_FILTER
from ndl_export.tables.pupil import ASQ3, ETHNIC, SEN, TERM
from ndl_export.tables.rows import TableRow, list_rows
from ndl_export.tables.schema import BREAK, BREAK_COLUMN, OWN_AREA, WITH_INTERVAL, ColumnRole, Flag, get_column_name
from privacy.doors.shipped import read_yaml
from sources.reference import code_lists
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

_SHOWN_TOPICS = (ALL.label, *(attribute.label for attribute in (SEX, FSM, ETHNIC, SEN, TERM, ASQ3, IMD)))


@dataclass(frozen=True)
class PageAreas:
    """The areas with rows in a family, all councils together first; councils without rows are `absent`."""

    every: tuple[Geography, ...]
    absent: tuple[str, ...]

    @property
    def together(self) -> Geography:
        return self.every[0]

    def get_area_name(self, area: Geography) -> str:
        """Return the name of an area; that of all councils together mentions the councils that are absent."""
        if area.level != ALL_TOGETHER:
            return area.name
        if not self.absent:
            return "All councils together"
        alone = len(self.absent) == 1
        return f"All councils but {get_place(self.absent[0]).la_name if alone else len(self.absent)}"


class ReleasedFigures:
    """The released figures, the areas of each family and cohort, and the conclusions, if they are wanted."""

    def __init__(
        self,
        tables: Mapping[str, pa.Table],
        councils: tuple[str, ...],
        cohorts: tuple[str, ...],
        missing: MissingByCohort,
        requested: Sequence[RequestedTable] = (),
        conclusions: Conclusions | None = None,
    ) -> None:
        self.cohorts, self.requested, self.conclusions = tuple(sorted(cohorts)), requested, conclusions
        self._defined = merge_tables(requested)
        self._rows = {name: _index_rows(table, tables[name]) for name, table in self._defined.items()}
        self._areas = {
            (family, cohort): PageAreas(list_geographies(councils, absent), absent)
            for family, cohort in product(FAMILIES, cohorts)
            for absent in [list_missing_councils(missing.get(cohort, {}), family)]
        }

    def infer(self, inference: Inference, lines: tuple[PanelRow, ...], cohort: str) -> tuple[Concluded, ...]:
        """Return what `inference` concludes from the lines, or nothing if only figures are wanted."""
        return tuple(inference(lines, self.conclusions, cohort)) if self.conclusions else ()

    def get_areas(self, table: str, cohort: str) -> PageAreas:
        return self._areas[self._defined[table].family, cohort]

    def get_figures(self, wanted: Sequence[Wanted], cohort: str, area: Geography) -> tuple[PanelFigure, ...]:
        """Return figures; those that an area lacks are withheld, or not available if it took no part in the cohort.

        Raises KeyError for an undefined row.
        """
        found = []
        for each in wanted:
            measure, row = self._defined[each[0]].get_measure(each[1]), self._find_row(each, cohort, area)
            if row is None:
                took_part = any(area.code == other.code for other in self.get_areas(each[0], cohort).every)
                found.append(PanelFigure(measure, flag=Flag.WITHHELD if took_part else Flag.NOT_AVAILABLE))
            else:
                value, lower, upper = (row[get_column_name(measure, role)] for role in WITH_INTERVAL)
                flag = row[get_column_name(measure, ColumnRole.FLAG)]
                found.append(PanelFigure(measure, value, lower, upper, Flag(flag) if flag else None))
        return tuple(found)

    def is_broken(self, wanted: Sequence[Wanted], cohort: str, area: Geography) -> bool:
        """Check whether the row of a figure is flagged as a break in the time series."""
        rows = (self._find_row(each, cohort, area) for each in wanted)
        return any(row is not None and row[BREAK_COLUMN.name] == BREAK for row in rows)

    def _find_row(self, wanted: Wanted, cohort: str, area: Geography) -> dict[str, Any] | None:
        """Return a row about these children that has the measure, or None if the area has none."""
        table, measure, levels = wanted
        for same in _group_same_children(self._defined[table])[levels]:
            row = self._rows[table].get((cohort, area.code, *same.levels))
            if row and (same.levels == levels or measure in same.applies):
                return row
        return None


@cache
def _group_same_children(table: Table) -> dict[tuple[str, ...], tuple[TableRow, ...]]:
    """Return, by the levels of each row, all rows about the same children, the row itself first.

    A child about whom both services had a concern was seen by both, so a figure that is published under one name is not
    withheld under the other.
    """
    groups: dict[object, list[TableRow]] = {}
    for row in list_rows(table, all_together=True):
        # A row that counts nothing cannot be recognised by its counts and is a group by itself.
        groups.setdefault(frozenset(row.counts.items()) or row.levels, []).append(row)
    return {
        row.levels: (row, *(same for same in group if same is not row)) for group in groups.values() for row in group
    }


def _index_rows(table: Table, data: pa.Table) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the rows that the page shows, by cohort, area code and levels of the filters."""
    filters = [entry.name for entry in table.filters]
    if TOPIC_FILTER.name in filters:
        data = data.filter(pc.is_in(data[TOPIC_FILTER.name], value_set=pa.array(_SHOWN_TOPICS)))
    return {(row["time_period"], row[OWN_AREA[0]], *(row[entry] for entry in filters)): row for row in data.to_pylist()}


def build_panels(shape: Shape, release: ReleasedFigures, cohorts: Sequence[str] = ()) -> tuple[Panel, ...]:
    """Build the panels of a chart for each cohort (all by default) and, unless lines are areas, each area."""
    if shape.over_time:
        return tuple(_iter_panels_over_time(shape, release))
    found: list[Panel] = []
    for cohort in cohorts or release.cohorts:
        areas = release.get_areas(shape.table, cohort)
        if shape.by_area:
            found.append(_build_panel_by_area(shape, release, cohort, areas))
        else:
            shown = (areas.together,) if shape.together else areas.every
            found += [_build_panel_in_area(shape, release, cohort, areas, area) for area in shown]
    return tuple(found)


def _build_panel_by_area(shape: Shape, release: ReleasedFigures, cohort: str, areas: PageAreas) -> Panel:
    """Return a panel with a line for each area, whose text is about the first line until a reader chooses another."""
    first, *others = (
        PanelRow(areas.get_area_name(area), area, release.get_figures(shape.list_wanted(), cohort, area))
        for area in areas.every
    )

    def describe(line: PanelRow) -> PanelRow:
        targets = release.infer(conclude_targets, (line,), cohort) if shape.with_targets else ()
        target = " ".join(each.sentence for each in targets)
        inferred = release.infer(shape.infer_each, (line, first), cohort)
        return replace(
            line,
            text=" ".join(filter(None, (*shape.say([line]), target))),
            target=target,
            inferred=inferred,
            finding=_choose_finding(shape, inferred, [line]),
        )

    lines, england = (first, *others), shape.official(cohort)
    inferred = release.infer(shape.infer, lines, cohort)
    return Panel(
        shape,
        cohort,
        (first, *map(describe, others)),
        _choose_scale(shape, lines, england),
        _explain_nothing(shape, lines) or (describe(first).text,),
        inferred=inferred,
        finding=_choose_finding(shape, inferred, [first]),
        england=england,
        remarks=shape.remarks(cohort),
    )


def _build_panel_in_area(
    shape: Shape, release: ReleasedFigures, cohort: str, areas: PageAreas, area: Geography
) -> Panel:
    """Return a panel with a line for each group, beside official figures or those of all councils together."""
    together = area == areas.together

    def build_line(label: str) -> PanelRow:
        wanted = shape.list_wanted(label)
        own = PanelRow(label, area, release.get_figures(wanted, cohort, area), levels=wanted[0][2])
        if shape.official is not say_nothing:
            official = shape.official(cohort, area, own.levels)
            return replace(own, compared=official[0], official=official[: 1 if together else None])
        if together:
            return own
        [of_all] = release.get_figures(wanted[:1], cohort, areas.together)
        # The count of one area cannot be compared with that of all councils together.
        comparable = of_all.measure.kind is not MeasureKind.COUNT and of_all.value is not None
        return replace(own, compared=of_all if comparable else None)

    lines = tuple(map(build_line, shape.lines))
    beside = areas.get_area_name(areas.together) if shape.official is say_nothing else ENGLAND
    headings = ("England, official", f"{area.name}, official")[: len(lines[0].official)]
    # A column without any published official figure would be empty.
    shown = [any(official) for official in zip(*(line.official for line in lines), strict=True)]
    inferred = release.infer(shape.infer, lines, cohort)
    return Panel(
        shape,
        cohort,
        tuple(replace(line, official=tuple(compress(line.official, shown))) for line in lines),
        _choose_scale(shape, lines),
        _describe_figures(shape, lines),
        area,
        areas.get_area_name(area),
        together,
        beside if any(line.compared for line in lines) else "",
        inferred=inferred,
        finding=_choose_finding(shape, inferred, lines),
        official=tuple(compress(headings, shown)),
        remarks=shape.remarks(cohort, area),
    )


def _iter_panels_over_time(shape: Shape, release: ReleasedFigures) -> Iterator[Panel]:
    """Yield a panel for each area with a line for each cohort, unless there is only one cohort."""
    if len(release.cohorts) == 1:
        return
    of_cohort = {cohort: release.get_areas(shape.table, cohort) for cohort in release.cohorts}
    wanted = shape.list_wanted()

    def build_line(cohort: str, area: Geography) -> PanelRow:
        figures, broken = release.get_figures(wanted, cohort, area), release.is_broken(wanted, cohort, area)
        england = shape.official(cohort)[shape.drawn[0]]
        return PanelRow(Cohort(cohort).label, area, figures, compared=england, cohort=cohort, broken=broken)

    areas = {(area.level, area.code): (area, each.together) for each in of_cohort.values() for area in each.every}
    for area, together in areas.values():
        lines = tuple(build_line(cohort, area) for cohort in release.cohorts)
        drawn = [line.figures[column] for line in lines for column in shape.drawn]
        shown = drawn + [line.compared for line in lines if line.compared]
        scale = fit_point_scale(shown) if drawn[0].measure.kind is MeasureKind.DIFFERENCE else fit_scale(shown)
        # Not `PageAreas.name`, which names absent councils: they may differ from cohort to cohort.
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
            # If there are several changes, the heading has the newest and the text has them all.
            finding=_choose_finding(shape, inferred[-1:], lines if not any(line.broken for line in lines) else ()),
        )


def _choose_finding(shape: Shape, inferred: tuple[Concluded, ...], lines: Sequence[PanelRow]) -> str:
    """Return the text of a heading: a conclusion, or else the shape's own text unless a figure in it has a symbol."""
    found = next((each.finding for each in inferred if each.finding), "")
    plain = "".join(shape.fill([shape.finding], lines)) if lines else ""
    return found or ("" if "[" in plain else plain)


def _describe_figures(shape: Shape, lines: tuple[PanelRow, ...]) -> Sentences:
    """Return the sentences of the chart, or the reason why no figures are shown."""
    if nothing := _explain_nothing(shape, lines):
        return nothing
    if not shape.over_time:
        return shape.say(lines)
    breaks = " and ".join(line.label for line in lines[1:] if line.broken)
    warning = f"There is a break in the series before {breaks} [b]: do not compare across it."
    return (*(sentence for line in lines for sentence in shape.say([line])), *([warning] if breaks else []))


def _explain_nothing(shape: Shape, lines: tuple[PanelRow, ...]) -> Sentences:
    """Return the reason why no figures are shown; empty if some are."""
    if all(line.figures[0].flag is Flag.NOT_AVAILABLE for line in lines):
        who = "no council has" if lines[0].area.level == ALL_TOGETHER else "the council has not"
        return (f"These figures are not available [x]: {who} sent the records.",)
    if all(line.figures[0].unpublished for line in lines):
        return ("No figure is published here: all are too uncertain to use.",)
    if all(line.figures[column].value is None for line in lines for column in shape.drawn or (0,)):
        return ("No figure is shown here: all are too uncertain. The table has their intervals.",)
    return ()


def _choose_scale(shape: Shape, lines: tuple[PanelRow, ...], england: tuple[PanelFigure | None, ...] = ()) -> Scale:
    figures = [line.figures[column] for line in lines for column in shape.drawn]
    figures += [each for column in shape.drawn[: len(england)] if (each := england[column])]
    if not figures:
        return WHOLE
    if figures[0].measure.kind is MeasureKind.COUNT:
        return fit_count_scale(figures)
    # A chart by area is one drawing and may fit its intervals; panels within areas are compared with each other.
    return fit_scale(figures) if shape.by_area else WHOLE


_TOTAL = ALL.label
_NAMES = {"Female": "Girls", "Male": "Boys"}
_A_YEAR = "A year or more before Reception"


def _list_groups(*attributes: TableAttribute, before: Levels = (), after: Levels = (_TOTAL,)) -> dict[str, Levels]:
    """Return all children and each group of these attributes, with the levels of filters before and after the group."""
    groups = {"All children": (_TOTAL, _TOTAL)} | {
        _NAMES.get(group, group): (attribute.label, group)
        for attribute in attributes
        for group in attribute.categories[:-1]
    }
    return {label: (*before, *group, *after) for label, group in groups.items()}


_LINES: Mapping[str, Mapping[str, Levels]] = {
    "groups": {
        "All children": (_TOTAL, _TOTAL, _TOTAL),
        **{_NAMES[sex]: (_TOTAL, _TOTAL, sex) for sex in SEX.categories[:2]},
        **_list_groups(FSM, SEN, ETHNIC, TERM),
    },
    "groups seen by neither": _list_groups(SEX, FSM, ETHNIC, IMD, after=("Neither",)),
    "groups with a concern": _list_groups(SEX, FSM, ETHNIC, before=("No",), after=(_TOTAL, _TOTAL, _A_YEAR)),
    "goals": {goal: (goal, _TOTAL, _TOTAL) for goal in code_lists.GOALS.values()},
    "domains": {
        domain: (domain, _TOTAL, _TOTAL) for domain in (health.DOMAINS[health.ALL_FIVE], *code_lists.DOMAINS.values())
    },
    "outcomes": {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories},
}
"""Lines of charts taken from definitions; the last category of an attribute, the unknown one, is not shown."""


def _build_shape(name: str, stated: dict[str, Any]) -> Shape:
    """Return a shape from its entry in `charts.yaml`."""
    lines = stated.get("lines", ())
    lines = _LINES[lines] if isinstance(lines, str) else lines if isinstance(lines, dict) else {"": lines}
    # `charts.yaml` names functions; only functions of these two modules can be named there.
    functions = {
        key: getattr(module, stated[key])
        for module, keys in ((inference, ("infer", "infer_each")), (figures, ("official", "remarks")))
        for key in keys
        if key in stated
    }
    tuples = {key: tuple(value) for key, value in stated.items() if isinstance(value, list)}
    return Shape(name, **stated | tuples | functions | {"lines": {k: tuple(levels) for k, levels in lines.items()}})


def _iter_survey_shapes() -> Iterator[Shape]:
    """Yield the chart of each question of the survey of parents."""
    for question in parents.QUESTIONS:
        wording = code_lists.QUESTIONS[question.name].wording
        # Shares are of the responses to which the question applies, so `not applicable` has no line.
        answers = [answer for answer in question.categories if answer != parents.NOT_APPLICABLE]
        own = {"title": wording, "heading": wording, "whole": _choose_colours(answers)}
        own |= {"intro": ""} if len(answers) == len(question.categories) else {}
        lines = {answer: (question.label, answer, _TOTAL, _TOTAL) for answer in answers}
        yield _build_shape(f"parents-{question.name.replace('_', '-')}", _SURVEY | own | {"lines": lines})


_IN_ORDER = {
    2: ("navy", "orange"),
    3: ("navy", "sky", "orange"),
    4: ("navy", "sky", "amber", "orange"),
    5: ("navy", "sky", "grey", "amber", "orange"),
}
"""Colours of answers in their order, by number: blue for the first, orange for the last, and grey for a middle."""
_NO_ANSWERS = {"Don't know": "ink", "Prefer not to say": "ink", parents.NOT_ANSWERED: "pale"}


def _choose_colours(answers: Sequence[str]) -> list[str]:
    """Return the colour of each answer to a question whose answers have an order; none for other questions."""
    ordered = [answer for answer in answers if answer not in _NO_ANSWERS]
    colours = dict(zip(ordered, _IN_ORDER.get(len(ordered), ()), strict=False)) | _NO_ANSWERS
    return [colours[answer] for answer in answers] if len(ordered) in _IN_ORDER else []


_STATED = read_yaml(Path(__file__).parent / "charts.yaml")
_SURVEY = _STATED.pop("survey")
SHAPES: Mapping[str, tuple[Shape, ...]] = {
    page: tuple(_build_shape(name, stated) for name, stated in charts.items()) for page, charts in _STATED.items()
} | {"parents": tuple(_iter_survey_shapes())}
"""The charts of each page that has any, by page name."""


def build_charts(release: ReleasedFigures) -> dict[str, tuple[Chart, ...]]:
    """Return the charts of each page that show anything; with one cohort there are none over time."""
    charts = {page: [Chart(shape, build_panels(shape, release)) for shape in shapes] for page, shapes in SHAPES.items()}
    return {page: tuple(chart for chart in shown if chart.panels) for page, shown in charts.items()}


MOST_DRAWN, LONGEST_LABEL = 40, 80
"""Rows of a chart, and characters of a row's label; a table that exceeds either has no chart."""
_FITS_A_TELEPHONE = 43
"""Characters of a row's label; a chart with a longer one is not shown on a phone."""
MOST_ROWS = 6_000
"""Rows of a page in all its areas and cohorts (about 5 MB); a page with more shows only all councils together."""


def build_requested_charts(release: ReleasedFigures) -> dict[str, tuple[Chart, ...]]:
    """Return the chart of each table on request, by page name."""
    return {get_page_name(each.name): (_build_requested_chart(release, each),) for each in release.requested}


def _build_requested_chart(release: ReleasedFigures, request: RequestedTable) -> Chart:
    table, cohorts = request.table, sorted(request.cohorts)
    by_label = label_rows(table)
    areas = sum(len(release.get_areas(table.name, cohort).every) for cohort in cohorts)
    at_councils = all(block.councils for block in table.blocks)
    ratios = [measure for measure in table.measures if not measure.is_count]
    counts = [measure for measure in reversed(table.measures) if measure.is_count and not measure.as_linked]
    longest = max(map(len, by_label))
    shape = Shape(
        get_page_name(table.name),
        table.name,
        table.title,
        join_words(entry.label for entry in table.filters),
        tuple(measure.label for measure in (*ratios, *counts)),
        "Figures",
        drawn=(0,) if len(by_label) <= MOST_DRAWN and longest <= LONGEST_LABEL else (),
        roomy=longest > _FITS_A_TELEPHONE,
        measures=tuple(measure.name for measure in (*ratios, *counts)),
        lines=by_label,
        together=not at_councils or areas * len(by_label) > MOST_ROWS,
    )
    return Chart(shape, build_panels(shape, release, cohorts))


def label_rows(table: Table) -> Mapping[str, Levels]:
    """Return the levels of each row by a unique label: its levels except totals, with column names if needed."""

    def build_label(levels: Levels, *, named: bool) -> str:
        pairs = [(entry, level) for entry, level in zip(table.filters, levels, strict=True) if level != ALL.label]
        parts = (f"{entry.label}: {level}" if named else level for entry, level in pairs)
        return ", ".join(parts) or f"All {table.measures[0].of}"

    found = [row.levels for row in list_rows(table, all_together=True)]
    plain = {build_label(levels, named=False): levels for levels in found}
    of_columns = [set(levels) - {ALL.label} for levels in zip(*found, strict=True)]
    # Every label is unique, and no level occurs in two columns.
    if len(plain) == len(found) and sum(map(len, of_columns)) == len(set().union(*of_columns)):
        return plain
    return {build_label(levels, named=True): levels for levels in found}

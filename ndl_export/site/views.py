"""The charts of each page: those in `charts.yaml`, those of the survey of parents and of each table on request."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ndl_export.facts.on_request import RequestedTable, get_page_name
from ndl_export.pages.number_format import listed
from ndl_export.site import figures, inference
from ndl_export.site.figures import Levels
from ndl_export.site.layouts import Release, build_panels
from ndl_export.site.panels import Chart, Shape
from ndl_export.tables import ALL, Table
from ndl_export.tables.dimensions import FSM, IMD, SEX
from ndl_export.tables.health import ALL_FIVE, DOMAINS
from ndl_export.tables.parents import NOT_APPLICABLE, QUESTIONS
from ndl_export.tables.pupil import ASQ3, ETHNIC, SEN, TERM
from ndl_export.tables.rows import list_rows
from sources.reference.code_lists import DOMAINS as ASQ3_DOMAINS
from sources.reference.code_lists import QUESTIONS as WORDINGS
from sources.reference.goals import GOALS

_TOTAL = ALL.label
_NAMES = {"Female": "Girls", "Male": "Boys"}
_LINES: Mapping[str, Mapping[str, Levels]] = {
    "groups": {
        "All children": (_TOTAL, _TOTAL, _TOTAL),
        **{_NAMES[sex]: (_TOTAL, _TOTAL, sex) for sex in SEX.categories[:2]},
        **{
            group: (attribute.label, group, _TOTAL)
            for attribute in (FSM, SEN, ETHNIC, TERM)
            for group in attribute.categories[:-1]
        },
    },
    "groups seen by neither": {
        "All children": (_TOTAL, _TOTAL, "Neither"),
        **{
            _NAMES.get(group, group): (attribute.label, group, "Neither")
            for attribute in (SEX, FSM, ETHNIC, IMD)
            for group in attribute.categories[:-1]
        },
    },
    "goals": {goal: (goal, _TOTAL, _TOTAL) for goal in GOALS.values()},
    "domains": {domain: (domain, _TOTAL, _TOTAL) for domain in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())},
    "outcomes": {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories},
}
"""Lines of charts that follow from definitions; the last category of an attribute, the unknown one, is not shown."""
_APPLICABLE_ONLY = (
    "Shares are of the responses to which the question applies. Those that say “Not applicable” are left out here and"
    " counted in the whole table."
)


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
    for question in QUESTIONS:
        wording = WORDINGS[question.name].wording
        # Their shares are of the responses to which the question applies, so the rest has no line among them.
        answers = [answer for answer in question.categories if answer != NOT_APPLICABLE]
        yield Shape(
            f"parents-{question.name.replace('_', '-')}",
            "parent_experience",
            wording,
            "Answer",
            ("Share of responses", "Number of responses"),
            wording,
            _APPLICABLE_ONLY if NOT_APPLICABLE in question.categories else "",
            measures=("response_percent", "response_count"),
            lines={answer: (question.label, answer, _TOTAL, _TOTAL) for answer in answers},
            says=("Given most often: {highest.label}, {highest.figures[0].with_interval}.",),
            otherwise="Every figure here is withheld as too uncertain. The chart and the table give their intervals.",
            infer=inference.most_often,
        )


_STATED = yaml.safe_load((Path(__file__).parent / "charts.yaml").read_text(encoding="utf-8"))
SHAPES: Mapping[str, tuple[Shape, ...]] = {
    page: tuple(_build_shape(name, stated) for name, stated in charts.items()) for page, charts in _STATED.items()
} | {"parents": tuple(_iter_survey_shapes())}
"""The charts of each page that has any, by page name."""


def build_charts(release: Release) -> dict[str, tuple[Chart, ...]]:
    """Return the charts of each page that show anything; with one cohort there are none over time."""
    charts = {page: [Chart(shape, build_panels(shape, release)) for shape in shapes] for page, shapes in SHAPES.items()}
    return {page: tuple(chart for chart in shown if chart.panels) for page, shown in charts.items()}


MOST_DRAWN, LONGEST_LABEL = 40, 80
"""Rows of a chart, and characters of a row's label; a table that exceeds either has no chart."""
_FITS_A_TELEPHONE = 43
"""Characters of a row's label; a chart with a longer one is not shown on a phone."""
MOST_ROWS = 6_000
"""Rows of a page in all its areas and cohorts (about 5 MB); a page with more shows only all councils together."""


def build_requested_charts(release: Release, requested: Sequence[RequestedTable]) -> dict[str, tuple[Chart, ...]]:
    """Return the chart of each table on request, by page name."""
    return {get_page_name(each.name): (_build_requested_chart(release, each),) for each in requested}


def _build_requested_chart(release: Release, request: RequestedTable) -> Chart:
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
        listed(entry.label for entry in table.filters),
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

    def label(levels: Levels, *, named: bool) -> str:
        pairs = [(entry, level) for entry, level in zip(table.filters, levels, strict=True) if level != ALL.label]
        parts = (f"{entry.label}: {level}" if named else level for entry, level in pairs)
        return ", ".join(parts) or f"All {table.measures[0].of}"

    found = [row.levels for row in list_rows(table, all_together=True)]
    plain = {label(levels, named=False): levels for levels in found}
    of_columns = [set(levels) - {ALL.label} for levels in zip(*found, strict=True)]
    # Every label is unique, and no level occurs in two columns.
    if len(plain) == len(found) and sum(map(len, of_columns)) == len(set().union(*of_columns)):
        return plain
    return {label(levels, named=True): levels for levels in found}

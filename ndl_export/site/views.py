"""The charts of each page and of each table on request: the rows that they show, and their sentences.

Names and drawing options of charts are in `shapes.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ndl_export.facts.on_request import RequestedTable, page_of_table
from ndl_export.pages.number_format import listed
from ndl_export.site import figures, inference, phrases
from ndl_export.site.figures import Levels
from ndl_export.site.layouts import ByArea, InEachArea, OverTime, Release, View
from ndl_export.site.panels import Chart, Shape, Wanted
from ndl_export.tables import ALL, Attribute, Table
from ndl_export.tables.dimensions import FSM, IMD, SEX
from ndl_export.tables.health import ALL_FIVE, DOMAINS
from ndl_export.tables.parents import NOT_APPLICABLE, QUESTIONS
from ndl_export.tables.pupil import (
    ASQ3,
    BOTH,
    ETHNIC,
    HV_ONLY,
    NEITHER,
    NONE,
    SEN,
    SETTING_ONLY,
    TERM,
    UNSEARCHABLE,
)
from ndl_export.tables.rows import rows
from sources.reference.code_lists import DOMAINS as ASQ3_DOMAINS
from sources.reference.code_lists import QUESTIONS as WORDINGS
from sources.reference.goals import GOALS

ELIGIBLE, NOT_ELIGIBLE, *_ = FSM.categories
_TOTAL = ALL.label
_EVERYONE = (_TOTAL, _TOTAL, _TOTAL)
_GROUPS: dict[str, Levels] = {
    "All children": _EVERYONE,
    "Girls": (_TOTAL, _TOTAL, SEX.categories[0]),
    "Boys": (_TOTAL, _TOTAL, SEX.categories[1]),
    **{
        group: (attribute.label, group, _TOTAL)
        for attribute in (FSM, SEN, ETHNIC, TERM)
        for group in attribute.categories[:-1]
    },
}
"""Groups of children that the page shows in each area, without the unknown ones."""
_SEEN_GROUPS = {
    "All children": (_TOTAL, _TOTAL),
    **{
        {"Female": "Girls", "Male": "Boys"}.get(group, group): (attribute.label, group)
        for attribute in (SEX, FSM, ETHNIC, IMD)
        for group in attribute.categories[:-1]
    },
}
"""Groups for which a release counts who had seen the child, for all councils together."""
_SEEN = {
    "Health visitor and nursery": (BOTH, _TOTAL),
    "Health visitor only": (HV_ONLY, _TOTAL),
    "Nursery only": (SETTING_ONLY, _TOTAL),
    "Neither": (NEITHER, _TOTAL),
    "Record cannot be looked for": (UNSEARCHABLE, _TOTAL),
}
_CONCERN = {
    "Health visitor and nursery": (_TOTAL, BOTH),
    "Health visitor only": (_TOTAL, HV_ONLY),
    "Nursery only": (_TOTAL, SETTING_ONLY),
    "No concern recorded": (_TOTAL, NONE),
}
_SEEN_AND_CONCERN = {
    "Both saw, both had a concern": (BOTH, BOTH),
    "Both saw, health visitor concerned": (BOTH, HV_ONLY),
    "Both saw, nursery concerned": (BOTH, SETTING_ONLY),
    "Both saw, no concern": (BOTH, NONE),
    "Health visitor saw, concerned": (HV_ONLY, HV_ONLY),
    "Health visitor saw, no concern": (HV_ONLY, NONE),
    "Nursery saw, concerned": (SETTING_ONLY, SETTING_ONLY),
    "Nursery saw, no concern": (SETTING_ONLY, NONE),
    "Neither saw": (NEITHER, NONE),
    "Record cannot be looked for": (UNSEARCHABLE, NONE),
}
"""Every combination that can occur: who saw the child, and who had a concern."""


def _shape(name: str, stated: dict[str, Any]) -> Shape:
    """Return a shape from its entry in `shapes.yaml`."""
    return Shape(name, **stated | {key: tuple(value) for key, value in stated.items() if isinstance(value, list)})


_STATED = yaml.safe_load((Path(__file__).parent / "shapes.yaml").read_text(encoding="utf-8"))
_SHAPES = {name: _shape(name, stated) for name, stated in _STATED.items()}


def _lines(name: str, levels: Mapping[str, Levels]) -> tuple[Shape, dict[str, tuple[Wanted, ...]]]:
    """Return the shape of this name, and the figures of its lines, which have these levels."""
    return _SHAPES[name], {label: _SHAPES[name].wanted(of) for label, of in levels.items()}


_GAP = (
    *(Wanted("gld_headline", "gld_children_percent", (FSM.label, group, _TOTAL)) for group in (ELIGIBLE, NOT_ELIGIBLE)),
    Wanted("gld_differences", "gld_difference_points", (FSM.label, inference.GAP)),
)
_OVERVIEW = (
    ByArea(
        _SHAPES["gld-by-area"],
        _SHAPES["gld-by-area"].wanted(_EVERYONE),
        phrases.rate,
        inference.councils,
        inference.council,
        with_targets=True,
        official=lambda cohort: (figures.england(cohort), None, None),
        remarks=figures.england_remarks,
    ),
    ByArea(
        _SHAPES["gap-by-area"],
        _GAP,
        phrases.gap,
        inference.gap,
        inference.gap,
        official=figures.england_gap,
        remarks=figures.england_remarks,
    ),
    OverTime(
        _SHAPES["gld-over-time"],
        _SHAPES["gld-over-time"].wanted(_EVERYONE),
        figures.england,
        phrases.each_cohort,
        inference.changes,
    ),
    OverTime(
        _SHAPES["gap-over-time"],
        _GAP,
        lambda cohort: figures.england_gap(cohort)[-1],
        phrases.each_gap,
        inference.gap_changes,
    ),
)
_BY_GROUP = (
    InEachArea(
        *_lines("gld-by-group", _GROUPS),
        phrases.outset,
        inference.england(_GROUPS),
        official=figures.official_group,
        remarks=figures.gld_remarks,
    ),
)
_GOALS = (
    InEachArea(
        *_lines("goals", {goal: (goal, _TOTAL, _TOTAL) for goal in GOALS.values()}),
        phrases.extremes,
        inference.lowest(_TOTAL),
    ),
    InEachArea(
        _SHAPES["goals-by-meals"],
        {
            goal: tuple(
                Wanted("early_learning_goals", "expected_children_percent", (goal, FSM.label, group))
                for group in (ELIGIBLE, NOT_ELIGIBLE)
            )
            for goal in GOALS.values()
        },
        phrases.of_both_groups,
        inference.lowest(ELIGIBLE),
        together=True,
    ),
)
_PATHWAY = (
    InEachArea(
        *_lines("review", {domain: (domain, _TOTAL, _TOTAL) for domain in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())}),
        phrases.outset,
        remarks=figures.review_remarks,
    ),
    InEachArea(
        *_lines("pathway", {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories}),
        lambda lines: phrases.outset(lines) + phrases.outset(lines[2:]),
        inference.outcomes,
    ),
)
_JOINED_DOTS = (
    InEachArea(*_lines("seen-by", _SEEN), phrases.no_record),
    ByArea(_SHAPES["neither-by-area"], _SHAPES["neither-by-area"].wanted((NEITHER, _TOTAL)), phrases.neither),
    InEachArea(
        *_lines("neither-by-group", {label: (*group, NEITHER) for label, group in _SEEN_GROUPS.items()}),
        phrases.outset,
        together=True,
    ),
    InEachArea(
        *_lines("concern", _CONCERN),
        phrases.one_service_concerned,
    ),
    InEachArea(*_lines("concern-gld", _SEEN_AND_CONCERN), phrases.one_service_alone),
)
_OF_SOME = (
    "Shares are of the responses to which the question applies. Those that say “Not applicable” are left out here and"
    " counted in the whole table."
)


def _survey_chart(question: Attribute) -> InEachArea:
    """Return the chart of a question of the survey of parents."""
    wording = WORDINGS[question.name].wording
    shape = Shape(
        f"parents-{question.name.replace('_', '-')}",
        "parent_experience",
        wording,
        "Answer",
        ("Share of responses", "Number of responses"),
        wording,
        _OF_SOME if NOT_APPLICABLE in question.categories else "",
        measures=("response_percent", "response_count"),
    )
    wanted = {
        answer: shape.wanted((question.label, answer, _TOTAL, _TOTAL))
        for answer in question.categories
        if answer != NOT_APPLICABLE
    }
    return InEachArea(shape, wanted, phrases.most_given, inference.most_often(question.label))


VIEWS: Mapping[str, tuple[View, ...]] = {
    "index": _OVERVIEW,
    "groups": _BY_GROUP,
    "goals": _GOALS,
    "pathway": _PATHWAY,
    "joined-dots": _JOINED_DOTS,
    "parents": tuple(map(_survey_chart, QUESTIONS)),
}
"""The charts of each page that has any, by page name."""


def charts_of(release: Release) -> dict[str, tuple[Chart, ...]]:
    """Return the charts of each page that show anything; with one cohort there are none over time."""
    charts = {page: [Chart(view.shape, view.panels(release)) for view in views] for page, views in VIEWS.items()}
    return {page: tuple(chart for chart in shown if chart.panels) for page, shown in charts.items()}


MOST_DRAWN, LONGEST_LABEL = 40, 80
"""Rows of a chart, and characters of a row's label; a table that exceeds either has no chart."""
_FITS_A_TELEPHONE = 43
"""Characters of a row's label; a chart with a longer one is not shown on a phone."""
MOST_ROWS = 6_000
"""Rows of a page in all its areas and cohorts (about 5 MB); a page with more shows only all councils together."""


def requested_charts(release: Release, requested: Sequence[RequestedTable]) -> dict[str, tuple[Chart, ...]]:
    """Return the chart of each table on request, by page name."""
    return {page_of_table(each.name): (_chart(release, each),) for each in requested}


def _chart(release: Release, request: RequestedTable) -> Chart:
    table, own = request.table, replace(release, cohorts=tuple(sorted(request.cohorts)))
    by_label = labels(table)
    areas = sum(len(release.of(table.name, cohort).every) for cohort in own.cohorts)
    at_councils = all(block.councils for block in table.blocks)
    ratios = [measure for measure in table.measures if not measure.is_count]
    counts = [measure for measure in reversed(table.measures) if measure.is_count and not measure.as_linked]
    longest = max(map(len, by_label))
    shape = Shape(
        page_of_table(table.name),
        table.name,
        table.title,
        listed(entry.label for entry in table.filters),
        tuple(measure.label for measure in (*ratios, *counts)),
        "Figures",
        drawn=(0,) if len(by_label) <= MOST_DRAWN and longest <= LONGEST_LABEL else (),
        roomy=longest > _FITS_A_TELEPHONE,
        measures=tuple(measure.name for measure in (*ratios, *counts)),
    )
    wanted = {label: shape.wanted(levels) for label, levels in by_label.items()}
    together = not at_councils or areas * len(by_label) > MOST_ROWS
    return Chart(shape, InEachArea(shape, wanted, phrases.outset, together=together).panels(own))


def labels(table: Table) -> Mapping[str, Levels]:
    """Return the levels of each row by a unique label.

    A label consists of the levels except totals, with the names of their columns if it would otherwise be ambiguous.
    """

    def label(levels: Levels, *, named: bool) -> str:
        pairs = [(entry, level) for entry, level in zip(table.filters, levels, strict=True) if level != ALL.label]
        parts = (f"{entry.label}: {level}" if named else level for entry, level in pairs)
        return ", ".join(parts) or f"All {table.measures[0].of}"

    found = [row.levels for row in rows(table, all_together=True)]
    plain = {label(levels, named=False): levels for levels in found}
    of_columns = [set(levels) - {ALL.label} for levels in zip(*found, strict=True)]
    # Every label is unique, and no level occurs in two columns.
    if len(plain) == len(found) and sum(map(len, of_columns)) == len(set().union(*of_columns)):
        return plain
    return {label(levels, named=True): levels for levels in found}

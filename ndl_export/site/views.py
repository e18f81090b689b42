"""Which charts the pages have: of which rows of the released tables, and with which words.

What a chart is called and how it is drawn stands in `shapes.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ndl_export.site import alike
from ndl_export.site.conclusions import GAP
from ndl_export.site.official import england, england_gap, england_remarks, gld_remarks, of_group, review_remarks
from ndl_export.site.panels import ByArea, Chart, InEachArea, Levels, OverTime, Release, Shape, View, Wanted, silent
from ndl_export.site.words import (
    each_cohort,
    each_gap,
    extremes,
    gap,
    most_given,
    neither,
    no_record,
    of_both_groups,
    one_service_alone,
    one_service_concerned,
    outset,
    rate,
    to_targets,
)
from ndl_export.tables import ALL
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
from sources.reference.asq3 import DOMAINS as ASQ3_DOMAINS
from sources.reference.goals import GOALS
from sources.reference.survey import QUESTIONS as WORDINGS

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
"""Groups of children that the page shows in each area, but the unknown."""
_SEEN_GROUPS = {
    "All children": (_TOTAL, _TOTAL),
    **{
        {"Female": "Girls", "Male": "Boys"}.get(group, group): (attribute.label, group)
        for attribute in (SEX, FSM, ETHNIC, IMD)
        for group in attribute.categories[:-1]
    },
}
"""Those by which a release counts who had seen the child, for all councils together."""
_SEEN = {
    BOTH: "Health visitor and nursery",
    HV_ONLY: "Health visitor only",
    SETTING_ONLY: "Nursery only",
    NEITHER: "Neither",
    UNSEARCHABLE: "Record cannot be looked for",
}
_WORRIED = {
    BOTH: "Health visitor and nursery",
    HV_ONLY: "Health visitor only",
    SETTING_ONLY: "Nursery only",
    NONE: "No concern recorded",
}
_SEEN_AND_CONCERN = {
    (BOTH, BOTH): "Both saw, both had a concern",
    (BOTH, HV_ONLY): "Both saw, health visitor concerned",
    (BOTH, SETTING_ONLY): "Both saw, nursery concerned",
    (BOTH, NONE): "Both saw, no concern",
    (HV_ONLY, HV_ONLY): "Health visitor saw, concerned",
    (HV_ONLY, NONE): "Health visitor saw, no concern",
    (SETTING_ONLY, SETTING_ONLY): "Nursery saw, concerned",
    (SETTING_ONLY, NONE): "Nursery saw, no concern",
    (NEITHER, NONE): "Neither saw",
    (UNSEARCHABLE, NONE): "Record cannot be looked for",
}
"""Every group that can occur, in the words of the page: by whom the child was seen, and who had a concern."""


def _shape(name: str, stated: dict[str, Any]) -> Shape:
    """The shape that `shapes.yaml` states."""
    return Shape(name, **stated | {key: tuple(value) for key, value in stated.items() if isinstance(value, list)})


_STATED = yaml.safe_load((Path(__file__).parent / "shapes.yaml").read_text(encoding="utf-8"))
_SHAPES = {name: _shape(name, stated) for name, stated in _STATED.items()}


def _gld(levels: Levels) -> Wanted:
    return Wanted("gld_headline", "gld_children_percent", levels)


def _by_label(table: str, percent: str, count: str, levels: Mapping[str, Levels]) -> dict[str, tuple[Wanted, ...]]:
    """A percentage and a count at the levels of each label."""
    return {label: (Wanted(table, percent, of), Wanted(table, count, of)) for label, of in levels.items()}


_GAP = (
    *(_gld((FSM.label, group, _TOTAL)) for group in (ELIGIBLE, NOT_ELIGIBLE)),
    Wanted("gld_differences", "gld_difference_points", (FSM.label, GAP)),
)
_CHILDREN = Wanted("gld_headline", "children_count", _EVERYONE)
_OVERVIEW = (
    ByArea(
        _SHAPES["gld-by-area"],
        (_gld(_EVERYONE), Wanted("gld_headline", "elgs_expected_average", _EVERYONE), _CHILDREN),
        rate,
        alike.councils,
        alike.council,
        to_targets,
        official=lambda cohort: (england(cohort), None, None),
        remarks=england_remarks,
    ),
    ByArea(
        _SHAPES["gap-by-area"],
        _GAP,
        gap,
        alike.gap,
        alike.gap,
        official=england_gap,
        remarks=england_remarks,
    ),
    OverTime(_SHAPES["gld-over-time"], (_gld(_EVERYONE), _CHILDREN), england, each_cohort, alike.changes),
    OverTime(_SHAPES["gap-over-time"], _GAP, lambda cohort: england_gap(cohort)[-1], each_gap, alike.gap_changes),
)
_BY_GROUP = (
    InEachArea(
        _SHAPES["gld-by-group"],
        {label: (_gld(levels),) for label, levels in _GROUPS.items()},
        outset,
        alike.england(_GROUPS),
        official=of_group,
        remarks=gld_remarks,
    ),
)
_GOALS = (
    InEachArea(
        _SHAPES["goals"],
        {
            goal: (
                Wanted("early_learning_goals", "expected_children_percent", (goal, _TOTAL, _TOTAL)),
                Wanted("early_learning_goals", "expected_children_count", (goal, _TOTAL, _TOTAL)),
            )
            for goal in GOALS.values()
        },
        extremes,
        alike.lowest(_TOTAL),
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
        of_both_groups,
        alike.lowest(ELIGIBLE),
        together=True,
    ),
)
_PATHWAY = (
    InEachArea(
        _SHAPES["review"],
        _by_label(
            "asq3_outcomes",
            "at_or_above_children_percent",
            "reviewed_children_count",
            {label: (label, _TOTAL, _TOTAL) for label in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())},
        ),
        outset,
        remarks=review_remarks,
    ),
    InEachArea(
        _SHAPES["pathway"],
        _by_label(
            "readiness_pathway",
            "gld_children_percent",
            "children_count",
            {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories},
        ),
        lambda lines: outset(lines) + outset(lines[2:]),
        alike.outcomes,
    ),
)
_JOINED_DOTS = (
    InEachArea(
        _SHAPES["seen-by"],
        _by_label(
            "joined_dots",
            "children_percent",
            "children_count",
            {label: (seen, _TOTAL) for seen, label in _SEEN.items()},
        ),
        no_record,
    ),
    ByArea(
        _SHAPES["neither-by-area"],
        tuple(
            Wanted("joined_dots", measure, (NEITHER, _TOTAL))
            for measure in ("children_percent", "children_count", "gld_children_percent")
        ),
        neither,
        silent,
        silent,
    ),
    InEachArea(
        _SHAPES["neither-by-group"],
        _by_label(
            "seen_by_group",
            "children_percent",
            "children_count",
            {label: (*group, NEITHER) for label, group in _SEEN_GROUPS.items()},
        ),
        outset,
        together=True,
    ),
    InEachArea(
        _SHAPES["concern"],
        _by_label(
            "joined_dots",
            "children_percent",
            "children_count",
            {label: (_TOTAL, concern) for concern, label in _WORRIED.items()},
        ),
        one_service_concerned,
    ),
    InEachArea(
        _SHAPES["concern-gld"],
        _by_label(
            "joined_dots",
            "gld_children_percent",
            "children_count",
            {label: group for group, label in _SEEN_AND_CONCERN.items()},
        ),
        one_service_alone,
    ),
)
_OF_SOME = (
    "Shares are of the responses to which the question applies. Those that say “Not applicable” are left out here and"
    " counted in the whole table."
)
_PARENTS = tuple(
    InEachArea(
        Shape(
            f"parents-{question.name.replace('_', '-')}",
            "parent_experience",
            WORDINGS[question.name].wording,
            "Answer",
            ("Share of responses", "Number of responses"),
            WORDINGS[question.name].wording,
            _OF_SOME if NOT_APPLICABLE in question.categories else "",
        ),
        _by_label(
            "parent_experience",
            "response_percent",
            "response_count",
            {
                answer: (question.label, answer, _TOTAL, _TOTAL)
                for answer in question.categories
                if answer != NOT_APPLICABLE
            },
        ),
        most_given,
        alike.most_often(question.label),
    )
    for question in QUESTIONS
)
VIEWS: Mapping[str, tuple[View, ...]] = {
    "index": _OVERVIEW,
    "groups": _BY_GROUP,
    "goals": _GOALS,
    "pathway": _PATHWAY,
    "joined-dots": _JOINED_DOTS,
    "parents": _PARENTS,
}
"""The charts of each page that has any, by its name."""


def charts_of(release: Release) -> dict[str, tuple[Chart, ...]]:
    """The charts of each page that there is anything to draw in: one cohort alone has none over time."""
    charts = {page: [Chart(view.shape, view.panels(release)) for view in views] for page, views in VIEWS.items()}
    return {page: tuple(chart for chart in shown if chart.panels) for page, shown in charts.items()}

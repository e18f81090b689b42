"""Which charts the pages have: of which rows of the released tables, and with which words.

What a chart is called and how it is drawn stands in `shapes.yaml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ndl_export.facts.official import official_figures
from ndl_export.site.figures import Figure
from ndl_export.site.panels import ByArea, Chart, InEachArea, Levels, OverTime, Release, Shape, View, Wanted
from ndl_export.site.words import (
    each_cohort,
    each_gap,
    extremes,
    gap,
    most_given,
    no_record,
    of_both_groups,
    one_service_alone,
    outset,
    rate,
)
from ndl_export.tables import ALL
from ndl_export.tables.dimensions import FSM
from ndl_export.tables.geography import NATIONAL
from ndl_export.tables.health import ALL_FIVE, DOMAINS
from ndl_export.tables.parents import QUESTIONS
from ndl_export.tables.pupil import ASQ3, BOTH, GLD_PERCENT, HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from sources.reference.asq3 import DOMAINS as ASQ3_DOMAINS
from sources.reference.goals import GOALS
from sources.reference.survey import QUESTIONS as WORDINGS

ELIGIBLE, NOT_ELIGIBLE, *_ = FSM.categories
_TOTAL = ALL.label
_SEEN = {
    BOTH: "Health visitor and nursery",
    HV_ONLY: "Health visitor only",
    SETTING_ONLY: "Nursery only",
    NEITHER: "Neither",
    UNSEARCHABLE: "Record cannot be looked for",
}
_CONCERN = {
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


def _headline(*measures: str) -> tuple[Wanted, ...]:
    """Figures of all children of an area."""
    return tuple(Wanted("gld_headline", measure, (_TOTAL, _TOTAL, _TOTAL)) for measure in measures)


def _by_label(table: str, measures: Iterable[str], levels: Mapping[str, Levels]) -> dict[str, tuple[Wanted, ...]]:
    """The measures at the levels of each label."""
    return {label: tuple(Wanted(table, measure, of) for measure in measures) for label, of in levels.items()}


def _england(cohort: str) -> Figure | None:
    """England's percentage in the official statistics of the cohort, which is exact."""
    exact = [each for each in official_figures(cohort) if each.geographic_level == NATIONAL and each.is_total]
    return Figure(GLD_PERCENT, round(exact[0].percent, 1), None, None, None) if exact else None


_GAP = (
    Wanted("gld_headline", "gld_children_percent", (FSM.label, ELIGIBLE, _TOTAL)),
    Wanted("gld_headline", "gld_children_percent", (FSM.label, NOT_ELIGIBLE, _TOTAL)),
    Wanted("gld_differences", "gld_difference_points", (FSM.label, "Not eligible less eligible")),
)
_OVERVIEW = (
    ByArea(
        _SHAPES["gld-by-area"],
        _headline("gld_children_percent", "elgs_expected_average", "children_count"),
        rate,
        lambda lines: extremes(lines[1:]),
    ),
    ByArea(_SHAPES["gap-by-area"], _GAP, gap, lambda _: ()),
    OverTime(_SHAPES["gld-over-time"], _headline("gld_children_percent", "children_count"), _england, each_cohort),
    OverTime(_SHAPES["gap-over-time"], _GAP, lambda _: None, each_gap),
)
_GOALS = (
    InEachArea(
        _SHAPES["goals"],
        _by_label(
            "early_learning_goals",
            ("expected_children_percent", "expected_children_count"),
            {goal: (goal, _TOTAL, _TOTAL) for goal in GOALS.values()},
        ),
        extremes,
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
        together=True,
    ),
)
_PATHWAY = (
    InEachArea(
        _SHAPES["review"],
        _by_label(
            "asq3_outcomes",
            ("at_or_above_children_percent", "reviewed_children_count"),
            {label: (label, _TOTAL, _TOTAL) for label in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())},
        ),
        outset,
    ),
    InEachArea(
        _SHAPES["pathway"],
        _by_label(
            "readiness_pathway",
            ("gld_children_percent", "children_count"),
            {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories},
        ),
        lambda lines: outset(lines) + outset(lines[2:]),
    ),
)
_JOINED_DOTS = (
    InEachArea(
        _SHAPES["seen-by"],
        _by_label(
            "joined_dots",
            ("children_percent", "children_count"),
            {label: (seen, _TOTAL) for seen, label in _SEEN.items()},
        ),
        no_record,
    ),
    InEachArea(
        _SHAPES["concern"],
        _by_label(
            "joined_dots",
            ("gld_children_percent", "children_count"),
            {label: group for group, label in _CONCERN.items()},
        ),
        one_service_alone,
    ),
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
        ),
        _by_label(
            "parent_experience",
            ("response_percent", "response_count"),
            {answer: (question.label, answer, _TOTAL, _TOTAL) for answer in question.categories},
        ),
        most_given,
    )
    for question in QUESTIONS
)
VIEWS: Mapping[str, tuple[View, ...]] = {
    "index": _OVERVIEW,
    "goals": _GOALS,
    "pathway": _PATHWAY,
    "joined-dots": _JOINED_DOTS,
    "parents": _PARENTS,
    "about": (),
}
"""The charts of each page, by its name."""


def charts_of(release: Release) -> dict[str, tuple[Chart, ...]]:
    """The charts of each page that there is anything to draw in: one cohort alone has none over time."""
    charts = {page: [Chart(view.shape, view.panels(release)) for view in views] for page, views in VIEWS.items()}
    return {page: tuple(chart for chart in shown if chart.panels) for page, shown in charts.items()}


def headline(release: Release, cohort: str) -> Figure:
    """The percentage at a good level of development of all councils together."""
    (wanted,) = _headline("gld_children_percent")
    return release.figure(wanted, cohort, release.of(wanted.table, cohort).together)

"""Which charts the pages have: of which rows of the released tables, and with which words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ndl_export.documents.reconciliation import official_figures
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
from ndl_export.tables.pupil import ASQ3, BOTH, GLD_PERCENT, HV_ONLY, NEITHER, NONE, SETTING_ONLY
from ndl_export.tables.schema import Flag
from sources.reference.asq3 import DOMAINS as ASQ3_DOMAINS
from sources.reference.goals import GLD_GOALS, GOALS
from sources.reference.survey import QUESTIONS as WORDINGS

ELIGIBLE, NOT_ELIGIBLE, _ = FSM.categories
_TOTAL = ALL.label
_AT_GLD = "Children with a good level of development"
_SEEN = {
    BOTH: "Health visitor and nursery",
    HV_ONLY: "Health visitor only",
    SETTING_ONLY: "Nursery only",
    NEITHER: "Neither",
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
}
"""Every group that can occur, in the words of the page: by whom the child was seen, and who had a concern."""


def _headline(*measures: str) -> tuple[Wanted, ...]:
    """Figures of all children of an area."""
    return tuple(Wanted("gld_headline", measure, (_TOTAL, _TOTAL, _TOTAL)) for measure in measures)


def _by_label(table: str, measures: Iterable[str], levels: Mapping[str, Levels]) -> dict[str, tuple[Wanted, ...]]:
    """The measures at the levels of each label."""
    return {label: tuple(Wanted(table, measure, of) for measure in measures) for label, of in levels.items()}


def _england(cohort: str) -> Figure | None:
    """England's percentage in the official statistics of the cohort, which is exact."""
    exact = [each for each in official_figures(cohort) if each.geographic_level == NATIONAL and each.is_total]
    return Figure(GLD_PERCENT, round(exact[0].percent, 1), None, None, Flag.RELIABLE) if exact else None


_GAP = (
    Wanted("gld_headline", "gld_children_percent", (FSM.label, ELIGIBLE, _TOTAL)),
    Wanted("gld_headline", "gld_children_percent", (FSM.label, NOT_ELIGIBLE, _TOTAL)),
    Wanted("gld_differences", "gld_difference_points", (FSM.label, "Not eligible less eligible")),
)
_OVERVIEW = (
    ByArea(
        Shape(
            "gld-by-area",
            "gld_headline",
            "Good level of development by area",
            "Area",
            (_AT_GLD, "Mean number of goals met, of 17", "Number of children"),
            "By council",
            "Councils are in alphabetical order. Councils differ in who lives there, so this is not a table of how well"
            " they do their work.",
            by_area=True,
        ),
        _headline("gld_children_percent", "elgs_expected_average", "children_count"),
        rate,
        lambda lines: extremes(lines[1:]),
    ),
    ByArea(
        Shape(
            "gap-by-area",
            "gld_headline",
            "Good level of development by free school meals, by area",
            "Area",
            (ELIGIBLE, NOT_ELIGIBLE, "Gap"),
            "The gap by free school meals",
            "A child can get free school meals when their family has a low income. The gap is how many percentage"
            " points lower the figure is for these children than for the others. It has an interval of its own.",
            drawn=(0, 1),
            told=2,
            by_area=True,
        ),
        _GAP,
        gap,
        lambda _: (),
    ),
    OverTime(
        Shape(
            "gld-over-time",
            "gld_headline",
            "Good level of development over time",
            "Year",
            (_AT_GLD, "Number of children"),
            "Over time",
            "Each year is about other children. Intervals are those of the noise: where two overlap, the difference"
            " between the years may be noise alone.",
            told=None,
            over_time=True,
        ),
        _headline("gld_children_percent", "children_count"),
        _england,
        each_cohort,
    ),
    OverTime(
        Shape(
            "gap-over-time",
            "gld_headline",
            "Good level of development by free school meals, over time",
            "Year",
            (ELIGIBLE, NOT_ELIGIBLE, "Gap"),
            "The gap over time",
            "The gap is how many percentage points lower the figure is for children who can get free school meals.",
            drawn=(0, 1),
            told=None,
            over_time=True,
        ),
        _GAP,
        lambda _: None,
        each_gap,
    ),
)
_GOALS = (
    InEachArea(
        Shape(
            "goals",
            "early_learning_goals",
            "Children at the expected level in each goal",
            "Goal",
            ("Children at the expected level", "Number at the expected level"),
            "The 17 goals",
            f"A child at the expected level in the first {len(GLD_GOALS)} of these goals has a good level of"
            f" development. The last {len(GOALS) - len(GLD_GOALS)} are assessed too and do not count towards it.",
        ),
        _by_label(
            "early_learning_goals",
            ("expected_children_percent", "expected_children_count"),
            {goal: (goal, _TOTAL, _TOTAL) for goal in GOALS.values()},
        ),
        extremes,
    ),
    InEachArea(
        Shape(
            "goals-by-meals",
            "early_learning_goals",
            "Children at the expected level in each goal, by free school meals",
            "Goal",
            (ELIGIBLE, NOT_ELIGIBLE),
            "The goals by free school meals",
            "These figures are published for all councils together only.",
            drawn=(0, 1),
            told=None,
        ),
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
        Shape(
            "review",
            "asq3_outcomes",
            "Children at or above the cut-off at the review at 2 to 2½ years",
            "Area of development",
            ("Children at or above the cut-off", "Children reviewed"),
            "At the review",
            "The health visitor’s review uses a questionnaire, the ASQ-3, about five areas of development. In each, a"
            " child is at or above a cut-off, or below it. Children are counted where they live.",
        ),
        _by_label(
            "asq3_outcomes",
            ("at_or_above_children_percent", "reviewed_children_count"),
            {label: (label, _TOTAL, _TOTAL) for label in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())},
        ),
        outset,
    ),
    InEachArea(
        Shape(
            "pathway",
            "readiness_pathway",
            "Good level of development by the outcome of the review",
            "Outcome of the review",
            (_AT_GLD, "Number of children"),
            "From the review to school",
            "How many children of each group, by the outcome of the review linked to them, had a good level of"
            " development at the end of Reception. For some children no review was found and linked. Children are"
            " counted where they go to school.",
        ),
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
        Shape(
            "seen-by",
            "joined_dots",
            "Number of children by who had seen them before school",
            "Seen by",
            ("Number of children", _AT_GLD),
            "Who had seen the child",
            "Before school, a child may have been seen by a health visitor at 2 to 2½ years, by a nursery or"
            " childminder (here: nursery), by both or by neither. Seen means that a record was found and linked.",
        ),
        _by_label(
            "joined_dots",
            ("children_count", "gld_children_percent"),
            {label: (seen, _TOTAL) for seen, label in _SEEN.items()},
        ),
        no_record,
    ),
    InEachArea(
        Shape(
            "concern",
            "joined_dots",
            "Good level of development by who had seen the child and who had a concern",
            "Who saw, who had a concern",
            (_AT_GLD, "Number of children"),
            "Who had a concern",
            "Where both had seen a child and one alone had a concern, each held a part of the picture. Whoever had not"
            " seen a child cannot have had a concern about them, so there are no such groups.",
        ),
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

"""Which charts the pages have: of which rows of the released tables, and with which words."""

from __future__ import annotations

from ndl_export.documents.reconciliation import official_figures
from ndl_export.pages.charts import WHOLE
from ndl_export.site.build import Release, Wanted, by_area, in_each_area, over_time
from ndl_export.site.figures import Figure
from ndl_export.site.panels import Chart, Line, Panel, Shape
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
from ndl_export.tables import ALL, Attribute
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


def charts_of(release: Release) -> dict[str, tuple[Chart, ...]]:
    """The charts of each page, by its name."""
    return {
        "index": (
            gld_by_area(release),
            gap_by_area(release),
            *(chart for chart in (gld_over_time(release), gap_over_time(release)) if chart.panels),
        ),
        "goals": (goals(release), goals_by_meals(release)),
        "pathway": (review(release), pathway(release)),
        "joined-dots": (seen_by(release), concern(release)),
        "parents": tuple(_answers(release, question) for question in QUESTIONS),
        "about": (),
    }


def headline(release: Release, cohort: str) -> Figure:
    """The percentage at a good level of development of all councils together."""
    wanted = Wanted("gld_headline", "gld_children_percent", (_TOTAL, _TOTAL, _TOTAL))
    return release.figure(wanted, cohort, release.of(wanted.table, cohort).together)


def gld_by_area(release: Release) -> Chart:
    shape = Shape(
        "gld-by-area",
        "gld_headline",
        "Good level of development by area",
        "Area",
        (_AT_GLD, "Mean number of goals met, of 17", "Number of children"),
        by_area=True,
    )
    measures = ("gld_children_percent", "elgs_expected_average", "children_count")
    wanted = tuple(Wanted(shape.table, measure, (_TOTAL, _TOTAL, _TOTAL)) for measure in measures)
    return Chart(
        shape,
        "By council",
        "Councils are in alphabetical order. Councils differ in who lives there, so this is not a table of how well"
        " they do their work.",
        by_area(release, shape, wanted, rate, lambda lines: extremes(lines[1:])),
    )


def gap_by_area(release: Release) -> Chart:
    shape = Shape(
        "gap-by-area",
        "gld_headline",
        "Good level of development by free school meals, by area",
        "Area",
        (ELIGIBLE, NOT_ELIGIBLE, "Gap"),
        drawn=(0, 1),
        told=2,
        by_area=True,
    )
    groups = (
        Wanted(shape.table, "gld_children_percent", (FSM.label, group, _TOTAL)) for group in (ELIGIBLE, NOT_ELIGIBLE)
    )
    difference = Wanted("gld_differences", "gld_difference_points", (FSM.label, "Not eligible less eligible"))
    return Chart(
        shape,
        "The gap by free school meals",
        "A child can get free school meals when their family has a low income. The gap is how many percentage"
        " points lower the figure is for these children than for the others. It has an interval of its own.",
        by_area(release, shape, (*groups, difference), gap, lambda _: ()),
    )


def gld_over_time(release: Release) -> Chart:
    shape = Shape(
        "gld-over-time",
        "gld_headline",
        "Good level of development over time",
        "Year",
        (_AT_GLD, "Number of children"),
        told=None,
        over_time=True,
    )
    measures = ("gld_children_percent", "children_count")
    wanted = tuple(Wanted(shape.table, measure, (_TOTAL, _TOTAL, _TOTAL)) for measure in measures)
    return Chart(
        shape,
        "Over time",
        "Each year is about other children. Intervals are those of the noise: where two overlap, the difference between"
        " the years may be noise alone.",
        over_time(release, shape, wanted, _england, each_cohort),
    )


def _england(cohort: str) -> Figure | None:
    """England's percentage in the official statistics of the cohort, which is exact."""
    exact = [each for each in official_figures(cohort) if each.geographic_level == NATIONAL and each.is_total]
    return Figure(GLD_PERCENT, round(exact[0].percent, 1), None, None, Flag.RELIABLE) if exact else None


def gap_over_time(release: Release) -> Chart:
    shape = Shape(
        "gap-over-time",
        "gld_headline",
        "Good level of development by free school meals, over time",
        "Year",
        (ELIGIBLE, NOT_ELIGIBLE, "Gap"),
        drawn=(0, 1),
        told=None,
        over_time=True,
    )
    groups = (
        Wanted(shape.table, "gld_children_percent", (FSM.label, group, _TOTAL)) for group in (ELIGIBLE, NOT_ELIGIBLE)
    )
    difference = Wanted("gld_differences", "gld_difference_points", (FSM.label, "Not eligible less eligible"))
    return Chart(
        shape,
        "The gap over time",
        "The gap is how many percentage points lower the figure is for children who can get free school meals.",
        over_time(release, shape, (*groups, difference), lambda _: None, each_gap),
    )


def goals(release: Release) -> Chart:
    shape = Shape(
        "goals",
        "early_learning_goals",
        "Children at the expected level in each goal",
        "Goal",
        ("Children at the expected level", "Number at the expected level"),
    )
    return Chart(
        shape,
        "The 17 goals",
        f"A child at the expected level in the first {len(GLD_GOALS)} of these goals has a good level of"
        f" development. The last {len(GOALS) - len(GLD_GOALS)} are assessed too and do not count towards it.",
        in_each_area(
            release,
            shape,
            {goal: (goal, _TOTAL, _TOTAL) for goal in GOALS.values()},
            ("expected_children_percent", "expected_children_count"),
            extremes,
        ),
    )


def goals_by_meals(release: Release) -> Chart:
    shape = Shape(
        "goals-by-meals",
        "early_learning_goals",
        "Children at the expected level in each goal, by free school meals",
        "Goal",
        (ELIGIBLE, NOT_ELIGIBLE),
        drawn=(0, 1),
        told=None,
    )
    panels = []
    asked = {
        goal: tuple(
            Wanted(shape.table, "expected_children_percent", (goal, FSM.label, group))
            for group in (ELIGIBLE, NOT_ELIGIBLE)
        )
        for goal in GOALS.values()
    }
    for cohort in release.cohorts:
        areas = release.of(shape.table, cohort)
        lines = tuple(
            Line(goal, areas.together, release.figures(wanted, cohort, areas.together))
            for goal, wanted in asked.items()
        )
        name = areas.name(areas.together)
        panels.append(Panel(shape, cohort, lines, WHOLE, of_both_groups(lines), areas.together, name))
    return Chart(
        shape,
        "The goals by free school meals",
        "These figures are published for all councils together only.",
        tuple(panels),
    )


def review(release: Release) -> Chart:
    shape = Shape(
        "review",
        "asq3_outcomes",
        "Children at or above the cut-off at the review at 2 to 2½ years",
        "Area of development",
        ("Children at or above the cut-off", "Children reviewed"),
    )
    return Chart(
        shape,
        "At the review",
        "The health visitor’s review uses a questionnaire, the ASQ-3, about five areas of development. In each, a"
        " child is at or above a cut-off, or below it. Children are counted where they live.",
        in_each_area(
            release,
            shape,
            {label: (label, _TOTAL, _TOTAL) for label in (DOMAINS[ALL_FIVE], *ASQ3_DOMAINS.values())},
            ("at_or_above_children_percent", "reviewed_children_count"),
            outset,
        ),
    )


def pathway(release: Release) -> Chart:
    shape = Shape(
        "pathway",
        "readiness_pathway",
        "Good level of development by the outcome of the review",
        "Outcome of the review",
        (_AT_GLD, "Number of children"),
    )
    return Chart(
        shape,
        "From the review to school",
        "How many children of each group, by the outcome of the review linked to them, had a good level of"
        " development at the end of Reception. For some children no review was found and linked. Children are counted"
        " where they go to school.",
        in_each_area(
            release,
            shape,
            {outcome: (outcome, _TOTAL) for outcome in ASQ3.categories},
            ("gld_children_percent", "children_count"),
            lambda lines: outset(lines) + outset(lines[2:]),
        ),
    )


def seen_by(release: Release) -> Chart:
    shape = Shape(
        "seen-by",
        "joined_dots",
        "Number of children by who had seen them before school",
        "Seen by",
        ("Number of children", _AT_GLD),
    )
    return Chart(
        shape,
        "Who had seen the child",
        "Before school, a child may have been seen by a health visitor at 2 to 2½ years, by a nursery or"
        " childminder (here: nursery), by both or by neither. Seen means that a record was found and linked.",
        in_each_area(
            release,
            shape,
            {label: (seen, _TOTAL) for seen, label in _SEEN.items()},
            ("children_count", "gld_children_percent"),
            no_record,
        ),
    )


def concern(release: Release) -> Chart:
    shape = Shape(
        "concern",
        "joined_dots",
        "Good level of development by who had seen the child and who had a concern",
        "Who saw, who had a concern",
        (_AT_GLD, "Number of children"),
    )
    return Chart(
        shape,
        "Who had a concern",
        "Where both had seen a child and one alone had a concern, each held a part of the picture. Whoever had not"
        " seen a child cannot have had a concern about them, so there are no such groups.",
        in_each_area(
            release,
            shape,
            {label: group for group, label in _CONCERN.items()},
            ("gld_children_percent", "children_count"),
            one_service_alone,
        ),
    )


def _answers(release: Release, question: Attribute) -> Chart:
    wording = WORDINGS[question.name].wording
    shape = Shape(
        f"parents-{question.name.replace('_', '-')}",
        "parent_experience",
        wording,
        "Answer",
        ("Share of responses", "Number of responses"),
    )
    wanted = {answer: (question.label, answer, _TOTAL, _TOTAL) for answer in question.categories}
    measures = ("response_percent", "response_count")
    return Chart(shape, wording, "", in_each_area(release, shape, wanted, measures, most_given))

"""Family `pupil`: children in the cohort with an EYFS Profile, one row per child."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ndl_export.tables import model
from ndl_export.tables.definition import declare_tables
from ndl_export.tables.model import (
    ALL,
    FSM,
    IMD,
    SEX,
    UNKNOWN,
    Axis,
    Selection,
    TableAttribute,
    build_axis,
    build_breakdowns,
)
from privacy.linkage.cells import CELLS, JOINS, KINDS, NUMBERED
from sources.reference.code_lists import GOALS, IMD_INDEX, MAJOR_GROUPS, REVIEW_CODES, REVIEW_NAMES, TWO_YEAR_REVIEW

POPULATION = "Children with an EYFS Profile in the cohort, by council of the school"

ETHNIC = TableAttribute("ethnic_group", "Ethnic group", (*MAJOR_GROUPS, UNKNOWN))
SEN = TableAttribute(
    "sen_provision",
    "SEN provision",
    ("No SEN provision", "SEN support / SEN without an EHC plan", "Education, health and care plan", UNKNOWN),
)
LANGUAGE = TableAttribute("first_language", "First language", ("English", "Other than English", UNKNOWN))
TERM = TableAttribute("term_of_birth", "Term of birth", ("Autumn-born", "Spring-born", "Summer-born", UNKNOWN))
GLD = TableAttribute("gld", "Good level of development", ("Yes", "No"))

UNSEARCHABLE = "Record cannot be looked for"
"""The category of children whose record has too little detail to search for, so it is unknown who had seen them."""
NO_REVIEW = "No linked review"
ASQ3 = TableAttribute(
    "asq3",
    "ASQ-3 at 2 to 2.5 years",
    (
        "All five domains at or above the cut-off",
        "One domain below the cut-off",
        "Two or more domains below the cut-off",
        "Review without ASQ-3",
        NO_REVIEW,
        UNSEARCHABLE,
    ),
)
LINKED = tuple(category for category in ASQ3.categories if category not in (NO_REVIEW, UNSEARCHABLE))

NOT_LINKED_TO_SETTING = "Not linked to a setting"
ENTITLEMENT = TableAttribute(
    "entitlement", "Two-year-old entitlement", ("Taken", "Not taken", NOT_LINKED_TO_SETTING, UNSEARCHABLE)
)

BOTH, HV_ONLY, SETTING_ONLY, NEITHER, NONE = "Both", "Health visitor only", "Setting only", "Neither", "None"
CONCERN_GIVEN_SEEN = {
    BOTH: (BOTH, HV_ONLY, SETTING_ONLY, NONE),
    HV_ONLY: (HV_ONLY, NONE),
    SETTING_ONLY: (SETTING_ONLY, NONE),
    NEITHER: (NONE,),
    # Nothing was linked to these children, so no service's concern can be known.
    UNSEARCHABLE: (NONE,),
}
"""The services that can have raised a concern, by the services that have seen the child."""


def format_dots_category(seen_by: str, concern_by: str) -> str:
    """Return the category of the attribute `dots` for the services that saw a child and those that raised a concern."""
    return f"Seen by: {seen_by}; concern: {concern_by}"


# One attribute, not two: of the sixteen combinations of who saw and who was concerned, seven cannot occur.
DOTS = TableAttribute(
    "dots",
    "Seen by and concern raised by",
    tuple(format_dots_category(seen, concern) for seen, concerns in CONCERN_GIVEN_SEEN.items() for concern in concerns),
)

YEARS_BEFORE = {
    "Two years or more before Reception": 24,
    "One to two years before Reception": 12,
    "Less than a year before Reception": 0,
}
"""When a concern was first recorded, with the least number of months from then to the start of Reception."""
BY_HV, BY_SETTING = "Health visitor", "Setting"
BY_THEN, LATER, NEVER = "By then", "Later", "Never"
"""Whether the other service had seen the child: by the month of the concern, later or at an unknown date, or never."""
UNDATED, NO_CONCERN = "Date not recorded", "No concern recorded"


def format_concern_category(recorded_by: str, when: str, other: str) -> str:
    """Return the category of `first_concern`: who recorded one first, when, and whether the other saw the child."""
    return f"{recorded_by}; {when}; other service saw the child: {other}"


FIRST_CONCERN = TableAttribute(
    "first_concern",
    "First concern recorded before school",
    (
        *(
            format_concern_category(recorded_by, when, other)
            for recorded_by in (BY_HV, BY_SETTING)
            for when in YEARS_BEFORE
            for other in (BY_THEN, LATER, NEVER)
        ),
        UNDATED,
        NO_CONCERN,
        UNSEARCHABLE,
    ),
)

DONE = "Done"
ON_TIME, LATE, NO_TIMING = "On time", "Later than due", "Timing not known"
REVIEWS = {
    code: TableAttribute(
        name, REVIEW_CODES[code], (ON_TIME, LATE, NO_TIMING, NO_REVIEW, UNSEARCHABLE), sent_as=f"hv_reviews/{code}"
    )
    for code, name in REVIEW_NAMES.items()
}
"""The five reviews of the Healthy Child Programme, by their code in `hv_reviews`."""
REVIEW_FILTER = "health_review"

AGREEMENT = TableAttribute("linkage_agreement", "Agreement of linked records", CELLS)
"""Measured to estimate missed links; shown in no table."""
DIFFERENCES = TableAttribute("linkage_differences", "What differs between linked records", KINDS)
"""The same in fewer categories, measured by council and by ethnic group."""
CENSUS_JOIN = TableAttribute("census_join", "How the school census row was found", JOINS)
"""Measured to estimate how many census rows are not found; shown in no table."""
SHARED_NUMBER = TableAttribute("shared_nhs_number", "Records linked by NHS number", NUMBERED)
"""Measured to estimate missed links from children whose records are known to be of one child; shown in no table."""
FROM_CENSUS = (FSM.name, ETHNIC.name, SEN.name, LANGUAGE.name)
"""Attributes that are all unknown for a child whose school census row was not found."""
EXPECTED, NOT_EXPECTED = "Expected", "Not expected"
GOAL_ATTRIBUTES = {goal: TableAttribute(goal, label, (EXPECTED, NOT_EXPECTED)) for goal, label in GOALS.items()}
ALL_GOALS = "17"
GOAL_BANDS = {
    "0 to 4": range(5),
    "5 to 8": range(5, 9),
    "9 to 12": range(9, 13),
    "13 to 16": range(13, 17),
    ALL_GOALS: range(17, 18),
}
"""Numbers of early learning goals in each band, lowest first."""
GOALS_EXPECTED = TableAttribute("goals_expected", "Number of goals at the expected level", tuple(GOAL_BANDS))

CHILDREN, AS_LINKED = model.MEASURES["children_count"], model.MEASURES["children_count_as_linked"]
GLD_PERCENT = model.MEASURES["gld_children_percent"]

_table = partial(model.define_table, family="pupil", population=POPULATION)
_GLD_YES = ("gld", ("Yes",))
_gld = partial(model.RateBlock, base="children_count", numerator=_GLD_YES, rate="gld_children_percent")
_gld_and_count = partial(_gld, part="gld_children_count")
_linked_gld = partial(_gld, as_linked=AS_LINKED.name)
_NO_SEN, *_EACH_SEN = model.select_each(SEN)
_SEN_LEVELS = (_NO_SEN, Selection("All SEN provision", SEN.categories[1:3]), *_EACH_SEN)
_SEX_AXIS = build_axis("sex", SEX)
_TOTAL_TOPIC = {"breakdown_topic": "Total", "breakdown": "Total"}

GLD_HEADLINE = _table(
    "gld_headline",
    imd_index=IMD_INDEX,
    blocks=(
        _gld_and_count(axes=(_SEX_AXIS,), constants=_TOTAL_TOPIC, weight="headline", everywhere=True),
        model.AverageBlock(
            everywhere=True,
            axes=(Axis("sex", "sex", (ALL,)),),
            constants=_TOTAL_TOPIC,
            average_of=tuple((goal, (EXPECTED,)) for goal in GOALS),
            average="elgs_expected_average",
            weight="goals",
        ),
        *(
            _gld_and_count(axes=(*axes, _SEX_AXIS), constants=topic, weight="headline_by_sex", total_weight="headline")
            for axes, topic in build_breakdowns(FSM, ETHNIC, SEN, LANGUAGE, TERM, IMD, levels={SEN: _SEN_LEVELS})
            if axes
        ),
    ),
)


EARLY_LEARNING_GOALS = _table(
    "early_learning_goals",
    blocks=(
        model.RateBlock(
            axes=axes,
            constants={"early_learning_goal": label} | topic,
            numerator=(goal, (EXPECTED,)),
            part="expected_children_count",
            rate="expected_children_percent",
            councils=not axes,
            weight="goals",
        )
        for goal, label in GOALS.items()
        for axes, topic in build_breakdowns(SEX, FSM)
    ),
)

_share = partial(model.ShareBlock, share="children_percent")


def _list_seen_by(*services: str) -> tuple[str, ...]:
    """Return the categories of children seen by any of these services, regardless of who raised a concern."""
    return tuple(format_dots_category(seen, concern) for seen in services for concern in CONCERN_GIVEN_SEEN[seen])


def _build_concern_axis(*services: str) -> Axis:
    """Return the axis of services that raised a concern, for children seen by any of these services."""
    seen = set(_list_seen_by(*services))
    # A level adds up only the categories in which this concern is possible.
    selections = (
        Selection(concern, tuple(c for each in services if (c := format_dots_category(each, concern)) in seen))
        for concern in CONCERN_GIVEN_SEEN[BOTH]
    )
    return Axis("concern_by", "dots", tuple(selections))


_SEEN_AXIS = Axis("seen_by", "dots", (ALL, *(Selection(seen, _list_seen_by(seen)) for seen in CONCERN_GIVEN_SEEN)))
_COUNTED: dict[str, Any] = {"base": CHILDREN.name, "as_linked": AS_LINKED.name}
_counted_share = partial(_share, **_COUNTED)

_BY_GROUP = build_breakdowns(SEX, FSM, ETHNIC, IMD)

JOINED_DOTS = _table(
    "joined_dots",
    blocks=(
        # A block gives one kind of figure; rates and shares of the same levels share a row.
        _linked_gld(axes=(_SEEN_AXIS,), constants={"concern_by": "Total"}, everywhere=True),
        _share(axes=(_SEEN_AXIS,), constants={"concern_by": "Total"}, share_of="seen_by", everywhere=True),
        _linked_gld(axes=(_build_concern_axis(*CONCERN_GIVEN_SEEN),), constants={"seen_by": "Total"}),
        _share(axes=(_build_concern_axis(*CONCERN_GIVEN_SEEN),), constants={"seen_by": "Total"}, share_of="concern_by"),
        *(
            _linked_gld(
                axes=(_build_concern_axis(seen),),
                constants={"seen_by": seen},
                everywhere=len(concerns) == 1,  # with one possible level, it has the same children as the total
                structural_zeros=frozenset(
                    (concern,) for concern in CONCERN_GIVEN_SEEN[BOTH] if concern not in concerns
                ),
            )
            for seen, concerns in CONCERN_GIVEN_SEEN.items()
        ),
    ),
)

SEEN_BY_GROUP = _table(
    "seen_by_group",
    blocks=(
        _counted_share(
            axes=(*axes, _SEEN_AXIS),
            constants=constants,
            share_of="seen_by",
            councils=not axes,
            everywhere=not axes,  # without a breakdown, it has the same children as joined_dots
            weight="linkage",
        )
        for axes, constants in _BY_GROUP
    ),
)


def _build_first_concern_axis(recorded_by: Sequence[str], others: Sequence[str]) -> Axis:
    """Return the axis of first concerns recorded by these services, where the other saw the child at these times."""
    within = {
        when: tuple(format_concern_category(by, when, other) for by in recorded_by for other in others)
        for when in YEARS_BEFORE
    }
    two_years, one_year, _ = within.values()
    selections = [Selection("A year or more before Reception", two_years + one_year)]
    selections += [Selection(when, categories) for when, categories in within.items()]
    return Axis("first_concern", FIRST_CONCERN.name, tuple(selections))


_SERVICES, _OTHERS = (BY_HV, BY_SETTING), (BY_THEN, LATER, NEVER)
_ANY_CONCERN = _build_first_concern_axis(_SERVICES, _OTHERS)
_NO_TIME = (Selection(level, (level,)) for level in (UNDATED, NO_CONCERN, UNSEARCHABLE))
_EVERY_LEVEL = replace(_ANY_CONCERN, selections=(ALL, *_ANY_CONCERN.selections, *_NO_TIME))
_CONCERN_AXES: tuple[tuple[Axis, str, str], ...] = (
    (_EVERY_LEVEL, ALL.label, ALL.label),
    *((_build_first_concern_axis((by,), _OTHERS), by, ALL.label) for by in _SERVICES),
    *((_build_first_concern_axis(_SERVICES, (other,)), ALL.label, other) for other in _OTHERS),
)
"""The axis of `first_concern`, with the levels of `recorded_by` and `other_service` that it is restricted to."""

FIRST_CONCERNS = _table(
    "first_concern",
    blocks=(
        _counted_share(
            axes=(*axes, build_axis("good_level", GLD), axis),
            constants={**topic, "recorded_by": recorded_by, "other_service": other},
            share_of="first_concern",
            councils=not axes,
            weight="first_concern",
        )
        for axes, topic in build_breakdowns(SEX, FSM, ETHNIC)
        # Groups have only the first axis and the last, which is about children whom the other service never saw.
        for axis, recorded_by, other in (_CONCERN_AXES[:: len(_CONCERN_AXES) - 1] if axes else _CONCERN_AXES)
    ),
)


def _iter_review_blocks(review: TableAttribute) -> Iterator[model.Block]:
    """Yield the blocks of a review: children by its timing, and their share with a good level of development."""
    done = (ON_TIME, LATE, NO_TIMING)
    levels = (ALL, Selection(DONE, done), *(Selection(level, (level,)) for level in review.categories))
    timing = Axis("review_timing", review.name, levels)
    for axes, topic in build_breakdowns(IMD):
        constants = {REVIEW_FILTER: review.label} | topic
        yield _counted_share(
            axes=(*axes, timing),
            constants=constants,
            share_of="review_timing",
            councils=not axes,
            weight="health_visitor_reviews",
        )
        if not axes:
            yield _linked_gld(axes=(timing,), constants=constants, weight="health_visitor_reviews")


HEALTH_VISITOR_REVIEWS = _table(
    "health_visitor_reviews",
    blocks=(block for review in REVIEWS.values() for block in _iter_review_blocks(review)),
)

_COMPARISONS: tuple[tuple[str, str, model.Group | None, model.Group | None], ...] = (
    *(
        (attribute.label, comparison, (attribute.name, first), (attribute.name, second))
        for attribute, comparison, first, second in (
            (FSM, "Not eligible less eligible", FSM.categories[1:2], FSM.categories[:1]),
            (SEX, "Female less male", SEX.categories[:1], SEX.categories[1:2]),
            (SEN, "No SEN provision less all SEN provision", SEN.categories[:1], SEN.categories[1:3]),
            (LANGUAGE, "English less other than English", LANGUAGE.categories[:1], LANGUAGE.categories[1:2]),
            (TERM, "Autumn-born less summer-born", TERM.categories[:1], TERM.categories[2:3]),
            (IMD, "Quintile 5 less quintile 1", IMD.categories[4:5], IMD.categories[:1]),
            (ASQ3, "All five domains at or above less two or more below", ASQ3.categories[:1], ASQ3.categories[2:3]),
        )
    ),
    ("Total", "All children: area less all councils together", None, None),
    (FSM.label, "Eligible: area less all councils together", ("fsm", FSM.categories[:1]), None),
    (FSM.label, "Not eligible: area less all councils together", ("fsm", FSM.categories[1:2]), None),
)
"""Topic, comparison and the two groups; an area is compared with all councils together if there is no second group."""

GLD_DIFFERENCES = _table(
    "gld_differences",
    blocks=(
        model.DifferenceBlock(
            axes=(),
            constants={"breakdown_topic": topic, "comparison": comparison},
            numerator=_GLD_YES,
            difference="gld_difference_points",
            first=first,
            second=second,
        )
        for topic, comparison, first, second in _COMPARISONS
    ),
)

_LINKED_AXIS = Axis(
    "linked_to_review",
    "asq3",
    (Selection("Yes", LINKED), Selection("No", (NO_REVIEW,)), Selection(UNSEARCHABLE, (UNSEARCHABLE,))),
)


LINKAGE_QUALITY = _table(
    "linkage_quality",
    blocks=(
        block
        for axes, constants in _BY_GROUP
        for block in (
            model.RateBlock(
                **_COUNTED,
                axes=axes,
                constants=constants | {"linked_to_review": "Total"},
                numerator=("asq3", LINKED),
                rate="linked_children_percent",
                weight="linkage",
                everywhere=not axes,
            ),
            model.Block(
                **_COUNTED, axes=(*axes, _LINKED_AXIS), constants=constants, weight="linkage", everywhere=not axes
            ),
        )
    ),
)

_IN_CODE = model.Family(
    name="pupil",
    unit="child",
    source="eyfsp",
    further_sources=("school_census", "early_years_census", "hv_reviews"),
    population=POPULATION,
    confidential_table="children",
    confidential_description=(
        "Children with an EYFS Profile, one row each: every dimension and measure as a public category."
    ),
    attributes=(
        *(SEX, FSM, ETHNIC, SEN, LANGUAGE, TERM, IMD, GLD, ASQ3, ENTITLEMENT, DOTS, FIRST_CONCERN),
        *REVIEWS.values(),
        *(AGREEMENT, DIFFERENCES, CENSUS_JOIN, SHARED_NUMBER),
        *GOAL_ATTRIBUTES.values(),
        GOALS_EXPECTED,
        *model.list_declared_attributes("pupil"),
    ),
    tables=(
        GLD_HEADLINE,
        GLD_DIFFERENCES,
        EARLY_LEARNING_GOALS,
        JOINED_DOTS,
        SEEN_BY_GROUP,
        FIRST_CONCERNS,
        HEALTH_VISITOR_REVIEWS,
        LINKAGE_QUALITY,
    ),
    counted=CHILDREN.name,
    share="children_percent",
    counted_as_linked=AS_LINKED.name,
    found_by_linkage=frozenset(
        (ASQ3.name, ENTITLEMENT.name, DOTS.name, FIRST_CONCERN.name, *(review.name for review in REVIEWS.values()))
    ),
    figures={
        _GLD_YES: ("gld_children_count", "gld_children_percent"),
        **{(goal, (EXPECTED,)): ("expected_children_count", "expected_children_percent") for goal in GOALS},
    },
    weight="linked",
    measured_apart=(
        ((AGREEMENT.name,), "linkage_error"),
        ((CENSUS_JOIN.name,), "linkage_error"),
        ((SHARED_NUMBER.name,), "linkage_error"),
        # How often linked records differ in a council or group shows by what factor more links are missed there.
        ((model.COUNCIL, DIFFERENCES.name), "linkage_error_by_council"),
        ((ETHNIC.name, DIFFERENCES.name), "linkage_error_by_group"),
    ),
    never_shown=frozenset((AGREEMENT.name, DIFFERENCES.name, CENSUS_JOIN.name, SHARED_NUMBER.name)),
    shared_totals=(
        *(
            model.SharedTotal(
                f"{attribute.label}: children without a linked review are those seen by a setting only or by neither"
                " service",
                left=(attribute.name, (NO_REVIEW,)),
                right=("dots", _list_seen_by(SETTING_ONLY, NEITHER)),
                within="gld",
            )
            for attribute in (ASQ3, REVIEWS[TWO_YEAR_REVIEW])
        ),
        model.SharedTotal(
            "children not linked to a setting are those seen by the health visitor only or by neither service",
            left=("entitlement", (NOT_LINKED_TO_SETTING,)),
            right=("dots", _list_seen_by(HV_ONLY, NEITHER)),
            within="gld",
        ),
        *(
            model.SharedTotal(
                f"{attribute.label}: children whose record cannot be looked for are the same children",
                left=(attribute.name, (UNSEARCHABLE,)),
                right=("dots", _list_seen_by(UNSEARCHABLE)),
                within="gld",
            )
            for attribute in (ASQ3, ENTITLEMENT, FIRST_CONCERN, *REVIEWS.values())
        ),
    ),
)
"""The family with the tables that need code."""
FAMILY = declare_tables(_IN_CODE)
NUMBER_OF_GOALS, READINESS_PATHWAY, FUNDED_ENTITLEMENT = map(
    FAMILY.get_table, ("goals_expected", "readiness_pathway", "funded_entitlement")
)

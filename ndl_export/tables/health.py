"""Family `health`: children with a two-year review, one row per child, by council of residence."""

from ndl_export.tables.definition import declare_tables
from ndl_export.tables.model import (
    IMD,
    SEX,
    Family,
    RateBlock,
    TableAttribute,
    build_breakdowns,
    define_table,
    list_declared_attributes,
)
from sources.reference import code_lists

POPULATION = "Children of the birth cohort with a health-visitor review at 2 to 2.5 years, by council of residence"

AT_OR_ABOVE, BELOW, NO_SCORE = "At or above the cut-off", "Below the cut-off", "No score"
_OUTCOMES = (AT_OR_ABOVE, BELOW, NO_SCORE)

ALL_FIVE = "asq3_all_five"
DOMAINS = code_lists.DOMAINS | {ALL_FIVE: "All five domains"}


ASQ3_OUTCOMES = define_table(
    "asq3_outcomes",
    "health",
    POPULATION,
    (
        RateBlock(
            axes=axes,
            constants={"asq3_domain": label} | topic,
            base="reviewed_children_count",
            numerator=(domain, (AT_OR_ABOVE,)),
            part="at_or_above_children_count",
            rate="at_or_above_children_percent",
            weight="health",
        )
        for domain, label in DOMAINS.items()
        for axes, topic in build_breakdowns(SEX, IMD)
    ),
    imd_index=code_lists.IMD_INDEX,
)

_IN_CODE = Family(
    name="health",
    unit="child",
    source="hv_reviews",
    population=POPULATION,
    confidential_table="reviewed_children",
    confidential_description=(
        "Children with a two-year review, one row each: ASQ-3 outcome of each domain, sex, deprivation."
    ),
    attributes=(
        SEX,
        IMD,
        *(TableAttribute(name, label, _OUTCOMES) for name, label in DOMAINS.items()),
        *list_declared_attributes("health"),
    ),
    tables=(ASQ3_OUTCOMES,),
    counted="reviewed_children_count",
    share="children_percent",
    figures={
        (domain, (AT_OR_ABOVE,)): ("at_or_above_children_count", "at_or_above_children_percent") for domain in DOMAINS
    },
    weight="health",
)
"""The family with the tables that need code."""
FAMILY = declare_tables(_IN_CODE)

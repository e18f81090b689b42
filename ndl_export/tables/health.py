"""Family `health`: children with a two-year review, one row per child, by council of residence."""

from ndl_export.tables.model import (
    BREAKDOWN_FILTER,
    IMD,
    MEASURES,
    SEX,
    TOPIC_FILTER,
    Attribute,
    Family,
    Filter,
    RateBlock,
    Table,
    build_breakdowns,
)
from sources.reference.code_lists import DOMAINS as ASQ3_DOMAINS
from sources.reference.code_lists import IMD_INDEX

POPULATION = "Children of the birth cohort with a health-visitor review at 2 to 2.5 years, by council of residence"

AT_OR_ABOVE, BELOW, NO_SCORE = "At or above the cut-off", "Below the cut-off", "No score"
_OUTCOMES = (AT_OR_ABOVE, BELOW, NO_SCORE)

ALL_FIVE = "asq3_all_five"
DOMAINS = ASQ3_DOMAINS | {ALL_FIVE: "All five domains"}


ASQ3_OUTCOMES = Table(
    name="asq3_outcomes",
    title="Two-year review: ASQ-3 outcomes",
    family="health",
    population=POPULATION,
    description=(
        f"Children at or above the ASQ-3 cut-off by domain, sex and area deprivation ({IMD_INDEX}). By cohort of the"
        " children, not by the financial year of the review"
    ),
    filters=(
        Filter("asq3_domain", "ASQ-3 domain", "Developmental domain, or all five together"),
        TOPIC_FILTER,
        BREAKDOWN_FILTER,
    ),
    measures=(
        MEASURES["reviewed_children_count"],
        MEASURES["at_or_above_children_count"],
        MEASURES["at_or_above_children_percent"],
    ),
    blocks=tuple(
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
)

FAMILY = Family(
    name="health",
    unit="child",
    source="hv_reviews",
    population=POPULATION,
    confidential_table="reviewed_children",
    confidential_description=(
        "Children with a two-year review, one row each: ASQ-3 outcome of each domain, sex, deprivation."
    ),
    attributes=(SEX, IMD, *(Attribute(name, label, _OUTCOMES) for name, label in DOMAINS.items())),
    tables=(ASQ3_OUTCOMES,),
    counted="reviewed_children_count",
    share="children_percent",
    figures={
        (domain, (AT_OR_ABOVE,)): ("at_or_above_children_count", "at_or_above_children_percent") for domain in DOMAINS
    },
    weight="health",
)

"""`hv_reviews`: health-visitor reviews from the Community Services Data Set, one row per review."""

from sources.contracts.model import Column, Due, Kind, Role, Rule, Severity, SourceContract
from sources.contracts.people import DEMOGRAPHICS, NHS_NUMBER, PEOPLE_RULES, YES_NO
from sources.reference.asq3 import DOMAINS

REVIEW_CODES = {
    "ANV": "Antenatal visit",
    "NBV": "New birth visit",
    "6-8W": "Six to eight week review",
    "12M": "Twelve month review",
    "2-2.5Y": "Two to two-and-a-half year review",
}
TWO_YEAR_REVIEW = "2-2.5Y"
ASQ3_MONTHS = {"24": "24 months", "27": "27 months", "30": "30 months"}

DUE = Due(5, 31, -1, "policy of the programme: three months after the youngest child of the cohort is two and a half")
"""Of the year before the cohort's first: children of 202425 are born by 31 August 2020 and two and a half years old by
the end of February 2023. There is no official date by cohort. Providers submit the Community Services Data Set monthly
(data provision notice of 2017; GOV.UK, Healthy child programme: supplementary guidance for completing the CSDS), so
that three months cover the submissions of the last reviews."""

CONTRACT = SourceContract(
    name="hv_reviews",
    title="Health-visitor reviews",
    row_per="review",
    due=DUE,
    columns=(
        Column(
            "local_patient_id",
            Kind.TEXT,
            Role.IDENTIFIER,
            "The provider's own patient number",
            required=False,
        ),
        NHS_NUMBER,
        Column(
            "nhs_number_status",
            Kind.TEXT,
            Role.CHECK,
            "NHS number status indicator code (01 = present and verified)",
            required=False,
        ),
        *DEMOGRAPHICS,
        Column("review", Kind.CODE, Role.PAYLOAD, "Which mandated review", REVIEW_CODES, blank=Severity.REJECT),
        Column("review_date", Kind.DATE, Role.PAYLOAD, "Date of the review", invalid=Severity.WARN),
        Column(
            "asq3_months",
            Kind.CODE,
            Role.PAYLOAD,
            "Age of the ASQ-3 questionnaire, months",
            ASQ3_MONTHS,
            required=False,
            invalid=Severity.WARN,
        ),
        *(
            Column(
                domain,
                Kind.DECIMAL,
                Role.PAYLOAD,
                f"ASQ-3 score, {label.lower()}, 0 to 60",
                required=False,
                invalid=Severity.WARN,
                minimum=0,
                maximum=60,
            )
            for domain, label in DOMAINS.items()
        ),
        Column(
            "asq_se2_score",
            Kind.DECIMAL,
            Role.PAYLOAD,
            "ASQ:SE-2 total score",
            required=False,
            invalid=Severity.WARN,
            minimum=0,
        ),
        Column(
            "concern",
            Kind.CODE,
            Role.PAYLOAD,
            "The reviewer recorded a concern",
            YES_NO,
            required=False,
            invalid=Severity.WARN,
        ),
        Column(
            "referral",
            Kind.CODE,
            Role.PAYLOAD,
            "The reviewer referred the child on",
            YES_NO,
            required=False,
            invalid=Severity.WARN,
        ),
    ),
    rules=(
        *PEOPLE_RULES,
        Rule(
            "review-before-birth",
            Severity.WARN,
            "The review is dated before the child was born; the row is kept.",
            ("review_date", "date_of_birth"),
            "review <> 'ANV' AND review_date < date_of_birth",
        ),
        Rule(
            "review-after-reception",
            Severity.WARN,
            "The review is dated after the cohort's Reception year; the row is kept.",
            ("review_date",),
            "review_date > $cohort_end + INTERVAL 5 YEAR",
        ),
        Rule(
            "two-year-review-at-another-age",
            Severity.WARN,
            "The child was younger than 18 months or older than 42 at the two-year review; the row is kept.",
            ("review", "review_date", "date_of_birth"),
            f"review = '{TWO_YEAR_REVIEW}' AND date_of_birth <> DATE '1900-01-01'"
            " AND datediff('month', date_of_birth, review_date) NOT BETWEEN 18 AND 42",
        ),
        Rule(
            "asq3-age-against-review-date",
            Severity.WARN,
            "The ASQ-3 questionnaire's age is more than nine months from the child's age at the review.",
            ("asq3_months", "review_date", "date_of_birth"),
            "abs(datediff('month', date_of_birth, review_date) - asq3_months::INTEGER) > 9",
        ),
        Rule(
            "asq3-score-without-age",
            Severity.WARN,
            "ASQ-3 scores without the questionnaire's age cannot be banded: the review counts as one without ASQ-3.",
            ("asq3_months",),
            "asq3_months IS NULL AND coalesce(" + ", ".join(DOMAINS) + ") IS NOT NULL",
        ),
    ),
)

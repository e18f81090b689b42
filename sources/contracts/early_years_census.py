"""`early_years_census`: nurseries and childminders, one row per child and setting."""

from sources.contracts.model import Column, Due, Kind, Role, Rule, Severity, SourceContract
from sources.contracts.people import DEMOGRAPHICS, ETHNICITY, NHS_NUMBER, PEOPLE_RULES, SEN_CODES, YES_NO

ENTITLEMENT_CODES = {
    "2YO": "Entitlement for disadvantaged two-year-olds",
    "UNI": "Universal entitlement",
    "WP": "Working-parent entitlement",
}
PROGRESS_CHECK_CODES = {
    "on_track": "Progress check at age two: on track",
    "concern": "Progress check at age two: concern",
    "not_done": "Progress check at age two not done",
}

DUE = Due(3, 15, 0, "early years census returns of January are loaded by mid-March")
"""Of the first calendar year, whose census is the last before the cohort's children start Reception. Census day is the
third Thursday of January; returns were to be loaded by 15 March 2013, 11 March 2022 and 10 March 2023 (GOV.UK, Early
years census guides of these years). Corrections are taken until mid-April.
"""

CONTRACT = SourceContract(
    name="early_years_census",
    title="Early years census",
    row_per="child and setting",
    due=DUE,
    columns=(
        Column("setting_urn", Kind.TEXT, Role.CHECK, "Unique reference number of the setting", required=False),
        NHS_NUMBER,
        *DEMOGRAPHICS,
        ETHNICITY,
        Column(
            "entitlement",
            Kind.CODE,
            Role.PAYLOAD,
            "Funded entitlement taken",
            ENTITLEMENT_CODES,
            invalid=Severity.WARN,
        ),
        Column(
            "funded_hours",
            Kind.DECIMAL,
            Role.PAYLOAD,
            "Funded hours a week",
            required=False,
            invalid=Severity.WARN,
            minimum=0,
            maximum=60,
        ),
        Column(
            "eypp",
            Kind.CODE,
            Role.PAYLOAD,
            "Early years pupil premium",
            YES_NO,
            required=False,
            invalid=Severity.WARN,
        ),
        Column(
            "sen_provision",
            Kind.CODE,
            Role.PAYLOAD,
            "Special educational needs provision",
            SEN_CODES,
            invalid=Severity.WARN,
        ),
        Column(
            "progress_check_date",
            Kind.DATE,
            Role.PAYLOAD,
            "Date of the progress check at age two",
            required=False,
            invalid=Severity.WARN,
        ),
        Column(
            "progress_check_outcome",
            Kind.CODE,
            Role.PAYLOAD,
            "Outcome of the progress check at age two",
            PROGRESS_CHECK_CODES,
            invalid=Severity.WARN,
        ),
    ),
    rules=(
        *PEOPLE_RULES,
        Rule(
            "progress-check-before-birth",
            Severity.WARN,
            "The progress check is dated before the child was born; the row is kept.",
            ("progress_check_date", "date_of_birth"),
            "progress_check_date < date_of_birth",
        ),
        Rule(
            "progress-check-after-reception",
            Severity.WARN,
            "The progress check at age two is dated after the cohort's Reception year; the row is kept.",
            ("progress_check_date",),
            "progress_check_date > $cohort_end + INTERVAL 5 YEAR",
        ),
    ),
)

"""`hv_reviews`: health-visitor reviews from the Community Services Data Set, one row per review."""

from functools import partial

from privacy.doors.sql import quote_text
from sources.contracts.model import (
    DerivedColumn,
    Kind,
    RecordAtAge,
    Severity,
    SourceContract,
    checked,
    identifier,
    kept,
    warn,
)
from sources.contracts.people import DEMOGRAPHICS, DERIVED, NHS_NUMBER, OF_MANY, PEOPLE_RULES, YES_NO
from sources.reference.code_lists import DOMAINS, REVIEW_CODES, REVIEW_NAMES, TWO_YEAR_REVIEW, load_cut_offs

ASQ3_MONTHS = {"24": "24 months", "27": "27 months", "30": "30 months"}

_DELIVERED_MONTHS = 3
"""Providers submit the Community Services Data Set monthly (data provision notice of 2017; GOV.UK, Healthy child
programme: supplementary guidance for completing the CSDS), so three months cover the submissions of a review."""
_AGES = {"ANV": (0, 0), "NBV": (0, 14), "6-8W": (0, 56), "12M": (12, 0), TWO_YEAR_REVIEW: (30, 0)}
"""Age by which each review is due, in months and days: by birth, 14 days, 8 weeks, 12 months and two and a half years
(OHID, Health visitor service delivery metrics)."""

EXPECTED = tuple(
    RecordAtAge(
        title=REVIEW_CODES[code],
        kind="review",
        code="" if code == "ANV" else code,
        dated="review_date",
        delivered_months=_DELIVERED_MONTHS,
        reason="policy of the programme: three months after the youngest child reaches the age of the last review",
        months=months,
        days=days,
    )
    for code, (months, days) in _AGES.items()
)
"""Children of 202425 are born by 31 August 2020 and two and a half years old by the end of February 2023. There is no
official date by cohort."""

# Without `coalesce`, one missing score would make the whole condition NULL.
_BELOW_CUT_OFF = " OR ".join(
    f"coalesce(asq3_months = '{months}' AND {domain} < {cut_off}, false)"
    for (domain, months), cut_off in load_cut_offs().items()
)
_score = partial(kept, kind=Kind.DECIMAL, required=False, minimum=0)


_LAST_DAYS = " ".join(
    f"WHEN {quote_text(code)} THEN birth_date(date_of_birth) + INTERVAL {months} MONTH + INTERVAL {days} DAY"
    for code, (months, days) in _AGES.items()
)
ON_TIME = DerivedColumn(
    "review_on_time",
    "Review on time",
    "Whether the review was made by the age at which it is due; blank = one of the two dates is missing",
    Kind.CODE,
    ("Y", "N"),
    ("review", "review_date", "date_of_birth"),
    f"CASE review_date <= CASE review {_LAST_DAYS} END WHEN true THEN 'Y' WHEN false THEN 'N' END",
)
"""Computed at intake, because the date of birth is not kept and the date of a review only to the month."""


def build_concern_sql(below: str = _BELOW_CUT_OFF) -> str:
    """Return SQL for a recorded concern, a referral, or an ASQ-3 domain below its cut-off (`below`)."""
    return f"(coalesce(concern = 'Y', false) OR coalesce(referral = 'Y', false) OR {below})"


_HEALTH_TABLES = ("health.asq3_all_five", *(f"health.{domain}" for domain in DOMAINS))
_OF_CHILDREN = ("pupil.asq3", "pupil.dots")
_LEAD_TIME, _CONCERN = "pupil.first_concern", "returns.concern_recorded"
_FIVE_REVIEWS = tuple(f"pupil.{name}" for name in REVIEW_NAMES.values())

CONTRACT = SourceContract(
    name="hv_reviews",
    title="Health-visitor reviews",
    row_per="review",
    expected=EXPECTED,
    columns=(
        identifier("local_patient_id", "The provider's own patient number", Kind.TEXT, required=False),
        NHS_NUMBER,
        checked("nhs_number_status", "NHS number status indicator code (01 = present and verified)"),
        *DEMOGRAPHICS,
        kept(
            "review", "Which mandated review", Kind.CODE, REVIEW_CODES, blank=Severity.REJECT, invalid=Severity.REJECT
        ),
        kept("review_date", "Date of the review", Kind.DATE),
        kept("asq3_months", "Age of the ASQ-3 questionnaire, months", Kind.CODE, ASQ3_MONTHS, required=False),
        *(_score(domain, f"ASQ-3 score, {label.lower()}, 0 to 60", maximum=60) for domain, label in DOMAINS.items()),
        kept("concern", "The reviewer recorded a concern", Kind.CODE, YES_NO, required=False),
        kept("referral", "The reviewer referred the child on", Kind.CODE, YES_NO, required=False),
    ),
    record=(("nhs_number", "review", "review_date"), ("local_patient_id", "review", "review_date")),
    derived=(*DERIVED, ON_TIME),
    rules=(
        *PEOPLE_RULES,
        OF_MANY["nhs_number"],
        OF_MANY["local_patient_id"],
        warn(
            "review-before-birth",
            "The review is dated before the child was born; the row is kept.",
            ("review_date", "date_of_birth"),
            # The antenatal visit is before the birth.
            "review <> 'ANV' AND review_date < date_of_birth",
        ),
        warn(
            "review-after-reception",
            "The review is dated after the cohort's Reception year; the row is kept.",
            ("review_date",),
            "review_date > $cohort_end + INTERVAL 5 YEAR",
        ),
        warn(
            "two-year-review-at-another-age",
            "The child was younger than 18 months or older than 42 at the two-year review; the row is kept.",
            ("review", "review_date", "date_of_birth"),
            # The placeholder would put every child at a wrong age.
            f"review = '{TWO_YEAR_REVIEW}' AND date_of_birth <> DATE '1900-01-01'"
            " AND datediff('month', date_of_birth, review_date) NOT BETWEEN 18 AND 42",
        ),
        warn(
            "asq3-age-against-review-date",
            "The ASQ-3 questionnaire's age is more than nine months from the child's age at the review.",
            ("asq3_months", "review_date", "date_of_birth"),
            "abs(datediff('month', date_of_birth, review_date) - asq3_months::INTEGER) > 9",
        ),
        warn(
            "asq3-score-without-age",
            "ASQ-3 scores without the questionnaire's age cannot be banded: the review counts as one without ASQ-3.",
            ("asq3_months",),
            "asq3_months IS NULL AND coalesce(" + ", ".join(DOMAINS) + ") IS NOT NULL",
        ),
    ),
    concern=build_concern_sql(),
    purposes={
        "sex": ("linkage", "health.sex"),
        "review": (*_OF_CHILDREN, *_FIVE_REVIEWS, *_HEALTH_TABLES, "timeline", "returns.review_not_recorded"),
        "review_date": (*_OF_CHILDREN, _LEAD_TIME, *_HEALTH_TABLES, "timeline", "returns.last_contact_month"),
        "asq3_months": (*_OF_CHILDREN, _LEAD_TIME, *_HEALTH_TABLES, _CONCERN),
        **{name: (*_OF_CHILDREN, _LEAD_TIME, "health.asq3_all_five", f"health.{name}", _CONCERN) for name in DOMAINS},
        "concern": ("pupil.dots", _LEAD_TIME, _CONCERN),
        "referral": ("pupil.dots", _LEAD_TIME, _CONCERN),
    },
)

"""The five sources: their codes, rules and deadlines, one contract each.

`people.py` has the columns and rules that sources about named children share.
"""

from dataclasses import replace
from functools import partial

from privacy.doors.sql import quote_text
from sources.contracts import people
from sources.contracts.model import (
    DerivedColumn,
    Kind,
    RecordAtAge,
    RecordOnDay,
    Severity,
    SourceContract,
    YearDay,
    checked,
    identifier,
    kept,
    reject,
    warn,
)
from sources.reference import code_lists as lists
from sources.reference.code_lists import DOMAINS, GLD_GOALS, GOALS, QUESTIONS, REVIEW_CODES, SERVICES, TWO_YEAR_REVIEW
from sources.reference.cohorts import Cohort

GOAL_CODES = {"1": "Emerging", "2": "Expected", "A": "Not assessed"}
_NO_EXCEEDING = "3 (exceeding) ended with the framework of September 2021"
_PRE_2021_PREFIXES = ("com_g", "phy_g", "pse_g", "lit_g", "mat_g", "utw_g", "exp_g")

# A spreadsheet may write 202425.0, people 2024/25 or 2024/2025, so the first four and last two digits are compared.
YEAR_DIGITS_SQL = r"regexp_replace(regexp_replace(academic_year, '\.0+$', ''), '[^0-9]', '', 'g')"
_ANY_A = " OR ".join(f"{goal} = 'A'" for goal in GOALS)
_ALL_A = " AND ".join(f"{goal} = 'A'" for goal in GOALS)

# One such row is a mistake in the row; if more than half are like that, the file is another year's or council's.
ANOTHER_YEAR = reject(
    "another-academic-year",
    "The academic year in the row is not the cohort of the file.",
    ("academic_year",),
    f"academic_year <> $cohort AND left({YEAR_DIGITS_SQL}, 4) || right({YEAR_DIGITS_SQL}, 2) <> $cohort",
    stop_share=0.5,
)
ANOTHER_COUNCIL = reject(
    "another-council",
    "The local authority code in the row is not the sending council's.",
    ("la_code",),
    # A spreadsheet may write 383.0.
    r"la_code NOT IN $la_codes AND regexp_replace(la_code, '\.0+$', '') NOT IN $la_codes",
    stop_share=0.5,
)

EYFSP = SourceContract(
    name="eyfsp",
    row_per="child assessed",
    # GOV.UK, Early years foundation stage profile return guide, updated 13 March 2024: deadline for submitting 12 July
    # 2024, final date to correct errors 31 July 2024. Assessments end in June.
    expected=(RecordOnDay("EYFS Profile", due=YearDay(1, 7, 31), possible=YearDay(1, 6, 1)),),
    due_reason="last day for local authorities to correct their EYFS Profile return to the Department for Education",
    columns=(
        checked("la_code", "DfE three-digit code of the local authority"),
        checked("estab", "DfE four-digit establishment number"),
        checked("urn", "Unique reference number of the school"),
        checked("academic_year", "Academic year of the assessment, 202425"),
        people.UPN,
        people.NHS_NUMBER,
        *people.DEMOGRAPHICS,
        *(
            kept(goal, label, Kind.CODE, GOAL_CODES, blank=Severity.REJECT, invalid=Severity.REJECT, note=_NO_EXCEEDING)
            for goal, label in GOALS.items()
        ),
    ),
    record=(("upn",),),
    derived=people.DERIVED,
    rules=(
        *people.PEOPLE_RULES,
        people.UPN_OF_TWO,
        people.OF_MANY["upn"],
        people.OF_MANY["nhs_number"],
        reject(
            "goals-a-in-all-or-none",
            "A child not assessed (A) must be A in all 17 goals; this row mixes A with results.",
            tuple(GOALS),
            f"({_ANY_A}) AND NOT ({_ALL_A})",
        ),
        ANOTHER_YEAR,
        ANOTHER_COUNCIL,
    ),
    refused_columns={
        f"{prefix}{number:02d}": (
            "the file holds pre-2021 early learning goals (G01 to G17, emerging/expected/exceeding); the Profile has"
            " had E01 to E17 since September 2021"
        )
        for prefix in _PRE_2021_PREFIXES
        for number in range(1, 18)
    },
    purposes={
        "sex": ("linkage", "pupil.sex"),
        **{goal: (f"pupil.{goal}", "pupil.goals_expected") for goal in GOALS if goal not in GLD_GOALS},
        **{goal: (f"pupil.{goal}", "pupil.goals_expected", "pupil.gld") for goal in GLD_GOALS},
    },
)


LANGUAGE_CODES = {"ENG": "English", "OTH": "Other than English"}
"""Other languages are not used, so they are not kept apart. ENB is "believed to be English", OTB "believed to be
other"; refused, not obtained and pending are unknown (DfE, Find and explore data in the National Pupil Database,
`LANG1ST`)."""

_EARLIEST_CENSUS = YearDay(1, 1, 15)
"""Earliest census day: a third Thursday of January."""

SCHOOL_CENSUS = SourceContract(
    name="school_census",
    row_per="pupil",
    # Census day is the third Thursday of January, the 21st at the latest, and returns are due on the Wednesday in the
    # fourth week after it: 19 January and 15 February 2023, 18 January and 14 February 2018, 17 January and 13 February
    # 2019 (GOV.UK, School census: guide to submitting data).
    expected=(RecordOnDay("Spring school census", due=YearDay(1, 2, 17), possible=_EARLIEST_CENSUS),),
    due_reason="latest day on which the spring school census return can be due, four weeks after census day",
    columns=(
        people.UPN,
        people.NHS_NUMBER,
        *people.DEMOGRAPHICS,
        people.ETHNICITY,
        kept("fsm_eligible", "Known to be eligible for free school meals; blank = unknown", Kind.CODE, people.YES_NO),
        people.SEN_PROVISION,
        kept(
            "first_language",
            "First language: ENG, another CBDS language code, or blank = unknown; kept as English or another",
            Kind.CODE,
            LANGUAGE_CODES,
            also={"ENB": "ENG", "OTB": "OTH", "REF": "", "NOT": "", "PEN": ""},
            other="OTH",
            pattern="[A-Z]{3,4}",
            note="or another CBDS language code of three or four letters",
        ),
    ),
    record=(("upn",),),
    derived=people.DERIVED,
    rules=(*people.PEOPLE_RULES, people.UPN_OF_TWO, people.OF_MANY["upn"], people.OF_MANY["nhs_number"]),
    purposes={
        "sex": ("linkage",),
        "ethnicity": ("pupil.ethnic_group",),
        "fsm_eligible": ("pupil.fsm",),
        "sen_provision": ("pupil.sen_provision",),
        "first_language": ("pupil.first_language",),
    },
)


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

_CENSUSES = {-2: "First early years census", -1: "Second early years census", 0: "Last early years census"}
"""Title of a census by calendar year after the cohort's first one. Settings return children from the age of two: the
first of these censuses has those born by December, the others have the whole cohort."""
# Returns had to be loaded by 15 March 2013, 11 March 2022 and 10 March 2023 (GOV.UK, Early years census guides of these
# years). Corrections are accepted until mid-April.
_EARLY_YEARS_RECORDS = tuple(
    RecordOnDay(title, YearDay(years, 3, 15), replace(_EARLIEST_CENSUS, years=years), whole=years > -2)
    for years, title in _CENSUSES.items()
)
_CHECK_CONCERN, _SEN_CONCERN = "progress_check_outcome = 'concern'", "sen_provision IN ('K', 'E')"


def build_setting_days_sql(cohort: Cohort) -> tuple[str, str]:
    """Return SQL for the days by which a setting had seen a child and had recorded a concern; NULL if that is unknown.

    Rows are not dated. A child counts as seen by the progress check or the last census before Reception, whichever is
    earlier. A concern counts as recorded on the date of the progress check that found it. Special educational needs
    have no date: dated by the census, they alone made up "less than a year before Reception".
    """
    census = f"{quote_text(str(_EARLY_YEARS_RECORDS[-1].possible.find_date(cohort)))}::DATE"
    return f"least(progress_check_date, {census})", f"CASE WHEN {_CHECK_CONCERN} THEN progress_check_date END"


EARLY_YEARS_CENSUS = SourceContract(
    name="early_years_census",
    row_per="child and setting",
    expected=_EARLY_YEARS_RECORDS,
    due_reason="early years census returns of January are loaded by mid-March",
    columns=(
        checked("setting_urn", "Unique reference number of the setting"),
        people.NHS_NUMBER,
        *people.DEMOGRAPHICS,
        kept("entitlement", "Funded entitlement taken", Kind.CODE, ENTITLEMENT_CODES),
        people.SEN_PROVISION,
        kept("progress_check_date", "Date of the progress check at age two", Kind.DATE, required=False),
        kept("progress_check_outcome", "Outcome of the progress check at age two", Kind.CODE, PROGRESS_CHECK_CODES),
    ),
    record=(("setting_urn", "nhs_number"), ("setting_urn", "surname", "forename", "date_of_birth")),
    derived=people.DERIVED,
    rules=(
        *people.PEOPLE_RULES,
        people.OF_MANY["nhs_number"],
        warn(
            "progress-check-before-birth",
            "The progress check is dated before the child was born; the row is kept.",
            ("progress_check_date", "date_of_birth"),
            "progress_check_date < date_of_birth",
        ),
        warn(
            "progress-check-after-reception",
            "The progress check at age two is dated after the cohort's Reception year; the row is kept.",
            ("progress_check_date",),
            # The youngest child of a cohort turns five on the last day of its Reception year.
            "progress_check_date > $cohort_end + INTERVAL 5 YEAR",
        ),
    ),
    concern=f"coalesce({_CHECK_CONCERN} OR {_SEN_CONCERN}, false)",
    # Support for special educational needs has no date: a census that has it says that it goes on.
    concern_month=f"CASE WHEN NOT coalesce({_SEN_CONCERN}, false) THEN strftime(progress_check_date, '%Y-%m') END",
    purposes={
        "sex": ("linkage",),
        "entitlement": ("pupil.entitlement",),
        "sen_provision": ("pupil.dots", "pupil.first_concern", "returns.concern_recorded", "returns.concern_month"),
        "progress_check_date": ("pupil.first_concern", "returns.concern_month"),
        "progress_check_outcome": ("pupil.dots", "pupil.first_concern", "returns.concern_recorded"),
    },
)


ASQ3_MONTHS = {"24": "24 months", "27": "27 months", "30": "30 months"}

_DELIVERED_MONTHS = 3
"""Providers submit the Community Services Data Set monthly (data provision notice of 2017; GOV.UK, Healthy child
programme: supplementary guidance for completing the CSDS), so three months cover the submissions of a review."""
_AGES = {"ANV": (0, 0, 0), "NBV": (0, 0, 14), "6-8W": (1, 0, 56), "12M": (11, 12, 0), TWO_YEAR_REVIEW: (24, 30, 0)}
"""Age in months from which each review is made, and age by which it is due, in months and days: by birth, 14 days, 8
weeks, 12 months and two and a half years (OHID, Health visitor service delivery metrics). In synthetic extracts a third
of the two-year reviews are made in the half-year before the month in which the oldest child's is due."""

_REVIEW_RECORDS = tuple(
    RecordAtAge(title, "review", code, "review_date", _DELIVERED_MONTHS, *age, with_mother=code == "ANV")
    for (code, age), title in zip(_AGES.items(), REVIEW_CODES.values(), strict=True)
)
"""Children of 202425 are born by 31 August 2020 and two and a half years old by the end of February 2023. There is no
official date by cohort."""

# Without `coalesce`, one missing score would make the whole condition NULL.
_BELOW_CUT_OFF = " OR ".join(
    f"coalesce(asq3_months = '{months}' AND {domain} < {cut_off}, false)"
    for (domain, months), cut_off in lists.load_cut_offs().items()
)
_score = partial(kept, kind=Kind.DECIMAL, required=False, minimum=0)
_LAST_DAYS = " ".join(
    f"WHEN {quote_text(code)} THEN birth_date(date_of_birth) + INTERVAL {months} MONTH + INTERVAL {days} DAY"
    for code, (_, months, days) in _AGES.items()
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
"""Computed at intake, because the date of birth is not kept and the date of a review is kept only to the month."""


def build_review_concern_sql(below: str = _BELOW_CUT_OFF) -> str:
    """Return SQL for a recorded concern, a referral, or an ASQ-3 domain below its cut-off (`below`)."""
    return f"(coalesce(concern = 'Y', false) OR coalesce(referral = 'Y', false) OR {below})"


_HEALTH_TABLES = ("health.asq3_all_five", *(f"health.{domain}" for domain in DOMAINS))
_OF_CHILDREN = ("pupil.asq3", "pupil.dots")
_LEAD_TIME, _CONCERN = "pupil.first_concern", "returns.concern_recorded"
_MONTHS = ("returns.last_contact_month", "returns.concern_month")
_FIVE_REVIEWS = tuple(f"pupil.{name}" for name in lists.REVIEW_NAMES.values())

HV_REVIEWS = SourceContract(
    name="hv_reviews",
    row_per="review",
    expected=_REVIEW_RECORDS,
    due_reason="policy of the programme: three months after the youngest child reaches the age of the last review",
    columns=(
        identifier("local_patient_id", "The provider's own patient number", Kind.TEXT, required=False),
        people.NHS_NUMBER,
        checked("nhs_number_status", "NHS number status indicator code (01 = present and verified)"),
        *people.DEMOGRAPHICS,
        kept(
            "review", "Which mandated review", Kind.CODE, REVIEW_CODES, blank=Severity.REJECT, invalid=Severity.REJECT
        ),
        kept("review_date", "Date of the review", Kind.DATE),
        kept("asq3_months", "Age of the ASQ-3 questionnaire, months", Kind.CODE, ASQ3_MONTHS, required=False),
        *(_score(domain, f"ASQ-3 score, {label.lower()}, 0 to 60", maximum=60) for domain, label in DOMAINS.items()),
        kept("concern", "The reviewer recorded a concern", Kind.CODE, people.YES_NO, required=False),
        kept("referral", "The reviewer referred the child on", Kind.CODE, people.YES_NO, required=False),
    ),
    record=(("nhs_number", "review", "review_date"), ("local_patient_id", "review", "review_date")),
    derived=(*people.DERIVED, ON_TIME),
    rules=(
        *people.PEOPLE_RULES,
        people.OF_MANY["nhs_number"],
        people.OF_MANY["local_patient_id"],
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
    concern=build_review_concern_sql(),
    purposes={
        "sex": ("linkage", "health.sex"),
        "review": (*_OF_CHILDREN, *_FIVE_REVIEWS, *_HEALTH_TABLES, "timeline", "returns.review_not_recorded"),
        "review_date": (*_OF_CHILDREN, _LEAD_TIME, *_HEALTH_TABLES, "timeline", *_MONTHS),
        "asq3_months": (*_OF_CHILDREN, _LEAD_TIME, *_HEALTH_TABLES, _CONCERN),
        **{name: (*_OF_CHILDREN, _LEAD_TIME, "health.asq3_all_five", f"health.{name}", _CONCERN) for name in DOMAINS},
        "concern": ("pupil.dots", _LEAD_TIME, _CONCERN),
        "referral": ("pupil.dots", _LEAD_TIME, _CONCERN),
    },
)


PARENT_EXPERIENCE = SourceContract(
    name="parent_experience",
    row_per="response",
    # The programme runs this survey itself; there is no official date.
    expected=(RecordOnDay("Survey of parents", due=YearDay(1, 7, 31), possible=YearDay(0, 9, 1)),),
    due_reason="policy of the programme: with the EYFS Profile, at the end of the cohort's Reception year",
    columns=(
        identifier("response_id", "The survey platform's number of the response", Kind.TEXT, required=False),
        checked("wave", "Survey wave"),
        kept("respondent_role", "Who answered", Kind.CODE, lists.RESPONDENT_ROLE),
        kept("child_age_band", "Age of the child", Kind.CODE, lists.CHILD_AGE_BAND),
        kept("fsm_or_funded", "Free school meals or a funded place for two-year-olds", Kind.CODE, lists.FSM_OR_FUNDED),
        *(kept(name, f"Used: {label}", Kind.CODE, lists.USED, required=False) for name, label in SERVICES.items()),
        *(kept(name, question.wording, Kind.CODE, question.answers) for name, question in QUESTIONS.items()),
    ),
    record=(("response_id", "wave"), ("response_id",)),
    # Responses are counted as they arrive, without linkage, so a repeated one would count twice.
    repeated=reject(
        "response-sent-twice",
        "An earlier row has the same response number and wave; the first is kept.",
        ("response_id", "wave"),
    ),
    purposes={
        name: (f"parents.{name}",) for name in ("child_age_band", "fsm_or_funded", *lists.WHO_ANSWERED, *QUESTIONS)
    },
)

CONTRACTS: dict[str, SourceContract] = {
    contract.name: contract for contract in (EYFSP, SCHOOL_CENSUS, EARLY_YEARS_CENSUS, HV_REVIEWS, PARENT_EXPERIENCE)
}

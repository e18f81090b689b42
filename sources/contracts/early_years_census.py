"""`early_years_census`: children at nurseries and childminders, one row per child and setting."""

from privacy.doors.sql import quote_text
from sources.contracts.model import Due, Kind, RecordOnDay, SourceContract, checked, kept, warn
from sources.contracts.people import DEMOGRAPHICS, DERIVED, NHS_NUMBER, OF_MANY, PEOPLE_RULES, SEN_PROVISION
from sources.reference.cohorts import Cohort

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
"""Title of a census by calendar year after the cohort's first one. Settings return children from the age of two: in the
first of these censuses those born by December, in the others the whole cohort."""
_RETURNS = "early years census returns of January are loaded by mid-March"

EXPECTED = tuple(
    RecordOnDay(title, Due(3, 15, years, _RETURNS), Due(1, 15, years, "earliest census day"), whole=years > -2)
    for years, title in _CENSUSES.items()
)
"""Census day is the third Thursday of January. Returns had to be loaded by 15 March 2013, 11 March 2022 and 10 March
2023 (GOV.UK, Early years census guides of these years). Corrections are accepted until mid-April."""


_CHECK_CONCERN, _SEN_CONCERN = "progress_check_outcome = 'concern'", "sen_provision IN ('K', 'E')"


def build_known_sql(cohort: Cohort) -> tuple[str, str]:
    """Return SQL for the days by which a setting had seen a child and had recorded a concern; NULL if that is unknown.

    A row has no date of its own: the child, and its special educational needs, are known by the last census before
    Reception, unless the progress check was earlier.
    """
    census = f"{quote_text(str(EXPECTED[-1].possible.on(cohort)))}::DATE"
    checked = f"WHEN {_CHECK_CONCERN} AND progress_check_date IS NOT NULL THEN progress_check_date"
    return f"least(progress_check_date, {census})", f"CASE {checked} WHEN {_SEN_CONCERN} THEN {census} END"


CONTRACT = SourceContract(
    name="early_years_census",
    title="Early years census",
    row_per="child and setting",
    expected=EXPECTED,
    columns=(
        checked("setting_urn", "Unique reference number of the setting"),
        NHS_NUMBER,
        *DEMOGRAPHICS,
        kept("entitlement", "Funded entitlement taken", Kind.CODE, ENTITLEMENT_CODES),
        SEN_PROVISION,
        kept("progress_check_date", "Date of the progress check at age two", Kind.DATE, required=False),
        kept("progress_check_outcome", "Outcome of the progress check at age two", Kind.CODE, PROGRESS_CHECK_CODES),
    ),
    record=(("setting_urn", "nhs_number"), ("setting_urn", "surname", "forename", "date_of_birth")),
    derived=DERIVED,
    rules=(
        *PEOPLE_RULES,
        OF_MANY["nhs_number"],
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
    purposes={
        "sex": ("linkage",),
        "entitlement": ("pupil.entitlement",),
        "sen_provision": ("pupil.dots", "pupil.first_concern", "returns.concern_recorded"),
        "progress_check_date": ("pupil.first_concern",),
        "progress_check_outcome": ("pupil.dots", "pupil.first_concern", "returns.concern_recorded"),
    },
)

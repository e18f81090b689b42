"""Columns and rules shared by every source about named children."""

from privacy.doors.sql import quote_text
from sources.contracts.model import DerivedColumn, Kind, Severity, identifier, kept, reject, warn
from sources.reference.code_lists import ETHNICITY_CODES, IMD_INDEX
from sources.reference.cohorts import TERMS_OF_BIRTH

SEX_CODES = {"F": "Female", "M": "Male"}
YES_NO = {"Y": "Yes", "N": "No"}
SEN_CODES = {"N": "No special educational need", "K": "SEN support", "E": "Education, health and care plan"}
TERM_OF_BIRTH = DerivedColumn(
    "term_of_birth",
    "Term of birth",
    "School term of birth, from the date of birth, which is not kept",
    Kind.CODE,
    tuple(TERMS_OF_BIRTH),
    ("date_of_birth",),
    "CASE"
    + "".join(
        f" WHEN month(birth_date(date_of_birth)) BETWEEN {first} AND {last} THEN {quote_text(term)}"
        for term, (first, last) in TERMS_OF_BIRTH.items()
    )
    + " END",
)
IMD_QUINTILE = DerivedColumn(
    "imd_quintile",
    "Deprivation fifth",
    f"Fifth of neighbourhoods by the {IMD_INDEX}, 1 the most deprived, from the postcode, which is not kept",
    Kind.INTEGER,
    ("1", "2", "3", "4", "5"),
    ("postcode",),
)
DERIVED = (TERM_OF_BIRTH, IMD_QUINTILE)

BORN_COHORT_SQL = "(year(date_of_birth - INTERVAL 8 MONTH) + 5)"
"""SQL of the first year of a child's cohort. Years of birth run from September to August: eight months earlier, all
birth dates of a cohort are in one year."""

UPN = identifier(
    "upn",
    "Unique pupil number: check letter and 12 digits; a temporary number ends in a letter",
    Kind.TEXT,
    blank=Severity.WARN,
    invalid=Severity.WARN,
)
NHS_NUMBER = identifier(
    "nhs_number", "NHS number, ten digits, modulus 11", Kind.TEXT, required=False, invalid=Severity.WARN
)
SURNAME = identifier("surname", "Family name", Kind.TEXT, blank=Severity.WARN)
FORENAME = identifier("forename", "Given name", Kind.TEXT, blank=Severity.WARN)
# A missing value is published as Unknown and only warns; a wrong one would be counted, so the row is rejected.
SEX = kept("sex", "Sex as recorded by the sender", Kind.CODE, SEX_CODES, blank=Severity.WARN, invalid=Severity.REJECT)
DATE_OF_BIRTH = identifier(
    "date_of_birth",
    "Date of birth; 1900-01-01 is a placeholder and counts as missing",
    Kind.DATE,
    blank=Severity.WARN,
    invalid=Severity.WARN,
    note="with day and month exchanged, or letters read as the digits they look like, it is used if it fits the cohort",
)
POSTCODE = identifier(
    "postcode",
    "Home postcode; ZZ99 postcodes are placeholders and count as missing",
    Kind.TEXT,
    blank=Severity.WARN,
    invalid=Severity.WARN,
)
DEMOGRAPHICS = (SURNAME, FORENAME, SEX, DATE_OF_BIRTH, POSTCODE)

ETHNICITY = kept(
    "ethnicity", "DfE main ethnicity code; blank, REFU and NOBT are published as Unknown", Kind.CODE, ETHNICITY_CODES
)
SEN_PROVISION = kept("sen_provision", "Special educational needs provision", Kind.CODE, SEN_CODES)

NO_REAL_DATE = warn(
    "date-of-birth-placeholder",
    "The date of birth is a placeholder (1900-01-01): it counts as missing and the row is kept.",
    ("date_of_birth",),
    "date_of_birth = DATE '1900-01-01'",
)
BORN_OUTSIDE_COHORT = warn(
    "born-outside-cohort",
    "The date of birth is outside the cohort's school year (1 September to 31 August); the row is kept.",
    ("date_of_birth",),
    "date_of_birth NOT BETWEEN $cohort_start AND $cohort_end"
    # A date further away breaks the next rule instead.
    " AND date_of_birth BETWEEN $cohort_start - INTERVAL 1 YEAR AND $cohort_end + INTERVAL 1 YEAR",
    stop_share=0.5,
)
BORN_IN_ANOTHER_COHORT = reject(
    "born-in-another-cohort",
    "The date of birth is more than a year outside the cohort: the row is of another cohort or the year is wrong.",
    ("date_of_birth",),
    # The placeholder has a rule above, which keeps the row.
    "date_of_birth <> DATE '1900-01-01'"
    " AND date_of_birth NOT BETWEEN $cohort_start - INTERVAL 1 YEAR AND $cohort_end + INTERVAL 1 YEAR",
    stop_share=0.5,
)
WRITTEN_AS_A_POSTCODE = (
    "regexp_full_match(upper(regexp_replace({}, '[^A-Za-z0-9]', '', 'g')),"
    " '[A-Z]{{1,2}}[0-9O][A-Z0-9]?[0-9O][A-Z]{{2}}')"
)
"""SQL condition that a text has one of the forms in BS 7666, ignoring spaces and accepting a letter O for a zero."""
POSTCODE_FORM = warn(
    "postcode-malformed",
    "The postcode is not written as one, in full; the row is kept.",
    ("postcode",),
    "NOT regexp_full_match(postcode, '[A-Z]{1,2}[0-9][A-Z0-9]? [0-9][A-Z]{2}')"
    f" AND NOT {WRITTEN_AS_A_POSTCODE.format('postcode')}",
)
NAMELESS = warn(
    "no-name",
    "Neither surname nor forename is given: the row is kept and links by number only.",
    ("surname", "forename"),
    "surname IS NULL AND forename IS NULL",
)
UPN_OF_TWO = warn(
    "upn-of-two-children",
    "Another row has the same UPN and another date of birth, surname and forename: one of the numbers is wrong. Both"
    " rows are kept, and taken for one child until it is put right.",
    ("upn", "date_of_birth", "surname", "forename"),
)
NUMBERS = ("upn", "nhs_number", "local_patient_id")
"""Columns with a number that identifies one child to the sender."""
OF_MANY = {
    number: warn(
        f"{number.replace('_', '-')}-of-many-children",
        f"The same {number} is on rows of more children than can share one: it identifies none of them. The rows are"
        " kept, and no row is linked by this number.",
        (number, "forename", "date_of_birth"),
    )
    for number in NUMBERS
}
PEOPLE_RULES = (NO_REAL_DATE, BORN_OUTSIDE_COHORT, BORN_IN_ANOTHER_COHORT, POSTCODE_FORM, NAMELESS)

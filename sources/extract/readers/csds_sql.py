"""SQL over the tables of the Community Services Data Set: from their rows to one row a review.

Tables are loaded in `ORDER`, so that each keeps only the rows that one before it asks for. `all_<table>` holds those
rows as sent, `<table>` the latest row of each identifier: the highest record number, then effective date, then the
last row sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from privacy.doors.sql import quoted
from sources.extract.table import trimmed
from sources.reference.asq3 import ASQ_SE2, DOMAINS, snomed_codes
from sources.reference.cohorts import Cohort

ORDER = ("CYP612", "CYP609", "CYP202", "CYP201", "CYP101", "CYP001")

REVIEW_OF_ACTIVITY = {"08": "NBV", "09": "6-8W", "10": "12M", "11": "2-2.5Y"}
"""Community care activity type code of a mandated health-visitor review -> contract code."""
ASQ3_REVIEW = "2-2.5Y"
NOT_ATTENDED = ("2", "3", "4", "7")
"""Attendance: cancelled by the patient, did not attend, cancelled by the provider, arrived too late to be seen."""
CYP609_ROWS = 609_000_000
SEX = {"1": "M", "2": "F", "9": None, "X": None}
"""Person stated gender code: male, female, indeterminate, not known."""

_IDENTIFIER = {"CYP612": "activity, tool", "CYP609": "referral, completed, tool", "CYP202": "activity"} | {
    "CYP201": "contact",
    "CYP101": "referral",
    "CYP001": "patient",
}
_NUMERIC = ("tool", "gender", "attendance", "attended_or_not", "activity_type", "older_activity_type")
"""Codes that a spreadsheet turns into numbers: `2.0` is 2."""


def _text(value: str | None) -> str:
    return "NULL" if value is None else quoted(value)


def _list(values: Sequence[str]) -> str:
    return f"({', '.join(_text(value) for value in values)})"


CODES = (
    "CREATE TABLE codes AS SELECT * FROM (VALUES "
    + ", ".join(f"({_text(code)}, {_text(measure)}, {months})" for code, (measure, months) in snomed_codes().items())
    + ") AS codes(tool, measure, months)"
)
"""SNOMED CT code -> contract column and age of the questionnaire."""

_WANTED = {
    "CYP612": "tool IN (SELECT tool FROM codes)",
    "CYP609": "tool IN (SELECT tool FROM codes)",
    "CYP202": f"activity_type IN {_list(list(REVIEW_OF_ACTIVITY))} OR activity IN (SELECT activity FROM CYP612)",
    "CYP201": "contact IN (SELECT contact FROM CYP202)",
    "CYP101": "referral IN (SELECT referral FROM CYP201 UNION ALL SELECT referral FROM CYP609)",
    "CYP001": "patient IN (SELECT patient FROM CYP101)",
}


def keep(table: str, items: Sequence[str]) -> str:
    """Rows of `incoming` that a review can need, trimmed."""
    columns = ", ".join(f"{_cleaned(item)} AS {item}" for item in items)
    activity_type = ""
    if table == "CYP202":
        activity_type = " REPLACE (lpad(coalesce(activity_type, older_activity_type), 2, '0') AS activity_type)"
    return f"SELECT * FROM (SELECT *{activity_type} FROM (SELECT row, {columns} FROM incoming)) WHERE {_WANTED[table]}"


def _cleaned(item: str) -> str:
    text = trimmed(item)
    return f"regexp_replace({text}, '^([0-9]+)\\.0+$', '\\1')" if item in _NUMERIC else text


def _latest(partition: str, *first: str) -> str:
    order = ", ".join(
        (*first, "try_cast(record_number AS DECIMAL(38, 0)) DESC NULLS LAST", "effective_from DESC NULLS LAST")
    )
    return f"QUALIFY row_number() OVER (PARTITION BY {partition} ORDER BY {order}, row DESC) = 1"


def current(table: str) -> str:
    """The latest row of each identifier; rows without one are each their own."""
    identifier = _IDENTIFIER[table]
    alone = f"CASE WHEN {identifier.split(',')[0]} IS NULL THEN row END"
    return f"CREATE TABLE {table} AS SELECT * FROM all_{table} {_latest(f'{identifier}, {alone}')}"


def views(cohort: Cohort) -> str:
    """Statements that make `reviews` and a view, with a column `row`, for each way in which a link can be broken."""
    return ";".join((*_LINKS, *_BROKEN, *_ASSEMBLED, _reviews(cohort)))


_DOMAIN_SCORES = ", ".join(f"any_value(score) FILTER (measure = {_text(name)}) AS {name}" for name in DOMAINS)
_ASQ3 = f"measure <> {_text(ASQ_SE2)}"

_LINKS = (
    # One row for each activity that makes its contact a review.
    """CREATE VIEW scored AS SELECT * FROM CYP612 JOIN codes USING (tool)""",
    f"""CREATE VIEW makes AS
        SELECT *, activity_type IN {_list(list(REVIEW_OF_ACTIVITY))} AS mandated,
            activity IN (SELECT activity FROM scored WHERE {_ASQ3}) AS has_asq3
        FROM CYP202""",
    f"""CREATE VIEW contacts AS
        SELECT CYP201.*, coalesce(attendance, attended_or_not) IN {_list(NOT_ATTENDED)} IS TRUE AS not_attended,
            left(contact_date, 10) AS day
        FROM CYP201""",
    # Contacts that are reviews: with their referral and person as far as these are known.
    """CREATE TABLE reviewed AS
        SELECT contact, any_value(contacts.row) AS contact_row, min(makes.row) AS source_row,
            max(activity_type) FILTER (mandated) AS activity_type, any_value(contact_date) AS contact_date,
            any_value(day) AS day, any_value(referral) AS referral
        FROM makes JOIN contacts USING (contact)
        WHERE (mandated OR has_asq3) AND NOT not_attended
        GROUP BY contact""",
    """CREATE VIEW referral_scored AS SELECT *, left(completed, 10) AS day FROM CYP609 JOIN codes USING (tool)""",
    f"""CREATE TABLE referral_reviews AS
        SELECT referral, day, any_value(completed) AS completed, min(row) AS row
        FROM referral_scored GROUP BY referral, day HAVING bool_or({_ASQ3})""",
)

_BROKEN = (
    f"""CREATE VIEW assessment_without_activity AS
        SELECT min(row) AS row FROM scored
        WHERE {_ASQ3} AND (activity IS NULL OR activity NOT IN (SELECT activity FROM CYP202 WHERE activity IS NOT NULL))
        GROUP BY activity, CASE WHEN activity IS NULL THEN row END""",
    """CREATE VIEW activity_without_contact AS
        SELECT makes.row FROM makes LEFT JOIN CYP201 USING (contact)
        WHERE (mandated OR has_asq3) AND CYP201.row IS NULL""",
    """CREATE VIEW contact_not_attended AS
        SELECT min(makes.row) AS row FROM makes JOIN contacts USING (contact)
        WHERE has_asq3 AND not_attended GROUP BY contact""",
    """CREATE VIEW contact_without_referral AS
        SELECT contact_row AS row FROM reviewed LEFT JOIN CYP101 USING (referral) WHERE CYP101.row IS NULL""",
    """CREATE VIEW assessment_without_referral AS
        SELECT referral_reviews.row FROM referral_reviews LEFT JOIN CYP101 USING (referral) WHERE CYP101.row IS NULL""",
    """CREATE VIEW referral_without_person AS
        SELECT CYP101.row FROM CYP101 LEFT JOIN CYP001 USING (patient)
        WHERE CYP001.row IS NULL
            AND referral IN (SELECT referral FROM reviewed UNION ALL SELECT referral FROM referral_reviews)""",
)

_ASSEMBLED = (
    # A review known from the referral belongs to the contact of that person and day, where that is a review too.
    """CREATE TABLE referral_placed AS
        SELECT referral_reviews.*, min(reviewed.source_row) AS contact_source_row
        FROM referral_reviews JOIN CYP101 USING (referral)
            LEFT JOIN CYP101 AS others ON others.patient = CYP101.patient
            LEFT JOIN reviewed ON reviewed.referral = others.referral AND reviewed.day = referral_reviews.day
        GROUP BY ALL""",
    f"""CREATE VIEW all_reviews AS
        SELECT source_row, activity_type, contact_date AS review_date, patient
        FROM reviewed JOIN CYP101 USING (referral)
        UNION ALL
        SELECT {CYP609_ROWS} + referral_placed.row, NULL, completed, patient
        FROM referral_placed JOIN CYP101 USING (referral) WHERE contact_source_row IS NULL""",
    # Every score of a review; the score at the contact counts before one of the referral.
    f"""CREATE TABLE scores AS
        SELECT source_row, measure, months, score, false AS at_referral, record_number, effective_from, row
        FROM (SELECT reviewed.source_row, activity FROM reviewed JOIN CYP202 USING (contact))
            JOIN scored USING (activity)
        UNION ALL
        SELECT coalesce(contact_source_row, {CYP609_ROWS} + referral_placed.row), measure, months, score, true,
            record_number, effective_from, referral_scored.row
        FROM referral_placed JOIN referral_scored ON referral_scored.referral = referral_placed.referral
            AND referral_scored.day IS NOT DISTINCT FROM referral_placed.day""",
    f"""CREATE VIEW latest_scores AS
        SELECT * FROM scores {_latest(f"source_row, measure, CASE WHEN {_ASQ3} THEN months END", "at_referral")}""",
    # The one questionnaire of a review: that of most domains, then of the greatest age.
    f"""CREATE VIEW questionnaires AS
        SELECT source_row, months, {_DOMAIN_SCORES}
        FROM latest_scores WHERE {_ASQ3} GROUP BY source_row, months
        QUALIFY row_number() OVER (PARTITION BY source_row ORDER BY count(*) DESC, months DESC) = 1""",
)


def _reviews(cohort: Cohort) -> str:
    """One row a review, in contract columns; of children born about the cohort's school year, or at no known date."""
    kinds = " ".join(f"WHEN {_text(code)} THEN {_text(review)}" for code, review in REVIEW_OF_ACTIVITY.items())
    sexes = " ".join(f"WHEN {_text(code)} THEN {_text(sex)}" for code, sex in SEX.items())
    born = "try_cast(left(date_of_birth, 10) AS DATE)"
    first, last = quoted(str(cohort.born_from)), quoted(str(cohort.born_to))
    return f"""CREATE VIEW reviews AS
        SELECT source_row, patient AS local_patient_id, nhs_number, nhs_number_status, surname, forename,
            CASE upper(gender) {sexes} ELSE gender END AS sex, date_of_birth, postcode,
            CASE WHEN months IS NOT NULL THEN {_text(ASQ3_REVIEW)} ELSE CASE activity_type {kinds} END END AS review,
            review_date, months::VARCHAR AS asq3_months, {", ".join(DOMAINS)}, {ASQ_SE2}
        FROM all_reviews JOIN CYP001 USING (patient)
            LEFT JOIN questionnaires USING (source_row)
            LEFT JOIN (SELECT source_row, score AS {ASQ_SE2} FROM latest_scores WHERE NOT {_ASQ3}) USING (source_row)
        WHERE coalesce({born} = DATE '1900-01-01' OR {born} BETWEEN DATE {first} - INTERVAL 1 YEAR
            AND DATE {last} + INTERVAL 1 YEAR, true)"""

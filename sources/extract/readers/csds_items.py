"""The tables and items of the Community Services Data Set that a review is made of, and the names they go by.

For each item: its name in the NHS Data Dictionary, then the names in extracts of the national processing service
(`Contact_Date`), then those of the sister data sets' extracts (`CareContDate`, `PersScore`). Letter case, spaces,
underscores and brackets do not matter. CSDS carries no names of persons: family and given name are a local addition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sources.extract.errors import ExtractStopped
from sources.extract.match import key

RECENCY = {
    "record_number": ("RECORD NUMBER",),
    "effective_from": ("EFFECTIVE FROM",),
}
"""What tells a later row of the same thing from an earlier one; a table may have neither."""

ITEMS: dict[str, dict[str, tuple[str, ...]]] = {
    "CYP001": {
        "patient": ("LOCAL PATIENT IDENTIFIER (EXTENDED)", "LOCAL PATIENT IDENTIFIER", "LocalPatientID"),
        "nhs_number": ("NHS NUMBER",),
        "nhs_number_status": ("NHS NUMBER STATUS INDICATOR CODE", "NHSNumber_Status"),
        "surname": ("PERSON FAMILY NAME", "FAMILY NAME", "SURNAME"),
        "forename": ("PERSON GIVEN NAME", "GIVEN NAME", "FORENAME"),
        "gender": ("PERSON STATED GENDER CODE", "PERSON STATED GENDER", "GENDER"),
        "date_of_birth": ("PERSON BIRTH DATE", "DATE OF BIRTH"),
        "postcode": ("POSTCODE OF USUAL ADDRESS", "POSTCODE"),
    },
    "CYP101": {
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "patient": ("LOCAL PATIENT IDENTIFIER (EXTENDED)", "LOCAL PATIENT IDENTIFIER", "LocalPatientID"),
    },
    "CYP201": {
        "contact": ("CARE CONTACT IDENTIFIER", "CareContactID"),
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "contact_date": ("CARE CONTACT DATE", "Contact_Date", "CareContDate"),
        "attendance": ("ATTENDANCE STATUS", "AttendStatus"),
        "attended_or_not": ("ATTENDED OR DID NOT ATTEND CODE", "AttendOrNot", "AttendOrDNACode"),
    },
    "CYP202": {
        "activity": ("CARE ACTIVITY IDENTIFIER", "CareActivityID", "CareActID"),
        "contact": ("CARE CONTACT IDENTIFIER", "CareContactID"),
        "activity_type": ("COMMUNITY CARE ACTIVITY TYPE CODE", "Activity_Type", "CareActType"),
        "older_activity_type": ("COMMUNITY CARE ACTIVITY TYPE",),
    },
    "CYP609": {
        "referral": ("SERVICE REQUEST IDENTIFIER", "ServiceRequestID"),
        "tool": ("CODED ASSESSMENT TOOL TYPE (SNOMED CT)", "SNOMED_ID", "CodedAssToolType"),
        "score": ("PERSON SCORE", "Score", "PersScore"),
        "completed": ("ASSESSMENT TOOL COMPLETION DATE", "AssessmentCompletion_Date", "AssToolCompDate"),
    },
    "CYP612": {
        "activity": ("CARE ACTIVITY IDENTIFIER", "CareActivityID", "CareActID"),
        "tool": ("CODED ASSESSMENT TOOL TYPE (SNOMED CT)", "SNOMED_ID", "CodedAssToolType"),
        "score": ("PERSON SCORE", "Score", "PersScore"),
    },
}
MAY_BE_ABSENT = frozenset(
    {
        *RECENCY,
        "surname",
        "forename",
        "nhs_number",
        "nhs_number_status",
        "attendance",
        "attended_or_not",
        "activity_type",
        "older_activity_type",
    }
)
TABLES_NEEDED = ("CYP001", "CYP101", "CYP201", "CYP202", "CYP612")
"""CYP609 is for those who record assessments against the referral."""

_TABLE = re.compile(r"(?<![A-Z])CYP[ _-]?([0-9]{3})(?![0-9])", re.IGNORECASE)


def table_of(name: str) -> str | None:
    """`CYP001` of a file or sheet called `2024-05 CYP001mpi.csv`; None for a table that no review is made of."""
    found = _TABLE.search(name)
    table = f"CYP{found[1]}" if found else ""
    return table if table in ITEMS else None


def known_headings(table: str) -> set[str]:
    """Headings of a table as they are commonly written, by which its header line is found."""
    names = {name for accepted in (ITEMS[table] | RECENCY).values() for name in accepted}
    plain = {re.sub("[^A-Za-z0-9_ ]", "", name) for name in names}
    return {key(form) for name in names | plain for form in (name, name.replace(" ", ""))}


def columns_of(name: str, table: str, header: Sequence[str]) -> dict[str, str]:
    """Heading of each item that a file of `table` has; raises `ExtractStopped` where one is missing or there twice.

    `name` is how messages call the file.
    """
    headings: dict[str, list[str]] = {}
    for heading in header:
        headings.setdefault(_key(heading), []).append(heading)
    columns = {}
    for item, names in (ITEMS[table] | RECENCY).items():
        for accepted in names:
            found = headings.get(_key(accepted), [])
            if len(found) > 1:
                raise ExtractStopped(f"{name}: {accepted} stands twice in the header")
            if found:
                columns[item] = found[0]
                break
        else:
            if item not in MAY_BE_ABSENT:
                raise ExtractStopped(f"{name}: {table} has no column {names[0]}")
    return columns


def _key(heading: str) -> str:
    return re.sub("[^A-Z0-9]", "", heading.upper())

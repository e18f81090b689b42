"""The services that keep records about children, and what one of them may be told of a child whose record it holds."""

from enum import StrEnum

SERVICES: dict[str, str] = {
    "eyfsp": "education",
    "school_census": "education",
    "early_years_census": "settings",
    "hv_reviews": "health",
}
"""Each linked source, with the service that keeps its records. Parents' responses are never linked."""
SERVICE_NAMES = tuple(dict.fromkeys(SERVICES.values()))
MAX_CHILDREN_A_NUMBER = 6
"""A number on records of more children than this (by forename and date of birth) within one service identifies nobody,
so no record is linked by it."""


class Fact(StrEnum):
    """A fact about a child whose record the receiver holds. Each is switched on separately."""

    KNOWN_TO = "known_to"
    """Which services, in which council, know the child."""
    LAST_CONTACT = "last_contact_month"
    """The month of the latest record of a service that is linked to the child."""
    CONCERN = "concern_recorded"
    """Whether a service recorded a concern, never what it was."""
    CONCERN_MONTH = "concern_month"
    """The month of the latest record with a concern, and whether it is the latest record of the service."""
    NO_OTHER = "known_to_no_other"
    """That none of the other services that can know a child of this age, and disclose this, knows the child."""
    REVIEW = "review_not_recorded"
    """Which reviews are due but have not been recorded by any health-visiting team that discloses this."""

"""The service that keeps the records of each source about children, and the limit of children per number."""

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

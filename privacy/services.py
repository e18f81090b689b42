"""Which service keeps the records of each source about children, and how many children of one may share a number."""

from __future__ import annotations

SERVICES: dict[str, str] = {
    "eyfsp": "education",
    "school_census": "education",
    "early_years_census": "settings",
    "hv_reviews": "health",
}
"""Each linked source and the service whose own records it holds. Parents' responses are never linked."""
SERVICE_NAMES = tuple(dict.fromkeys(SERVICES.values()))
MAX_CHILDREN_A_NUMBER = 6
"""A number on records of more children than this (forename and date of birth) within one service identifies nobody: no
record is linked by it."""

"""Which service keeps the records of each source about children."""

from __future__ import annotations

SERVICES: dict[str, str] = {
    "eyfsp": "education",
    "school_census": "education",
    "early_years_census": "settings",
    "hv_reviews": "health",
}
"""Each linked source and the service whose own records it holds. Parents' responses are never linked."""
SERVICE_NAMES = tuple(dict.fromkeys(SERVICES.values()))

"""Titles of the sources, as every page, message and document names them."""

from collections.abc import Mapping

SOURCE_TITLES: Mapping[str, str] = {
    "eyfsp": "EYFS Profile",
    "school_census": "school census",
    "early_years_census": "early years census",
    "hv_reviews": "health-visitor reviews",
    "parent_experience": "survey of parents",
}
"""Titles by source, as they stand within a sentence."""

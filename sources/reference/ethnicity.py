"""Ethnic groups: DfE main codes and the major groups of published figures."""

from pathlib import Path

from sources.reference import rows_of

ASIAN, BLACK, MIXED, WHITE, OTHER = MAJOR_GROUPS = (
    "Asian / Asian British",
    "Black / African / Caribbean / Black British",
    "Mixed / Multiple ethnic groups",
    "White",
    "Other ethnic group",
)
"""The groups of the 2021 census, in which Chinese is Asian."""

_ROWS = rows_of(Path(__file__).with_name("ethnicity.csv"))
ETHNICITY_CODES = {row["code"]: row["label"] for row in _ROWS}
"""Main codes of the DfE common basic data set (CBDS), with their labels."""
MAJOR_GROUP = {row["code"]: row["major_group"] for row in _ROWS if row["major_group"]}
"""By main code; `REFU` and `NOBT`, which say nothing, are left out."""

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
"""Groups of the 2021 census, in which Chinese belongs to Asian."""

_ROWS = rows_of(Path(__file__).with_name("ethnicity.csv"))
ETHNICITY_CODES = {row["code"]: row["label"] for row in _ROWS}
"""Main codes of the DfE common basic data set (CBDS), with their labels."""
MAJOR_GROUP = {row["code"]: row["major_group"] for row in _ROWS if row["major_group"]}
"""Major group by main code; `REFU` (refused) and `NOBT` (not obtained) are left out."""

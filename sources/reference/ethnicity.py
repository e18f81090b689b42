"""Ethnic groups: DfE main codes, and the major groups that figures are published by."""

import csv
from pathlib import Path

ASIAN, BLACK, MIXED, WHITE, OTHER = MAJOR_GROUPS = (
    "Asian / Asian British",
    "Black / African / Caribbean / Black British",
    "Mixed / Multiple ethnic groups",
    "White",
    "Other ethnic group",
)
"""The groups of the 2021 census, in which Chinese is Asian."""

with Path(__file__).with_name("ethnicity.csv").open(encoding="utf-8", newline="") as _file:
    _ROWS = list(csv.DictReader(_file))
ETHNICITY_CODES = {row["code"]: row["label"] for row in _ROWS}
"""Main codes of the DfE common basic data set (CBDS), with their labels."""
MAJOR_GROUP = {row["code"]: row["major_group"] for row in _ROWS if row["major_group"]}
"""By main code; `REFU` and `NOBT`, which say nothing, are left out."""

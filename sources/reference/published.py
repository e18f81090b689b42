"""Published numbers of children, to compare an extract with."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path


@cache
def published_children() -> dict[str, int]:
    """Children in the Profile results of 2024/25 by the authority's nine-character code (England included)."""
    with (Path(__file__).parent / "published_eyfsp_202425.csv").open(encoding="utf-8", newline="") as file:
        return {
            row["new_la_code"]: int(row["children_count"])
            for row in csv.DictReader(file)
            if row["breakdown"] == "Total" and row["sex"] == "Total" and row["children_count"]
        }

"""ASQ-3: the questionnaire of the two-year review, its domains and its cut-offs."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

DOMAINS: dict[str, str] = {
    "asq3_communication": "Communication",
    "asq3_gross_motor": "Gross motor",
    "asq3_fine_motor": "Fine motor",
    "asq3_problem_solving": "Problem solving",
    "asq3_personal_social": "Personal-social",
}
"""Column of each ASQ-3 domain, with the name used by the table of cut-offs."""


@cache
def cut_offs() -> dict[tuple[str, str], float]:
    """Cut-off score by (column of the domain, age of the questionnaire in months): below it is "below"."""
    columns = {name: column for column, name in DOMAINS.items()}
    with (Path(__file__).parent / "asq3_cut_offs.csv").open(encoding="utf-8", newline="") as file:
        return {
            (columns[row["domain"]], row["age_months"]): float(row["cut_off"])
            for row in csv.DictReader(file)
            if row["instrument"] == "ASQ-3"
        }

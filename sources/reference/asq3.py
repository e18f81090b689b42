"""ASQ-3: the questionnaire of the two-year review, its domains, cut-offs and SNOMED CT codes; and ASQ:SE-2's codes."""

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


ASQ_SE2 = "asq_se2_score"
"""Column of the ASQ:SE-2 total."""


@cache
def cut_offs() -> dict[tuple[str, str], float]:
    """Cut-off score by (column of the domain, age of the questionnaire in months): below it is "below"."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {
        (columns[row["domain"]], row["age_months"]): float(row["cut_off"])
        for row in _rows()
        if row["instrument"] == "ASQ-3"
    }


@cache
def snomed_codes() -> dict[str, tuple[str, str]]:
    """SNOMED CT concept of each score in the Community Services Data Set -> (column, age of the questionnaire)."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {row["snomed_code"]: (columns.get(row["domain"], ASQ_SE2), row["age_months"]) for row in _rows()}


def _rows() -> list[dict[str, str]]:
    with (Path(__file__).parent / "asq3_cut_offs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

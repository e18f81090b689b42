"""ASQ-3: the questionnaire of the two-year review, its domains, cut-offs and SNOMED CT codes; and ASQ:SE-2's codes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sources.reference import rows_of

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

_FILE = Path(__file__).with_name("asq3_cut_offs.csv")


@cache
def cut_offs() -> dict[tuple[str, str], float]:
    """Return cut-off scores by (domain column, questionnaire age in months); a score under the cut-off is "below"."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {
        (columns[row["domain"]], row["age_months"]): float(row["cut_off"])
        for row in rows_of(_FILE)
        if row["instrument"] == "ASQ-3"
    }


@cache
def snomed_codes() -> dict[str, tuple[str, str]]:
    """Map the SNOMED CT concept of each score in the Community Services Data Set to (column, questionnaire age)."""
    columns = {name: column for column, name in DOMAINS.items()}
    return {row["snomed_code"]: (columns.get(row["domain"], ASQ_SE2), row["age_months"]) for row in rows_of(_FILE)}

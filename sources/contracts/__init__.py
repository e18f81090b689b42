"""Source contracts: the columns, codes and rules of each source.

A column's name, values, role and checks are declared once, here. Readers, generator, quality suites and documentation
are derived from these declarations.
"""

from sources.contracts import early_years_census, eyfsp, hv_reviews, parent_experience, school_census
from sources.contracts.model import (
    Column,
    DerivedColumn,
    Kind,
    RecordAtAge,
    RecordOnDay,
    Role,
    Rule,
    Severity,
    SourceContract,
)

CONTRACTS: dict[str, SourceContract] = {
    module.CONTRACT.name: module.CONTRACT
    for module in (eyfsp, school_census, early_years_census, hv_reviews, parent_experience)
}

__all__ = [
    "CONTRACTS",
    "Column",
    "DerivedColumn",
    "Kind",
    "RecordAtAge",
    "RecordOnDay",
    "Role",
    "Rule",
    "Severity",
    "SourceContract",
]

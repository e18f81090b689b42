"""Source contracts: the columns, codes and rules of each source.

A column's name, values, role and checks are declared once, here. Readers, generator, quality suites and documentation
are derived from these declarations.
"""

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
from sources.contracts.sources import CONTRACTS

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

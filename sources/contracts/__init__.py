"""Source contracts: the columns, codes and rules of each source.

A column's name, values, role and checks are declared once, here. Readers, generator, quality suites and documentation
are derived from these declarations.
"""

from sources.contracts.model import (
    Column as Column,
    DerivedColumn as DerivedColumn,
    Kind as Kind,
    RecordAtAge as RecordAtAge,
    RecordOnDay as RecordOnDay,
    Role as Role,
    Rule as Rule,
    Severity as Severity,
    SourceContract as SourceContract,
)
from sources.contracts.sources import CONTRACTS as CONTRACTS

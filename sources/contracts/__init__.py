"""Source contracts: the columns, codes and rules of each source.

A column's name, values, role and checks are declared once, here. Readers, generator, quality suites and documentation
are derived from these declarations.
"""

from sources.contracts.model import Column as Column
from sources.contracts.model import DerivedColumn as DerivedColumn
from sources.contracts.model import Kind as Kind
from sources.contracts.model import RecordAtAge as RecordAtAge
from sources.contracts.model import RecordOnDay as RecordOnDay
from sources.contracts.model import Role as Role
from sources.contracts.model import Rule as Rule
from sources.contracts.model import Severity as Severity
from sources.contracts.model import SourceContract as SourceContract
from sources.contracts.sources import CONTRACTS as CONTRACTS

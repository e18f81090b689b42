"""Published tables, one module a family. A table's definition is the single source of its name, words, public
categories, figures and rows: the noise plan, the Parquet schema, the database comments and all metadata derive from it.

Every table of the project is a `Table` here, listed in the `FAMILY` of its module. `definition` is for tables on
request alone: the few fields that somebody outside the project may write.
"""

from types import ModuleType

from ndl_export.tables import health, parents, pupil
from ndl_export.tables.model import (
    ALL,
    Attribute,
    Axis,
    Block,
    Family,
    Filter,
    Measure,
    MeasureKind,
    Selection,
    Table,
)


def family_of(module: ModuleType) -> Family:
    """Return the family that a module defines. Raises ValueError for a table that its `FAMILY` does not list."""
    family: Family = module.FAMILY
    unlisted = [each.name for each in vars(module).values() if isinstance(each, Table) and each not in family.tables]
    if unlisted:
        raise ValueError(f"{module.__name__}: FAMILY.tables does not list {', '.join(unlisted)}")
    return family


FAMILIES: dict[str, Family] = {family.name: family for family in map(family_of, (pupil, health, parents))}
TABLES: dict[str, Table] = {table.name: table for family in FAMILIES.values() for table in family.tables}

__all__ = [
    "ALL",
    "FAMILIES",
    "TABLES",
    "Attribute",
    "Axis",
    "Block",
    "Family",
    "Filter",
    "Measure",
    "MeasureKind",
    "Selection",
    "Table",
    "family_of",
]

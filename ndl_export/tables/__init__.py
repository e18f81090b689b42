"""Published tables, one module per family.

A table's definition is the single source of its name, text, public categories, figures and rows: its blocks in a
module, its text and filters in `tables.yaml`. The noise plan, the Parquet schema, the database comments and all
metadata are derived from it.

Every table of the project is a `Table` listed in the `FAMILY` of its module. `definition` is only for tables on
request: it holds the few fields that a requester may write.
"""

from pathlib import Path
from types import ModuleType

from ndl_export.tables import health, parents, pupil
from ndl_export.tables.model import (
    ALL,
    FILTERS,
    STATED_TABLES,
    Attribute,
    Block,
    Family,
    Measure,
    MeasureKind,
    Table,
)


def get_family(module: ModuleType) -> Family:
    """Return the family that a module defines. Raises ValueError for a table that its `FAMILY` does not list."""
    family: Family = module.FAMILY
    # A table that no family lists has no noise plan and no rows, so every release would silently leave it out.
    unlisted = [each.name for each in vars(module).values() if isinstance(each, Table) and each not in family.tables]
    if unlisted:
        raise ValueError(f"{module.__name__}: FAMILY.tables does not list {', '.join(unlisted)}")
    return family


FAMILIES: dict[str, Family] = {family.name: family for family in map(get_family, (pupil, health, parents))}
TABLES: dict[str, Table] = {table.name: table for family in FAMILIES.values() for table in family.tables}


def _check_all_used() -> None:
    """Raise ValueError for a table or filter that has words and is not defined."""
    filters = {entry.name for table in TABLES.values() for entry in table.filters}
    unused = [f"tables.yaml: {name!r} is defined by no family" for name in STATED_TABLES if name not in TABLES]
    unused += [f"filters.csv: {name!r} is a filter of no table" for name in FILTERS if name not in filters]
    if unused:
        raise ValueError(f"In {Path(__file__).parent}:\n" + "\n".join(unused))


_check_all_used()

__all__ = ["ALL", "FAMILIES", "TABLES", "Attribute", "Block", "Family", "Measure", "MeasureKind", "Table"]

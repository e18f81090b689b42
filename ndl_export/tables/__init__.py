"""Published tables, one YAML file per family, and one module for what needs code.

A table's declaration is the single source of its name, text, public categories, figures and rows. The noise plan, the
Parquet schema, the database, the answers and all metadata are derived from it. A simple table is declared in the YAML
file alone, in the form of a request (`definition`); the blocks of other tables are in the family's module.
"""

from types import ModuleType

from ndl_export.tables import health, parents, pupil
from ndl_export.tables.declarations import DECLARATIONS, WrongDeclaration, list_unused
from ndl_export.tables.model import (
    ALL,
    Block,
    Family,
    Measure,
    MeasureKind,
    Table,
    TableAttribute,
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
    """Raise `WrongDeclaration` for a table or filter that is declared and used by nothing."""
    filters = {entry.name for table in TABLES.values() for entry in table.filters}
    unused = [
        DECLARATIONS.describe_fault(section, name, sentence)
        for section, used, sentence in (
            ("tables", TABLES, "it has no columns, and no blocks in the family's module"),
            ("filters", filters, "it is a filter of no table"),
        )
        for name in list_unused(getattr(DECLARATIONS, section), used)
    ]
    if unused:
        raise WrongDeclaration("\n".join(unused))


_check_all_used()

__all__ = ["ALL", "FAMILIES", "TABLES", "Block", "Family", "Measure", "MeasureKind", "Table", "TableAttribute"]

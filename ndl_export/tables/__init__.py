"""One module a family of tables. A table definition is the single source of a table's name, words, public categories,
figures and rows: the noise plan, the Parquet schema, the database comments and every metadata file derive from it."""

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

FAMILIES: dict[str, Family] = {family.name: family for family in (pupil.FAMILY, health.FAMILY, parents.FAMILY)}
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
]

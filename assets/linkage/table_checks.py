"""Whether a confidential table is what noise may be added over: each unit once, and no value outside its domain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ndl_export.tables import FAMILIES
from privacy.doors.database import in_memory
from privacy.doors.sql import identifier, parquet, quoted
from privacy.release.child_table import UNIT_COLUMN


@dataclass(frozen=True)
class TableCheck:
    """Numbers that must be 0: rows with a value outside the public domain of a column, or none, and rows of a unit that
    has another one."""

    rows_outside_their_domain: int
    units_twice: int

    @property
    def ok(self) -> bool:
        return not (self.rows_outside_their_domain or self.units_twice)


def check_table(path: Path, family: str) -> TableCheck:
    """Look at the confidential table of a family in one pass."""
    outside = " OR ".join(
        f"coalesce({identifier(each.name)} NOT IN ({', '.join(map(quoted, each.categories))}), true)"
        for each in FAMILIES[family].attributes
    )
    sql = f"SELECT count(*) FILTER ({outside}), count(*) - count(DISTINCT {UNIT_COLUMN}) FROM {parquet(path)}"
    with in_memory() as con:
        outside_rows, twice = con.execute(sql).fetchall()[0]
    return TableCheck(outside_rows, twice)

"""Detects an extract about another cohort's or council's children, from non-identifying parts of its rows.

These are the school year of the date of birth, and the authority in a local authority code or pupil number (UPN).
They are counted in memory, during the intake pass.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sources.contracts.extract_rules import MANY_ROWS
from sources.contracts.model import SourceContract
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place, load_places

MOSTLY = 0.5
"""Share of the rows with a value above which a file looks like another year's or council's. It equals the `stop_share`
of dates and council codes. A council's own children hardly ever have that many pupil numbers (UPN) from one other
authority: the first school issues the number, and these children started school at most a year earlier.
"""
IN_PART = 0.1
"""Share of dates of birth in one other school year above which part of a file looks like that year's. Children who
start late or repeat a year are one or two in a hundred."""
BORN, LA_CODE, UPN_AREA = "born_cohort", "la_code_in_row", "upn_area"
COLUMNS = (BORN, LA_CODE, UPN_AREA)
_BORN_SQL = (
    "CASE WHEN birth_date(date_of_birth) IS NOT NULL"
    " THEN year(date_of_birth) - (month(date_of_birth) < 9)::INTEGER + 5 END"
)
"""First year of the child's cohort, as in `Cohort`."""
_LA_CODE_SQL = r"regexp_replace(la_code, '\.0+$', '')"
_UPN_AREA_SQL = "nullif(regexp_extract(upn, '^[A-Za-z] *([0-9]{3})', 1), '')"
"""Characters 2 to 4 of a UPN: the code of the authority whose school issued it (Department for Education, Unique pupil
numbers: guidance)."""


@dataclass(frozen=True)
class OtherOrigin:
    """Another year or council that many rows of an extract belong to.

    By the column `by`, `rows` of `of` rows with a value belong to `name`, and `own` rows to the extract's own year or
    council, `should_be`.
    """

    by: str
    name: str
    should_be: str
    rows: int
    of: int
    own: int

    @property
    def is_year(self) -> bool:
        return self.by == BORN

    @property
    def mostly(self) -> bool:
        return self.rows > MOSTLY * self.of

    @property
    def looks_like(self) -> str:
        """Message without numbers: `this looks like 2023/24, not 2024/25`."""
        whole = "this" if self.mostly else "part of this"
        return f"{whole} looks like {self.name}{'' if self.is_year else '’s'}, not {self.should_be}"

    @property
    def for_sender(self) -> str:
        """Message for the sender, with numbers."""
        whole = "This" if self.mostly else "Part of this"
        share = f"{self.rows:,} of {self.of:,}"
        match self.by:
            case "born_cohort":
                reason = f"{share} dates of birth are of children who finish Reception in {self.name}"
                return f"{whole} looks like {self.name}: {reason}, {self.own:,} of {self.should_be}."
            case "la_code_in_row":
                reason = f"{share} rows have its local authority code"
            case _:
                reason = f"{share} pupil numbers (UPN) were given out there"
        return f"{whole} looks like {self.name}’s: {reason}, {self.own:,} of {self.should_be}’s own."


def build_origin_sql(contract: SourceContract) -> str:
    """Return the SQL, over typed rows, of the columns that `OriginCounter` reads, each preceded by a comma."""
    terms = {"date_of_birth": (_BORN_SQL, BORN), "la_code": (_LA_CODE_SQL, LA_CODE), "upn": (_UPN_AREA_SQL, UPN_AREA)}
    return "".join(f", {sql} AS {name}" for column, (sql, name) in terms.items() if column in contract)


class OriginCounter:
    """Counts the school years and authorities in the typed rows of an extract, chunk by chunk."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[object]] = {}

    def see(self, chunk: pa.Table) -> None:
        for name in set(COLUMNS) & set(chunk.column_names):
            found = pc.value_counts(chunk[name].drop_null()).to_pylist()
            counted = self._counts.setdefault(name, Counter())
            counted.update({entry["values"]: entry["counts"] for entry in found})

    def find_other_origins(self, council: str, cohort: str) -> tuple[OtherOrigin, ...]:
        """Return the other year and the other council that the rows seem to belong to, if any.

        If both council codes and pupil numbers point to another council, the code counts.
        """
        first = Cohort(cohort).first_year
        labels = {year: f"{year}/{(year + 1) % 100:02d}" for year in range(first - 10, first + 11)}
        year = self._find_other(BORN, labels, Cohort(cohort).label, IN_PART)
        authorities = {
            code: each.la_name for each in load_places().values() for code in (each.old_la_code, each.new_la_code)
        }
        own = get_place(council).la_name
        of_council = (self._find_other(by, authorities, own, MOSTLY) for by in (LA_CODE, UPN_AREA))
        other = next((found for found in of_council if found), None)
        return tuple(found for found in (year, other) if found)

    def _find_other(self, by: str, names: Mapping[Any, str], own: str, share: float) -> OtherOrigin | None:
        """Return the most frequent other name if more than `share` of the rows have it."""
        counts: Counter[str] = Counter()
        for value, rows in self._counts.get(by, Counter()).items():
            counts[names.get(value, "")] += rows
        total = counts.total()
        # "" collects the codes of no known year or authority
        others = [(rows, name) for name, rows in counts.items() if name not in ("", own)]
        rows, name = max(others, default=(0, ""))
        if total < MANY_ROWS or rows <= share * total:
            return None
        return OtherOrigin(by, name, own, rows, total, counts[own])

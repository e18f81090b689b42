"""Cohorts: academic years in which children are assessed at the end of Reception, written `202425`.

Files, partitions and tables use that form; `Cohort.parse` also accepts the forms that people type.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Self

FIRST_COHORT = 2021
"""The current goals have been assessed since the academic year 2021/22."""


class InvalidCohort(ValueError):
    """A cohort's code is not two consecutive years, or is earlier than the current goals."""


TERMS_OF_BIRTH = {"Autumn-born": (9, 12), "Spring-born": (1, 3), "Summer-born": (4, 8)}
"""First and last month of birth of each of DfE's terms of birth, in the order of a cohort's year."""


@dataclass(frozen=True)
class Cohort:
    """An academic year, and the birth dates of its children, who turn five by its 31 August."""

    code: str

    def __post_init__(self) -> None:
        match = re.fullmatch(r"([0-9]{4})([0-9]{2})", self.code)
        if not match or (int(match[1]) + 1) % 100 != int(match[2]):
            raise InvalidCohort(f"{self.code!r} is not a cohort: write two consecutive years as 202425 or 2024/25")
        if int(match[1]) < FIRST_COHORT:
            raise InvalidCohort(f"cohort {self.code} is before {FIRST_COHORT}/22, when the current goals began")

    @classmethod
    def parse(cls, typed: str) -> Self:
        """Parse `202425`, `2024/25`, `2024-25` or `2024/2025`. Raises `InvalidCohort`."""
        years = re.fullmatch(r"([0-9]{4})[/–-]([0-9]{2}|[0-9]{4})", typed.strip())
        if years and years[2] in (following := str(int(years[1]) + 1), following[2:]):
            return cls(years[1] + following[2:])
        return cls(typed.strip())

    @classmethod
    def build(cls, year: int) -> Self:
        """Return the cohort whose first year is `year`. Raises `InvalidCohort`."""
        return cls(f"{year}{(year + 1) % 100:02d}")

    @property
    def first_year(self) -> int:
        return int(self.code[:4])

    @property
    def born_from(self) -> dt.date:
        return dt.date(self.first_year - 5, 9, 1)

    @property
    def born_to(self) -> dt.date:
        return dt.date(self.first_year - 4, 8, 31)

    @property
    def reception_begins(self) -> dt.date:
        return dt.date(self.first_year, 9, 1)

    @property
    def reception_ends(self) -> dt.date:
        return dt.date(self.first_year + 1, 8, 31)

    @property
    def previous(self) -> "Cohort | None":
        """The previous cohort; None for the first."""
        return Cohort.build(self.first_year - 1) if self.first_year > FIRST_COHORT else None

    @property
    def label(self) -> str:
        """Printed form, `2024/25`."""
        return f"{self.code[:4]}/{self.code[4:]}"


def list_cohort_codes(until_year: int) -> list[str]:
    """Return the codes of all cohorts from the first to the one that starts in `until_year`."""
    return [Cohort.build(year).code for year in range(FIRST_COHORT, until_year + 1)]


def list_born_cohorts(on: dt.date) -> list[Cohort]:
    """Return all cohorts with children born by a day, earliest first."""
    # A cohort's first children are born five years before its first year.
    return [cohort for code in list_cohort_codes(on.year + 5) if (cohort := Cohort(code)).born_from <= on]


def list_open_cohorts(on: dt.date) -> list[Cohort]:
    """Return the cohorts from birth to Reception on a day, the one in Reception first: six, or fewer before 2021/22."""
    return [cohort for cohort in list_born_cohorts(on) if on <= cohort.reception_ends]

"""Reads figures from a release's Parquet tables, with words for what each is about.

The tables are read as files and the words come from `words.yaml`, so nothing here agrees with the answers by sharing
their code.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))
GROUPS = frozenset((*(each for family in WORDS["families"] for each in family), "Other ethnic group"))
"""Groups of children that are asked about."""


@dataclass(frozen=True)
class Fact:
    """A figure: of a measure in `words.yaml`, an area, a group of children (breakdown and sex), and a category."""

    measure: str
    area: str
    group: tuple[str, ...]
    category: str | None
    value: float | None
    lower: float | None
    upper: float | None
    flag: str | None
    children: float

    @property
    def spec(self) -> dict[str, Any]:
        """The measure in `words.yaml`."""
        found: dict[str, Any] = WORDS["measures"][self.measure]
        return found

    @property
    def shown(self) -> float:
        """The value of a figure that is published."""
        assert self.value is not None
        return self.value

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, which hold the rounded value too."""
        return min(self.lower or 0, self.shown), max(self.upper or 0, self.shown)

    @property
    def variance(self) -> float:
        """Variance of the figure, in squared points: of noise, by its interval, and of chance."""
        share = min(max(self.shown, 1), 99)
        return (max(abs(end - self.shown) for end in self.ends) / 1.96) ** 2 + share * (100 - share) / self.children

    @property
    def parts(self) -> dict[str, Any]:
        """The parts of a claim that say what it is about, apart from the cohort."""
        label = f"{self.spec['label']}: " if "label" in self.spec else ""
        groups = [*self.group, *([f"{label}{self.category}"] if self.category else []), *self.spec.get("also", ())]
        names = [WORDS["asked"].get(each, each) for each in groups]
        return {"area": self.area, "group": names, "measure": self.spec.get("ask", self.spec["column"])}


def read_rows(folder: Path, table: str, **where: str) -> list[dict[str, Any]]:
    """Return the rows of a published table whose filters have these categories."""
    rows = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return [row for row in rows if all(row[column] == category for column, category in where.items())]


def read_facts(folder: Path) -> Iterator[Fact]:
    """Yield every figure that the words cover, flagged ones too, in a fixed order."""
    for name, spec in WORDS["measures"].items():
        column = spec["column"]
        counted = spec.get("children", column.replace("_percent", "_count"))
        for row in read_rows(folder, spec["table"], **spec.get("where", {})):
            category = row[spec["each"]] if "each" in spec else None
            levels = (row.get(filter_, "Total") for filter_ in ("breakdown", "sex", "fsm_eligibility"))
            group = tuple(level for level in levels if level != "Total")
            if GROUPS.issuperset(group) and (category is None or category in spec["x"]):
                lower, upper, flag = (row[f"{column}_{end}"] for end in ("lower_ci", "upper_ci", "flag"))
                of = row[counted] if "children" in spec or not row[column] else 100 * row[counted] / row[column]
                yield Fact(name, row["area_name"], group, category, row[column], lower, upper, flag, of)


def count_errors(one: Fact, other: Fact) -> float:
    """Return how many standard errors of the difference one figure is above another; negative if it is below."""
    return (one.shown - other.shown) / math.sqrt(one.variance + other.variance)

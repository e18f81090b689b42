"""Reads figures from a release's Parquet tables, with words for what each is about.

The tables are read as files and the words come from `words.yaml`, so nothing here agrees with the answers by sharing
their code.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

WORDS: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "words.yaml").read_text(encoding="utf-8"))


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
    is_opposite: bool = False

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

    def say(self, kind: str) -> list[str]:
        """Return every way to say its `who`, `did`, `do` or `topic`."""
        names = self.spec["x"][self.category] if self.category is not None else ""
        names = names if isinstance(names, list) else [names]
        if kind != "who":
            ways = self.spec.get("not" if self.is_opposite and kind == "did" else kind, ())
            return [way.format(x=x) for way in ways for x in names]
        whos = WORDS["parents"] if "parents" in self.spec else name_groups(self.group)
        return [self.spec.get("who", "{who}").format(who=who, x=x) for who in whos for x in names]


def name_groups(group: tuple[str, ...]) -> list[str]:
    """Return the ways to name children of a group: a breakdown, a sex or both."""
    sexes = [each for each in group if each in ("Female", "Male")]
    nouns = WORDS["nouns"][sexes[0] if sexes else "Total"][: 3 if not group else 2]
    [form, *_] = [each for each in group if each not in sexes] or ["Total"]
    return [words.format(n=noun) for words in WORDS["groups"][form] for noun in nouns]


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
            if any(level not in {**WORDS["groups"], **WORDS["nouns"]} for level in group):
                continue
            if category is None or category in spec["x"]:
                lower, upper, flag = (row[f"{column}_{end}"] for end in ("lower_ci", "upper_ci", "flag"))
                of = row[counted] if "children" in spec or not row[column] else 100 * row[counted] / row[column]
                yield Fact(name, row["area_name"], group, category, row[column], lower, upper, flag, of)


def count_errors(one: Fact, other: Fact) -> float:
    """Return how many standard errors of the difference one figure is above another; negative if it is below."""
    return (one.shown - other.shown) / math.sqrt(one.variance + other.variance)


def oppose(fact: Fact) -> Fact:
    """Return 100% less a figure, in the words of its opposite."""
    lower, upper = fact.ends
    return replace(fact, value=round(100 - fact.shown, 1), lower=100 - upper, upper=100 - lower, is_opposite=True)

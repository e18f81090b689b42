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
ALL = "Pilot councils"
COMBINED = "Liverpool City Region"


@dataclass(frozen=True)
class Fact:
    """A published figure: `who` and `did` have every way to say them; `children` is how many it is a share of."""

    measure: str
    table: str
    column: str
    area: str
    group: tuple[str, ...]
    category: str | None
    value: float | None
    lower: float | None
    upper: float | None
    children: float
    flag: str | None
    who: tuple[str, ...]
    did: tuple[str, ...]
    do: tuple[str, ...]
    topic: tuple[str, ...]
    is_good: bool
    is_opposite: bool = False

    @property
    def variance(self) -> float:
        """Variance of the figure, in squared points: of noise, by its interval, and of chance."""
        lower, upper = self.ends
        share = min(max(self.shown, 1), 99)
        chance = share * (100 - share) / max(self.children, 1)
        return float((max(upper - self.shown, self.shown - lower) / 1.96) ** 2 + chance)

    @property
    def shown(self) -> float:
        """The value of a figure that is published."""
        assert self.value is not None
        return self.value

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the interval, which hold the rounded value too."""
        lower, upper = self.lower, self.upper
        return min(self.shown if lower is None else lower, self.shown), max(
            self.shown if upper is None else upper, self.shown
        )

    @property
    def is_of_parents(self) -> bool:
        """Whether it is a share of parents' answers."""
        return self.table == "parent_experience"


def read_facts(folder: Path) -> list[Fact]:
    """Return every figure that the words cover, flagged ones too, in a fixed order."""
    return [fact for name, spec in WORDS["measures"].items() for fact in _read_measure(folder, name, spec)]


def read_rows(folder: Path, table: str, **where: str) -> list[dict[str, Any]]:
    """Return the rows of a published table whose filters have these categories."""
    rows = pq.read_table(folder / f"{table}.parquet").to_pylist()
    return [row for row in rows if all(row[column] == category for column, category in where.items())]


def count_errors(one: Fact, other: Fact) -> float:
    """Return how many standard errors of the difference one figure is above another; negative if it is below."""
    return (one.shown - other.shown) / math.sqrt(one.variance + other.variance)


def oppose(fact: Fact) -> Fact | None:
    """Return 100% less a figure in the words of its opposite, or nothing if it has none."""
    spec = WORDS["measures"][fact.measure]
    if "not" not in spec or fact.value is None or fact.lower is None or fact.upper is None:
        return None
    return replace(
        fact,
        value=round(100 - fact.value, 1),
        lower=100 - fact.upper,
        upper=100 - fact.lower,
        did=_name_category(spec, "not", fact.category),
        do=(),
        topic=(),
        is_opposite=True,
    )


def name_groups(group: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ways to name children of a group: a breakdown, a sex or both."""
    sexes = [each for each in group if each in ("Female", "Male")]
    nouns = WORDS["nouns"][sexes[0] if sexes else "Total"][: 3 if not group else 2]
    [form, *_] = [each for each in group if each not in sexes] or ["Total"]
    return tuple(words.format(n=noun) for words in WORDS["groups"][form] for noun in nouns)


def _read_measure(folder: Path, name: str, spec: dict[str, Any]) -> Iterator[Fact]:
    for row in read_rows(folder, spec["table"], **spec.get("where", {})):
        category = row[spec["each"]] if "each" in spec else None
        group = _read_group(row)
        named = category is None or category in spec["x"]
        if named and all(each in WORDS["groups"] or each in WORDS["nouns"] for each in group):
            yield _build_fact(name, spec, row, group, category)


def _build_fact(
    name: str, spec: dict[str, Any], row: dict[str, Any], group: tuple[str, ...], category: str | None
) -> Fact:
    column = spec["column"]
    value, counted = row[column], row.get(spec.get("children") or column.replace("_percent", "_count"))
    children = counted if "children" in spec or not value or counted is None else 100 * counted / value
    who = tuple(WORDS["parents"]) if spec.get("parents") else name_groups(group)
    if "who" in spec:
        who = tuple(
            each.format(who=of, x=x) for of in who for x in _list_names(spec, category) for each in [spec["who"]]
        )
    return Fact(
        measure=name,
        table=spec["table"],
        column=column,
        area=row["area_name"],
        group=group,
        category=category,
        value=value,
        lower=row[f"{column}_lower_ci"],
        upper=row[f"{column}_upper_ci"],
        children=children or 0,
        flag=row[f"{column}_flag"],
        who=who,
        is_good=spec.get("good", False),
        did=_name_category(spec, "did", category),
        do=_name_category(spec, "do", category),
        topic=_name_category(spec, "topic", category),
    )


def _read_group(row: dict[str, Any]) -> tuple[str, ...]:
    found = (row.get(column, "Total") for column in ("breakdown", "sex", "fsm_eligibility"))
    return tuple(each for each in found if each != "Total")


def _name_category(spec: dict[str, Any], kind: str, category: str | None) -> tuple[str, ...]:
    return tuple(words.format(x=x) for words in spec.get(kind, ()) for x in _list_names(spec, category))


def _list_names(spec: dict[str, Any], category: str | None) -> list[str]:
    names = spec["x"][category] if category is not None else ""
    return names if isinstance(names, list) else [names]

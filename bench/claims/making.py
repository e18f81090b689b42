"""Makes claims with known verdicts from published figures.

A quoted value is right if it agrees with the published figure at the precision stated. A comparison is clearly right
at six standard errors of noise and chance together, which allows for any number of comparisons, and clearly unsupported
below two; what is between is left out.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from bench.claims.facts import WORDS, Fact, count_errors, read_facts, read_rows

SUPPORTED, UNSUPPORTED, CANNOT = "supported", "not supported", "cannot be said"
CLEAR, UNCLEAR = 6.0, 2.0
_TOGETHER = ("Pilot councils", "Liverpool City Region")
_EACH_KIND = 100
"""Claims of a kind."""

Pair = tuple[Fact, Fact]


@dataclass(frozen=True)
class Claim:
    """A claim in parts, the verdict that it should get, and the figures that it is about."""

    kind: str
    parts: dict[str, Any]
    expected: str
    figures: tuple[tuple[str, float], ...] = ()


class Maker:
    """Makes claims of every kind about one release; the same seed makes the same claims."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.facts = list(read_facts(folder))
        cohort = read_rows(folder, "gld_headline")[0]["time_period"]
        self.label, self.year = f"{cohort[:4]}/{cohort[4:]}", int(cohort[:4])
        self.usable = [each for each in self.facts if _is_usable(each)]
        self.children = [each for each in self.usable if "parents" not in each.spec]
        self.councils = [each for each in self.children if each.area not in _TOGETHER]

    def make_all(self) -> list[Claim]:
        """Return every claim."""
        ways = [self.make_values, self.make_counts, self.make_gaps, self.make_comparisons, self.make_ranks]
        return [claim for make in (*ways, self.make_unanswerable) for claim in make()]

    def make_values(self) -> Iterator[Claim]:
        """Quote figures with one decimal or none, exactly, as bounds and as ranges, right and wrong."""
        for fact in self._pick_each(self.usable, 3 * _EACH_KIND):
            is_right = self.draw.random() < 0.7
            decimals, arm = self.draw.choice([0, 1]), fact.ends[1] - fact.ends[0]
            # A wrong value is outside the interval, whatever it is rounded to.
            off = 0.0 if is_right else self.draw.choice([-1, 1]) * (arm + self.draw.uniform(1.5, 15))
            value = round(fact.shown + off, decimals)
            quoted = {"value": value, "decimals": decimals, "unit": "%"}
            bound = self.draw.choice(["more than", "less than", "range", ""])
            sign = {"more than": -1, "less than": 1}.get(bound, 0) * (1 if is_right else -1)
            if sign:
                quoted |= {"about": bound, "value": round(fact.shown + sign * (arm + 2))}
            elif bound == "range":
                quoted |= {"value": round(value + arm + 1), "least": round(value - arm - 1)}
            expected, wrong = (SUPPORTED, "") if is_right else (UNSUPPORTED, ", wrong")
            yield Claim(f"value{wrong}", self._describe(fact) | quoted, expected, _list_own(fact))

    def make_counts(self) -> Iterator[Claim]:
        """Quote numbers of children, right and wrong."""
        for column, asked in WORDS["counts"].items():
            rows = [row for row in read_rows(self.folder, "gld_headline", breakdown="Total") if row[column] > 300]
            for row in self.draw.choices(rows, k=_EACH_KIND // 2):
                is_right = self.draw.random() < 0.7
                value = round(row[column] * (1 if is_right else self.draw.choice([0.7, 0.85, 1.15, 1.4])))
                group = {"Total": [], "Female": ["girls"], "Male": ["boys"]}[row["sex"]]
                parts = {"area": row["area_name"], "measure": asked, "group": group, "value": value}
                expected, wrong = (SUPPORTED, "") if is_right else (UNSUPPORTED, ", wrong")
                yield Claim(f"count{wrong}", parts | {"unit": "children"}, expected, ((row["area_name"], row[column]),))

    def make_gaps(self) -> Iterator[Claim]:
        """Quote gaps in points, right, wrong, and in percent."""
        rows = [row for row in read_rows(self.folder, "gld_differences") if self._is_clear_gap(row)]
        for row in self.draw.choices(rows, k=_EACH_KIND):
            value = row["gld_difference_points"]
            ahead, behind = (WORDS["asked"].get(each, each) for each in WORDS["gaps"][row["comparison"]])
            kind = self.draw.choice(["gap", "gap, wrong", "percent for points"])
            size = round(abs(value + (self.draw.uniform(5, 9) if kind == "gap, wrong" else 0)), 1)
            of = {"area": row["area_name"], "group": ahead, "than": {"group": behind}, "measure": "ready for school"}
            parts = of | {"comparison": "higher", "percent" if kind == "percent for points" else "points": size}
            yield Claim(kind, parts, SUPPORTED if kind == "gap" else UNSUPPORTED)

    def _is_clear_gap(self, row: dict[str, Any]) -> bool:
        sides = WORDS["gaps"].get(row["comparison"], [])
        own = [each for each in self.children if each.measure == "gld" and each.area == row["area_name"]]
        pair = [each for side in sides for each in own if each.group == (side,)]
        return bool(row["gld_difference_points"]) and len(pair) == 2 and count_errors(*pair) >= CLEAR

    def make_comparisons(self) -> Iterator[Claim]:
        """Compare areas and groups: clearly right, the wrong way round, and inside noise and chance."""
        groups = [each for each in self.children if each.group]
        ways = {
            "areas compared": _pair(self.councils, lambda fact: (fact.measure, fact.category, fact.group)),
            "groups compared": [
                pair
                for pair in _pair(groups, lambda fact: (fact.measure, fact.category, fact.area, len(fact.group)))
                if _are_disjoint(pair)
            ],
        }
        for kind, pairs in ways.items():
            clear = [pair for pair in pairs if count_errors(*pair) >= CLEAR]
            unclear = [pair for pair in pairs if abs(count_errors(*pair)) <= UNCLEAR]
            for pair in self.draw.choices(clear, k=_EACH_KIND) if clear else ():
                is_up = self.draw.random() < 0.7
                yield self._compare(f"{kind}{'' if is_up else ', turned round'}", pair, is_up)
            for pair in self.draw.choices(unclear, k=_EACH_KIND):
                yield self._compare(f"{kind}, inside noise", pair, self.draw.random() < 0.5)

    def _compare(self, kind: str, pair: Pair, is_up: bool) -> Claim:
        one, other = pair
        if self.draw.random() < 0.4:  # the same, said of the other
            one, other, is_up = other, one, not is_up
        differs = "area" if one.area != other.area else "group"
        than = {differs: self._describe(other)[differs]}
        parts = {**self._describe(one), "comparison": "higher" if is_up else "lower", "than": than}
        return Claim(kind, parts, UNSUPPORTED if "," in kind else SUPPORTED, _list_own(one, other))

    def make_ranks(self) -> Iterator[Claim]:
        """Rank councils: highest and lowest, inside noise and chance or clearly."""
        for fact in self._pick_each(self.councils, _EACH_KIND):
            key = (fact.measure, fact.category, fact.group)
            others = [each for each in self.councils if (each.measure, each.category, each.group) == key]
            comparison = self.draw.choice(["highest", "lowest"])
            sign = -1 if comparison == "lowest" else 1
            nearest = min((sign * count_errors(fact, each) for each in others if each != fact), default=4.0)
            if len(others) == 8 and not UNCLEAR < nearest < CLEAR:
                expected = UNSUPPORTED if nearest <= UNCLEAR else SUPPORTED
                yield Claim("rank", self._describe(fact) | {"comparison": comparison}, expected)

    def make_unanswerable(self) -> Iterator[Claim]:
        """Say what no figure of the release can answer, with right figures where there are any."""
        first = self.year + 1
        changes: dict[str, dict[str, Any]] = {
            "cause": {"cause": "family hubs"},
            "forecast": {"forecast": "will be"},
            "single child": {"child": "my son"},
            "no area": {"area": None},
            "no such group": {"group": ["looked-after children"]},
            "no such measure": {"measure": "vaccination"},
            "other cohort": {"cohort": f"{first}/{(first + 1) % 100:02d}"},
            "other release": {"release": "2025.11.0"},
            "trend": {"comparison": "rose"},
            "England": {"area": "England"},
        }
        for kind, changed in changes.items():
            for fact in self._pick_each(self.children, _EACH_KIND // 10):
                yield Claim(kind, self._describe(fact) | {"value": fact.value} | changed, CANNOT)
        for area in WORDS["elsewhere"]:
            fact = self.draw.choice(self.children)
            yield Claim("area in no release", self._describe(fact) | {"value": fact.value, "area": area}, CANNOT)
        withheld = [each for each in self.facts if each.flag == "withheld" and "parents" not in each.spec]
        for fact in self._pick_each(withheld, _EACH_KIND // 2):
            yield Claim("flagged figure", self._describe(fact) | {"value": self.draw.randint(10, 90)}, CANNOT)

    def make_questions(self, number: int) -> Iterator[tuple[dict[str, Any], float | None]]:
        """Yield the words that a client hands to the tools, and the published value."""
        for fact in self._pick_each(self.usable, number):
            yield fact.parts | {"cohort": self.draw.choice([None, self.label])}, fact.value

    def _pick_each(self, facts: list[Fact], number: int) -> Iterator[Fact]:
        """Draw a measure, then one of its figures, so that large tables do not crowd out small ones."""
        measures = sorted({each.measure for each in facts})
        for _ in range(number):
            measure = self.draw.choice(measures + ["gld"] * (4 if "gld" in measures else 0))
            yield self.draw.choice([each for each in facts if each.measure == measure])

    def _describe(self, fact: Fact) -> dict[str, Any]:
        return fact.parts | {"cohort": self.label}


def _pair(facts: list[Fact], key: Callable[[Fact], Any]) -> list[Pair]:
    """Return every two figures with the same key, the higher first."""
    own: dict[Any, list[Fact]] = {}
    for fact in facts:
        own.setdefault(key(fact), []).append(fact)
    found = [pair for each in own.values() for pair in combinations(each, 2)]
    return [(one, other) if one.shown >= other.shown else (other, one) for one, other in found]


def _are_disjoint(pair: Pair) -> bool:
    apart = set(pair[0].group) ^ set(pair[1].group)
    return len(apart) == 2 and any(apart <= set(each) for each in WORDS["families"])


def _is_usable(fact: Fact) -> bool:
    return (
        fact.value is not None
        and fact.lower is not None
        and fact.flag is None
        and 2 <= fact.value <= 98
        and fact.children >= 100
    )


def _list_own(*facts: Fact) -> tuple[tuple[str, float], ...]:
    return tuple((each.area, each.shown) for each in facts)

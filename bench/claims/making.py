"""Makes claims with known verdicts from published figures: sentences by template, and their structured form.

A quoted value is right if it agrees with the published figure at the precision stated. A comparison is clearly right
at six standard errors of noise and chance together, which allows for any number of comparisons, and clearly unsupported
below two; what is between is left out.
"""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from bench.claims.facts import WORDS, Fact, count_errors, oppose, read_facts, read_rows
from bench.claims.numbers import write_count, write_points, write_share

TEMPLATES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "templates.yaml").read_text(encoding="utf-8"))
SUPPORTED, UNSUPPORTED, CANNOT = "supported", "not supported", "cannot be said"
CLEAR, UNCLEAR = 6.0, 2.0
_TOGETHER = ("Pilot councils", "Liverpool City Region")
_PLACES = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
_PLAIN = re.compile(r"(just|only|as many as|that|means) \{(some|share)", re.IGNORECASE)
_FRAMED = re.compile(r"\. |figures|according|elease|show|said|know|report|today|Speaker|REVEALED|NEW")

Pair = tuple[Fact, Fact]


@dataclass(frozen=True)
class Claim:
    """A sentence or a structured claim, the verdict that it should get, and the figures that it is about."""

    kind: str
    text: str
    expected: str
    figures: tuple[tuple[str, float], ...] = ()
    mapping: dict[str, Any] = field(default_factory=dict)


class Maker:
    """Makes claims of every kind about one release; the same seed makes the same claims."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder, self.draw = folder, random.Random(seed)
        self.facts = list(read_facts(folder))
        cohort = read_rows(folder, "gld_headline")[0]["time_period"]
        self.label, self.year = f"{cohort[:4]}/{cohort[4:]}", int(cohort[:4])
        self.usable = [each for each in self.facts if _is_usable(each)]
        self.pools = self._sort_facts()

    def _sort_facts(self) -> dict[str, list[Fact]]:
        """Return figures by what templates are about."""
        children = [each for each in self.usable if "parents" not in each.spec]
        several = [
            each for each in children if each.measure in ("gld", "goals", "seen", "every goal", "reviews on time")
        ]
        readiness = [each for each in children if each.measure == "gld"]
        return {
            "children": children,
            "opposites": [oppose(each) for each in children if "not" in each.spec],
            "parents": [each for each in self.usable if "parents" in each.spec],
            "plain": [each for each in several if not each.group and each.area != _TOGETHER[0]],
            "several": several,
            "readiness": readiness,
            "ready children": [each for each in readiness if not each.group],
            "withheld": [each for each in self.facts if each.flag == "withheld" and "parents" not in each.spec],
            "ranked": [each for each in children if each.say("topic") and each.area not in _TOGETHER],
        }

    def make_all(self) -> list[Claim]:
        """Return every claim, without repeated sentences."""
        ways = [self.make_values, self.make_pairs, self.make_counts, self.make_gaps, self.make_comparisons]
        ways += [self.make_ranks, self.make_unanswerable]
        return list({claim.text: claim for make in ways for claim in make()}.values())

    def make_values(self) -> Iterator[Claim]:
        """Quote figures, right and wrong."""
        for kind, pool in TEMPLATES["quoted"].items():
            for template in TEMPLATES[kind] * TEMPLATES["times"][kind]:
                may_oppose = pool == "children" and self.draw.random() < 0.15
                fact = self._pick(self.pools["opposites" if may_oppose else pool])
                is_right = self.draw.random() < 0.7
                text = self._write_value(template, fact, is_right)
                mapping = {} if fact.is_opposite or not is_right else {**self._describe(fact), "value": fact.value}
                if text:
                    sort, expected = (kind, SUPPORTED) if is_right else (f"{kind}, wrong", UNSUPPORTED)
                    yield Claim(sort, text, expected, _list_own(fact), mapping)

    def _write_value(self, template: str, fact: Fact, is_right: bool) -> str:
        words = self._word(fact)
        for _ in range(60):
            off = 0.0 if is_right else self.draw.choice([-1, 1]) * self.draw.uniform(1.5, 15)
            shares = self._write_shares(template, min(max(round(fact.shown + off, 1), 2), 98), words["who"])
            said = [each for name, each in shares.items() if f"{{{name}}}" in template.lower()]
            if all(each.is_right(fact.shown) if is_right else each.is_wrong(*fact.ends) for each in said):
                return self._fill(template, words, shares)
        return ""

    def _write_shares(self, template: str, value: float, who: str) -> dict[str, Any]:
        is_plain = bool(_PLAIN.search(template))
        ways = {"some": (who, is_plain), "share": ("", is_plain), "percent": ("", True)}
        return {name: write_share(self.draw, value, *way) for name, way in ways.items()}

    def make_pairs(self) -> Iterator[Claim]:
        """Quote two figures of clearly different groups, also the wrong way round."""
        apart = [pair for pair in self._pair_groups() if count_errors(*pair) >= CLEAR and _are_apart(pair)]
        for template in TEMPLATES["pair of values"] * 4:
            pair, is_right = self._pick_pair(apart), self.draw.random() < 0.75
            names = ("share1", "share2") if is_right else ("share2", "share1")
            shares = {name: write_share(self.draw, each.shown, "", True) for name, each in zip(names, pair)}  # noqa: B905
            text = self._fill(template, self._word_groups(*pair), shares)
            kind, expected = ("pair of values", SUPPORTED) if is_right else ("pair of values, swapped", UNSUPPORTED)
            yield Claim(kind, text, expected, _list_own(*pair))

    def make_counts(self) -> Iterator[Claim]:
        """Quote numbers of children, right and wrong."""
        for kind, spec in WORDS["counts"].items():
            column = spec["column"]
            rows = [row for row in read_rows(self.folder, "gld_headline", breakdown="Total") if row[column] > 300]
            for template in TEMPLATES[kind] * 3:
                row, is_right = self.draw.choice(rows), self.draw.random() < 0.7
                value = row[column]
                off = 1 if is_right else self.draw.choice([0.7, 0.85, 1.15, 1.4])
                number = write_count(self.draw, round(value * off))
                if not is_right and not number.is_wrong(row[f"{column}_lower_ci"], row[f"{column}_upper_ci"]):
                    continue
                noun = {"Total": "children", "Female": "girls", "Male": "boys"}[row["sex"]]
                words = {**self._place(row["area_name"]), **self._word_cohorts(), "noun": noun}
                words["did"] = self.draw.choice(spec.get("did", [""]))
                text = self._fill(template, words, {"number": number})
                sort, expected = (kind, SUPPORTED) if is_right else (f"{kind}, wrong", UNSUPPORTED)
                yield Claim(sort, text, expected, ((row["area_name"], value),))

    def make_gaps(self) -> Iterator[Claim]:
        """Quote gaps in points, right, wrong, and in percent."""
        rows = [row for row in read_rows(self.folder, "gld_differences") if self._is_clear_gap(row)]
        for kind, times in (("gap", 2), ("gap, wrong", 1), ("percent for points", 1)):
            for template in TEMPLATES[kind.removesuffix(", wrong")] * times:
                row = self.draw.choice(rows)
                value = row["gld_difference_points"]
                off = 0 if kind != "gap, wrong" else self.draw.choice([-1, 1]) * self.draw.uniform(5, 9)
                ahead, behind, *_ = WORDS["gaps"][row["comparison"]]
                words = {**self._place(row["area_name"]), **self._word_cohorts(), "ahead": ahead, "behind": behind}
                words["percent"] = self.draw.choice([f"{value:.1f}%", f"{round(value)}%", f"{round(value)} per cent"])
                points = write_points(self.draw, round(abs(value + off), 1))
                figures = ((row["area_name"], value),) if kind == "gap" else ()
                if kind != "gap, wrong" or points.is_wrong(value - 2, value + 2):
                    text = self._fill(template, words, {"points": points})
                    yield Claim(kind, text, SUPPORTED if kind == "gap" else UNSUPPORTED, figures)

    def _is_clear_gap(self, row: dict[str, Any]) -> bool:
        sides = WORDS["gaps"].get(row["comparison"], [])[2:]
        own = [each for each in self.pools["readiness"] if each.area == row["area_name"] and each.group[1:] == ()]
        pair = [each for side in sides for each in own if each.group == (side,)]
        return bool(row["gld_difference_points"]) and len(pair) == 2 and count_errors(*pair) >= CLEAR

    def make_comparisons(self) -> Iterator[Claim]:
        """Compare areas and groups: clearly right, the wrong way round, and inside noise and chance."""
        areas, groups = self._pair_areas(), self._pair_groups()
        on_areas = [pair for pair in areas if pair[0].say("topic") and not pair[0].group]
        on_groups = [pair for pair in groups if pair[0].say("topic")]
        ways = [("areas compared", areas), ("areas compared in readiness", on_areas)]
        for kind, pairs in (*ways, ("groups compared", groups), ("groups compared in readiness", on_groups)):
            clear = [pair for pair in pairs if count_errors(*pair) >= CLEAR]
            unclear = [pair for pair in pairs if abs(count_errors(*pair)) <= UNCLEAR]
            for template in TEMPLATES[kind] * TEMPLATES["times"][kind]:
                if clear:
                    yield self._compare(kind, template, clear, True)
                yield self._compare(f"{kind}, inside noise", template, unclear, self.draw.random() < 0.5)
                if clear and self.draw.random() < 0.3:
                    yield self._compare(f"{kind}, turned round", template, clear, False)

    def _compare(self, kind: str, template: str, pairs: list[Pair], is_up: bool) -> Claim:
        one, other = self._pick_pair(pairs)
        if self.draw.random() < 0.4:  # the same, said of the other
            one, other, is_up = other, one, not is_up
        differs = "area" if one.area != other.area else "group"
        words = self._word_areas(one, other) if differs == "area" else self._word_groups(one, other)
        words |= {name: turn[0 if is_up else 1] for name, turn in TEMPLATES["pairs"].items()}
        than = {differs: self._describe(other)[differs]}
        mapping = {**self._describe(one), "comparison": "higher" if is_up else "lower", "than": than}
        expected = UNSUPPORTED if "," in kind else SUPPORTED
        return Claim(kind, self._fill(template, words), expected, _list_own(one, other), mapping)

    def _pair_areas(self) -> list[Pair]:
        """Return figures of two councils, the higher first, of every measure and group."""
        councils = [each for each in self.pools["children"] if each.area not in _TOGETHER]
        return _pair(councils, lambda fact: (fact.measure, fact.category, fact.group), lambda _: True)

    def _pair_groups(self) -> list[Pair]:
        """Return figures of two groups of an area that share no child, the higher first."""
        groups = [each for each in self.pools["children"] if each.group]
        return _pair(groups, lambda fact: (fact.measure, fact.category, fact.area, len(fact.group)), _are_disjoint)

    def make_ranks(self) -> Iterator[Claim]:
        """Rank councils: highest, lowest and between, inside noise and chance or clearly."""
        for kind in ("rank highest", "rank lowest", "rank between"):
            for template in TEMPLATES[kind] * 2:
                fact = self._pick(self.pools["ranked"])
                key = (fact.measure, fact.category, fact.group)
                others = [
                    each
                    for each in self.pools["ranked"]
                    if (each.measure, each.category, each.group) == key and each != fact
                ]
                ahead = [count_errors(fact, each) * (-1 if kind == "rank lowest" else 1) for each in others]
                nearest = min(map(abs, ahead), default=4.0) if kind == "rank between" else min(ahead, default=4.0)
                if len(others) < 7 or UNCLEAR < nearest < (99 if kind == "rank between" else CLEAR):
                    continue
                words = {**self._word(fact), "place": _PLACES[sum(each < 0 for each in ahead)]}
                text = self._fill(template, words, self._write_shares(template, fact.shown, words["who"]))
                yield Claim(kind, text, UNSUPPORTED if nearest <= UNCLEAR else SUPPORTED)

    def make_unanswerable(self) -> Iterator[Claim]:
        """Say what no figure of the release can answer, with right figures where there are any."""
        for kind, way in TEMPLATES["cannot"].items():
            for template in TEMPLATES[way.get("as", kind)]:
                fact = self._pick(self.pools["readiness" if "School readiness" in template else way["of"]])
                value = fact.value or self.draw.randint(10, 90)
                first = self.year + self.draw.choice([-1, -2, -4, 1])
                words = self._word(fact) | {"other": f"{first}/{(first + 1) % 100:02d}", "version": "2025.11.0"}
                words |= self._add_up(fact.area) if way["of"] == "ready children" else {}
                words |= self._place_in(self.draw.choice(WORDS[way["in"]])) if "in" in way else {}
                text = self._fill(template, words, self._write_shares(template, value, words["who"]))
                changed = {"cause": "family hubs", "cohort": words["other"], "area": words["area"], "value": value}
                kept = {name: changed[name] for name in way.get("changed", ())}
                yield Claim(kind, text, CANNOT, (), {**self._describe(fact), **kept} if kept else {})

    def _add_up(self, area: str) -> dict[str, str]:
        """Return sums of groups that overlap."""
        rows = read_rows(self.folder, "gld_headline", area_name=area)
        count = {(row["breakdown"], row["sex"]): row["children_count"] for row in rows}
        boys, fsm = count["Total", "Male"], count["Eligible for free school meals", "Total"]
        summer, sen = count["Summer-born", "Total"], count["All SEN provision", "Total"]
        return {"sum_fsm": f"{boys + fsm:,}", "sum_summer": f"{boys + summer:,}", "sum_sen": f"{sen + fsm:,}"}

    def make_questions(self, number: int) -> Iterator[tuple[str, dict[str, Any], float | None]]:
        """Yield questions, the words that a client hands to the tools, and the published value."""
        for _ in range(number):
            fact = self._pick(self.usable)
            words = self._word(fact)
            asked = {
                **self._describe(fact),
                "area": self.draw.choice([fact.area, words["area"]]),
                "cohort": self.draw.choice([None, self.label]),
            }
            yield self._fill(self.draw.choice(TEMPLATES["questions"]), words), asked, fact.value

    # Words

    def _pick(self, facts: list[Fact]) -> Fact:
        """Draw a measure, then one of its figures, so that large tables do not crowd out small ones."""
        measures = sorted({each.measure for each in facts})
        measure = self.draw.choice(measures + ["gld"] * (4 if "gld" in measures else 0))
        return self.draw.choice([each for each in facts if each.measure == measure])

    def _pick_pair(self, pairs: list[Pair]) -> Pair:
        first = self._pick([one for one, _ in pairs])
        return self.draw.choice([pair for pair in pairs if pair[0] == first])

    def _word(self, fact: Fact) -> dict[str, str]:
        said = {name: ways for name in ("who", "did", "do", "topic") if (ways := fact.say(name))}
        return {
            **self._place(fact.area),
            **self._word_cohorts(),
            **{name: self.draw.choice(ways) for name, ways in said.items()},
        }

    def _word_groups(self, one: Fact, other: Fact) -> dict[str, str]:
        noun = self.draw.choice(["children", "pupils"])
        whos = [[each for each in fact.say("who") if noun in each] or fact.say("who") for fact in (one, other)]
        return {**self._word(one), "who1": self.draw.choice(whos[0]), "who2": self.draw.choice(whos[1])}

    def _word_areas(self, one: Fact, other: Fact) -> dict[str, str]:
        places = (self._place(one.area), self._place(other.area))
        numbered = {f"{name}{index}": text for index, place in enumerate(places, 1) for name, text in place.items()}
        return {**self._word(one), **numbered}

    def _place(self, area: str) -> dict[str, str]:
        return self._place_in(WORDS["areas"][area])

    def _place_in(self, ways: dict[str, list[str]]) -> dict[str, str]:
        return {
            name.replace("alone", "area"): self.draw.choice(ways.get(name, ways["alone"]))
            for name in ("in", "alone", "before")
        }

    def _word_cohorts(self) -> dict[str, str]:
        way = self.draw.choice([self.label, self.label, self.label.replace("/", "-"), f"the {self.label} school year"])
        return {"cohort": f" in {way}" if self.draw.random() < 0.35 else "", "cohort_first": f"In {way}, "}

    def _describe(self, fact: Fact) -> dict[str, Any]:
        label = f"{fact.spec['label']}: " if "label" in fact.spec else ""
        groups = [*fact.group, *([f"{label}{fact.category}"] if fact.category else []), *fact.spec.get("also", ())]
        names = [WORDS["asked"].get(each, each) for each in groups if each != "Total"]
        return {
            "area": fact.area,
            "cohort": self.label,
            "group": names,
            "measure": fact.spec.get("ask", fact.spec["column"]),
        }

    def _fill(self, template: str, words: dict[str, str], numbers: dict[str, Any] | None = None) -> str:
        """Fill a template; one in eight full sentences is framed as a newspaper, a minister or a post would."""
        said = {**words, **{name: each.text for name, each in (numbers or {}).items()}}
        text = template.format(**said, **{name.capitalize(): each for name, each in said.items()})
        if text.endswith(".") and not _FRAMED.search(text) and self.draw.random() < 0.12:
            is_name = text.startswith(tuple(WORDS["capitals"]))
            inner = text[:-1] if is_name else text[0].lower() + text[1:-1]
            text = self.draw.choice(TEMPLATES["frames"]).format(s=inner)
        return text[0].upper() + text[1:]


def _pair(facts: list[Fact], key: Callable[[Fact], Any], is_wanted: Callable[[Pair], bool]) -> list[Pair]:
    own: dict[Any, list[Fact]] = {}
    for fact in facts:
        own.setdefault(key(fact), []).append(fact)
    found = [pair for each in own.values() for pair in combinations(each, 2) if is_wanted(pair)]
    return [(one, other) if one.shown >= other.shown else (other, one) for one, other in found]


def _are_disjoint(pair: Pair) -> bool:
    apart = set(pair[0].group) ^ set(pair[1].group)
    return len(apart) == 2 and any(apart <= set(each) for each in WORDS["families"])


def _are_apart(pair: Pair) -> bool:
    return abs(pair[0].shown - pair[1].shown) > 3


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

"""Makes claims with known verdicts from published figures: sentences by template, and their structured form.

A quoted value is right if it agrees with the published figure at the precision stated. A comparison is clearly right
at six standard errors of noise and chance together, which allows for any number of comparisons, and clearly unsupported
below two; what is between is left out.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from bench.claims.facts import ALL, COMBINED, WORDS, Fact, count_errors, oppose, read_facts, read_rows
from bench.claims.numbers import write_count, write_points, write_share

TEMPLATES: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "templates.yaml").read_text(encoding="utf-8"))
SUPPORTED, UNSUPPORTED, CANNOT = "supported", "not supported", "cannot be said"
CLEAR, UNCLEAR = 6.0, 2.0
_FAMILIES = [
    ["Female", "Male"],
    ["Eligible for free school meals", "Not eligible for free school meals"],
    ["No SEN provision", "All SEN provision"],
    ["No SEN provision", "SEN support / SEN without an EHC plan"],
    ["English", "Other than English"],
    ["Autumn-born", "Spring-born", "Summer-born"],
    ["Quintile 1 (most deprived)", "Quintile 2", "Quintile 3", "Quintile 4", "Quintile 5 (least deprived)"],
    ["Asian / Asian British", "Black / African / Caribbean / Black British", "Mixed / Multiple ethnic groups", "White"],
]
_PLACES = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"]
_ANYWHERE = ["trend", "other cohort", "other release", "cause", "single child", "forecast"]
_ANYWHERE += ["no such measure", "no such group", "no area", "ambiguous"]


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
        self.facts = read_facts(folder)
        [self.cohort] = {row["time_period"] for row in read_rows(folder, "gld_headline")}
        self.label = f"{self.cohort[:4]}/{self.cohort[4:]}"
        self.usable = [each for each in self.facts if _is_usable(each)]
        self.opposites = [turned for each in self.usable if (turned := oppose(each))]
        self.by_key = {(each.measure, each.category, each.group, each.area): each for each in self.usable}

    def make_all(self) -> list[Claim]:
        """Return every claim, without repeated sentences."""
        made = [
            *self.make_values(),
            *self.make_pairs(),
            *self.make_counts(),
            *self.make_gaps(),
            *self.make_comparisons(),
            *self.make_ranks(),
            *self.make_unanswerable(),
            *self.make_elsewhere(),
        ]
        return list({(each.kind, each.text): each for each in made}.values())

    # Values

    def make_values(self) -> Iterator[Claim]:
        """Quote figures, right and wrong."""
        for kind, times in (
            ("value", 6),
            ("value of all", 6),
            ("value of readiness", 5),
            ("value in news", 4),
            ("value of parents", 3),
        ):
            for template in TEMPLATES[kind] * times:
                yield from self._make_value(kind, template, True)
            for template in TEMPLATES[kind] * ((times + 1) // 3):
                yield from self._make_value(kind, template, False)

    def _make_value(self, kind: str, template: str, is_right: bool) -> list[Claim]:
        wanted: dict[str, Callable[[Fact], bool]] = {
            "value": lambda fact: not fact.is_of_parents,
            "value in news": lambda fact: not fact.is_of_parents,
            "value of parents": lambda fact: fact.is_of_parents,
            "value of all": lambda fact: (
                fact.measure in ("gld", "goals", "seen", "first concern", "reviews on time")
                and not fact.group
                and fact.area != ALL
            ),
            "value of readiness": lambda fact: fact.measure == "gld",
        }
        may_oppose = kind not in ("value of readiness", "value of parents") and self.draw.random() < 0.15
        fact = self._pick(self.opposites if may_oppose else self.usable, wanted[kind])
        text, is_clear = self._write_value(template, fact, is_right)
        mapping = {**self._describe(fact), "value": fact.value} if is_right and not fact.is_opposite else {}
        expected = SUPPORTED if is_right else UNSUPPORTED
        return (
            [Claim(f"{kind}{'' if is_right else ', wrong'}", text, expected, _own(fact), mapping)] if is_clear else []
        )

    def _write_value(self, template: str, fact: Fact, is_right: bool) -> tuple[str, bool]:
        words = self._word(fact)
        for _ in range(60):
            off = 0.0 if is_right else self.draw.choice([-1, 1]) * self.draw.uniform(1.5, 15)
            value = round(fact.shown + off, 1)
            if not 2 <= value <= 98:
                continue
            shares, written = self._write_shares(template, value, words["who"])
            checks = [each for name, each in shares.items() if f"{{{name}}}" in template.lower()]
            lower, upper = fact.ends
            if all(each.is_right(fact.shown) if is_right else each.is_wrong(lower, upper) for each in checks):
                return _fill(template, {**words, **written}), True
        return "", False

    def _write_shares(self, template: str, value: float, who: str) -> tuple[dict[str, Any], dict[str, str]]:
        is_plain = bool(re.search(r"(just|only|as many as|that|means) \{(some|share)", template, re.IGNORECASE))
        shares = {
            "some": write_share(self.draw, value, who, is_plain),
            "share": write_share(self.draw, value, "", is_plain),
            "percent": write_share(self.draw, value, "", True),
        }
        return shares, {name: each.text for name, each in shares.items()}

    def make_pairs(self) -> Iterator[Claim]:
        """Quote two figures of clearly different groups, also the wrong way round."""
        apart = [pair for pair in self._pair_groups() if count_errors(*pair) >= CLEAR and _are_apart(*pair)]
        for template in TEMPLATES["pair of values"] * 3:
            for is_right in (True, self.draw.random() < 0.3):
                more, less = self.draw.choice(apart)
                shares = [write_share(self.draw, each.value, "", True).text for each in (more, less) if each.value]
                named = dict(zip(("share1", "share2") if is_right else ("share2", "share1"), shares, strict=True))
                text = _fill(template, {**self._word_groups(more, less), **named})
                kind, expected = ("pair of values", SUPPORTED) if is_right else ("pair of values, swapped", UNSUPPORTED)
                yield Claim(kind, text, expected, _own(more, less))

    # Counts and gaps

    def make_counts(self) -> Iterator[Claim]:
        """Quote numbers of children, right and wrong."""
        for kind, name in (("count", "ready"), ("count of children", "children")):
            spec = WORDS["counts"][name]
            rows = [
                row
                for row in read_rows(self.folder, spec["table"], breakdown="Total")
                if (row[spec["column"]] or 0) > 300
            ]
            for index, template in enumerate(TEMPLATES[kind] * 3):
                row, is_right = self.draw.choice(rows), index % 3 < 2
                value = row[spec["column"]]
                written = write_count(
                    self.draw, value if is_right else round(value * self.draw.choice([0.7, 0.85, 1.15, 1.4]))
                )
                if not is_right and not written.is_wrong(
                    row[f"{spec['column']}_lower_ci"], row[f"{spec['column']}_upper_ci"]
                ):
                    continue
                noun = {"Total": "children", "Female": "girls", "Male": "boys"}[row["sex"]]
                words = {**self._place(row["area_name"]), **self._when(), "noun": noun, "number": written.text}
                words["did"] = self.draw.choice(spec.get("did", [""]))
                text = _fill(template, words)
                expected = SUPPORTED if is_right else UNSUPPORTED
                yield Claim(f"{kind}{'' if is_right else ', wrong'}", text, expected, ((row["area_name"], value),))

    def make_gaps(self) -> Iterator[Claim]:
        """Quote gaps in points, right, wrong, and in percent."""
        rows = [row for row in read_rows(self.folder, "gld_differences") if self._is_clear_gap(row)]
        for kind, times in (("gap", 2), ("gap, wrong", 1), ("percent for points", 1)):
            for template in TEMPLATES[kind.removesuffix(", wrong")] * times:
                row = self.draw.choice(rows)
                value = row["gld_difference_points"]
                off = 0 if kind != "gap, wrong" else self.draw.choice([-1, 1]) * self.draw.uniform(5, 9)
                ahead, behind, *_ = WORDS["gaps"][row["comparison"]]
                words = {**self._place(row["area_name"]), **self._when(), "ahead": ahead, "behind": behind}
                words["points"] = write_points(self.draw, round(abs(value + off), 1)).text
                words["percent"] = self.draw.choice([f"{value:.1f}%", f"{round(value)}%", f"{round(value)} per cent"])
                expected = SUPPORTED if kind == "gap" else UNSUPPORTED
                yield Claim(
                    kind, _fill(template, words), expected, ((row["area_name"], value),) if kind == "gap" else ()
                )

    def _is_clear_gap(self, row: dict[str, Any]) -> bool:
        if (
            row["comparison"] not in WORDS["gaps"]
            or row["gld_difference_points_flag"]
            or row["gld_difference_points"] is None
        ):
            return False
        sides = [
            self.by_key.get(("gld", None, (group,), row["area_name"])) for group in WORDS["gaps"][row["comparison"]][2:]
        ]
        return (
            all(sides) and row["gld_difference_points"] > 3 and count_errors(*(each for each in sides if each)) >= CLEAR
        )

    # Comparisons

    def make_comparisons(self) -> Iterator[Claim]:
        """Compare areas and groups: clearly right, the wrong way round, and inside noise and chance."""
        areas, groups = list(self._pair_areas()), list(self._pair_groups())
        for kind, pairs, word in (
            ("areas compared", areas, self._word_areas),
            ("groups compared", groups, self._word_groups),
        ):
            for sort, templates in (
                (kind, TEMPLATES[kind] * 3),
                (f"{kind} in readiness", TEMPLATES[f"{kind} in readiness"] * 4),
            ):
                own = [pair for pair in pairs if sort == kind or pair[0].topic]
                if sort == "areas compared in readiness":
                    own = [pair for pair in own if not pair[0].group]
                clear = [pair for pair in own if count_errors(*pair) >= CLEAR]
                unclear = [pair for pair in own if abs(count_errors(*pair)) <= UNCLEAR]
                for template in templates:
                    yield from self._compare(sort, template, clear, SUPPORTED, word, True)
                    yield from self._compare(
                        f"{sort}, inside noise", template, unclear, UNSUPPORTED, word, self.draw.random() < 0.5
                    )
                for template in templates[: len(templates) // 3]:
                    yield from self._compare(f"{sort}, turned round", template, clear, UNSUPPORTED, word, False)

    def _compare(
        self,
        kind: str,
        template: str,
        pairs: list[tuple[Fact, Fact]],
        expected: str,
        word: Callable[..., dict[str, str]],
        is_up: bool,
    ) -> Iterator[Claim]:
        if pairs:
            measure = self.draw.choice(sorted({each.measure for each, _ in pairs}))
            one, other = self.draw.choice([pair for pair in pairs if pair[0].measure == measure])
            if expected == SUPPORTED and self.draw.random() < 0.4:  # the same fact, said of the one behind
                one, other, is_up = other, one, False
            turned = {name: pair[0 if is_up else 1] for name, pair in TEMPLATES["pairs"].items()}
            text = _fill(template, {**word(one, other), **turned})
            differs = "area" if one.area != other.area else "group"
            than = self._describe(other)[differs]
            mapping = {**self._describe(one), "comparison": "higher" if is_up else "lower", "than": {differs: than}}
            yield Claim(kind, text, expected, _own(one, other), mapping)

    def _pair_areas(self) -> Iterator[tuple[Fact, Fact]]:
        """Yield figures of two councils, the higher first, of every measure and group."""
        own: dict[Any, list[Fact]] = {}
        for fact in self.usable:
            if fact.area not in (ALL, COMBINED) and not fact.is_of_parents and fact.do:
                own.setdefault((fact.measure, fact.category, fact.group), []).append(fact)
        for facts in own.values():
            yield from (_sort(pair) for pair in combinations(facts, 2))

    def _pair_groups(self) -> Iterator[tuple[Fact, Fact]]:
        """Yield figures of two groups of an area that share no child, the higher first."""
        own: dict[Any, list[Fact]] = {}
        for fact in self.usable:
            if fact.group and not fact.is_of_parents and fact.do:
                own.setdefault((fact.measure, fact.category, fact.area), []).append(fact)
        for facts in own.values():
            for one, other in combinations(facts, 2):
                apart = set(one.group) ^ set(other.group)
                if (
                    len(apart) == 2
                    and len(one.group) == len(other.group)
                    and any(apart <= set(each) for each in _FAMILIES)
                ):
                    yield _sort((one, other))

    def make_ranks(self) -> Iterator[Claim]:
        """Rank councils: highest, lowest and between, inside noise and chance or clearly."""
        for kind in ("rank highest", "rank lowest", "rank between"):
            for template in TEMPLATES[kind] * 2:
                fact = self._pick(
                    self.usable, lambda each: bool(each.topic) and each.is_good and each.area not in (ALL, COMBINED)
                )
                near = [self.by_key[key] for key in self._list_councils(fact) if key[3] != fact.area]
                if len(near) < 7:
                    continue
                ahead = [count_errors(fact, each) * (-1 if kind == "rank lowest" else 1) for each in near]
                place = sum(each < 0 for each in ahead)
                is_unclear = (
                    min(abs(each) for each in ahead) <= UNCLEAR if kind == "rank between" else min(ahead) <= UNCLEAR
                )
                if not is_unclear and (min(ahead) < CLEAR or kind == "rank between"):
                    continue
                words = self._word(fact)
                _, written = self._write_shares(template, fact.shown, words["who"])
                text = _fill(template, {**words, **written, "place": _PLACES[place]})
                yield Claim(kind, text, UNSUPPORTED if is_unclear else SUPPORTED, ())

    def _list_councils(self, fact: Fact) -> list[tuple[Any, ...]]:
        wanted = (fact.measure, fact.category, fact.group)
        return [key for key in self.by_key if key[:3] == wanted and key[3] not in (ALL, COMBINED)]

    # What the release cannot answer

    def make_unanswerable(self) -> Iterator[Claim]:
        """Say what no figure of the release can answer, with right figures where there are any."""
        for kind in _ANYWHERE:
            for template in TEMPLATES[kind]:
                fact = self._pick(self.usable, lambda each: each.measure in ("gld", "goals", "seen", "every goal"))
                if "School readiness" in template or kind in ("no such measure", "ambiguous", "single child"):
                    fact = self._pick(self.usable, lambda each: each.measure == "gld" and not each.group)
                words = self._word(fact) | {
                    "other": self.draw.choice(_list_others(self.cohort)),
                    "version": "2025.11.0",
                }
                _, written = self._write_shares(template, fact.shown, words["who"])
                text = _fill(template, {**words, **written, "points": "13.7 points"})
                mapping = (
                    {**self._describe(fact), "value": fact.value, "cause": "family hubs"} if kind == "cause" else {}
                )
                if kind == "other cohort":
                    mapping = {**self._describe(fact), "cohort": words["other"], "value": fact.value}
                yield Claim(kind, text, CANNOT, (), mapping)
        yield from self._make_sums()
        yield from self._make_flagged()

    def _make_sums(self) -> Iterator[Claim]:
        for template in TEMPLATES["sum of overlapping groups"]:
            rows = read_rows(
                self.folder, "gld_headline", area_name=self.draw.choice(sorted({each.area for each in self.usable}))
            )
            count = {(row["breakdown"], row["sex"]): row["children_count"] for row in rows}
            boys, fsm = count["Total", "Male"], count["Eligible for free school meals", "Total"]
            summer, sen = count["Summer-born", "Total"], count["All SEN provision", "Total"]
            sums = {"sum_fsm": f"{boys + fsm:,}", "sum_summer": f"{boys + summer:,}", "sum_sen": f"{sen + fsm:,}"}
            yield Claim(
                "sum of overlapping groups", _fill(template, {**self._place(rows[0]["area_name"]), **sums}), CANNOT
            )

    def _make_flagged(self) -> Iterator[Claim]:
        flagged = [
            each for each in self.facts if each.value is None and each.flag == "withheld" and (each.lower or 0) > 2
        ]
        for template in TEMPLATES["flagged figure"] * 2:
            fact = self._pick(flagged, lambda each: not each.is_of_parents)
            words = {**self._word(fact), "percent": f"{self.draw.randint(10, 90)}%"}
            yield Claim("flagged figure", _fill(template, words), CANNOT, (), {**self._describe(fact), "value": 50})

    def make_elsewhere(self) -> Iterator[Claim]:
        """Quote figures of areas that no release has, and of England."""
        for kind in ("elsewhere", "england"):
            for template in TEMPLATES["value"] + TEMPLATES["value in news"][: 10 if kind == "elsewhere" else 5]:
                fact = self._pick(self.usable, lambda each: each.measure in ("gld", "goals", "seen", "reviews on time"))
                place = self.draw.choice(WORDS[kind])
                words = {**self._word(fact), **self._place_in(place)}
                _, written = self._write_shares(template, fact.shown, words["who"])
                mapping = {**self._describe(fact), "area": place["alone"][0], "value": fact.value}
                yield Claim(f"area: {kind}", _fill(template, {**words, **written}), CANNOT, (), mapping)

    # Questions

    def make_questions(self, number: int) -> list[tuple[str, dict[str, Any], float | None]]:
        """Return questions with the words that a client hands to the tools and the published value."""
        asked = []
        for _ in range(number):
            fact = self._pick(self.usable, lambda each: True)
            words = self._word(fact)
            text = _fill(self.draw.choice(TEMPLATES["questions"]), words)
            described = {**self._describe(fact), "area": words["alone"], "cohort": self.draw.choice([None, self.label])}
            asked.append((text, described, fact.value))
        return asked

    # Words

    def _pick(self, facts: Iterable[Fact], wanted: Callable[[Fact], bool]) -> Fact:
        """Draw a measure, then one of its figures, so that large tables do not crowd out small ones."""
        own = [each for each in facts if wanted(each)]
        measures = sorted({each.measure for each in own})
        measure = self.draw.choice(measures + ["gld"] * (4 if "gld" in measures else 0))
        return self.draw.choice([each for each in own if each.measure == measure])

    def _word(self, fact: Fact) -> dict[str, str]:
        words = {
            **self._place(fact.area),
            **self._when(),
            "who": self.draw.choice(fact.who),
            "did": self.draw.choice(fact.did),
        }
        return words | {name: self.draw.choice(ways) for name, ways in (("do", fact.do), ("topic", fact.topic)) if ways}

    def _word_groups(self, one: Fact, other: Fact) -> dict[str, str]:
        noun = self.draw.choice(["children", "pupils"])
        whos = [[each for each in fact.who if noun in each] or fact.who for fact in (one, other)]
        return {**self._word(one), "who1": self.draw.choice(whos[0]), "who2": self.draw.choice(whos[1])}

    def _word_areas(self, one: Fact, other: Fact) -> dict[str, str]:
        places = (self._place(one.area), self._place(other.area))
        numbered = {f"{name}{index}": text for index, place in enumerate(places, 1) for name, text in place.items()}
        return {**self._word(one), **numbered}

    def _place(self, area: str) -> dict[str, str]:
        return self._place_in(WORDS["areas"][area])

    def _place_in(self, ways: dict[str, list[str]]) -> dict[str, str]:
        return {name: self.draw.choice(ways.get(name, ways["alone"])) for name in ("in", "area", "before", "alone")}

    def _when(self) -> dict[str, str]:
        way = self.draw.choice([self.label, self.label, self.label.replace("/", "-"), f"the {self.label} school year"])
        is_said = self.draw.random() < 0.35
        return {"cohort": f" in {way}" if is_said else "", "cohort_first": f"In {way}, "}

    def _describe(self, fact: Fact) -> dict[str, Any]:
        spec = WORDS["measures"][fact.measure]
        label = f"{spec['label']}: " if "label" in spec else ""
        groups = [*fact.group, *([f"{label}{fact.category}"] if fact.category else []), *spec.get("also", ())]
        names = [WORDS["asked"].get(each, each) for each in dict.fromkeys(groups) if each != "Total"]
        return {"area": fact.area, "cohort": self.label, "group": names, "measure": spec.get("ask", fact.column)}


def _is_usable(fact: Fact) -> bool:
    return (
        fact.value is not None
        and fact.lower is not None
        and fact.flag is None
        and 2 <= fact.value <= 98
        and fact.children >= 100
    )


def _are_apart(one: Fact, other: Fact) -> bool:
    return abs(one.shown - other.shown) > 3


def _sort(pair: tuple[Fact, Fact]) -> tuple[Fact, Fact]:
    return pair if (pair[0].value or 0) >= (pair[1].value or 0) else (pair[1], pair[0])


def _own(*facts: Fact) -> tuple[tuple[str, float], ...]:
    return tuple((each.area, each.value) for each in facts if each.value is not None)


def _list_others(cohort: str) -> list[str]:
    years = [int(cohort[:4]) + off for off in (-1, -2, -4, 1)]
    return [f"{year}/{(year + 1) % 100:02d}" for year in years]


def _fill(template: str, words: dict[str, str]) -> str:
    named = {**words, **{name.capitalize(): text for name, text in words.items()}}
    text = template.format(**named)
    return text[0].upper() + text[1:]

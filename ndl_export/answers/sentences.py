"""Reads a sentence of ordinary English as claims, and judges them.

Every word must be part of a number, a name, or a phrase of `phrases.yaml`. If a sentence cannot be read in exactly one
way, the answer lists its readings and guesses nothing. If only one claim of a sentence states the area, the cohort or
the measure, the others share it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

from ndl_export.answers.claims import CANNOT_BE_SAID, Claim, Judgement, Other, check_claim, decide, find_worst
from ndl_export.answers.questions import Questions, describe_elsewhere
from ndl_export.answers.reading import TOGETHER, Item, Number, Reading, read_sentence
from ndl_export.answers.vocabulary import CONTEXT, POPULATIONS, Category, NotPublished, Statistic, Vocabulary
from sources.reference.places import COUNTRY

_SEPARATORS = {"and", "while", "whereas", "but", "although", "though"}
_COMPARE_ALONE = {
    **dict.fromkeys(("above", "more than", "higher than", "better than", "greater than"), "higher"),
    **dict.fromkeys(("below", "less than", "lower than", "fewer than"), "lower"),
}
"""Phrases that bound a number if one follows, and otherwise compare."""
_KINDS = ("elsewhere", "area", "cohort", "several", "opposite", "measure", "category")
"""Kinds of meanings; if words have several, the first one here counts."""
_ONLY_WITH = {
    "ethnic": {"Ethnic group"},
    "earlier": {"Seen by", "Concern raised by", "First concern", "ASQ-3 domain", "Health visitor review"},
    "deprived": {"IMD quintile"},
    "answered": {"Question"},
}
"""Kinds of phrases that add nothing if a category of these labels is named, and could otherwise restrict the claim."""
_ALSO_FILLERS = frozenset(("over", "under", "around", "some", "up to"))
"""Phrases that bound a number if one follows, and otherwise mean nothing here."""
_LONGEST = 1000
"""Longest sentence that is read, in characters: the time grows with the square."""


class Unreadable(Exception):
    """A sentence that cannot be read in exactly one way; `readings` are the ways, if it has several."""

    def __init__(self, words: str, readings: Sequence[str] = ()) -> None:
        super().__init__(words)
        self.readings = list(readings)


@dataclass(frozen=True)
class _Slot:
    """What one side of a claim is about, as far as the sentence says."""

    areas: tuple[str, ...] = ()
    cohorts: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    opposite: bool = False
    groups: tuple[tuple[Category, ...], ...] = ()
    everyone: bool = False

    def fill_from(self, other: "_Slot") -> "_Slot":
        """Return this slot, completed from `other` in everything but groups."""
        measures = self.measures
        if set(measures) <= POPULATIONS:
            measures = tuple(dict.fromkeys((*measures, *other.measures)))
        return replace(
            self,
            areas=self.areas or other.areas,
            cohorts=self.cohorts or other.cohorts,
            measures=measures,
            opposite=self.opposite or (measures != self.measures and other.opposite),
        )


def _read_slot(items: Iterable[Item]) -> _Slot:
    found: dict[str, dict[Any, None]] = defaultdict(dict)
    for item in items:
        if item.kind in ("england", "together"):
            found["area"].setdefault(COUNTRY[1] if item.kind == "england" else TOGETHER)
        elif item.kind in ("cohort", "everyone"):
            found[item.kind].setdefault(item.value)
        elif item.kind == "term":
            meanings = {kind: tuple(each.value for each in item.value if each.kind == kind) for kind in _KINDS}
            # A name that could be an area or a group is read as an area.
            kind, values = next((kind, values) for kind, values in meanings.items() if values)
            if kind == "elsewhere":
                raise NotPublished(describe_elsewhere(values[0]))
            if kind == "category":
                found["group"].setdefault(values)
            elif kind == "several":
                found["group"].update(((category,), None) for category in values[0])
            else:
                found[kind].update(dict.fromkeys(values))
    return _Slot(
        tuple(found["area"]),
        tuple(found["cohort"]),
        (*found["opposite"], *found["measure"]),
        bool(found["opposite"]),
        tuple(found["group"]),
        bool(found["everyone"]),
    )


@dataclass(frozen=True)
class _Writer:
    """Writes the claims of one sentence."""

    vocabulary: Vocabulary
    reading: Reading

    @cached_property
    def everything(self) -> _Slot:
        """What the whole sentence names."""
        return _read_slot(self.reading.items)

    def list_claims(self) -> list[Claim]:
        """Return the claims. Raises `Unreadable` and `NotPublished`."""
        reading = self.reading
        for kind in ("child", "cause", "forecast"):
            if stated := reading.list_kind(kind):
                return [self._write(self.everything, **{kind: stated[0].value}, lenient=True)]
        if reading.unread:
            raise Unreadable(f"these words mean nothing here: {', '.join(dict.fromkeys(reading.unread))}")
        named = {label for group in self.everything.groups for label, _ in group}
        for kind, labels in _ONLY_WITH.items():
            if reading.list_kind(kind) and not (named & labels or (kind == "answered" and reading.is_survey)):
                raise Unreadable(f"these words mean nothing here: {reading.list_kind(kind)[0].value}")
        if reading.list_kind("target"):
            return [self._write_target()]
        if reading.list_kind("others") and not reading.list_kind("higher", "lower", "same"):
            raise Unreadable("it does not say who the others are")
        if denials := reading.list_kind("denial"):
            raise Unreadable(f"the denial “{denials[0].value}” could be about several things")
        if reading.list_kind("added") and max(len(self.everything.areas), len(self.everything.groups)) > 1:
            return [self._write_sum()]
        for item in reading.items:
            is_free = item.kind in ("higher", "lower") or item.value in _COMPARE_ALONE or item.value in _ALSO_FILLERS
            if item.kind in _BOUNDS and not is_free and not self._is_bound(item):
                raise Unreadable(f"“{item.value}” is not about a number")
        for place, item in enumerate(reading.items):
            if item.value in _COMPARE_ALONE and not self._is_bound(item):
                reading.items[place] = replace(item, kind=_COMPARE_ALONE[item.value])
        comparators = [item for item in reading.list_kind("higher", "lower", "same") if not self._is_bound(item)]
        if reading.list_kind("highest", "lowest", "rankings") or (reading.list_kind("ordinal") and not comparators):
            return self._write_rank()
        if comparators:
            return self._write_comparison(comparators)
        if reading.list_kind("rose", "fell", "unchanged"):
            return self._write_change()
        return self._write_values()

    # Parts of claims

    def _write(self, slot: _Slot, *, lenient: bool = False, **stated: Any) -> Claim:
        """Write a claim about what a slot names; with `lenient`, that may be incomplete or ambiguous."""
        try:
            statistic: Statistic | None = self._find_statistic(slot, stated.get("unit"))
        except (Unreadable, NotPublished):
            if not lenient:
                raise
            statistic = None
        if (len(slot.areas) > 1 or len(slot.cohorts) > 1) and not lenient:
            raise Unreadable(f"it names several areas or years: {', '.join((*slot.areas, *slot.cohorts))}")
        about: dict[str, Any] = {}
        if statistic:
            about["measure"] = f"not {statistic.measure}" if statistic.opposite else statistic.measure
            about["group"] = statistic.keys
        return Claim(
            area=slot.areas[0] if slot.areas else None,
            cohort=slot.cohorts[0] if slot.cohorts else None,
            **about,
            **stated,
        )

    def _find_statistic(self, slot: _Slot, unit: str | None) -> Statistic:
        measures = slot.measures
        if not measures and unit == "children":
            measures = ("children_count",)
        if not measures and not slot.groups:
            raise Unreadable("it does not say what was measured: a good level of development, or something else")
        found = self.vocabulary.find_statistics(measures, slot.groups, slot.opposite)
        if len(found) > 1:
            readings = [f"{each.measure}: {each.categories}" for each in found]
            raise Unreadable("several published figures fit it", readings)
        return found[0]

    def _is_bound(self, item: Item) -> bool:
        """Return whether a phrase such as `more than` or `above` belongs to the number after it."""
        return any(self._is_bound_of(item, number) for number in self._numbers)

    def _is_bound_of(self, item: Item, number: Item) -> bool:
        between = self.reading.tokens[item.end : number.first]
        return number.first in (item.end, item.end + 1) and {*between} <= {"than", "a", "an", "the"}

    @property
    def _numbers(self) -> list[Item]:
        return self.reading.list_kind("number")

    def _get_before(self, item: Item) -> str:
        """Return the word before an item, or before its bound (such as `more than`)."""
        at = item.first
        bounds = [each for each in self.reading.items if each.end == at and each.kind in _BOUNDS]
        at = bounds[0].first if bounds else at
        return self.reading.tokens[at - 1] if at else ""

    def _state_value(self, number: Item) -> dict[str, Any]:
        """Return the value, unit and bound of a number, or of a majority, as fields of a claim."""
        if number.kind in ("majority", "minority"):
            return {"value": 50.0, "unit": "%", "about": "more than" if number.kind == "majority" else "less than"}
        stated: Number = number.value
        own = [item for item in self.reading.items if item.kind in _BOUNDS and self._is_bound_of(item, number)]
        is_survey = any("response" in each for each in self.everything.measures)
        counted = "goals" if stated.decimals else "responses" if is_survey else "children"
        return {
            "value": stated.value,
            "least": stated.least,
            "decimals": None if stated.is_fraction else stated.decimals,
            "unit": stated.unit or counted,
            "about": _BOUNDS[own[-1].kind] if own else "about" if stated.is_fraction else "exactly",
        }

    def _state_amount(self, number: Item) -> dict[str, Any]:
        """Return the size of a difference as fields of a claim."""
        stated = self._state_value(number)
        return {
            "points" if stated["unit"] == "points" else "percent": stated["value"],
            "decimals": stated["decimals"],
            "about": stated["about"],
        }

    # Kinds of claims

    def _write_values(self) -> list[Claim]:
        numbers = [*self._numbers, *self.reading.list_kind("majority", "minority")]
        numbers.sort(key=lambda item: item.first)
        if not numbers:
            raise Unreadable("it states no value, comparison or rank that could be checked")
        everything = self.everything
        cuts = [self._find_cut(one, other) for one, other in pairwise(numbers)]
        ends = [*cuts, len(self.reading.tokens)]
        claims, begin = [], 0
        for number, end in zip(numbers, ends, strict=True):
            own = _read_slot(item for item in self.reading.items if begin <= item.first < end)
            if len(numbers) == 1:
                slot = everything
            else:
                slot = own.fill_from(everything)
                if not own.groups and len(everything.groups) == 1:
                    slot = replace(slot, groups=everything.groups)
                context = [each for each in everything.groups if each[0][0] in CONTEXT and each not in own.groups]
                if context and not any(each[0][0] in CONTEXT for each in own.groups):
                    slot = replace(slot, groups=(*slot.groups, *context))
            interval = self.reading.interval if len(numbers) == 1 else None
            claims.append(self._write(slot, **self._state_value(number), interval=interval))
            begin = end
        return claims

    def _find_cut(self, one: Item, other: Item) -> int:
        """Return the position that separates what two numbers are about: the last stop, conjunction, or else comma."""
        commas = [at for at in self.reading.breaks if one.end < at <= other.first]
        marks = [at for at in commas if at in self.reading.stops]
        named = {at for item in self.reading.items for at in range(item.first, item.end)}
        between = set(range(one.end, other.first)) - named
        marks += [at for at in between if self.reading.tokens[at] in _SEPARATORS]
        marks += [item.first for item in self.reading.list_kind("than") if one.end <= item.first < other.first]
        marks = marks or commas
        if not marks:
            raise Unreadable("two numbers stand together, and it does not say what each is about")
        return max(marks)

    def _write_sum(self) -> Claim:
        slot, numbers = self.everything, self._numbers
        stated = self._state_value(numbers[0]) if numbers else {}
        groups = [f"{label}: {category}" for (label, category), *_ in slot.groups]
        if len(slot.areas) > 1:
            added, area, group = list(slot.areas), None, groups
        else:
            added, area, group = groups, slot.areas[0] if slot.areas else None, []
        return Claim(area=area, cohort=slot.cohorts[0] if slot.cohorts else None, group=group, added=added, **stated)

    def _write_rank(self) -> list[Claim]:
        slot = self.everything
        lowest = bool(self.reading.list_kind("lowest"))
        ordinals = self.reading.list_kind("ordinal")
        if len(slot.areas) > 1:
            # "The highest of the eight councils" names the councils that are ranked.
            slot = replace(slot, areas=tuple(each for each in slot.areas if each != TOGETHER))
        stated: dict[str, Any] = {"comparison": "lowest" if lowest else "highest"}
        if ordinals or self.reading.list_kind("rankings"):
            stated["rank"] = ordinals[0].value if ordinals else 1
        if len(self._numbers) == 1 and self._numbers[0].value.unit == "%":
            stated |= self._state_value(self._numbers[0])
        return [self._write(slot, **stated)]

    def _write_target(self) -> Claim:
        # Targets are for the good level of development.
        slot = replace(self.everything, measures=self.everything.measures or ("gld_children_percent",))
        return self._write(slot, target="not met" if self.reading.list_kind("denial", "lower") else "met")

    def _write_change(self) -> list[Claim]:
        slot = self.everything
        direction = self.reading.list_kind("rose", "fell", "unchanged")[0].kind
        cohorts = sorted(slot.cohorts)
        # The only cohort named may be where a change starts: "up since 2023/24".
        before_named = {self.reading.tokens[item.first - 1] for item in self.reading.list_kind("cohort")[:1]}
        has_start = len(cohorts) > 1 or (len(cohorts) == 1 and bool(before_named & {"since", "from", "on"}))
        now = replace(slot, cohorts=() if has_start and len(cohorts) == 1 else tuple(cohorts[-1:]))
        comparison: dict[str, Any] = {"comparison": direction, "than": Other(cohort=cohorts[0]) if has_start else None}
        claims = []
        for number in self._numbers:
            before, stated = self._get_before(number), number.value
            if before == "by" or stated.unit == "points":
                comparison |= self._state_amount(number)
            elif before == "from":
                earlier = replace(slot, cohorts=(cohorts[0] if has_start else "the year before",))
                claims.append(self._write(earlier, **self._state_value(number)))
            else:
                claims.append(self._write(now, **self._state_value(number)))
        return [self._write(now, **comparison), *claims]

    def _write_comparison(self, comparators: list[Item]) -> list[Claim]:
        reading, pivot = self.reading, comparators[0]
        if reading.list_kind("before") or len(self.everything.cohorts) > 1:
            direction = {"higher": "rose", "lower": "fell", "same": "unchanged"}[pivot.kind]
            reading.items.append(Item(direction, pivot.value, pivot.first, pivot.end))
            return self._write_change()
        left_items, right_items = self._split_sides(pivot)
        left, right = _read_slot(left_items), _read_slot(right_items)
        left, right = self._complete_sides(left, right, any(item.kind == "others" for item in right_items))
        comparison: dict[str, Any] = {"comparison": pivot.kind}
        claims = []
        for number in self._numbers:
            stated = number.value
            adjacent = number.end == pivot.first or self._get_before(number) == "by"
            if stated.unit == "points" or adjacent:
                comparison |= self._state_amount(number)
            else:
                claims.append(self._write(left if number in left_items else right, **self._state_value(number)))
        if reading.list_kind("times"):
            comparison["times"] = 2.0
        other = self._write(right)
        than = Other(area=other.area, group=other.group)
        return [self._write(left, than=than, **comparison), *claims]

    def _split_sides(self, pivot: Item) -> tuple[list[Item], list[Item]]:
        """Return the items on each side: those about what is compared, and about what it is compared with."""
        than = self.reading.list_kind("than")
        if than and than[0].first < pivot.first:
            # "Compared with boys, girls did better": the side of the boys ends at the comma.
            stops = [at for at in sorted(self.reading.breaks) if at > than[0].end]
            stop = stops[0] if stops else pivot.first
            right = [item for item in self.reading.items if than[0].first <= item.first < stop]
            return [item for item in self.reading.items if item not in right], right
        after = [item for item in than if item.first >= pivot.first]
        at = after[0].first if after else pivot.end
        return (
            [item for item in self.reading.items if item.first < at],
            [item for item in self.reading.items if item.first >= at],
        )

    def _complete_sides(self, left: _Slot, right: _Slot, with_others: bool) -> tuple[_Slot, _Slot]:
        """Complete each side from the other. Raises `Unreadable` if groups could be meant in two ways."""
        left, right = left.fill_from(right), right.fill_from(left)
        shared = [each for each in (*left.groups, *right.groups) if each[0][0] in CONTEXT]
        own_left = [each for each in left.groups if each[0][0] not in CONTEXT]
        own_right = [each for each in right.groups if each[0][0] not in CONTEXT]
        if with_others:
            own_right = [(self._find_counterpart(each[0]),) for each in own_left]
        elif not own_right and not right.everyone and left.areas != right.areas:
            own_right = own_left
        elif not own_left and left.areas != right.areas:
            own_left = own_right
        elif {each[0][0] for each in own_left} != {each[0][0] for each in own_right} and own_left and own_right:
            raise Unreadable("it does not say whether both sides of the comparison are of one group")
        both = {each[0][0] for each in left.groups} & {each[0][0] for each in right.groups} & CONTEXT
        left_context = [each for each in shared if each[0][0] not in both or each in left.groups]
        right_context = [each for each in shared if each[0][0] not in both or each in right.groups]
        return (
            replace(left, groups=tuple(dict.fromkeys((*own_left, *left_context)))),
            replace(right, groups=tuple(dict.fromkeys((*own_right, *right_context)))),
        )

    def _find_counterpart(self, category: Category) -> Category:
        if other := self.vocabulary.find_counterpart(category):
            return other
        raise Unreadable(f"it does not say who the others of {category[1]} are")


_BOUNDS = {
    **{phrase: phrase for phrase in ("about", "nearly", "just over", "more than", "less than")},
    "higher": "more than",
    "lower": "less than",
}
"""How a number is quoted, by the kind of the phrase before it."""


def check_sentence(questions: Questions, text: str) -> Judgement:
    """Judge every claim in a sentence; the worst judgement decides."""
    if len(text) > _LONGEST:
        return decide("unreadable", words=f"it has more than {_LONGEST:,} characters")
    try:
        claims = _Writer(questions.vocabulary, read_sentence(questions.vocabulary, text)).list_claims()
    except Unreadable as error:
        return replace(decide("unreadable", words=str(error)), readings=error.readings)
    except NotPublished as error:
        return Judgement(CANNOT_BE_SAID, "not published", str(error))
    judgements = [check_claim(questions, claim) for claim in claims]
    corrected = " ".join(dict.fromkeys(each.corrected for each in judgements if each.corrected))
    figures = [figure for each in judgements for figure in each.figures]
    return replace(
        find_worst(judgements), corrected=corrected, figures=list({str(figure): figure for figure in figures}.values())
    )

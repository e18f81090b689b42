"""Ways to write a number, each with the figures that it is right for and those that it is wrong for."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_FRACTIONS = {
    "half": 50, "a third": 100 / 3, "two thirds": 200 / 3, "a quarter": 25, "three quarters": 75, "a fifth": 20,
    "two fifths": 40, "three fifths": 60, "four fifths": 80, "a tenth": 10, "nine tenths": 90,
}  # fmt: skip
_PARTS = [(1, 3), (2, 3), (1, 4), (3, 4), (1, 5), (2, 5), (3, 5), (4, 5), *((n, 10) for n in (1, 3, 6, 7, 8, 9))]


@dataclass(frozen=True)
class Written:
    """A number in words: right for a figure from `low` to `high`, wrong below `least` and above `most`."""

    text: str
    low: float
    high: float
    least: float
    most: float
    is_before_noun: bool = False

    def is_right(self, value: float) -> bool:
        """Return whether it is surely a right way to write a figure."""
        return self.low <= value <= self.high

    def is_wrong(self, lower: float, upper: float) -> bool:
        """Return whether it is wrong for a figure, wherever the figure is in its interval."""
        return upper < self.least or lower > self.most


def spell(number: int) -> str:
    """Return a number below 100 in words."""
    if number < 20:
        return _ONES[number]
    return _TENS[number // 10] + (f"-{_ONES[number % 10]}" if number % 10 else "")


def write_share(draw: random.Random, value: float, of: str = "", is_plain: bool = False) -> Written:
    """Return a way to write a share that is right for a value; `of` is what it is a share of, or nothing."""
    ways = [each for each in _list_shares(value) if each.is_right(value) and (of or not each.is_before_noun)]
    plain = [each for each in ways if each.text[0].isdigit() and "%" in each.text]
    others = [each for each in ways if each not in plain]
    # Plain percentages are half of what is written; the other ways share the rest.
    chosen = draw.choice(plain if is_plain or not others or draw.random() < 0.5 else others)
    if not of:
        return chosen
    text = f"{chosen.text} {of}" if chosen.is_before_noun else f"{chosen.text} of {of}"
    return Written(**{**chosen.__dict__, "text": text})


def write_points(draw: random.Random, value: float) -> Written:
    """Return a way to write percentage points."""
    unit = draw.choice([" percentage points", " points", " percentage points"])
    whole = round(value)
    ways = [Written(f"{value:.1f}{unit}", value - 0.04, value + 0.04, value - 0.06, value + 0.06)]
    ways += [
        Written(f"{lead}{whole}{unit}", whole - 0.45, whole + 0.45, whole - low, whole + low) for lead, low in _ABOUT
    ]
    ways += [
        Written(f"{lead}{whole}{unit}", whole + 0.1, whole + 0.9, whole, whole + 3.0)
        for lead in ("more than ", "just over ")
    ]
    ways += [
        Written(f"{lead}{whole}{unit}", whole - 0.9, whole - 0.1, whole - 3, whole)
        for lead in ("nearly ", "almost ", "just under ")
    ]
    return draw.choice([each for each in ways if each.is_right(value)])


def write_count(draw: random.Random, value: int) -> Written:
    """Return a way to write a number of children."""
    ways = [Written(f"{value:,}", value, value, value - 0.5, value + 0.5)] * 4
    ways.append(Written(f"{value}", value, value, value - 0.5, value + 0.5))
    for place in [each for each in (10, 100, 1000) if each * 5 <= value < each * 200]:
        near = round(value / place) * place
        ways += [
            Written(f"{lead}{near:,}", near - place / 2.5, near + place / 2.5, near - place, near + place)
            for lead in ("about ", "around ", "roughly ")
        ]
        ways += [
            Written(f"{lead}{near:,}", near + place / 20, near + place / 2.2, near, near + 2 * place)
            for lead in ("more than ", "over ", "just over ")
        ]
        ways += [
            Written(f"{lead}{near:,}", near - place / 2.2, near - place / 20, near - 2 * place, near)
            for lead in ("nearly ", "almost ", "just under ")
        ]
    return draw.choice([each for each in ways if each.is_right(value)])


_ABOUT = [("", 0.5), ("about ", 1.5), ("around ", 1.5), ("roughly ", 1.5)]


def _list_shares(value: float) -> Iterator[Written]:
    whole, five = round(value), 5 * round(value / 5)
    for unit in ("%", "%", " per cent", " percent"):
        yield Written(f"{value:.1f}{unit}", value - 0.04, value + 0.04, value - 0.06, value + 0.06)
        for lead, wide in _ABOUT:
            yield Written(f"{lead}{whole}{unit}", whole - 0.45, whole + 0.45, whole - wide, whole + wide)
    yield Written(f"{spell(whole)} per cent", whole - 0.45, whole + 0.45, whole - 0.5, whole + 0.5)
    yield Written(f"between {five - 5} and {five + 5} per cent", five - 4, five + 4, five - 5, five + 5)
    for text, share in [*((f"{five}%", five), (f"{five} per cent", five)), *_FRACTIONS.items()]:
        yield from _list_bounds(text, share, False)
    for text, share in _FRACTIONS.items():
        for lead, wide in (("", 1.0), ("about ", 2.0), ("around ", 2.0), ("roughly ", 2.0)):
            yield Written(f"{lead}{text}", share - wide, share + wide, share - 4, share + 4)
    for part, whole_part in _PARTS:
        share = 100 * part / whole_part
        for text in (
            f"{spell(part)} in {spell(whole_part)}",
            f"{part} in {whole_part}",
            f"{spell(part)} out of {spell(whole_part)}",
        ):
            yield Written(text, share - 1, share + 1, share - 4, share + 4, True)
            yield from _list_bounds(text, share, True)
    yield Written("the majority", 58, 85, 50, 100)
    yield Written("most", 62, 95, 50, 100, True)
    yield Written("a minority", 10, 40, 0, 50)


def _list_bounds(text: str, share: float, before_noun: bool) -> Iterator[Written]:
    for lead in ("nearly", "almost", "just under"):
        yield Written(f"{lead} {text}", share - 1.8, share - 0.2, share - 5, share, before_noun)
    for lead in ("just over", "a little over", "slightly more than"):
        yield Written(f"{lead} {text}", share + 0.2, share + 1.8, share, share + 5, before_noun)
    for lead in ("more than", "over", "at least"):
        yield Written(f"{lead} {text}", share + 0.5, share + 5, share, 100, before_noun)
    for lead in ("less than", "under", "fewer than"):
        yield Written(f"{lead} {text}", share - 5, share - 0.5, 0, share, before_noun)

"""Ways to write a number, each with the figures that it is right for and those that it is wrong for."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_ONES += ["seventeen", "eighteen", "nineteen"]
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_FRACTIONS = {"half": 50, "a third": 100 / 3, "two thirds": 200 / 3, "a quarter": 25, "three quarters": 75}
_FRACTIONS |= {"a fifth": 20, "two fifths": 40, "three fifths": 60, "four fifths": 80, "a tenth": 10, "nine tenths": 90}
_PARTS = [(1, 3), (2, 3), (1, 4), (3, 4), (1, 5), (2, 5), (3, 5), (4, 5), *((n, 10) for n in (1, 3, 6, 7, 8, 9))]
_NEAR = ("nearly", "almost", "just under")
_JUST_OVER = ("just over", "a little over", "slightly more than")
_ABOUT = ("about", "around", "roughly")


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


def write_share(draw: random.Random, value: float, of: str = "", is_plain: bool = False) -> Written:
    """Return a way to write a share that is right for a value; `of` is what it is a share of, or nothing."""
    ways = [each for each in _list_shares(value) if each.is_right(value) and (of or not each.is_before_noun)]
    plain = [each for each in ways if each.text[0].isdigit() and "%" in each.text]
    others = [each for each in ways if each not in plain]
    # Half of the numbers are plain percentages; the other forms share the rest.
    chosen = draw.choice(plain if is_plain or not others or draw.random() < 0.5 else others)
    joined = f"{chosen.text}{'' if chosen.is_before_noun else ' of'} {of}" if of else chosen.text
    return replace(chosen, text=joined)


def write_points(draw: random.Random, value: float) -> Written:
    """Return a way to write percentage points."""
    unit = draw.choice([" percentage points", " points", " percentage points"])
    ways = [_write_exactly(f"{value:.1f}{unit}", value), *_list_round(round(value), 1, unit)]
    return draw.choice([each for each in ways if each.is_right(value)])


def write_count(draw: random.Random, value: int) -> Written:
    """Return a way to write a number of children."""
    ways = [Written(text, value, value, value - 0.5, value + 0.5) for text in [f"{value:,}"] * 4 + [f"{value}"]]
    for place in [each for each in (10, 100, 1000) if each * 5 <= value < each * 200]:
        ways += [each for each in _list_round(round(value / place) * place, place) if not each.text[0].isdigit()]
    return draw.choice([each for each in ways if each.is_right(value)])


def _spell(number: int) -> str:
    ten, one = divmod(number, 10)
    return _ONES[number] if number < 20 else _TENS[ten] + (f"-{_ONES[one]}" if one else "")


def _write_exactly(text: str, value: float) -> Written:
    return Written(text, value - 0.04, value + 0.04, value - 0.06, value + 0.06)


def _list_round(whole: int, place: int, unit: str = "") -> Iterator[Written]:
    """Yield ways to write a number rounded to a place; counts have no unit."""
    text, near, far, tiny = f"{whole:,}{unit}", 0.45 * place, 3 * place, 0.1 * place
    yield Written(text, whole - near, whole + near, whole - 0.5 * place, whole + 0.5 * place)
    yield from (Written(f"{lead} {text}", whole - near, whole + near, whole - far, whole + far) for lead in _ABOUT)
    for lead, most in (("just over", whole + far), ("more than", math.inf), ("over", math.inf)):
        yield Written(f"{lead} {text}", whole + tiny, whole + near, whole, most)
    yield from (Written(f"{lead} {text}", whole - near, whole - tiny, whole - far, whole) for lead in _NEAR)


def _list_shares(value: float) -> Iterator[Written]:
    whole, five = round(value), 5 * round(value / 5)
    for unit in ("%", "%", " per cent", " percent"):
        yield _write_exactly(f"{value:.1f}{unit}", value)
        yield from (each for each in _list_round(whole, 1, unit) if each.text.startswith((*"0123456789", *_ABOUT)))
    yield Written(f"{_spell(whole)} per cent", whole - 0.45, whole + 0.45, whole - 0.5, whole + 0.5)
    yield Written(f"between {five - 5} and {five + 5} per cent", five - 4, five + 4, five - 5, five + 5)
    for text, share in [(f"{five}%", five), (f"{five} per cent", five), *_FRACTIONS.items()]:
        yield from _list_bounds(text, share, False)
    for text, share in _FRACTIONS.items():
        yield Written(text, share - 1, share + 1, share - 4, share + 4)
        yield from (Written(f"{lead} {text}", share - 2, share + 2, share - 4, share + 4) for lead in _ABOUT)
    for part, parts in _PARTS:
        share = 100 * part / parts
        for text in (
            f"{_spell(part)} in {_spell(parts)}",
            f"{part} in {parts}",
            f"{_spell(part)} out of {_spell(parts)}",
        ):
            yield Written(text, share - 1, share + 1, share - 4, share + 4, True)
            yield from _list_bounds(text, share, True)
    yield Written("the majority", 58, 85, 50, 100)
    yield Written("most", 62, 95, 50, 100, True)
    yield Written("a minority", 10, 40, 0, 50)


def _list_bounds(text: str, share: float, before: bool) -> Iterator[Written]:
    yield from (Written(f"{lead} {text}", share - 1.8, share - 0.2, share - 5, share, before) for lead in _NEAR)
    yield from (Written(f"{lead} {text}", share + 0.2, share + 1.8, share, share + 5, before) for lead in _JUST_OVER)
    for lead in ("more than", "over", "at least"):
        yield Written(f"{lead} {text}", share + 0.5, share + 5, share, 100, before)
    for lead in ("less than", "under", "fewer than"):
        yield Written(f"{lead} {text}", share - 5, share - 0.5, 0, share, before)

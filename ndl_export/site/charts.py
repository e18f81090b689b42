"""Dot charts with intervals: where everything stands. The template draws them as SVG.

Places across are percentages of the chart's width and places down are pixels, so that a chart fills any window with
text of one size. Each row has its words above its marks, so that no label is cut off on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ndl_export.site.figures import Figure
from ndl_export.tables.schema import Flag

ROW_HEIGHT, AXIS_HEIGHT = 48, 26
FIRST_ROW = AXIS_HEIGHT + 31
"""Height of a row and of the axis above all, and where the first row's marks lie."""
_STEPS = {40: 10, 60: 20, 80: 20, 100: 25}
"""Widths that a scale of percentages may have, and the steps between its lines."""
_TICKS = 4
_DOWN = (-4, 6)
_NARROW_SHARE = 0.05
"""Of the width of a chart: what a mark covers on a telephone."""
NARROW_NOTE = "Where no bar shows, the interval is narrower than the mark."


@dataclass(frozen=True)
class Scale:
    """The axis of a chart, from `low` to `high`, with a line at each step."""

    low: float
    high: float
    step: float
    unit: str = "%"

    def at(self, value: float) -> str:
        """The value's place across, as `42.50%`; what lies outside stands at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{100 * share:.2f}%"

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """Place, words and side that the words are aligned to."""
        count = round((self.high - self.low) / self.step)
        sides = {0: "start", count: "end"}
        values = [(number, self.low + number * self.step) for number in range(count + 1)]
        return [(self.at(value), f"{value:,.0f}{self.unit}", sides.get(number, "middle")) for number, value in values]


WHOLE = Scale(0, 100, 25)
"""All percentages, for charts that are compared with each other."""


def fitted(figures: Iterable[Figure]) -> Scale:
    """A scale of percentages around the intervals: from a ten to a ten, and not so narrow that it misleads."""
    ends = [end for figure in figures for end in (figure.lower, figure.value, figure.upper) if end is not None]
    if not ends:
        return WHOLE
    least, most = min(ends), max(ends)
    low, high = 10 * math.floor(least / 10), 10 * math.ceil(most / 10)
    while high - low not in _STEPS:
        if low > 0 and (high >= 100 or least - low <= high - most):
            low -= 10
        else:
            high += 10
    return Scale(low, high, _STEPS[high - low])


def from_nothing(figures: Iterable[Figure]) -> Scale:
    """A scale of counts from 0, to a round number above every interval."""
    largest = max((figure.upper for figure in figures if figure.upper is not None), default=0.0)
    rough = max(largest, 1.0) / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
    step = max(step, 1)
    return Scale(0, step * math.ceil(max(largest, 1.0) / step), step, "")


@dataclass(frozen=True)
class Mark:
    """A figure drawn: its interval from `start` to `end`, and its own place, None where it is withheld.

    It lies `down` from the row's line, so that two series do not hide each other. `narrow` says that the mark may hide
    the interval.
    """

    series: int
    down: int
    start: str
    end: str
    place: str | None
    hollow: bool
    narrow: bool
    words: str


def mark(figure: Figure, series: int, scale: Scale, label: str = "") -> Mark | None:
    """None where there is neither figure nor interval; `label` tells a series from the other of the same row."""
    if figure.lower is None or figure.upper is None:
        return None
    return Mark(
        series,
        _DOWN[series] if label else 0,
        scale.at(figure.lower),
        scale.at(figure.upper),
        None if figure.value is None else scale.at(figure.value),
        figure.flag is Flag.UNRELIABLE,
        figure.upper - figure.lower < _NARROW_SHARE * (scale.high - scale.low),
        f"{label}: {figure.words}" if label else figure.words,
    )


def scale_note(scale: Scale) -> str:
    """What a reader must know of an axis that does not show the whole of the range."""
    if scale.unit == "%" and (scale.low, scale.high) != (0, 100):
        return f"The scale runs from {scale.low:.0f}% to {scale.high:.0f}%, not from 0% to 100%."
    return ""


PLOT_TOP, PLOT_HEIGHT, TIMELINE_HEIGHT = 16, 200, 250
"""Of a chart over time, in pixels: where its plot begins, how high it is, and the height of the whole."""
_LEFT = 14.0
"""Of the width: where the words of the axis end and the plot begins."""
_ASIDE = (-6, 6)


@dataclass(frozen=True)
class Point:
    """A figure over time: `x` in percent of the width, its interval from `top` to `bottom` and its own place `y` in
    pixels, None where it is withheld. It lies `aside` from its cohort's line. `join` leads from the point before."""

    x: str
    aside: int
    top: float
    bottom: float
    y: float | None
    hollow: bool
    words: str
    join: tuple[str, float] | None


@dataclass(frozen=True)
class Timeline:
    """A chart over time: grid lines and cohorts with their places, points by series, official figures, breaks."""

    ticks: list[tuple[float, str]]
    cohorts: list[str]
    series: list[list[Point]]
    beside: list[tuple[str, float]]
    breaks: list[str]


def timeline(
    series: list[list[Figure]],
    beside: list[Figure | None],
    broken: list[bool],
    scale: Scale,
    labels: tuple[str, ...],
) -> Timeline:
    """Figures of each series, in order of cohorts; a line leads from one to the next where no break lies between."""
    step = (100 - _LEFT) / len(broken)
    places = [f"{_LEFT + (number + 0.5) * step:.2f}%" for number in range(len(broken))]
    count = round((scale.high - scale.low) / scale.step)
    values = [scale.low + number * scale.step for number in range(count + 1)]
    found = []
    for number, figures in enumerate(series):
        points: list[Point] = []
        before: tuple[str, float] | None = None
        for place, figure, breaks in zip(places, figures, broken, strict=True):
            if figure.lower is None or figure.upper is None:
                before = None
                continue
            y = None if figure.value is None else _down(figure.value, scale)
            words = f"{labels[number]}: {figure.words}" if len(series) > 1 else figure.words
            aside = _ASIDE[number] if len(series) > 1 else 0
            ends = _down(figure.upper, scale), _down(figure.lower, scale)
            join = before if y is not None and not breaks else None
            points.append(Point(place, aside, *ends, y, figure.flag is Flag.UNRELIABLE, words, join))
            before = None if y is None else (place, y)
        found.append(points)
    return Timeline(
        [(_down(value, scale), f"{value:,.0f}{scale.unit}") for value in values],
        places,
        found,
        [(place, _down(f.value, scale)) for place, f in zip(places, beside, strict=True) if f and f.value is not None],
        [f"{_LEFT + number * step:.2f}%" for number, breaks in enumerate(broken) if breaks and number],
    )


def _down(value: float, scale: Scale) -> float:
    """Pixels from the top of the drawing; what lies outside the scale stands at the edge."""
    share = (min(max(value, scale.low), scale.high) - scale.low) / (scale.high - scale.low)
    return round(PLOT_TOP + PLOT_HEIGHT * (1 - share), 1)

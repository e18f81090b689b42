"""Drawings of every page: where everything stands. Templates write them as SVG; colours are classes of a style sheet.

First the scale that they share, then dot charts, charts over time and the map of tiles for the release page, then bars
for the rows of a table and column charts for reports. In the release page's charts places across are percentages of the
width and places down are pixels, so that a chart fills any window with text of one size, and each row has its words
above its marks, so that no label is cut off on a telephone. Tiles and bars fill a box of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from ndl_export.pages.number_format import percent

ROW_HEIGHT, AXIS_HEIGHT, REFERENCE_HEIGHT = 48, 26, 24
"""Height of a row, of the axis above all, and of the words of each line that rows are compared with, below the axis."""
FIRST_ROW, ROW_WORDS, REFERENCE_ENDS = 33, -18, (-13, 15)
"""Where the first row's marks lie below all that; and from the marks of a row, its words and the ends of such a line,
which is broken where words are, so that it crosses none."""
MOST_ON_PAPER = 17
"""Rows of a chart that a sheet of A4 has room for, with its key."""
_STEPS = {40: 10, 60: 20, 80: 20, 100: 25}
"""Widths that a scale of percentages may have, and the steps between its lines."""
_TICKS = 3
_MOST_TENS = 60
"""Percentage points over which a scale has a line at each ten."""
_DOWN = (-4, 6)
_NARROW_SHARE = 0.05
"""Of the width of a chart: what a mark covers on a telephone."""
NARROW_NOTE = "Where no bar shows, the interval is narrower than the mark."


class Drawable(Protocol):
    """A figure that can be drawn: None for what is not shown, and itself in words."""

    @property
    def value(self) -> float | None: ...

    @property
    def lower(self) -> float | None: ...

    @property
    def upper(self) -> float | None: ...

    @property
    def unreliable(self) -> bool: ...

    @property
    def words(self) -> str: ...


@dataclass(frozen=True)
class Scale:
    """The axis of a chart, from `low` to `high`, with a line at each step."""

    low: float
    high: float
    step: float = 1
    unit: str = "%"

    def share(self, value: float) -> float:
        """The value's place, 0 to 1; what lies outside stands at the edge."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def at(self, value: float) -> str:
        """The value's place across, as `42.5%`."""
        return f"{round(100 * self.share(value), 2):g}%"

    @property
    def lines(self) -> list[tuple[float, str]]:
        """The value of each line, and its words."""
        values = [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]
        return [(value, f"{value:,.0f}{self.unit}") for value in values]

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """Place, words and side that the words are aligned to."""
        sides = {0: "start", len(self.lines) - 1: "end"}
        return [
            (self.at(value), words, sides.get(number, "middle")) for number, (value, words) in enumerate(self.lines)
        ]


WHOLE = Scale(0, 100, 25)
"""All percentages, for charts that are compared with each other."""


def fitted(figures: Iterable[Drawable]) -> Scale:
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


def from_nothing(figures: Iterable[Drawable]) -> Scale:
    """A scale of counts from 0, to a round number above every interval."""
    largest = max((figure.upper for figure in figures if figure.upper is not None), default=0.0)
    rough = max(largest, 1.0) / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
    step = max(step, 1)
    return Scale(0, step * math.ceil(max(largest, 1.0) / step), step, "")


def of_points(figures: Iterable[Drawable]) -> Scale:
    """A scale of percentage points that holds 0 and every interval, from a ten to a ten."""
    ends = [end for figure in figures for end in (figure.lower, figure.upper, figure.value) if end is not None]
    step = 10 if max([*ends, 0]) - min([*ends, 0]) <= _MOST_TENS else 20
    low, high = step * math.floor(min([*ends, 0]) / step), step * math.ceil(max([*ends, 1]) / step)
    return Scale(low, high, step, "")


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


def mark(figure: Drawable, series: int, scale: Scale, label: str = "") -> Mark | None:
    """None where there is neither figure nor interval; `label` tells a series from the other of the same row."""
    if figure.lower is None or figure.upper is None:
        return None
    return Mark(
        series,
        _DOWN[series] if label else 0,
        scale.at(figure.lower),
        scale.at(figure.upper),
        None if figure.value is None else scale.at(figure.value),
        figure.unreliable,
        figure.upper - figure.lower < _NARROW_SHARE * (scale.high - scale.low),
        f"{label}: {figure.words}" if label else figure.words,
    )


SERIES_SYMBOLS = "\N{BLACK CIRCLE}\N{BLACK DIAMOND}"
"""The marks of the first and the second series, for words in a chart."""
_EDGE = 0.25
"""Of the width: words of a line as near to an edge begin or end at it, and stay in a chart of 220 pixels."""


@dataclass(frozen=True)
class Reference:
    """A value that every row is compared with, drawn as a line: its place, its words in the chart, the side that they
    are aligned to, and its words in the key."""

    series: int
    place: str
    side: str
    words: str
    in_key: str


def reference(figure: Drawable, series: int, scale: Scale, words: str, in_key: str) -> Reference | None:
    """None where the figure is not shown."""
    if figure.value is None:
        return None
    share = scale.share(figure.value)
    side = "start" if share < _EDGE else "end" if share > 1 - _EDGE else "middle"
    return Reference(series, scale.at(figure.value), side, words, in_key)


def scale_note(scale: Scale) -> str:
    """What a reader must know of an axis that does not show the whole of the range."""
    if scale.unit == "%" and (scale.low, scale.high) != (0, 100):
        return f"The scale runs from {scale.low:.0f}% to {scale.high:.0f}%, not from 0% to 100%."
    return ""


MOST_SHADES = 6
"""As many classes as there are shades for."""
_CLASS_WIDTHS = (5, 10, 20)
TILE_WIDTH, TILE_ROW = 40, 35
"""Between the middles of two hexagons of a row, and of two rows."""


@dataclass(frozen=True)
class Tile:
    """A place on a map of hexagons: the middle of its tile, its class (`c0` upwards, or `empty` where no figure is
    shown), whether it is drawn small, and what it says: in itself and when pointed at."""

    code: str
    x: int
    y: int
    kind: str
    small: bool
    number: str
    words: str


@dataclass(frozen=True)
class TileMap:
    """Tiles in a box of `width` by `height`; `blank` are middles of places without a figure of any kind, `classes` are
    kinds with their words."""

    width: int
    height: int
    tiles: list[Tile]
    blank: list[tuple[int, int]]
    classes: list[tuple[str, str]]


def tile_map(places: Mapping[str, tuple[int, int]], figures: Mapping[str, tuple[str, Drawable]]) -> TileMap:
    """A map of percentages in classes of 5 points from a round number, of 10 or 20 where those would be too many.

    `places` are half columns and rows by code, `figures` the label and the figure of the codes that have one.
    """
    middles = {code: (TILE_WIDTH // 2 * (1 + x), TILE_ROW * y + TILE_ROW * 2 // 3) for code, (x, y) in places.items()}
    values = [figure.value for _, figure in figures.values() if figure.value is not None] or [0.0]
    low, width, number = next(
        found for step in _CLASS_WIDTHS if (found := _classes(min(values), max(values), step))[2] <= MOST_SHADES
    )

    def kind(value: float | None) -> str:
        return "empty" if value is None else f"c{min(int((value - low) // width), number - 1)}"

    return TileMap(
        TILE_WIDTH // 2 * (2 + max(x for x, _ in places.values())),
        TILE_ROW * max(y for _, y in places.values()) + TILE_ROW * 4 // 3,
        [
            Tile(
                code,
                *middles[code],
                kind(figure.value),
                figure.unreliable,
                "" if figure.value is None else f"{figure.value:.0f}",
                f"{label}: {figure.words}",
            )
            for code, (label, figure) in figures.items()
        ],
        [middle for code, middle in middles.items() if code not in figures],
        [(f"c{place}", _class_words(low + place * width, width)) for place in range(number)],
    )


def _classes(least: float, most: float, width: int) -> tuple[int, int, int]:
    """Where the first class begins, its width, and how many there are; the whole of the scale ends with a class."""
    low = width * math.floor(least / width)
    return low, width, max(1, math.ceil((min(most, 99.9) - low + 1e-9) / width))


def _class_words(low: int, width: int) -> str:
    return f"{low}% to {'' if low + width == 100 else 'under '}{low + width}%"


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
    series: Sequence[Sequence[Drawable]],
    beside: Sequence[Drawable | None],
    broken: list[bool],
    scale: Scale,
    labels: tuple[str, ...],
) -> Timeline:
    """Figures of each series, in order of cohorts; a line leads from one to the next where no break lies between."""
    step = (100 - _LEFT) / len(broken)
    places = [f"{_LEFT + (number + 0.5) * step:.2f}%" for number in range(len(broken))]
    found = []
    for number, figures in enumerate(series):
        points: list[Point] = []
        before: tuple[str, float] | None = None
        for place, figure, breaks in zip(places, figures, broken, strict=True):
            least = figure.value if figure.lower is None else figure.lower
            most = figure.value if figure.upper is None else figure.upper
            if least is None or most is None:
                before = None
                continue
            y = None if figure.value is None else _down(figure.value, scale)
            words = f"{labels[number]}: {figure.words}" if len(series) > 1 else figure.words
            aside = _ASIDE[number] if len(series) > 1 else 0
            ends = _down(most, scale), _down(least, scale)
            join = before if y is not None and not breaks else None
            points.append(Point(place, aside, *ends, y, figure.unreliable, words, join))
            before = None if y is None else (place, y)
        found.append(points)
    return Timeline(
        [(_down(value, scale), words) for value, words in scale.lines],
        places,
        found,
        [(place, _down(f.value, scale)) for place, f in zip(places, beside, strict=True) if f and f.value is not None],
        [f"{_LEFT + number * step:.2f}%" for number, breaks in enumerate(broken) if breaks and number],
    )


def _down(value: float, scale: Scale) -> float:
    """Pixels from the top of the drawing; what lies outside the scale stands at the edge."""
    return round(PLOT_TOP + PLOT_HEIGHT * (1 - scale.share(value)), 1)


@dataclass(frozen=True)
class Rect:
    """A part of a drawing; `kind` is the class that gives it its colour."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Bars:
    """A drawing for the row of a table, which says no more than the row does: a box 100 wide, `height` pixels high."""

    height: int
    rects: tuple[Rect, ...]


def shares(now: float | None, last: float | None = None, published: float | None = None) -> Bars:
    """A thick bar for a share of this file, thin ones below it for the last delivery and the published figure."""
    rects, height = [Rect(0, 0, 100, 9, "track"), Rect(0, 0, 100 * (now or 0), 9, "now")], 9
    for share, top, kind in ((last, 10, "last"), (published, 14, "published")):
        if share is not None:
            rects.append(Rect(0, top, 100 * share, 3, kind))
            height = top + 3
    return Bars(height, tuple(rects))


MOST_STACKED = 4
"""As many shares as there are colours for."""


def stacked(parts: Sequence[float | None]) -> Bars:
    """Shares of one column one after the other, at most `MOST_STACKED`."""
    rects, start = [Rect(0, 0, 100, 9, "track")], 0.0
    for number, share in enumerate(parts):
        rects.append(Rect(start, 0, 100 * (share or 0), 9, f"part{number}"))
        start += 100 * (share or 0)
    return Bars(9, tuple(rects))


_ROW = 12
"""Height of the bars that stand on a scale."""


def span(scale: Scale, start: float, end: float, kind: str) -> Bars:
    """A bar from one value to another, over a line at 0."""
    left, right = sorted((100 * scale.share(start), 100 * scale.share(end)))
    line = Rect(100 * scale.share(0) - 0.15, 0, 0.3, _ROW, "mark")
    return Bars(_ROW, (line, Rect(left, 2, max(right - left, 0.4), _ROW - 4, kind)))


def interval(scale: Scale, value: float, lower: float, upper: float) -> Bars:
    """A value with its interval."""
    left, right = 100 * scale.share(lower), 100 * scale.share(upper)
    return Bars(
        _ROW,
        (
            Rect(0, 5.5, 100, 1, "track"),
            Rect(left, 4, max(right - left, 0.4), 4, "interval"),
            Rect(100 * scale.share(value) - 0.4, 1, 0.8, _ROW - 2, "point"),
        ),
    )


COLUMNS_WIDTH, COLUMNS_HEIGHT = 420, 180
COLUMNS_LEFT, COLUMNS_RIGHT, _COLUMNS_TOP, _COLUMNS_BOTTOM = 42, 6, 8, 24
"""Size of a column chart, and what is left free around its plot."""


@dataclass(frozen=True)
class Columns:
    """A column chart: what it shows in `words`, grid lines by height, columns, an outline over them, `ticks` as place,
    side that the words are aligned to, and words."""

    words: str
    grid: list[tuple[float, str]]
    rects: list[Rect]
    outline: str
    ticks: list[tuple[float, str, str]]


def columns(
    labels: Sequence[str], parts: Sequence[float], last: Sequence[float], ticks: Mapping[float, str]
) -> Columns:
    """Shares of groups, with those of the last delivery as an outline if any; `ticks` are words at positions 0 to
    len(parts)."""
    top = _round_up(max([*parts, *last], default=0))
    step = (COLUMNS_WIDTH - COLUMNS_LEFT - COLUMNS_RIGHT) / max(len(parts), 1)
    edges = [COLUMNS_LEFT + number * step for number in range(max(len(parts), len(last)) + 1)]
    floor = _height(0, top)
    return Columns(
        _in_words(labels, parts),
        [(_height(share, top), f"{share * 100:.3g}%") for share in (0, top / 2, top)],
        [
            Rect(left, _height(share, top), max(step - 1, 0.5), floor - _height(share, top), "now")
            for left, share in zip(edges, parts, strict=False)
        ],
        "L".join(
            f"{left:.1f} {_height(share, top):.1f}H{right:.1f}"
            for (left, right), share in zip(pairwise(edges), last, strict=False)
        ),
        [
            (COLUMNS_LEFT + at * step, "start" if at == 0 else "end" if at >= len(parts) else "middle", words)
            for at, words in ticks.items()
        ],
    )


def _in_words(labels: Sequence[str], parts: Sequence[float]) -> str:
    if not any(parts):
        return "No rows."
    highest = max(range(len(parts)), key=parts.__getitem__)
    return f"The largest of {len(parts)} groups is {labels[highest]}, with {percent(parts[highest])} of filled rows."


def _height(share: float, top: float) -> float:
    return COLUMNS_HEIGHT - _COLUMNS_BOTTOM - share / top * (COLUMNS_HEIGHT - _COLUMNS_TOP - _COLUMNS_BOTTOM)


def _round_up(share: float) -> float:
    """The next of the tops that an axis may have."""
    return next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if share <= top), 1.0)

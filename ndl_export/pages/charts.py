"""Layout of every chart: positions and sizes, which templates write as SVG. Colours are classes of a style sheet.

On the release page, horizontal positions are percentages of the width and vertical positions are pixels, so a chart
fills any window with text of one size. On a phone each row has its label above its marks, so no label is cut off; in a
wide window labels are to the left, which nearly halves the height (`style.css`). Tiles and bars are drawn in a box with
its own units. Bars in table rows of reports are drawn by their template.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from ndl_export.pages.number_format import format_percent

AXIS_HEIGHT, REFERENCE_HEIGHT = 26, 24
"""Heights of the axis at the top, and of the label of each reference line below the axis."""
ROW_WORDS, REFERENCE_ENDS = -18, (-13, 15)
"""Relative to the marks of a row: its label if it is above them, and the ends of a reference line, which is interrupted
at labels so that it crosses none."""
MOST_ROWS = 180
"""Rows of a chart that the style sheet has places for: 153 councils, their regions and devolved areas, and all."""
LONGEST_AT_LEFT = 38
"""Characters of a label that fits to the left of the marks, in 36% of a page of 900 pixels."""
MOST_ON_PAPER = 17
"""Rows of a chart that fit on a sheet of A4 together with its key."""
_STEPS = {40: 10, 60: 20, 80: 20, 100: 25}
"""Widths that a scale of percentages may have, and the step between its grid lines."""
_TICKS = 3
"""Steps that a scale of counts aims for, before its step is rounded up."""
_MOST_TENS = 60
"""Widest range in percentage points that has a grid line every 10; wider ones have one every 20."""
ROW_OFFSETS, TIME_OFFSETS = (-4, 6), (-6, 6)
"""Offsets of two series in pixels: vertical from the line of their row, horizontal from that of their cohort."""
NARROW_SHARE = 0.05
"""Share of a chart's width that a mark covers on a phone, where it may hide the interval."""
_EDGE = 0.25
"""Share of the width: labels this close to an edge start or end at their line, so they fit a chart of 220 pixels."""
PLOT_LEFT, PLOT_TOP, PLOT_HEIGHT, TIMELINE_HEIGHT = 14.0, 16, 200, 250
"""A chart over time: the left edge of its plot in percent of the width; its top, its height and the whole in pixels."""


class Drawable(Protocol):
    """A figure that can be drawn; numbers are None if not shown."""

    @property
    def value(self) -> float | None: ...

    @property
    def lower(self) -> float | None: ...

    @property
    def upper(self) -> float | None: ...


@dataclass(frozen=True)
class Scale:
    """The axis of a chart, from `low` to `high`, with a grid line at each step."""

    low: float
    high: float
    step: float = 1
    unit: str = "%"

    def compute_share(self, value: float) -> float:
        """Return the position of a value, 0 to 1; values outside the scale are moved to its ends."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)

    def format_position(self, value: float) -> str:
        """Return the horizontal position of a value, such as `42.5%`."""
        return f"{round(100 * self.compute_share(value), 2):g}%"

    def find_alignment(self, value: float) -> str:
        """Return the alignment of a label at a value, so that it stays inside the chart."""
        share = self.compute_share(value)
        return "start" if share < _EDGE else "end" if share > 1 - _EDGE else "middle"

    def compute_top(self, value: float) -> float:
        """Return the vertical position of a value in a chart over time, in pixels from the top."""
        return round(PLOT_TOP + PLOT_HEIGHT * (1 - self.compute_share(value)), 1)

    @property
    def lines(self) -> list[tuple[float, str]]:
        """Value and label of each grid line."""
        values = [self.low + number * self.step for number in range(round((self.high - self.low) / self.step) + 1)]
        return [(value, f"{value:,.0f}{self.unit}") for value in values]

    @property
    def ticks(self) -> list[tuple[str, str, str]]:
        """Position, label and text alignment of each grid line."""
        sides = {0: "start", len(self.lines) - 1: "end"}
        return [
            (self.format_position(value), words, sides.get(number, "middle"))
            for number, (value, words) in enumerate(self.lines)
        ]


WHOLE = Scale(0, 100, 25)
"""All percentages, for charts that are compared with each other."""


def fit_scale(figures: Iterable[Drawable]) -> Scale:
    """Return a scale of percentages around the intervals, between multiples of ten and wide enough not to mislead."""
    ends = [end for figure in figures for end in (figure.lower, figure.value, figure.upper) if end is not None]
    if not ends:
        return WHOLE
    least, most = min(ends), max(ends)
    low, high = 10 * math.floor(least / 10), 10 * math.ceil(most / 10)
    while high - low not in _STEPS:  # widen the scale on the side with less room, within 0% to 100%
        if low > 0 and (high >= 100 or least - low <= high - most):
            low -= 10
        else:
            high += 10
    return Scale(low, high, _STEPS[high - low])


def fit_count_scale(figures: Iterable[Drawable]) -> Scale:
    """Return a scale of counts from 0 to a round number above every interval."""
    largest = max((figure.upper for figure in figures if figure.upper is not None), default=0.0)
    rough = max(largest, 1.0) / _TICKS
    power = 10 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 2.5, 5, 10) if size * power >= rough)
    # Counts are whole: no grid line at half a child.
    step = max(step, 1)
    return Scale(0, step * math.ceil(max(largest, 1.0) / step), step, "")


def fit_point_scale(figures: Iterable[Drawable]) -> Scale:
    """Return a scale of percentage points that includes 0 and every interval, between multiples of its step."""
    ends = [end for figure in figures for end in (figure.lower, figure.upper, figure.value) if end is not None]
    step = 10 if max([*ends, 0]) - min([*ends, 0]) <= _MOST_TENS else 20
    # The 1 keeps the width above 0 if every figure is 0.
    low, high = step * math.floor(min([*ends, 0]) / step), step * math.ceil(max([*ends, 1]) / step)
    return Scale(low, high, step, "")


SERIES_SYMBOLS = "\N{BLACK CIRCLE}\N{BLACK DIAMOND}"
"""Marks of the first and the second series, for text in a chart."""


def explain_scale(scale: Scale) -> str:
    """Return a note that the axis does not show all percentages, or an empty string if it does."""
    if scale.unit == "%" and (scale.low, scale.high) != (0, 100):
        return f"The scale runs from {scale.low:.0f}% to {scale.high:.0f}%, not from 0% to 100%."
    return ""


MOST_SHADES = 6
"""Number of shades, which limits the classes of a map."""
_CLASS_WIDTHS = (5, 10, 20)
# 35 is 40 times the square root of 3, halved and rounded: rows of regular hexagons.
TILE_WIDTH, TILE_ROW = 40, 35
"""Distance between the centres of two hexagons in a row, and between two rows."""


@dataclass(frozen=True)
class TileMap:
    """Hexagons in a box of `width` by `height`.

    `tiles` have the code of a place, its centre, its class (`c0` upwards, or `empty` if no figure is shown), its label
    and its figure. `blank` are the centres of places without any figure, `classes` are the classes with their labels.
    """

    width: int
    height: int
    tiles: list[tuple[str, tuple[int, int], str, str, Drawable]]
    blank: list[tuple[int, int]]
    classes: list[tuple[str, str]]


def build_tile_map(places: Mapping[str, tuple[int, int]], figures: Mapping[str, tuple[str, Drawable]]) -> TileMap:
    """Return a map of percentages in classes of 5 points, or of 10 or 20 points if there would be too many classes.

    Classes start at a multiple of their width. `places` gives the half column and row of each code, `figures` the label
    and figure of the codes that have one.
    """
    middles = {code: (TILE_WIDTH // 2 * (1 + x), TILE_ROW * y + TILE_ROW * 2 // 3) for code, (x, y) in places.items()}
    values = [figure.value for _, figure in figures.values() if figure.value is not None] or [0.0]
    for width in _CLASS_WIDTHS:
        low = width * math.floor(min(values) / width)
        # 1e-9: a value on a boundary belongs to the class above it. 99.9: 100% belongs to the class below it.
        number = max(1, math.ceil((min(max(values), 99.9) - low + 1e-9) / width))
        if number <= MOST_SHADES:
            break

    def choose_shade(value: float | None) -> str:
        return "empty" if value is None else f"c{min(int((value - low) // width), number - 1)}"

    return TileMap(
        TILE_WIDTH // 2 * (2 + max(x for x, _ in places.values())),
        TILE_ROW * max(y for _, y in places.values()) + TILE_ROW * 4 // 3,
        [(code, middles[code], choose_shade(figure.value), label, figure) for code, (label, figure) in figures.items()],
        [middle for code, middle in middles.items() if code not in figures],
        [
            (f"c{place}", f"{start}% to {'' if start + width == 100 else 'under '}{start + width}%")
            for place, start in enumerate(range(low, low + number * width, width))
        ],
    )


MOST_STACKED = 4
"""Number of colours, which limits the shares that can be stacked."""

COLUMNS_WIDTH, COLUMNS_HEIGHT = 420, 180
COLUMNS_LEFT, COLUMNS_RIGHT, _COLUMNS_TOP, _COLUMNS_BOTTOM = 42, 6, 8, 24
"""Size of a column chart, and the margins of its plot."""


@dataclass(frozen=True)
class Columns:
    """A column chart, described by `words`.

    `grid` are grid lines by height, `rects` have left edge, top, width and height, `outline` is a path over the
    columns, and `ticks` have position, text alignment and label.
    """

    words: str
    grid: list[tuple[float, str]]
    rects: list[tuple[float, float, float, float]]
    outline: str
    ticks: list[tuple[float, str, str]]


def draw_columns(
    labels: Sequence[str], parts: Sequence[float], last: Sequence[float], ticks: Mapping[float, str]
) -> Columns:
    """Return the shares of groups as columns, with those of the last delivery as an outline, if any.

    `ticks` are labels at positions 0 to len(parts).
    """
    largest = max([*parts, *last], default=0)
    top = next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if largest <= top), 1.0)
    step = (COLUMNS_WIDTH - COLUMNS_LEFT - COLUMNS_RIGHT) / max(len(parts), 1)
    # The last delivery may have more groups than this one.
    edges = [COLUMNS_LEFT + number * step for number in range(max(len(parts), len(last)) + 1)]
    floor = _compute_height(0, top)
    return Columns(
        _describe_columns(labels, parts),
        [(_compute_height(share, top), f"{share * 100:.3g}%") for share in (0, top / 2, top)],
        [
            (left, _compute_height(share, top), max(step - 1, 0.5), floor - _compute_height(share, top))
            for left, share in zip(edges, parts, strict=False)
        ],
        "L".join(
            f"{left:.1f} {_compute_height(share, top):.1f}H{right:.1f}"
            for (left, right), share in zip(pairwise(edges), last, strict=False)
        ),
        [
            (COLUMNS_LEFT + at * step, "start" if at == 0 else "end" if at >= len(parts) else "middle", words)
            for at, words in ticks.items()
        ],
    )


def _describe_columns(labels: Sequence[str], parts: Sequence[float]) -> str:
    if not any(parts):
        return "No rows."
    highest = max(range(len(parts)), key=parts.__getitem__)
    share = format_percent(parts[highest])
    return f"The largest of {len(parts)} groups is {labels[highest]}, with {share} of filled rows."


def _compute_height(share: float, top: float) -> float:
    return COLUMNS_HEIGHT - _COLUMNS_BOTTOM - share / top * (COLUMNS_HEIGHT - _COLUMNS_TOP - _COLUMNS_BOTTOM)

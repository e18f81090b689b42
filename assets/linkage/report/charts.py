"""Drawings for the rows of a table, as inline SVG: they say nothing that the row does not, so they are hidden from
screen readers. Colours are classes of the pages' style sheet."""

from __future__ import annotations

from dataclasses import dataclass

from assets.pages.markup import Html, tag

_HEIGHT = 12


@dataclass(frozen=True)
class Scale:
    """The values at the left and the right edge of a drawing."""

    low: float
    high: float

    def at(self, value: float) -> float:
        """The value's place, 0 to 100."""
        return 100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def span(scale: Scale, start: float, end: float, kind: str, *marks: float) -> Html:
    """A bar from one value to another, over lines at `marks`."""
    left, right = sorted((scale.at(start), scale.at(end)))
    lines = [_rect(scale.at(mark) - 0.15, 0, 0.3, _HEIGHT, "mark") for mark in marks]
    return _strip([*lines, _rect(left, 2, max(right - left, 0.4), _HEIGHT - 4, kind)])


def point(scale: Scale, value: float, lower: float, upper: float) -> Html:
    """A value with its interval."""
    left, right = scale.at(lower), scale.at(upper)
    return _strip(
        [
            _rect(0, 5.5, 100, 1, "track"),
            _rect(left, 4, max(right - left, 0.4), 4, "interval"),
            _rect(scale.at(value) - 0.4, 1, 0.8, _HEIGHT - 2, "point"),
        ]
    )


def _strip(parts: list[Html]) -> Html:
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 100 {_HEIGHT}",
        preserveAspectRatio="none",
        style=f"height:{_HEIGHT}px",
        class_="bar",
        aria_hidden="true",
        focusable="false",
    )


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Html:
    return tag("rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", class_=kind)

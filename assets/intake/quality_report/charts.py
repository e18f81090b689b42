"""Drawings, as inline SVG: bars for the cells of a table, and column charts.

Bars say nothing that the row they stand in does not, so they are hidden from screen readers; a column chart has a text
alternative and its table beside it. Colours are classes of the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assets.pages.markup import Html, joined, tag
from assets.pages.words import percent

WIDTH, HEIGHT = 420, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 6, 8, 24
MAX_SEGMENTS = 4


def bar(share: float | None, last: float | None = None, published: float | None = None) -> Html:
    """A thick bar for this file, thin ones below it for the last delivery and the published figure."""
    parts = [_rect(0, 0, 100, 9, "track"), _rect(0, 0, 100 * (share or 0), 9, "now")]
    if last is not None:
        parts.append(_rect(0, 10, 100 * last, 3, "last"))
    if published is not None:
        parts.append(_rect(0, 14, 100 * published, 3, "published"))
    return _strip(parts, 9 if last is None and published is None else 13 if published is None else 17)


def stacked(shares: Sequence[float | None]) -> Html:
    """Shares of one column one after the other, at most `MAX_SEGMENTS`."""
    parts, start = [_rect(0, 0, 100, 9, "track")], 0.0
    for number, share in enumerate(shares):
        parts.append(_rect(start, 0, 100 * (share or 0), 9, f"part{number}"))
        start += 100 * (share or 0)
    return _strip(parts, 9)


def columns(
    name: str, labels: Sequence[str], shares: Sequence[float], last: Sequence[float] | None, ticks: Mapping[float, str]
) -> Html:
    """A column chart with the last delivery as an outline; `ticks` are words at positions 0 to len(shares)."""
    top = _round_up(max([*shares, *(last or ())], default=0))
    step = (WIDTH - _LEFT - _RIGHT) / max(len(shares), 1)
    drawn = [_grid(top)]
    drawn += [
        _rect(
            _LEFT + index * step, _height(share, top), max(step - 1, 0.5), _height(0, top) - _height(share, top), "now"
        )
        for index, share in enumerate(shares)
    ]
    if last is not None:
        drawn.append(_outline(last, step, top))
    drawn += [
        tag("text", label, x=f"{_LEFT + at * step:.1f}", y=f"{HEIGHT - 7}", class_=f"tick {_anchor(at, len(shares))}")
        for at, label in ticks.items()
    ]
    return tag(
        "svg",
        tag("title", name),
        tag("desc", _in_words(labels, shares)),
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="columns",
        aria_label=f"{name}. {_in_words(labels, shares)}",
    )


def swatch(kind: str) -> Html:
    """The key to a colour of the drawings."""
    return tag("svg", _rect(0, 0, 14, 14, kind), viewBox="0 0 14 14", class_="swatch", aria_hidden="true")


def _in_words(labels: Sequence[str], shares: Sequence[float]) -> str:
    if not any(shares):
        return "No rows."
    highest = max(range(len(shares)), key=shares.__getitem__)
    return f"The largest of {len(shares)} groups is {labels[highest]}, with {percent(shares[highest])} of filled rows."


def _strip(parts: Sequence[Html], height: int) -> Html:
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 100 {height}",
        preserveAspectRatio="none",
        style=f"height:{height}px",
        class_="bar",
        aria_hidden="true",
        focusable="false",
    )


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Html:
    return tag("rect", x=f"{x:.2f}", y=f"{y:.2f}", width=f"{width:.2f}", height=f"{height:.2f}", class_=kind)


def _height(share: float, top: float) -> float:
    return HEIGHT - _BOTTOM - share / top * (HEIGHT - _TOP - _BOTTOM)


def _grid(top: float) -> Html:
    return joined(
        joined(
            (
                tag("line", x1=f"{_LEFT}", x2=f"{WIDTH - _RIGHT}", y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"),
                tag("text", f"{share * 100:.3g}%", x=f"{_LEFT - 5}", y=f"{y + 4:.1f}", class_="tick end"),
            )
        )
        for share in (0, top / 2, top)
        for y in (_height(share, top),)
    )


def _outline(shares: Sequence[float], step: float, top: float) -> Html:
    path = "".join(
        f"{'L' if index else 'M'}{_LEFT + index * step:.1f} {_height(share, top):.1f}H{_LEFT + (index + 1) * step:.1f}"
        for index, share in enumerate(shares)
    )
    return tag("path", d=path, class_="outline")


def _anchor(at: float, end: int) -> str:
    return "start" if at == 0 else "end" if at >= end else "middle"


def _round_up(share: float) -> float:
    """The next of 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1: the top of an axis."""
    return next((top for top in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if share <= top), 1.0)

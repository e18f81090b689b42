"""The second question about a figure: would it be so for children like these?

Noise and chance together, as the macros of the analyst database reckon them (`macros.sql`; a test holds the two
together). What it was for these children is the interval that a figure has of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ndl_export.site.figures import Figure

_NORMAL = 1.959964
"""Quantile of the standard normal for an interval of 95%."""
OTHER_CHILDREN, WHATEVER = 0.0, 1.0
"""Correlation of the noise in two figures: of two cohorts, which are measured apart; and the most there can be."""


@dataclass(frozen=True)
class Difference:
    """Percentage points that one figure is above another, and the 95% interval for noise and chance together."""

    points: float
    lower: float
    upper: float

    @property
    def is_above(self) -> bool:
        """By more than noise and chance explain."""
        return self.lower > 0

    @property
    def is_below(self) -> bool:
        return self.upper < 0


def chance_variance(figure: Figure) -> float:
    """Binomial variance of a percentage, in squared percentage points: how far it moves between cohorts of this size
    though nothing else changes. One that is withheld is taken for 50%, which varies most; it is 0 for one that is exact
    and of no cohort like these, such as England's."""
    if figure.number is None:
        return 0.0
    percent = 50.0 if figure.value is None else figure.value
    return max(percent * (100 - percent), 0.0) / max(figure.number, 1.0)


def difference(
    one: Figure, other: Figure, noise_correlation: float, *, one_answer_each: bool = False
) -> Difference | None:
    """`one` less `other`; None where either is not given.

    Their children are taken for others, which overstates chance where the same ones do alike in both. Where every child
    counts in one of the two at most (`one_answer_each`), the shares draw on each other.
    """
    noise = _noise(one, other, noise_correlation)
    variance = chance_variance(one) + chance_variance(other)
    if noise and one_answer_each and one.number is not None:
        variance += 2 * max((one.value or 0.0) * (other.value or 0.0), 0.0) / max(one.number, 1.0)
    return noise and with_chance(noise, variance)


def published(of: Figure, one: Figure, other: Figure, variance: float) -> Difference | None:
    """`one` less `other`, whose chance has this variance: by their published difference `of`, whose interval is exact
    for the noise, and where none is published as wide as the noise of both can make it. None where it is not given."""
    if of.lower is None or of.upper is None:
        noise = _noise(one, other, WHATEVER)
    else:
        noise = None if of.value is None else Difference(of.value, of.lower, of.upper)
    return noise and with_chance(noise, variance)


def with_chance(noise: Difference, variance: float) -> Difference:
    """A difference whose interval is that of the noise, with chance of this variance (squared percentage points)."""
    chance = _NORMAL * math.sqrt(variance)
    down, up = (math.hypot(arm, chance) for arm in (noise.points - noise.lower, noise.upper - noise.points))
    return Difference(noise.points, max(noise.points - down, -100), min(noise.points + up, 100))


def variance_within(part: Figure, whole: Figure) -> float:
    """Variance by chance of a part's percentage less that of the whole, whose children include the part's."""
    share = (part.number or 0.0) / max(whole.number or 0.0, 1.0)
    return max(chance_variance(part) * (1 - 2 * share) + chance_variance(whole), 0.0)


def _noise(one: Figure, other: Figure, correlation: float) -> Difference | None:
    """By MOVER (Zou and Donner 2008), for noise that is correlated by `correlation` at most."""
    if one.value is None or other.value is None:
        return None
    points = one.value - other.value
    down = _arm(_reach(one.value, one.lower), _reach(other.upper, other.value), correlation)
    up = _arm(_reach(one.upper, one.value), _reach(other.value, other.lower), correlation)
    return Difference(points, points - down, points + up)


def _arm(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(one**2 + other**2 + 2 * correlation * one * other, 0.0))


def _reach(high: float | None, low: float | None) -> float:
    """How far an interval reaches to one side; 0 for a figure without noise."""
    return 0.0 if high is None or low is None else high - low

"""What a reader sees of an estimate: a figure, its 95% interval and a reliability flag.

Everything is computed from noisy values and public variances, elementwise over arrays of any one shape, and is defined
for every input: negative or zero denominators, zero variances, unbounded intervals. Intervals cover the noise that was
added for privacy, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privacy.release.workload import Figures

Array = NDArray[np.float64]

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""

RELIABLE, UNRELIABLE, WITHHELD = "", "u", "low"


@dataclass(frozen=True)
class Reliability:
    """Public thresholds. Half-widths are in points per hundred of the range a ratio can have.

    A ratio is flagged `u` where its half-width is above `unreliable_half_width`, and withheld, flagged `low`, where it
    is above `withheld_half_width` or the noisy denominator is under `denominator_standard_errors` standard errors.
    """

    unreliable_half_width: float = 5.0
    withheld_half_width: float = 15.0
    denominator_standard_errors: float = 3.0


class Moments(Protocol):
    """What has values, variances and covariances, such as `Estimates`."""

    def values(self, figures: Figures) -> Array: ...
    def variance(self, figures: Figures) -> Array: ...
    def covariance(self, left: Figures, right: Figures) -> Array: ...


@dataclass(frozen=True, eq=False)
class CountTable:
    """Displayed counts, int64, never negative; interval in the same unit, within [0, infinity)."""

    count: NDArray[np.int64]
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class RatioTable:
    """A ratio with its interval, in its own unit (points per hundred for a rate), and its flag.

    `value` is NaN where the flag says `low`; the interval always stands.
    """

    value: Array
    lower: Array
    upper: Array
    flag: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class DifferenceTable:
    """Difference of two ratios, first less second, and its interval; NaN where either ratio is withheld."""

    value: Array
    lower: Array
    upper: Array


def published_counts(moments: Moments, figures: Figures) -> CountTable:
    """Counts for publication: max(0, round(estimate)), interval estimate +- z sd within [0, infinity)."""
    estimate = moments.values(figures)
    half_width = Z95 * np.sqrt(moments.variance(figures))
    return CountTable(
        np.maximum(np.rint(estimate), 0).astype(np.int64),
        np.maximum(estimate - half_width, 0.0),
        np.maximum(estimate + half_width, 0.0),
    )


def published_rates(moments: Moments, numerator: Figures, denominator: Figures, reliability: Reliability) -> RatioTable:
    """Percentages, within [0, 100]; figures of one shape."""
    return published_ratios(moments, numerator, denominator, reliability, largest=1.0, unit=100.0)


def published_ratios(
    moments: Moments,
    numerator: Figures,
    denominator: Figures,
    reliability: Reliability,
    *,
    largest: float,
    unit: float = 1.0,
) -> RatioTable:
    """Ratios known to lie in [0, largest], given in multiples of 1/unit: an average of 17 goals has largest 17."""
    pair = _Pair.of(moments, numerator, denominator)
    low, high = fieller(pair.x, pair.y, pair.xx, pair.yy, pair.xy, largest)
    flag = _flags(pair, (high - low) / 2 * 100 / largest, reliability)
    value = np.where(flag == WITHHELD, np.nan, np.clip(pair.ratio, 0.0, largest))
    return RatioTable(value * unit, low * unit, high * unit, flag)


def rate_differences(
    moments: Moments,
    first: tuple[Figures, Figures],
    second: tuple[Figures, Figures],
    reliability: Reliability,
) -> DifferenceTable:
    """First rate less second, in points, each given as (numerator, denominator); figures of one shape.

    The interval recovers variances from the two Fieller intervals (MOVER; Zou & Donner 2008) with the correlation of
    the two rates by linearisation: lower = d - sqrt(a^2 + b^2 - 2 r a b), a and b the arms of the first interval
    downwards and of the second upwards; upper with the other arms. Within [-100, 100].
    """
    one, two = _Pair.of(moments, *first), _Pair.of(moments, *second)
    cross = [[moments.covariance(f, g) for g in second] for f in first]
    low1, high1 = fieller(one.x, one.y, one.xx, one.yy, one.xy, 1.0)
    low2, high2 = fieller(two.x, two.y, two.xx, two.yy, two.xy, 1.0)
    rate1, rate2 = np.clip(one.ratio, low1, high1), np.clip(two.ratio, low2, high2)
    correlation = _correlation(one, two, cross)
    difference = rate1 - rate2
    down = _arm(rate1 - low1, high2 - rate2, correlation)
    up = _arm(high1 - rate1, rate2 - low2, correlation)
    flags1 = _flags(one, (high1 - low1) * 50, reliability)
    flags2 = _flags(two, (high2 - low2) * 50, reliability)
    withheld = (flags1 == WITHHELD) | (flags2 == WITHHELD)
    return DifferenceTable(
        *(
            np.where(withheld, np.nan, 100 * np.clip(points, -1.0, 1.0))
            for points in (difference, difference - down, difference + up)
        )
    )


def fieller(x: Array, y: Array, xx: Array, yy: Array, xy: Array, largest: float) -> tuple[Array, Array]:
    """95% interval for E[x]/E[y] by Fieller's theorem, within [0, largest]; xx, yy, xy are variances and covariance.

    The interval is the set of r with (x - r y)^2 <= z^2 (xx - 2 r xy + r^2 yy), a quadratic in r. It is bounded where y
    differs from zero by more than z standard errors; anywhere else the whole of [0, largest] is returned.
    """
    square = y**2 - Z95**2 * yy
    middle = x * y - Z95**2 * xy
    constant = x**2 - Z95**2 * xx
    bounded = (square > 0) & (y > 0)
    root = np.sqrt(np.maximum(middle**2 - square * constant, 0.0))
    divisor = np.where(bounded, square, 1.0)
    low = np.where(bounded, (middle - root) / divisor, 0.0)
    high = np.where(bounded, (middle + root) / divisor, largest)
    return np.clip(low, 0.0, largest), np.clip(high, 0.0, largest)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Numerator x and denominator y with their variances xx, yy and covariance xy."""

    x: Array
    y: Array
    xx: Array
    yy: Array
    xy: Array

    @classmethod
    def of(cls, moments: Moments, numerator: Figures, denominator: Figures) -> _Pair:
        return cls(
            moments.values(numerator),
            moments.values(denominator),
            moments.variance(numerator),
            moments.variance(denominator),
            moments.covariance(numerator, denominator),
        )

    @property
    def ratio(self) -> Array:
        """x / y, and 0 where y is not positive (such a ratio is always withheld)."""
        return np.where(self.y > 0, self.x, 0.0) / np.where(self.y > 0, self.y, 1.0)

    @property
    def ratio_variance(self) -> Array:
        """Variance of x - ratio * y, the linearised ratio times y."""
        return np.maximum(self.xx - 2 * self.ratio * self.xy + self.ratio**2 * self.yy, 0.0)


def _flags(pair: _Pair, half_width: Array, reliability: Reliability) -> NDArray[np.str_]:
    """Flag per ratio; `half_width` in points per hundred of the ratio's range."""
    weak = pair.y < reliability.denominator_standard_errors * np.sqrt(pair.yy)
    withheld = weak | (pair.y <= 0) | (half_width > reliability.withheld_half_width)
    unreliable = half_width > reliability.unreliable_half_width
    return np.select([withheld, unreliable], [WITHHELD, UNRELIABLE], RELIABLE)


def _correlation(one: _Pair, two: _Pair, cross: list[list[Array]]) -> Array:
    """Correlation of the linearised ratios; 0 where either has no variance."""
    (xx, xy), (yx, yy) = cross
    covariance = xx - two.ratio * xy - one.ratio * yx + one.ratio * two.ratio * yy
    scale = np.sqrt(one.ratio_variance * two.ratio_variance)
    return np.clip(np.where(scale > 0, covariance, 0.0) / np.where(scale > 0, scale, 1.0), -1.0, 1.0)


def _arm(one: Array, other: Array, correlation: Array) -> Array:
    return np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0))

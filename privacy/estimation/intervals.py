"""Published figures: an estimate with its 95% interval and a reliability flag.

Everything is computed from noisy values and public variances, elementwise over arrays of any one shape, and is defined
for every input: negative or zero denominators, zero variances, unbounded intervals. Intervals cover the noise that was
added for privacy; `corrected` adds the uncertainty of a correction for missed and false links.

The `compute_*_half_widths` functions give the accuracy that a plan will deliver before any budget is spent, using
public counts in place of the confidential ones. Last year's official counts are public and may be used for this; this
year's may not.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.covariance import Covariances, cache_by_identity
from privacy.release.policy import Reliability
from privacy.release.workload import Array, Figures

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""

NEGLIGIBLE = 1e-12
"""Below this relative distance between a squared denominator and its noise, rounding decides: counts as no distance."""

WHOLE_RANGE = 50.0
"""Half-width, in points, of a rate that may be anything from 0 to 100."""

RELIABLE, UNRELIABLE, WITHHELD = "", "u", "withheld"
"""Flags of a ratio; empty if it is reliable."""


class Moments(Protocol):
    """A source of values, variances and covariances of figures, such as `Estimates`."""

    def values(self, figures: Figures) -> Array: ...
    def variance(self, figures: Figures) -> Array: ...
    def covariance(self, left: Figures, right: Figures) -> Array: ...


class Remembered:
    """Moments that cache their answers, for figures that are used more than once."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    @cache_by_identity
    def values(self, figures: Figures) -> Array:
        return self._moments.values(figures)

    @cache_by_identity
    def variance(self, figures: Figures) -> Array:
        return self._moments.variance(figures)

    @cache_by_identity
    def covariance(self, left: Figures, right: Figures) -> Array:
        return self._moments.covariance(left, right)


@dataclass(frozen=True, eq=False)
class RatioMoments:
    """Numerators x and denominators y of ratios, with variances xx, yy and covariance xy; all of one shape."""

    x: Array
    y: Array
    xx: Array
    yy: Array
    xy: Array

    @classmethod
    def build(cls, moments: Moments, numerator: Figures, denominator: Figures, *more: float) -> Self:
        return cls(
            moments.values(numerator),
            moments.values(denominator),
            moments.variance(numerator),
            moments.variance(denominator),
            moments.covariance(numerator, denominator),
            *more,
        )

    def compute_variance(self, ratio: Array) -> Array:
        """Return the variance of x - ratio * y."""
        return self.xx - 2 * ratio * self.xy + ratio**2 * self.yy


@dataclass(frozen=True, eq=False)
class CountTable:
    """Displayed counts, int64, never negative; interval in the same unit, within [0, infinity)."""

    count: NDArray[np.int64]
    lower: Array
    upper: Array


@dataclass(frozen=True, eq=False)
class RatioTable:
    """A ratio or difference of two in its own unit, NaN if `withheld`, with its interval, always given, and flag."""

    value: Array
    lower: Array
    upper: Array
    flag: NDArray[np.str_]


def compute_published_counts(moments: Moments, figures: Figures) -> CountTable:
    """Return counts for publication: max(0, round(estimate)), interval estimate +- z sd within [0, infinity)."""
    # Only shown values are rounded and cut at 0; no sum is computed from them.
    estimate = moments.values(figures)
    half_width = Z95 * np.sqrt(moments.variance(figures))
    return CountTable(
        np.maximum(np.rint(estimate), 0).astype(np.int64),
        np.maximum(estimate - half_width, 0.0),
        np.maximum(estimate + half_width, 0.0),
    )


def compute_published_ratios(
    moments: Moments,
    numerator: Figures,
    denominator: Figures,
    reliability: Reliability,
    *,
    largest: float,
    unit: float = 1.0,
) -> RatioTable:
    """Return ratios in [0, largest], in multiples of 1/unit: a percentage has `largest` 1 and `unit` 100."""
    pair = _Pair.build(moments, numerator, denominator, largest)
    flag = _flag_ratios(pair, reliability)
    value = np.where(flag == WITHHELD, np.nan, pair.ratio)
    return RatioTable(value * unit, pair.low * unit, pair.high * unit, flag)


def compute_rate_differences(
    moments: Moments,
    first: tuple[Figures, Figures],
    second: tuple[Figures, Figures],
    reliability: Reliability,
) -> RatioTable:
    """Return the first rate minus the second, in points, each given as (numerator, denominator); figures of one shape.

    The interval is MOVER's (Zou & Donner 2008; `docs/privacy-derivation.md`); the flag depends on half its width.
    """
    one, two = _Pair.build(moments, *first, 1.0), _Pair.build(moments, *second, 1.0)
    (xx, xy), (yx, yy) = [[moments.covariance(f, g) for g in second] for f in first]
    covariance = xx - two.ratio * xy - one.ratio * yx + one.ratio * two.ratio * yy
    scale = np.sqrt(one.linearised_variance * two.linearised_variance)
    # of the linearised ratios; 0 if either has no variance
    correlation = np.clip(np.where(scale > 0, covariance, 0.0) / np.where(scale > 0, scale, 1.0), -1.0, 1.0)
    rate1, rate2 = np.clip(one.ratio, one.low, one.high), np.clip(two.ratio, two.low, two.high)
    difference = rate1 - rate2
    down = _compute_arm(rate1 - one.low, two.high - rate2, correlation)
    up = _compute_arm(one.high - rate1, rate2 - two.low, correlation)
    withheld = (_flag_ratios(one, reliability) == WITHHELD) | (_flag_ratios(two, reliability) == WITHHELD)
    lower, upper = 100 * np.clip(difference - down, -1.0, 1.0), 100 * np.clip(difference + up, -1.0, 1.0)
    flag = _flag_by_half_width(50 * (down + up), withheld, reliability)
    return RatioTable(np.where(flag == WITHHELD, np.nan, 100 * difference), lower, upper, flag)


def compute_fieller_interval(
    x: Array, y: Array, xx: Array, yy: Array, xy: Array, z: float = Z95
) -> tuple[Array, Array]:
    """Return the centre and half-width of the interval for E[x]/E[y] by Fieller's theorem; `z` is a normal quantile.

    Bounded if y exceeds zero by more than z standard errors; otherwise the half-width is infinite and the centre 0.
    """
    square = y**2 - z**2 * yy
    middle = x * y - z**2 * xy
    constant = x**2 - z**2 * xx
    bounded = (y > 0) & (square > NEGLIGIBLE * y**2)
    root = np.sqrt(np.maximum(middle**2 - square * constant, 0.0))
    divisor = np.where(bounded, square, 1.0)
    return np.where(bounded, middle / divisor, 0.0), np.where(bounded, root / divisor, np.inf)


def compute_count_half_widths(covariances: Covariances, figures: Figures) -> Array:
    """Return the half-width of the 95% interval of each count, in rows of the child table; shape of `figures`."""
    return Z95 * np.sqrt(covariances.variance(figures))


def compute_rate_half_widths(
    covariances: Covariances,
    numerator: Figures,
    denominator: Figures,
    public_denominators: Array,
    public_rates: Array,
) -> Array:
    """Return half-widths of rates, in points up to `WHOLE_RANGE`, if the true counts were the public ones."""
    _, half_width = compute_fieller_interval(
        public_rates * public_denominators,
        public_denominators,
        covariances.variance(numerator),
        covariances.variance(denominator),
        covariances.covariance(numerator, denominator),
    )
    return np.minimum(100 * half_width, WHOLE_RANGE)


def compute_difference_half_widths(
    covariances: Covariances,
    rates: tuple[tuple[Figures, Figures], tuple[Figures, Figures]],
    public_denominators: tuple[Array, Array],
    public_rates: tuple[Array, Array],
) -> Array:
    """Return half-widths of differences of two rates in points, at most twice `WHOLE_RANGE`, by linearisation."""
    weights = [
        (figures, sign * share / np.maximum(size, 1.0))
        for (part, whole), size, rate, sign in zip(rates, public_denominators, public_rates, (1.0, -1.0), strict=True)
        for figures, share in ((part, np.ones_like(rate)), (whole, -rate))
    ]
    variance = np.zeros(public_denominators[0].shape)
    for left, weight in weights:
        for right, other in weights:
            variance = variance + weight * other * covariances.covariance(left, right)
    return np.minimum(100 * Z95 * np.sqrt(np.maximum(variance, 0.0)), 2 * WHOLE_RANGE)


@dataclass(frozen=True, eq=False)
class _Pair(RatioMoments):
    """Moments of ratios known to be in [0, largest]."""

    largest: float

    @cached_property
    def ratio(self) -> Array:
        """x / y within [0, largest], and 0 if y is not positive (such a ratio is always withheld)."""
        # A very small denominator may give infinity, which is then cut to the range.
        with np.errstate(over="ignore"):
            ratio = np.where(self.y > 0, self.x, 0.0) / np.where(self.y > 0, self.y, 1.0)
        return np.clip(ratio, 0.0, self.largest)

    @cached_property
    def interval(self) -> tuple[Array, Array]:
        """Centre and half-width of Fieller's interval."""
        return compute_fieller_interval(self.x, self.y, self.xx, self.yy, self.xy)

    @property
    def low(self) -> Array:
        return np.clip(self.interval[0] - self.interval[1], 0.0, self.largest)

    @property
    def high(self) -> Array:
        return np.clip(self.interval[0] + self.interval[1], 0.0, self.largest)

    @property
    def linearised_variance(self) -> Array:
        """Variance of y times the linearised ratio."""
        return np.maximum(self.compute_variance(self.ratio), 0.0)


def _flag_ratios(pair: _Pair, reliability: Reliability) -> NDArray[np.str_]:
    """Return the flag of each ratio, from its interval before clipping to the possible range."""
    points = 100 * pair.interval[1] / pair.largest
    weak = (pair.y <= 0) | (pair.y < reliability.denominator_standard_errors * np.sqrt(pair.yy))
    return _flag_by_half_width(points, weak, reliability)


def _flag_by_half_width(points: Array, weak: NDArray[np.bool_], reliability: Reliability) -> NDArray[np.str_]:
    """Return the flag by half-width in points; always withheld if `weak`."""
    withheld = weak | (points > reliability.withheld_half_width)
    return np.select([withheld, points > reliability.unreliable_half_width], [WITHHELD, UNRELIABLE], RELIABLE)


def _compute_arm(one: Array, other: Array, correlation: Array) -> Array:
    # Negative only by rounding, because no correlation is outside -1 to 1.
    return np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0))

"""Published figures: an estimate with its 95% interval and a reliability flag.

Everything is computed from noisy values and public variances, elementwise over arrays of any one shape, and is defined
for every input: negative or zero denominators, zero variances, unbounded intervals. Intervals cover the noise that was
added for privacy; `corrected` adds the uncertainty of a correction for missed and false links.

Given public counts in place of the confidential ones, the same functions give the accuracy that a plan will deliver
before any budget is spent. Last year's official counts are public and may be used for this; this year's may not.

`model_rates` models rates of places (rows) by groups (columns), with intervals, from all noisy counts together. A cell
that differs by more than its noise explains keeps its own figure, and one whose difference may be noise is drawn
towards the others. `docs/privacy-derivation.md` has the model and the proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import scipy
from numpy.typing import NDArray

from privacy.estimation.covariance import Covariances, cache_by_identity
from privacy.release.policy import Reliability
from privacy.release.workload import Array, Figures

Z95 = 1.959963984540054
"""97.5% quantile of the standard normal distribution."""

NEGLIGIBLE = 1e-12
"""Relative distance of a squared denominator from its noise below which it counts as none: rounding would decide."""

DECIMALS = 6
"""Decimals to which half-widths are compared, so that all platforms decide alike."""

RELIABLE, UNRELIABLE, WITHHELD = "", "u", "withheld"
"""Flags of a ratio; empty if it is reliable."""


Rate = tuple[Figures, Figures]
"""Numerator and denominator of a rate."""


class Moments(Protocol):
    """A source of values, variances and covariances of figures, such as `Estimates`."""

    def compute_values(self, figures: Figures, /) -> Array: ...
    def compute_variance(self, figures: Figures, /) -> Array: ...
    def compute_covariance(self, left: Figures, right: Figures, /) -> Array: ...


class Remembered:
    """Moments that cache their answers, for figures that are used more than once."""

    def __init__(self, moments: Moments) -> None:
        self._moments = moments

    @cache_by_identity
    def compute_values(self, figures: Figures) -> Array:
        return self._moments.compute_values(figures)

    @cache_by_identity
    def compute_variance(self, figures: Figures) -> Array:
        return self._moments.compute_variance(figures)

    @cache_by_identity
    def compute_covariance(self, left: Figures, right: Figures) -> Array:
        return self._moments.compute_covariance(left, right)


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
            moments.compute_values(numerator),
            moments.compute_values(denominator),
            moments.compute_variance(numerator),
            moments.compute_variance(denominator),
            moments.compute_covariance(numerator, denominator),
            *more,
        )

    def compute_variance(self, ratio: Array) -> Array:
        """Return the variance of x - ratio * y."""
        return self.xx - 2 * ratio * self.xy + ratio**2 * self.yy

    def compute_interval(self, z: float = Z95) -> tuple[Array, Array]:
        """Return the centre and half-width of Fieller's interval for E[x]/E[y]; `z` is a normal quantile.

        Bounded if y exceeds zero by more than z standard errors; otherwise the half-width is infinite and the centre 0.
        """
        square = self.y**2 - z**2 * self.yy
        middle = self.x * self.y - z**2 * self.xy
        constant = self.x**2 - z**2 * self.xx
        bounded = (self.y > 0) & (square > NEGLIGIBLE * self.y**2)
        root = np.sqrt(np.maximum(middle**2 - square * constant, 0.0))
        divisor = np.where(bounded, square, 1.0)
        return np.where(bounded, middle / divisor, 0.0), np.where(bounded, root / divisor, np.inf)


@dataclass(frozen=True, eq=False)
class PublishedFigures:
    """Counts, ratios or differences of ratios in their own unit, NaN if `withheld`, with intervals and flags."""

    value: Array
    lower: Array
    upper: Array
    flag: NDArray[np.str_]

    @property
    def half_width(self) -> Array:
        """Half the width of the interval, infinite if the figure is withheld, whatever withholds it."""
        return np.where(self.flag == WITHHELD, np.inf, (self.upper - self.lower) / 2)


def compute_published_counts(moments: Moments, figures: Figures) -> PublishedFigures:
    """Return counts for publication: max(0, round(estimate)), interval estimate +- z sd within [0, infinity).

    Counts are never withheld.
    """
    # Only shown values are rounded and cut at 0; no sum is computed from them.
    estimate = moments.compute_values(figures)
    half_width = Z95 * np.sqrt(moments.compute_variance(figures))
    return PublishedFigures(
        np.maximum(np.rint(estimate), 0.0),
        np.maximum(estimate - half_width, 0.0),
        np.maximum(estimate + half_width, 0.0),
        np.full(estimate.shape, RELIABLE),
    )


def compute_published_ratios(
    moments: Moments,
    numerator: Figures,
    denominator: Figures,
    reliability: Reliability,
    *,
    largest: float,
    unit: float = 1.0,
) -> PublishedFigures:
    """Return ratios in [0, largest], in multiples of 1/unit: a percentage has `largest` 1 and `unit` 100."""
    pair = _Pair.build(moments, numerator, denominator, largest)
    flag = _flag_ratios(pair, reliability)
    value = np.where(flag == WITHHELD, np.nan, pair.ratio)
    return PublishedFigures(value * unit, pair.low * unit, pair.high * unit, flag)


def compute_rate_differences(
    moments: Moments,
    first: Rate,
    second: Rate,
    reliability: Reliability,
) -> PublishedFigures:
    """Return the first rate minus the second, in points; figures of one shape.

    The interval is MOVER's (Zou & Donner 2008; `docs/privacy-derivation.md`); the flag depends on half its width.
    """
    one, two = _Pair.build(moments, *first, 1.0), _Pair.build(moments, *second, 1.0)
    covariance = _compute_rate_covariance(moments, first, second, one.ratio, two.ratio)
    scale = np.sqrt(one.linearised_variance * two.linearised_variance)
    # of the linearised ratios; 0 if either has no variance
    correlation = np.clip(np.where(scale > 0, covariance, 0.0) / np.where(scale > 0, scale, 1.0), -1.0, 1.0)
    rate1, rate2 = np.clip(one.ratio, one.low, one.high), np.clip(two.ratio, two.low, two.high)
    difference = rate1 - rate2
    down = _compute_arm(rate1 - one.low, two.high - rate2, correlation)
    up = _compute_arm(one.high - rate1, rate2 - two.low, correlation)
    withheld = (_flag_ratios(one, reliability) == WITHHELD) | (_flag_ratios(two, reliability) == WITHHELD)
    lower, upper = 100 * np.clip(difference - down, -1.0, 1.0), 100 * np.clip(difference + up, -1.0, 1.0)
    flag = _flag_by_interval(lower, upper, withheld, reliability)
    return PublishedFigures(np.where(flag == WITHHELD, np.nan, 100 * difference), lower, upper, flag)


def _compute_rate_covariance(moments: Moments, first: Rate, second: Rate, one: Array, two: Array) -> Array:
    """Return the covariance of x - rate y of two rates, whose values are `one` and `two`."""
    (xx, xy), (yx, yy) = [[moments.compute_covariance(f, g) for g in second] for f in first]
    return xx - two * xy - one * yx + one * two * yy


def compute_count_half_widths(moments: Moments | Covariances, figures: Figures) -> Array:
    """Return the half-width of the 95% interval of each count, in rows of the child table; shape of `figures`."""
    return Z95 * np.sqrt(moments.compute_variance(figures))


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
        return self.compute_interval()

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
    unit = 100 / pair.largest
    weak = (pair.y <= 0) | (pair.y < reliability.denominator_standard_errors * np.sqrt(pair.yy))
    return _flag_by_interval(unit * pair.low, unit * pair.high, weak, reliability)


def _flag_by_interval(
    lower: Array, upper: Array, weak: NDArray[np.bool_], reliability: Reliability
) -> NDArray[np.str_]:
    """Return the flag by the published interval, in points within the possible range; always withheld if `weak`."""
    points = (upper - lower) / 2
    withheld = weak | ~is_within(points, reliability.withheld_half_width)
    return np.select(
        [withheld, ~is_within(points, reliability.unreliable_half_width)], [WITHHELD, UNRELIABLE], RELIABLE
    )


def is_within(half_widths: Array, limit: float) -> NDArray[np.bool_]:
    """Return which half-widths are at most `limit`; NaN, of figures that there are not, is not."""
    return np.asarray(np.round(half_widths, DECIMALS) <= limit)


def _compute_arm(one: Array, other: Array, correlation: Array) -> Array:
    # Negative only by rounding, because no correlation is outside -1 to 1.
    return np.sqrt(np.maximum(one**2 + other**2 - 2 * correlation * one * other, 0.0))


MINIMUM_PLACES = 4
"""With fewer places there is nothing to learn from the others."""

TYPICAL_DEVIATIONS = (0.0025, 0.01, 0.02, 0.03, 0.045, 0.07, 0.1)
"""Standard deviations, in shares, of most cells from the sum of their effects; all equally likely."""

STRAYING_SHARE = 0.25
"""Share of the cells that may deviate by any amount: declared, because it cannot be estimated from a few cells."""

STRAYING_DEVIATION = 0.25
"""Standard deviation of the cells that may deviate by any amount."""

OWN_INTERVAL_Z = 1.4395314709384563
"""92.5% quantile of the standard normal distribution, for the 85% interval of a cell's own counts."""

ROUNDS = 6
"""Number of fits of the effects.

Compared with this number, thirty fits move no figure by more than a few thousandths of a point in half of the pilot's
synthetic tables, and none by more than an eighth of the width of its interval in any.
"""

NO_NOISE = 1e-9
"""Variance of a count, in children squared, below which there is no noise."""

REDUNDANT = 1e-10
"""Share of the largest eigenvalue below which an eigenvalue counts as zero.

One always does: adding a constant to all groups and subtracting it from all places changes nothing.
"""

LARGEST_UNCERTAINTY = 0.25
"""Variance of a rate about which nothing is known."""

NEAR_CERTAIN = 0.005
"""Least distance of an expected rate from 0 and 1, so that its chance variance never vanishes."""

# Halves [0, 1] to within 1e-12: with 1e-7, processors that differ in the last digits could differ in the seventh
# digit of an end of an interval.
BISECTIONS = 40
TAIL = 0.025


@dataclass(frozen=True, eq=False)
class NoisyRates(RatioMoments):
    """Moments of counts with noise; all (places, groups)."""

    def compute_noise_variance(self, rate: Array) -> Array:
        """Return the variance of the noise in x - rate y."""
        return np.maximum(self.compute_variance(rate), NO_NOISE)

    def select(self, places: Sequence[int], groups: Sequence[int]) -> "NoisyRates":
        """Return the rates of some places and of some groups, by number among all columns after the first."""
        kept = (
            each.reshape(len(each), -1)[np.ix_(places, groups)] for each in (self.x, self.y, self.xx, self.yy, self.xy)
        )
        return NoisyRates(*kept)

    @cached_property
    def size(self) -> Array:
        """Estimated number of children, not negative."""
        return np.maximum(self.y, 0.0)

    def compute_chance_variance(self, rate: Array) -> Array:
        """Return the variance by chance of an observed rate if each child's probability is `rate`."""
        return rate * (1 - rate) / np.maximum(self.size, 1.0)


@dataclass(frozen=True)
class ModelledRates:
    """Modelled rates, 0 to 1, with both ends of their 95% intervals; all (places, groups)."""

    rate: Array
    lower: Array
    upper: Array


def model_rates(noisy: NoisyRates) -> ModelledRates:
    """Estimate every rate, given the counts of at least `MINIMUM_PLACES` places."""
    fits = [_fit(noisy, np.hypot(typical, (0.0, STRAYING_DEVIATION)) ** 2) for typical in TYPICAL_DEVIATIONS]
    credible, seen = scipy.special.softmax([evidence for evidence, _ in fits]), [each for _, each in fits]
    mixture = _Mixture(
        np.concatenate([weight * each.share for weight, each in zip(credible, seen, strict=True)], axis=-1),
        np.concatenate([each.mean for each in seen], axis=-1),
        np.concatenate([each.deviation for each in seen], axis=-1),
    )
    middle, half_width = noisy.compute_interval(OWN_INTERVAL_Z)
    return ModelledRates(
        mixture.compute_quantile(0.5),
        np.clip(np.minimum(mixture.compute_quantile(TAIL), middle - half_width), 0.0, 1.0),
        np.clip(np.maximum(mixture.compute_quantile(1 - TAIL), middle + half_width), 0.0, 1.0),
    )


def _fit(noisy: NoisyRates, spreads: Array) -> tuple[float, "_Mixture"]:
    """Fit effects by maximum likelihood (iterated weighted least squares); the prediction of a cell leaves it out.

    `spreads` (2,) are the variances of the deviations of the two kinds of cells, those that deviate little and the
    others. Returns the logarithm of the density of all counts, up to a constant, and the posterior of every rate.
    """
    expected = _clip_rate(_compute_shares(noisy.x.sum(axis=0), noisy.size.sum(axis=0))) * np.ones((len(noisy.x), 1))
    for _ in range(ROUNDS):
        variances = (noisy.compute_noise_variance(expected) + noisy.size**2 * noisy.compute_chance_variance(expected))[
            ..., None
        ] + (noisy.size[..., None] ** 2 * spreads)
        densities = _compute_log_densities(noisy.x - expected * noisy.size, variances)
        variance = 1 / (scipy.special.softmax(densities, axis=-1) / variances).sum(axis=-1)
        effects, spread, information = _fit_additive(noisy.x, noisy.size, variance)
        expected = _clip_rate(effects)
    # Below 1, so that the division by 1 - own stays finite.
    own = np.minimum(noisy.size**2 / variance * spread, 1 - 1e-9)
    uncertainty = np.minimum(spread / (1 - own), LARGEST_UNCERTAINTY)
    # The prediction from all other cells, without fitting again (leave-one-out formula of least squares).
    without = expected - uncertainty * noisy.size * (noisy.x - expected * noisy.size) / variance
    # Laplace's approximation: the effects are integrated out through their information.
    evidence = float(scipy.special.logsumexp(densities, axis=-1).sum() - information / 2)
    return evidence, _compute_posterior(noisy, spreads, _clip_rate(without), uncertainty)


@dataclass(frozen=True)
class _Mixture:
    """A mixture of normal distributions for every cell; each array is (places, groups, components)."""

    share: Array
    mean: Array
    deviation: Array

    def compute_quantile(self, probability: float) -> Array:
        """Return a quantile within [0, 1], by bisection, to 1e-12."""
        low, high = np.zeros(self.mean.shape[:-1]), np.ones(self.mean.shape[:-1])
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            reached = (self.share * scipy.special.ndtr((middle[..., None] - self.mean) / self.deviation)).sum(axis=-1)
            low, high = np.where(reached < probability, middle, low), np.where(reached < probability, high, middle)
        return np.asarray((low + high) / 2)


def _compute_posterior(noisy: NoisyRates, spreads: Array, expected: Array, uncertainty: Array) -> _Mixture:
    """Return the posterior of every rate, the kind of cell and how much it deviates, given the other cells.

    `expected` and its variance `uncertainty`, (places, groups), are each rate as predicted from the other cells.
    """
    size, noise = noisy.size[..., None], noisy.compute_noise_variance(expected)[..., None]
    before = (uncertainty + noisy.compute_chance_variance(expected))[..., None] + spreads
    strayed = (noisy.x - expected * noisy.size)[..., None]
    variances = noise + size**2 * before
    return _Mixture(
        scipy.special.softmax(_compute_log_densities(strayed[..., 0], variances), axis=-1),
        expected[..., None] + before * size * strayed / variances,
        np.sqrt(before * noise / variances),
    )


def _compute_log_densities(strayed: Array, variances: Array) -> Array:
    """Return log densities of cells' deviations, (places, groups, 2), weighted by the share of each kind of cell."""
    shares = np.array([1 - STRAYING_SHARE, STRAYING_SHARE])
    return np.asarray(np.log(shares) - (strayed[..., None] ** 2 / variances + np.log(variances)) / 2)


def _fit_additive(x: Array, y: Array, variance: Array) -> tuple[Array, Array, float]:
    """Fit a level plus effects of places plus effects of groups, by least squares of x / y with weights y^2 / variance.

    Returns the effects of place and group together, their variance, both (places, groups), and the log determinant of
    the information matrix of all effects. Never divides by y; an effect without data is 0.
    """
    weight = y**2 / variance
    level = _compute_shares((y * x / variance).sum(keepdims=True), weight.sum(keepdims=True))
    strayed = y * x / variance - weight * level
    # Eliminating the places leaves a system as small as the number of groups.
    of_place = weight.sum(axis=1, keepdims=True)
    share = _compute_shares(weight, of_place)
    values, vectors = np.linalg.eigh(np.diag(weight.sum(axis=0)) - weight.T @ share)
    informative = values > REDUNDANT * values[-1]
    known, along = values[informative], vectors[:, informative]
    inverse = (along / known) @ along.T
    group = inverse @ (strayed - share * strayed.sum(axis=1, keepdims=True)).sum(axis=0)
    place = _compute_shares((strayed - weight * group).sum(axis=1, keepdims=True), of_place)
    # A place without data has a very large variance, which `LARGEST_UNCERTAINTY` limits.
    of_place = np.maximum(of_place, np.finfo(float).tiny)
    contrast = np.eye(y.shape[1]) - share[:, None, :]
    apart = (contrast @ inverse * contrast).sum(axis=-1)
    return level + place + group, 1 / of_place + apart, float(np.log(of_place).sum() + np.log(known).sum())


def _clip_rate(rate: Array) -> Array:
    return np.asarray(np.clip(rate, NEAR_CERTAIN, 1 - NEAR_CERTAIN))


def _compute_shares(part: Array, whole: Array) -> Array:
    return np.asarray(np.where(whole > 0, part, 0.0) / np.where(whole > 0, whole, 1.0))

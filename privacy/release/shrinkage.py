"""A model's view of noisy rates: empirical Bayes, drawn towards additive effects of rows and columns.

For the rates of places (rows) by groups (columns) it is assumed that

    rate = effect of the place + effect of the group + deviation,     deviation ~ (0, tau^2 + f (1 - f) / n)

f being the sum of the effects and n the number of children: even without noise a small group strays from its
expectation by chance. The published rate adds noise of known variance. Effects are fitted by weighted least squares,
tau^2 so that the weighted squares of the deviations are as large as expected (Paule and Mandel 1982), and every rate is
drawn towards f by the share of its variance that is noise (Fay and Herriot 1979). It is post-processing: it costs no
privacy. It is biased where a group does unlike itself in one place, and has no interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from privacy.release.workload import Array

MINIMUM_PLACES = 4
"""With fewer places there is nothing to learn from the others."""

ROUNDS = 12
"""Fits of effects and of tau^2 in turn; changes are under a thousandth of a point after some six."""

REDUNDANT = 1e-10
"""Share of the largest eigenvalue below which one is taken as none: what is added to all groups can be taken off all
places."""

BISECTIONS = 40
LARGEST_DEVIATION = 1.0


@dataclass(frozen=True)
class NoisyRates:
    """Numerators x and denominators y with their noise's variances xx, yy and covariance xy; all (places, groups)."""

    x: Array
    y: Array
    xx: Array
    yy: Array
    xy: Array


def shrunk_rates(noisy: NoisyRates) -> Array:
    """(places, groups): rates, 0 to 1, as the model sees them. Raises ValueError for fewer than `MINIMUM_PLACES`."""
    places, groups = noisy.x.shape
    if places < MINIMUM_PLACES:
        raise ValueError(f"the model needs {MINIMUM_PLACES} places, not {places}")
    y = np.maximum(noisy.y, 0.0)
    fitted = np.clip(_share(noisy.x.sum(axis=0), y.sum(axis=0)), 0.0, 1.0) * np.ones((places, 1))
    spread = 0.0
    for _ in range(ROUNDS):
        noise = np.maximum(noisy.xx - 2 * fitted * noisy.xy + fitted**2 * noisy.yy, 1e-12)
        chance = fitted * (1 - fitted) / np.maximum(y, 1.0)
        fitted = _additive(noisy.x, y, noise + y**2 * (chance + spread))
        spread = _spread((noisy.x - fitted * y) ** 2, noise + y**2 * chance, y**2, (places - 1) * (groups - 1))
    prior = chance + spread
    return np.clip(fitted + prior * y * (noisy.x - fitted * y) / (prior * y**2 + noise), 0.0, 1.0)


def _additive(x: Array, y: Array, variance: Array) -> Array:
    """A level plus effects of places plus effects of groups, the least squares fit to x / y by weights y^2 / variance.

    Never divides by y; an effect that nothing tells is 0. Those of places are eliminated: they follow from the others.
    """
    weight = y**2 / variance
    level = _share((y * x / variance).sum(keepdims=True), weight.sum(keepdims=True))
    strayed = y * x / variance - weight * level
    of_place = weight.sum(axis=1, keepdims=True)
    share = _share(weight, of_place)
    matrix = np.diag(weight.sum(axis=0)) - weight.T @ share
    group = np.linalg.pinv(matrix, rcond=REDUNDANT, hermitian=True) @ (
        strayed - share * strayed.sum(axis=1, keepdims=True)
    ).sum(axis=0)
    place = _share((strayed - weight * group).sum(axis=1, keepdims=True), of_place)
    return np.clip(level + place + group, 0.0, 1.0)


def _spread(squares: Array, variance: Array, scale: Array, freedom: int) -> float:
    """The tau^2 under which sum(squares / (variance + scale tau^2)) is the number of degrees of freedom; at least 0."""
    low, high = 0.0, LARGEST_DEVIATION
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_small = float((squares / (variance + scale * middle)).sum()) > freedom
        low, high = (middle, high) if too_small else (low, middle)
    return low


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(np.where(whole > 0, part, 0.0) / np.where(whole > 0, whole, 1.0))

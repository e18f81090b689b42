"""How accurate a release will be, before any of its budget is spent; a function of the plan and of public figures.

Last year's official counts are public and may stand in for this year's; this year's confidential counts may not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.release.covariance import Covariances
from privacy.release.intervals import Z95, fieller
from privacy.release.workload import Figures

Array = NDArray[np.float64]

WHOLE_RANGE = 50.0
"""Half-width of a rate that may be anything from 0 to 100, in points."""


def expected_half_widths(covariances: Covariances, figures: Figures) -> Array:
    """Half-width of the 95% interval of each count, in rows of the child table; shape of `figures`."""
    return Z95 * np.sqrt(covariances.variance(figures))


def expected_rate_half_widths(
    covariances: Covariances,
    numerator: Figures,
    denominator: Figures,
    public_denominators: Array,
    public_rates: Array,
) -> Array:
    """Half-width of the 95% interval of each rate, in points, were the denominators and rates (0 to 1) the public ones.

    All arguments have the shape of the figures. A denominator the noise drowns gives `WHOLE_RANGE`.
    """
    _, half_width = fieller(
        public_rates * public_denominators,
        public_denominators,
        covariances.variance(numerator),
        covariances.variance(denominator),
        covariances.covariance(numerator, denominator),
    )
    return np.minimum(100 * half_width, WHOLE_RANGE)


def expected_difference_half_widths(
    covariances: Covariances,
    rates: tuple[tuple[Figures, Figures], tuple[Figures, Figures]],
    public_denominators: tuple[Array, Array],
    public_rates: tuple[Array, Array],
) -> Array:
    """Half-width of the 95% interval of the first rate less the second, in points, by linearisation.

    Each rate is given as (numerator, denominator). At most twice `WHOLE_RANGE`.
    """
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

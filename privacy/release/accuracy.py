"""How accurate a release will be, before any of its budget is spent; a function of the plan and of public figures.

Last year's official counts are public and may stand in for this year's; this year's confidential counts may not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privacy.release.intervals import Z95, fieller
from privacy.release.nested import covariances_of
from privacy.release.plan import Plan
from privacy.release.workload import Figures

Array = NDArray[np.float64]


def expected_half_widths(plan: Plan, figures: Figures) -> Array:
    """Half-width of the 95% interval of each count, in rows of the child table; shape of `figures`."""
    return Z95 * np.sqrt(covariances_of(plan).variance(figures))


def expected_rate_half_widths(
    plan: Plan, numerator: Figures, denominator: Figures, public_denominators: Array, public_rates: Array
) -> Array:
    """Half-width of the 95% interval of each rate, in points, were the denominators and rates (0 to 1) the public ones.

    All arguments have the shape of the figures. A denominator the noise drowns gives 50, the whole range.
    """
    covariances = covariances_of(plan)
    _, half_width = fieller(
        public_rates * public_denominators,
        public_denominators,
        covariances.variance(numerator),
        covariances.variance(denominator),
        covariances.covariance(numerator, denominator),
    )
    return np.minimum(100 * half_width, 50.0)

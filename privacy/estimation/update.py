"""The best linear estimate of rates from a prior and from counts that they explain (Kalman's update)."""

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.corrected import invert_matrix

Array = NDArray[np.float64]


def update_estimate(
    rates: Array, covariance: Array, expected: Array, counted: Array, spread: Array
) -> tuple[Array, Array]:
    """Return mean and covariance of rates after `counted`, whose mean is `expected` @ rates and whose covariance is
    `spread`.

    If the counts are further from the rates than both allow (chi-square over its degrees of freedom above 1), the
    covariance is first multiplied by that quotient, as Birge's ratio widens measurements that disagree.
    """
    contrast = counted - expected @ rates
    before = expected @ covariance @ expected.T
    wider = max(1.0, float(contrast @ invert_matrix(before + spread) @ contrast) / len(counted))
    gain = wider * covariance @ expected.T @ invert_matrix(wider * before + spread)
    after = wider * (covariance - gain @ expected @ covariance)
    # Rounding errors leave the product slightly asymmetric.
    return rates + gain @ contrast, (after + after.T) / 2

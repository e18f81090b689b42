"""What a motivated intruder could find out at most, from the privacy loss alone.

An intruder who knows everything but whether one child is in the data can do no better than a statistical test of
"with" against "without" the child. Zero-concentrated differential privacy bounds the Renyi divergences between the two
(Bun and Steinke 2016, definition 1.1). No test increases them, so they bound how often any test finds the child.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

FALSE_ALARMS = 0.05
_ORDERS = 1 + np.geomspace(1e-3, 1e3, 400)


def most_found(rho: float, false_alarms: float = FALSE_ALARMS) -> float:
    """The largest share of cases in which any test that is wrong about absent children this often finds a present one.

    `rho` is the privacy loss, above 0; `false_alarms` lies between 0 and 1. For every order a above 1, outcomes with
    probabilities (q, 1 - q) and (p, 1 - p) have Renyi divergence at most rho a; the smallest q at which one order
    forbids more is the bound.
    """

    def excess(found: float) -> float:
        yes = _ORDERS * np.log(found) + (1 - _ORDERS) * np.log(false_alarms)
        no = _ORDERS * np.log1p(-found) + (1 - _ORDERS) * np.log1p(-false_alarms)
        return float(np.max(np.logaddexp(yes, no) / (_ORDERS - 1) - rho * _ORDERS))

    highest = 1 - 1e-12
    return highest if excess(highest) < 0 else float(brentq(excess, false_alarms, highest))

"""What an attacker could find out at most: rho as success of a guess, at each kind of neighbour.

The attacker knows every other row, all that is published elsewhere, the plans and every noisy count. What is left is a
statistical test between two tables. Which two depends on the question: whether a child is counted (one row more), or in
which category a child is who is known to be counted (one row replaced), and the second costs twice the rho.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

FALSE_ALARMS = 0.05
QUESTIONS = (
    ("whether a child is counted", 1, "one row added or removed"),
    ("in which of two categories a child is who is known to be counted", 2, "one row replaced by another"),
    ("whether two siblings, or one child who stands in the table twice, are counted", 4, "two rows added or removed"),
    ("in which of two categories such a pair is, known to be counted", 8, "two rows replaced by two others"),
)
"""What may be asked, the factor on rho (squared L2 distance of the counts), and the change of the table behind it."""
_ORDERS = 1 + np.geomspace(1e-3, 1e3, 400)


def inference(rho: float) -> dict[str, Any]:
    """JSON-ready: for each question how often an attacker is right in 100, rounded, of a release that costs `rho`."""
    return {
        "false_alarms_in_100": in_100(FALSE_ALARMS),
        "questions": [
            {
                "question": question,
                "change": change,
                "rho_factor": factor,
                "rho": round(factor * rho, 9),
                "guessed_in_100": guessed_in_100(factor * rho),
                "found_in_100": in_100(most_found(factor * rho)),
            }
            for question, factor, change in QUESTIONS
        ],
    }


def in_100(share: float) -> int:
    """A share as whole cases in 100."""
    return round(100 * share)


def guessed_in_100(rho: float) -> int:
    """Of two equally likely tables that noise of this rho covers, how often the best guess is right, rounded up.

    Phi(sqrt(2 rho) / 2): what Gaussian noise of that rho allows (Neyman and Pearson). Tests compare it with the privacy
    loss distribution of the discrete noise that is drawn.
    """
    return math.ceil(100 * float(ndtr(math.sqrt(2 * rho) / 2)))


def most_found(rho: float, false_alarms: float = FALSE_ALARMS) -> float:
    """The largest share of cases in which any test that is wrong about absent children this often finds a present one.

    An attacker can do no better than a statistical test of one table against the other. Zero-concentrated differential
    privacy bounds the Renyi divergences between the two (Bun and Steinke 2016, definition 1.1). No test increases them,
    so they bound how often a test finds the child.
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

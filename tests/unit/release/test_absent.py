"""Estimates given that a category is known to be empty."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.estimation.estimates import Estimates, without_categories
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Attribute, Cube, Family, Marginal, Selector, WorkloadError

COUNCIL, LEVEL = Attribute("council", ("a", "b", "c")), Attribute("level", ("yes", "no"))
BOTH, ONE = ("council", "level"), ("level",)
PLAN = Plan(
    Family("example", "child", (COUNCIL, LEVEL), (Marginal(BOTH), Marginal(ONE))), 0.25, 1e-6, {BOTH: 2.0, ONE: 3.0}
)
NOISY = {BOTH: np.array([[61, 32], [3, -4], [40, 23]]), ONE: np.array([100, 60])}
MEASURED = Measurement(PLAN.sha256, "by hand", "none", 0.25, NOISY)


def test_estimates_are_the_weighted_least_squares_under_the_known_zeros() -> None:
    plan, measured = without_categories(PLAN, MEASURED, "council", ["b"])
    council, level = plan.family.attribute("council"), plan.family.attribute("level")
    estimates = Estimates(plan, measured)
    cells = Cube({"council": Selector.each(council), "level": Selector.each(level)})
    rows, seen, weights = [], [], []
    for index, noisy in zip((0, 2), NOISY[BOTH][[0, 2]], strict=True):
        for column in (0, 1):
            rows.append([float((i, j) == (index, column)) for i in (0, 2) for j in (0, 1)])
            seen.append(noisy[column])
            weights.append(1 / 2.0)
    for column in (0, 1):
        rows.append([float(j == column) for _ in (0, 2) for j in (0, 1)])
        seen.append(NOISY[ONE][column])
        weights.append(1 / 3.0)
    design = np.array(rows) * np.array(weights)[:, None]
    expected = np.linalg.lstsq(design, np.array(seen) * np.array(weights), rcond=None)[0]
    covariance = np.linalg.inv(design.T @ design)
    assert np.ravel(estimates.values(cells)) == pytest.approx(expected)
    assert np.ravel(estimates.variance(cells)) == pytest.approx(np.diag(covariance))


def test_a_category_must_be_left_and_the_plan_be_the_same() -> None:
    with pytest.raises(WorkloadError, match="needs a category"):
        without_categories(PLAN, MEASURED, "council", COUNCIL.categories)
    with pytest.raises(ValueError, match="another plan"):
        without_categories(PLAN, Measurement("0" * 64, "by hand", "none", 0.25, NOISY), "council", ["b"])

"""The worked example of docs/privacy.md, number by number."""

import numpy as np
import pytest

from privacy.release import Attribute, Cube, Estimates, Family, Marginal, Measurement, Plan, Selector


def test_the_example_by_hand() -> None:
    council, level = Attribute("council", ("a", "b")), Attribute("level", ("yes", "no"))
    both, one = ("council", "level"), ("council",)
    family = Family("example", "child", (council, level), (Marginal(both), Marginal(one)))
    plan = Plan(family, 0.25, 1e-6, {one: 2.0, both: 2.0})
    noisy = {both: np.array([[61, 32], [40, 23]]), one: np.array([96, 60])}
    estimates = Estimates(plan, Measurement(plan.sha256, "by hand", "none", 0.25, noisy))
    a = Selector.only(council, "a")
    total, yes = Cube({"council": a}), Cube({"council": a}, {"level": Selector.only(level, "yes")})
    assert np.ravel(estimates.values(total)) == pytest.approx([95])
    assert np.ravel(estimates.variance(total)) == pytest.approx([8 / 3])
    assert np.ravel(estimates.values(yes)) == pytest.approx([62])
    assert np.ravel(estimates.variance(yes)) == pytest.approx([8 / 3])
    assert sum(1 / (2 * sigma**2) for sigma in plan.sigmas.values()) == pytest.approx(0.25)

"""Noise has the distribution that is charged for, the charge equals OpenDP's, and a second accountant agrees."""

import numpy as np
import pytest

from privacy.release.mechanism import ChargeError, OpenDPNoise, compute_charge, compute_epsilon, measure
from privacy.release.plan import Plan, make_plan
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import build_pilot_family, make_small_plan


def zeros(plan: Plan) -> dict[tuple[str, ...], np.ndarray]:
    return {a: np.zeros(plan.family.get_shape(a), dtype=np.int64) for a in plan.sigmas}


def test_the_charge_is_opendps_and_at_most_what_is_declared():
    plan = make_plan(build_pilot_family(), 0.185, delta=1e-6)
    assert 0.185 * (1 - 1e-4) < compute_charge(plan) <= 0.185
    assert compute_charge(plan) == pytest.approx(sum(0.5 / s**2 for s in plan.sigmas.values()), rel=1e-12)


def test_a_draw_beyond_what_was_reserved_is_refused():
    plan = make_small_plan(0.1)
    noise = OpenDPNoise(0.09)
    with pytest.raises(ChargeError, match="more than the reserved rho"):
        measure(plan, zeros(plan), noise)
    with pytest.raises(ChargeError):
        noise.add([np.zeros(3, dtype=np.int64)], [1000.0])


@pytest.mark.parametrize(
    "break_counts", [lambda c: c.popitem(), lambda c: c.update({k: v.astype(float) for k, v in c.items()})]
)
def test_counts_that_do_not_fit_the_plan_are_refused(break_counts):
    counts = zeros(make_small_plan())
    break_counts(counts)
    with pytest.raises(ValueError, match="counts"):
        measure(make_small_plan(), counts, NoNoise())


@pytest.mark.parametrize(("rho", "expected"), [(0.00664, 0.5), (0.02436, 1), (0.08815, 2), (0.18507, 3), (0.46306, 5)])
def test_epsilon_is_opendps_conversion(rho, expected):
    assert compute_epsilon(rho, 1e-6) == pytest.approx(expected, abs=2e-4)

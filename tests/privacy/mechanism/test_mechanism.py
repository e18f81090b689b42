"""Noise has the distribution that is charged for, the charge equals OpenDP's, and a second accountant agrees."""

from __future__ import annotations

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld
from scipy import stats

from privacy.estimation.estimates import Estimates
from privacy.release.mechanism import OPENDP, ChargeError, OpenDPNoise, charge, epsilon, measure
from privacy.release.plan import Plan, make_plan
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import pilot_family, small_family, small_plan


def zeros(plan: Plan) -> dict[tuple[str, ...], np.ndarray]:
    return {a: np.zeros(plan.family.shape(a), dtype=np.int64) for a in plan.sigmas}


def standardised(plan: Plan, releases: int) -> np.ndarray:
    """Return residuals over sigma of every measured cell, shape (releases, cells)."""
    return np.array(
        [
            np.concatenate([noisy.ravel() / plan.sigmas[a] for a, noisy in measurement.noisy.items()])
            for measurement in (measure(plan, zeros(plan), OpenDPNoise(charge(plan))) for _ in range(releases))
        ]
    )


@pytest.fixture(scope="module")
def residuals():
    return standardised(small_plan(), 300)


def test_the_variance_of_every_cell_and_of_all_is_what_is_charged_for(residuals):
    releases, cells = residuals.shape
    squares = (residuals**2).sum(axis=0)
    chance = 2 * np.minimum(stats.chi2.cdf(squares, releases), stats.chi2.sf(squares, releases))
    assert chance.min() > 1e-6 / cells
    total = squares.sum()
    assert 1e-6 < stats.chi2.cdf(total, releases * cells) < 1 - 1e-6


def test_noise_is_integer():
    plan = small_plan()
    measurement = measure(plan, zeros(plan), OpenDPNoise(charge(plan)))
    assert all(noisy.dtype == np.int64 for noisy in measurement.noisy.values())


def test_noise_is_independent_across_cells_tables_and_releases(residuals):
    releases, cells = residuals.shape
    bound = 6 / np.sqrt(releases)
    between_cells = np.corrcoef(residuals.T) - np.eye(cells)
    assert np.abs(between_cells).max() < bound
    between_releases = (residuals[1:] * residuals[:-1]).mean()
    assert abs(between_releases) < 6 / np.sqrt(releases * cells)


def test_the_charge_is_opendps_and_at_most_what_is_declared():
    plan = make_plan(pilot_family(), 0.185, delta=1e-6)
    assert 0.185 * (1 - 1e-4) < charge(plan) <= 0.185
    assert charge(plan) == pytest.approx(sum(0.5 / s**2 for s in plan.sigmas.values()), rel=1e-12)


def test_a_draw_beyond_what_was_reserved_is_refused():
    plan = small_plan(0.1)
    noise = OpenDPNoise(0.09)
    with pytest.raises(ChargeError, match="more than the reserved rho"):
        measure(plan, zeros(plan), noise)
    with pytest.raises(ChargeError):
        noise.add([np.zeros(3, dtype=np.int64)], [1000.0])


def test_a_measurement_says_where_its_noise_came_from():
    plan = small_plan()
    assert measure(plan, zeros(plan), OpenDPNoise(charge(plan))).noise_source == OPENDP
    assert measure(plan, zeros(plan), NoNoise()).noise_source != OPENDP


@pytest.mark.parametrize(
    "break_counts", [lambda c: c.popitem(), lambda c: c.update({k: v.astype(float) for k, v in c.items()})]
)
def test_counts_that_do_not_fit_the_plan_are_refused(break_counts):
    counts = zeros(small_plan())
    break_counts(counts)
    with pytest.raises(ValueError, match="counts"):
        measure(small_plan(), counts, NoNoise())


@pytest.mark.parametrize(("rho", "expected"), [(0.00664, 0.5), (0.02436, 1), (0.08815, 2), (0.18507, 3), (0.46306, 5)])
def test_epsilon_is_opendps_conversion(rho, expected):
    assert epsilon(rho, 1e-6) == pytest.approx(expected, abs=2e-4)


def test_a_second_accountant_finds_no_more_than_is_declared():
    """It composes the privacy loss distributions of the discrete Gaussians with dp-accounting."""
    plan = make_plan(small_family(), 0.185, delta=1e-6)
    losses = [
        pld.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=1e-3)
        for sigma in plan.sigmas.values()
    ]
    composed = losses[0]
    for loss in losses[1:]:
        composed = composed.compose(loss)
    exact, declared = composed.get_epsilon_for_delta(1e-6), epsilon(charge(plan), 1e-6)
    assert 0.7 * declared < exact <= declared


def test_the_pilots_plan_passes_the_second_accountant():
    plan = make_plan(pilot_family(), 0.185, delta=1e-6)
    composed = None
    for sigma in plan.sigmas.values():
        loss = pld.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=1e-3)
        composed = loss if composed is None else composed.compose(loss)
    assert composed is not None
    assert composed.get_epsilon_for_delta(1e-6) <= epsilon(0.185, 1e-6) < 3


def test_estimates_are_unbiased():
    plan = small_plan()
    counts = {a: np.full(plan.family.shape(a), 12, dtype=np.int64) for a in plan.sigmas}
    exact = Estimates(plan, measure(plan, counts, NoNoise())).marginal(("council", "fsm", "gld"))
    errors = [
        Estimates(plan, measure(plan, counts, OpenDPNoise(charge(plan)))).marginal(("council", "fsm", "gld")) - exact
        for _ in range(150)
    ]
    assert np.abs(np.mean(errors, axis=0)).max() < 5.5 * np.std(errors) / np.sqrt(150)

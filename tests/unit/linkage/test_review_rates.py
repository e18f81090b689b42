"""The update of the rates of linkage error by the noisy tallies of a clerical review."""

import numpy as np
import pytest
from numpy.typing import NDArray

from privacy.linkage.missed import RATES
from privacy.linkage.review import (
    COLUMNS,
    NEITHER,
    ONE,
    SHARE,
    WEAK,
    Decision,
    compute_chances,
    format_category,
    plan_review,
    update_rates,
)
from privacy.release.mechanism import Measurement, compute_charge
from privacy.release.plan import Plan

Array = NDArray[np.float64]
CHILDREN, RHO, DELTA = 26_000, 0.02, 1e-6
BOTH, HEALTH, SETTINGS, NOBODY = SEEN = (19_000.0, 3_300.0, 3_200.0, 500.0)
MEAN = np.array([0.0004, 0.004, 0.004, 0.005, 0.005, 0.0008])
SD = np.array([0.0004, 0.002, 0.002, 0.002, 0.003, 0.0005])
PRIOR = np.diag(SD**2)
OFF = 0.14
"""How far off the share of errors in the frame is, as measured from one population to another."""
PLAN = plan_review(CHILDREN, RHO, DELTA, 1)


def errors(rates: Array, share: dict[str, float] = SHARE) -> dict[tuple[str, str], float]:
    """The errors that each service's strata hold, of children whom these rates lose."""
    both, review, setting, review_alone, setting_alone, false = rates
    return {
        ("health", ONE): share[ONE] * review * BOTH,
        ("settings", ONE): share[ONE] * setting * BOTH,
        ("health", NEITHER): share[NEITHER] * (both * BOTH + review_alone * HEALTH),
        ("settings", NEITHER): share[NEITHER] * (both * BOTH + setting_alone * SETTINGS),
        ("health", WEAK): share[WEAK] * false * (SETTINGS + NOBODY),
        ("settings", WEAK): share[WEAK] * false * (HEALTH + NOBODY),
    }


def measured(found: dict[tuple[str, str], float], unknown: float = 0.0, plan: Plan = PLAN) -> Measurement:
    """Tallies, not rounded, in which so many errors are found in the whole of each stratum, and 50 pairs are none."""
    noisy = {}
    for service, column in COLUMNS.items():
        cells = dict.fromkeys(plan.family.get_attribute(column).categories, 0.0)
        for stratum in SHARE:
            drawn = found[service, stratum] * compute_chances(CHILDREN)[stratum]
            is_error = Decision.OTHER if stratum == WEAK else Decision.MATCH
            decided = dict.fromkeys((Decision.MATCH, Decision.OTHER), 50.0) | {is_error: drawn}
            for decision, pairs in {**decided, Decision.UNKNOWN: unknown}.items():
                cells[format_category(stratum, decision)] = pairs
        noisy[(column,)] = np.array(list(cells.values()))
    return Measurement(plan.sha256, "test", "", RHO, noisy)


def updated(found: dict[tuple[str, str], float], unknown: float = 0.0) -> tuple[Array, Array]:
    mean, covariance = update_rates(MEAN, PRIOR, SEEN, PLAN, measured(found, unknown))
    return mean, np.sqrt(np.diag(covariance))


def test_a_review_that_agrees_leaves_the_mean_and_shrinks_the_deviation_unless_pairs_are_undecided() -> None:
    mean, deviation = updated(errors(MEAN))
    assert mean == pytest.approx(MEAN, abs=1e-8)
    assert (deviation <= SD + 1e-12).all()
    assert (deviation[[1, 2]] < 0.6 * SD[[1, 2]]).all()
    _, unsure = updated(errors(MEAN), unknown=100.0)  # pairs that nobody can decide
    assert (unsure >= deviation - 1e-12).all()
    assert unsure[1] > 1.1 * deviation[1]


def test_a_review_moves_the_rates_that_lose_the_errors_it_found_and_no_others() -> None:
    truth = MEAN.copy()
    truth[1] *= 3
    mean, _ = updated(errors(truth))
    assert MEAN[1] + 0.5 * (truth[1] - MEAN[1]) < mean[1] < truth[1]
    assert mean[2] == pytest.approx(MEAN[2], abs=1e-5)
    mean, _ = updated(errors(MEAN) | {("health", NEITHER): 120.0, ("settings", NEITHER): 120.0})
    assert (mean[[0, 3, 4]] > MEAN[[0, 3, 4]]).all()
    assert mean[[1, 2]] == pytest.approx(MEAN[[1, 2]], abs=1e-6)


def test_tallies_of_nothing_but_noise_leave_a_covariance() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        noisy = {names: rng.normal(0, 30, PLAN.family.get_shape(names)) for names in PLAN.sigmas}
        mean, covariance = update_rates(MEAN, PRIOR, SEEN, PLAN, Measurement(PLAN.sha256, "test", "", RHO, noisy))
        assert np.isfinite(mean).all()
        assert np.linalg.eigvalsh(covariance).min() > -1e-12


def test_intervals_after_the_review_hold_the_truth() -> None:
    """Rates from the prior, errors by chance, a sample by chance, a share of the frame off as measured, and noise: 95%
    intervals of the rates that a review tells most of hold them in 93 to 97.5%, and are narrower than before."""
    rng, draws = np.random.default_rng(1), 600
    inside, narrower = np.zeros((2, len(MEAN)))
    names, chance = list(errors(MEAN)), compute_chances(CHILDREN)
    for _ in range(draws):
        truth = np.maximum(rng.normal(MEAN, SD), 0.0)
        found = {}
        for service, stratum in names:
            share = {**SHARE, stratum: min(max(rng.normal(SHARE[stratum], OFF), 0.0), 1.0)}
            drawn = rng.poisson(chance[stratum] * errors(truth, share)[service, stratum])
            sigma = PLAN.sigmas[(COLUMNS[service],)]
            found[service, stratum] = (drawn + rng.normal(0, sigma)) / chance[stratum]
        mean, covariance = update_rates(MEAN, PRIOR, SEEN, PLAN, measured(found))
        deviation = np.sqrt(np.diag(covariance))
        inside += np.abs(mean - truth) <= 1.96 * deviation
        narrower += deviation / SD
    shown = [RATES.index(f"{what} missed, of children seen by both") for what in ("review", "setting")]
    assert ((inside[shown] / draws > 0.93) & (inside[shown] / draws < 0.975)).all(), inside / draws
    assert (inside / draws > 0.92).all(), inside / draws
    assert (narrower[shown] / draws < 0.6).all(), narrower / draws


def test_the_plan_costs_what_the_policy_gives_and_is_public() -> None:
    """A child's pair with a health visitor's record, and with a setting's: two marginals of sensitivity 1."""
    assert list(PLAN.sigmas) == [(column,) for column in COLUMNS.values()]
    assert 0.99 * RHO < compute_charge(PLAN) <= RHO
    assert PLAN == plan_review(CHILDREN, RHO, DELTA, 1) != plan_review(CHILDREN, RHO, DELTA, 2)
    assert Plan.from_json(PLAN.encode_json()) == PLAN
    assert (compute_chances(26_000)[ONE], compute_chances(600_000)[ONE]) == (1.0, pytest.approx(250 / 3000, abs=1e-4))

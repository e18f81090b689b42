"""The model's column: nearer the truth for small groups on average, further where a group does unlike itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.release.shrinkage import NoisyRates, _additive, shrunk_rates
from tests.support.daily import examples

PLACES, GROUPS, NOISE = 12, 6, 12.0


def truth(seed: int, interaction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, most of them small, and rates: additive but for `interaction`, a standard deviation."""
    rng = np.random.default_rng(seed)
    size = np.rint(rng.lognormal(4.5, 1.0, (PLACES, GROUPS))) + 5
    chance = 0.66 + rng.normal(0, 0.04, (PLACES, 1)) + rng.normal(0, 0.08, (1, GROUPS))
    chance = np.clip(chance + rng.normal(0, interaction, (PLACES, GROUPS)), 0.05, 0.95)
    return size, rng.binomial(size.astype(int), chance) / size


def noisy_rates(size: np.ndarray, rate: np.ndarray, seed: int) -> NoisyRates:
    """Noise of one variance on those at the level and on those below it, as a table measures."""
    rng = np.random.default_rng(seed)
    yes, no = (share * size + rng.normal(0, NOISE, size.shape) for share in (rate, 1 - rate))
    variance = np.full(size.shape, NOISE**2)
    return NoisyRates(yes, yes + no, variance, 2 * variance, variance)


def errors(interaction: float, releases: int = 60) -> tuple[float, float]:
    """Root mean square error of groups of under 100, of the plain rates and of the model's, in points."""
    plain, model = [], []
    for seed in range(releases):
        size, rate = truth(seed, interaction)
        noisy = noisy_rates(size, rate, 1000 + seed)
        small = size < 100
        ratio = np.clip(noisy.x / np.where(noisy.y > 0, noisy.y, np.inf), 0, 1)
        plain.append((100 * (ratio - rate)[small]) ** 2)
        model.append((100 * (shrunk_rates(noisy) - rate)[small]) ** 2)
    return float(np.sqrt(np.concatenate(plain).mean())), float(np.sqrt(np.concatenate(model).mean()))


@pytest.mark.parametrize(("interaction", "share"), [(0.0, 0.6), (0.04, 0.7)])
def test_small_groups_are_nearer_the_truth_with_and_without_interactions(interaction, share):
    plain, model = errors(interaction)
    assert model < share * plain


def test_it_hides_what_is_special_about_one_group_in_one_place():
    plain, model = [], []
    for seed in range(60):
        size, rate = truth(seed, 0.0)
        size[2, 3], rate[2, 3] = 80, 0.30
        noisy = noisy_rates(size, rate, 2000 + seed)
        plain.append(100 * (noisy.x / noisy.y - rate)[2, 3])
        model.append(100 * (shrunk_rates(noisy) - rate)[2, 3])
    assert abs(np.mean(plain)) < 4
    assert np.mean(model) > 8


def test_large_groups_are_left_as_they_are():
    size = np.full((PLACES, GROUPS), 50_000.0)
    rate = np.random.default_rng(3).uniform(0.4, 0.8, size.shape)
    noisy = noisy_rates(size, rate, 4)
    np.testing.assert_allclose(shrunk_rates(noisy), noisy.x / noisy.y, atol=2e-4)


def test_a_group_without_information_is_what_its_place_and_its_kind_suggest():
    size, rate = truth(1, 0.0)
    noisy = noisy_rates(size, rate, 5)
    noisy.y[3, 2] = -4.0
    found = shrunk_rates(noisy)
    assert abs(found[3, 2] - rate[3, 2]) < 0.2


@pytest.mark.filterwarnings("error")
@examples(60)
@given(st.integers(0, 10_000), st.floats(0, 200), st.integers(4, 9), st.integers(1, 5))
def test_every_input_has_a_rate(seed, noise, places, groups):
    rng = np.random.default_rng(seed)
    y = rng.normal(30, 60, (places, groups))
    variance = np.full(y.shape, noise)
    found = shrunk_rates(NoisyRates(rng.normal(20, 60, y.shape), y, variance, 2 * variance, variance))
    assert ((found >= 0) & (found <= 1)).all()


def test_few_places_are_refused():
    size, rate = truth(1, 0.0)
    with pytest.raises(ValueError, match="needs 4 places, not 3"):
        shrunk_rates(noisy_rates(size[:3], rate[:3], 1))


@examples(40)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_effects_are_the_least_squares_fit(seed, unknown):
    """Against a general solver, on the cells of which something is known."""
    rng = np.random.default_rng(seed)
    y = np.rint(rng.lognormal(4, 1, (5, 4))) * (rng.random((5, 4)) >= unknown)
    x, variance = 0.3 * y + rng.normal(0, 2, y.shape), rng.uniform(50, 500, y.shape)
    weight, known = (y**2 / variance).ravel(), y.ravel() > 0
    places, groups = np.kron(np.eye(5), np.ones((4, 1))), np.tile(np.eye(4), (5, 1))
    design = np.hstack([places, groups])[known] * np.sqrt(weight[known])[:, None]
    target = (x.ravel()[known] / y.ravel()[known]) * np.sqrt(weight[known])
    exact = np.hstack([places, groups]) @ np.linalg.lstsq(design, target, rcond=1e-9)[0]
    fitted = _additive(x, y, variance).ravel()
    np.testing.assert_allclose(fitted[known], np.clip(exact, 0, 1)[known], atol=1e-6)


def test_a_group_of_which_nothing_is_known_is_expected_to_do_as_the_others():
    size, rate = truth(1, 0.0)
    size[:, 2] = 0
    noisy = noisy_rates(size, rate, 3)
    noisy = NoisyRates(noisy.x, np.where(size > 0, noisy.y, -5.0), noisy.xx, noisy.yy, noisy.xy)
    seen = shrunk_rates(noisy)
    others = np.delete(seen, 2, axis=1)
    assert (others.min(axis=1) - 0.05 < seen[:, 2]).all()
    assert (seen[:, 2] < others.max(axis=1) + 0.05).all()

"""The fixed parameters are those the script makes, and the assignment is the best there is."""

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from privacy.linkage import model
from privacy.linkage.assignment import one_to_one, undecided
from privacy.linkage.estimate import estimate


@pytest.mark.parametrize("seed", range(20))
def test_one_to_one_is_the_maximum_weight_matching(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((9, 7)) < 0.45, rng.uniform(0, 20, (9, 7)).round(seed % 3), 0)
    left, right = np.nonzero(weights)
    weight, tie = weights[left, right], rng.integers(0, 2**63, len(left)).astype(np.uint64)
    kept = one_to_one(left, right, weight, tie)
    assert len(set(left[kept])) == len(set(right[kept])) == len(kept)
    best = weights[linear_sum_assignment(-weights)].sum()
    assert weight[kept].sum() == pytest.approx(best)
    order = rng.permutation(len(left))
    again = one_to_one(left[order], right[order], weight[order], tie[order])
    assert set(order[again]) == set(kept)


def test_undecided_pairs() -> None:
    left, right = np.array([1, 1, 2, 3]), np.array([7, 8, 9, 9])
    assert undecided(left, right, np.array([5.0, 5.0, 4.0, 3.0])).tolist() == [True, True, False, False]


def test_the_parameters_in_force_are_the_estimated_ones() -> None:
    assert estimate() == model.parameters()["comparisons"]


def test_the_prior_is_an_order_of_magnitude() -> None:
    assert model.prior(26_000) == model.prior(30_000) == 2.0**-15
    assert model.prior(600_000) == 2.0**-19

"""The fixed parameters are those the script makes, and the assignment is the best there is."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from bench.linkage.estimate import render_page
from privacy.linkage import model
from privacy.linkage.assignment import compute_posterior, find_undecided, match_one_to_one
from tests.support import PROJECT


@pytest.mark.parametrize("seed", range(20))
def test_one_to_one_is_the_maximum_weight_matching(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((9, 7)) < 0.45, rng.uniform(0, 20, (9, 7)).round(seed % 3), 0)
    left, right = np.nonzero(weights)
    weight, tie = weights[left, right], rng.integers(0, 2**63, len(left)).astype(np.uint64)
    kept = match_one_to_one(left, right, weight, tie)
    assert len(set(left[kept])) == len(set(right[kept])) == len(kept)
    best = weights[linear_sum_assignment(-weights)].sum()
    assert weight[kept].sum() == pytest.approx(best)
    order = rng.permutation(len(left))
    again = match_one_to_one(left[order], right[order], weight[order], tie[order])
    assert set(order[again]) == set(kept)


def _exact_posterior(left: np.ndarray, right: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By counting every set of pairs in which no unit is in two."""
    total, of_pair = 0.0, np.zeros(len(left))
    for chosen in itertools.product((False, True), repeat=len(left)):
        at = np.flatnonzero(chosen)
        if len(set(left[at])) == len(set(right[at])) == len(at):
            odds = float(np.exp2(weight[at].sum()))
            total += odds
            of_pair[at] += odds
    return of_pair / total


def test_the_posterior_is_exact_where_rivals_form_no_ring() -> None:
    left, right = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 2, 2, 9])
    weight, tie = np.array([3.0, 1.0, -2.0, 12.0, 11.0, 0.5]), np.arange(6).astype(np.uint64)
    assert compute_posterior(left, right, weight, tie) == pytest.approx(_exact_posterior(left, right, weight), abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_posterior_is_near_in_rings_and_one_to_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (side.ravel() for side in np.indices((3, 3)))
    weight, tie = rng.uniform(-4, 6, 9), rng.permutation(9).astype(np.uint64)
    found = compute_posterior(left, right, weight, tie)
    assert found == pytest.approx(_exact_posterior(left, right, weight), abs=0.15)
    assert (np.bincount(left, found) < 1).all()
    assert (np.bincount(right, found) < 1).all()
    order = rng.permutation(9)
    assert compute_posterior(left[order], right[order], weight[order], tie[order]) == pytest.approx(
        found[order], abs=1e-9
    )


def test_two_who_could_be_either_are_both_in_doubt() -> None:
    twins = compute_posterior(np.array([0, 1]), np.array([5, 5]), np.array([30.0, 30.0]), np.array([1, 2], np.uint64))
    assert twins == pytest.approx([0.5, 0.5], abs=1e-3)
    assert compute_posterior(*(np.zeros(0, np.int64),) * 2, np.zeros(0), np.zeros(0, np.uint64)).shape == (0,)


def test_undecided_pairs() -> None:
    left, right = np.array([1, 1, 2, 3]), np.array([7, 8, 9, 9])
    assert find_undecided(left, right, np.array([5.0, 5.0, 4.0, 3.0])).tolist() == [True, True, False, False]


def test_postcodes_shared_by_chance_are_as_rare_as_children_are_many() -> None:
    few, many = (model.compute_chance_share("postcode", "same", records) for records in (2**15, 2**19))
    assert few == pytest.approx(16 * many)
    assert few == model.load_parameters()["comparisons"]["postcode"]["same"][1]
    assert model.compute_chance_share("surname", "part", 2**15) == model.compute_chance_share("surname", "part", 2**19)
    shares = [
        model.compute_chance_share("postcode", level, 2**10) for level in (*model.LEVELS["postcode"], "different")
    ]
    assert sum(shares) == pytest.approx(1)


def test_the_page_is_up_to_date() -> None:
    text = (PROJECT / "docs" / "linkage-parameters.md").read_text(encoding="utf-8")
    assert text == render_page(), "docs/linkage-parameters.md is out of date: make docs"

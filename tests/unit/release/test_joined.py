"""Figures of children whose school census row was not found."""

import numpy as np
import pytest

from privacy.estimation.corrected import Joined
from privacy.release.workload import Attribute, Cube, LinearCombination, Selector
from tests.support.release.doubles import ExactMoments

FSM, GROUP = Attribute("fsm", ("yes", "no", "unknown")), Attribute("group", ("a", "b", "unknown"))
SEX = Attribute("sex", ("F", "M"))
LOST = 0.04
TRUE = np.arange(1.0, 19.0).reshape(3, 3, 2) * 100
"""(fsm, group, sex)."""
EACH_OF_ALL = {
    "fsm": Selector.for_total(FSM) + Selector.for_each(FSM),
    "group": Selector.for_total(GROUP) + Selector.for_each(GROUP),
    "sex": Selector.for_each(SEX),
}


def as_found(true: np.ndarray) -> np.ndarray:
    """Of each child at random, all that the census row says is unknown."""
    found = (1 - LOST) * true
    found[-1, -1] += LOST * true.sum(axis=(0, 1))
    return found


def joined(variance: float = 0.0) -> Joined:
    unknown = {"fsm": "unknown", "group": "unknown"}
    return Joined(ExactMoments(as_found(TRUE), FSM, GROUP, SEX, variance=1.0), unknown, LOST / (1 - LOST), variance)


def test_counts_are_brought_back_to_the_true_ones_in_tables_of_one_and_of_two_characteristics() -> None:
    found = joined().compute_values(Cube(EACH_OF_ALL))
    assert found[1:, 1:] == pytest.approx(TRUE)
    assert found[1:, 0] == pytest.approx(TRUE.sum(axis=1))
    assert found[0, 1:] == pytest.approx(TRUE.sum(axis=0))


def test_a_total_stays_as_it_is_to_the_bit() -> None:
    everyone = Cube(EACH_OF_ALL)
    assert (
        joined().compute_values(everyone)[0, 0]
        == ExactMoments(as_found(TRUE), FSM, GROUP, SEX, variance=1.0).compute_values(everyone)[0, 0]
    ).all()
    assert (joined(0.1).compute_variance(everyone)[0, 0] == 1.0).all()


def test_rates_that_are_not_known_widen_what_they_move() -> None:
    cube, variance = Cube(EACH_OF_ALL), 1e-4
    step = 1e-6
    moved = Joined(joined().moments, joined().unknown, joined().odds + step, 0.0).compute_values(cube)
    slope = (moved - joined().compute_values(cube)) / step
    assert joined(variance).compute_variance(cube) - 1.0 == pytest.approx(variance * slope**2, rel=1e-4, abs=1e-9)
    assert joined(variance).compute_covariance(cube, cube) == pytest.approx(variance * slope**2, rel=1e-4, abs=1e-9)


def test_a_combination_is_the_sum_of_its_parts() -> None:
    cube = Cube(EACH_OF_ALL)
    twice = LinearCombination(((1.0, cube), (1.0, cube)))
    assert joined().compute_values(twice) == pytest.approx(2 * joined().compute_values(cube))

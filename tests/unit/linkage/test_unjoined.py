"""How many school census rows were not found, from how the others were."""

from __future__ import annotations

import numpy as np
import pytest

from privacy.linkage.cells import JOINS
from privacy.linkage.missed import NOT_FOUND, RATES, USUAL_UNJOINED, unjoined

QUIET = np.zeros(len(JOINS))
FOUND = np.array([200.0, 20_000.0, 2_500.0, 300.0])
"""Not found, one UPN and the same, one UPN and different, without a UPN."""


def test_rows_are_not_found_where_there_is_no_upn_in_common_and_records_differ() -> None:
    differing = 300 * 2_500 / 20_000
    assert unjoined(FOUND, QUIET).share == pytest.approx(NOT_FOUND * differing / FOUND[1:].sum(), rel=1e-4)


def test_where_every_row_has_its_upn_every_row_is_found() -> None:
    found = unjoined(np.array([500.0, 20_000.0, 2_500.0, 0.0]), QUIET)
    assert found.share == found.deviation == 0.0
    assert (found.rates == 0).all()


def test_twice_as_many_upns_that_differ_hide_twice_as_many_rows() -> None:
    twice = FOUND * np.array([1, 1, 1, 2])
    more = unjoined(twice, QUIET).share * twice[1:].sum()
    assert more == pytest.approx(2 * unjoined(FOUND, QUIET).share * FOUND[1:].sum(), rel=1e-4)


def test_noise_and_what_is_fixed_beforehand_are_in_the_deviation() -> None:
    noisy = unjoined(FOUND, np.full(len(JOINS), 20.0**2))
    assert noisy.share == unjoined(FOUND, QUIET).share
    assert noisy.deviation > unjoined(FOUND, QUIET).deviation > noisy.share / 2


def test_a_child_with_two_records_is_missed_by_services_too() -> None:
    found = unjoined(FOUND, QUIET)
    assert found.rates.shape == (len(RATES),)
    assert (found.rates > 0).all()
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-15


def test_without_joined_rows_the_share_is_the_usual_one_and_little_is_known_of_it() -> None:
    found = unjoined(np.zeros(len(JOINS)), np.full(len(JOINS), 100.0))
    assert found.share == found.deviation == USUAL_UNJOINED

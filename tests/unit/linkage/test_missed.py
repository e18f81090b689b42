"""From how well found links agree to how many were missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.linkage.cells import (
    AGREE,
    ALL_AGREE,
    CELLS,
    DIFFERS,
    FIELD_DIFFERS,
    FIELDS,
    KIND_OF,
    KINDS,
    ONE_DIFFERS,
    POSTCODE_DIFFERS,
    SIZES,
    Differs,
)
from privacy.linkage.missed import FACTOR_SD, RATES, SHORTFALL, UNSEEN, USUAL, Factors, by_council, missed

CHILDREN = 20_000.0
QUIET = np.zeros(len(CELLS))


def counts(**differing: float) -> np.ndarray:
    """Children who agree in everything, at the weights of common names, and by the text of a cell those who do not."""
    found = np.zeros(len(CELLS))
    found[[CELLS.index(cell) for cell in ALL_AGREE[2:5]]] = CHILDREN / 3
    for cell, number in differing.items():
        found[CELLS.index(cell)] = number
    return found


def of(field: str, record: str, size: str = "far") -> str:
    return str(Differs(field, record, size if size in SIZES[field] else ""))


def test_every_cell_is_named_once() -> None:
    assert len(set(CELLS)) == len(CELLS) == 2 + len(ALL_AGREE) + len(ONE_DIFFERS)


def test_where_nothing_differs_nothing_is_missed_but_what_cannot_be_seen() -> None:
    assert missed(counts(), QUIET).rates == pytest.approx(UNSEEN)


@pytest.mark.parametrize("record", DIFFERS)
@pytest.mark.parametrize("field", FIELDS)
def test_one_thing_that_differs_misses_no_link(field: str, record: str) -> None:
    assert missed(counts(**{of(field, record): 500}), QUIET).rates == pytest.approx(UNSEEN, abs=1e-9)


def test_a_bad_record_of_the_pupil_is_missed_by_both_services() -> None:
    bad = {of(field, "the pupil's record"): 400.0 for field in ("date_of_birth", "postcode")}
    found = dict(zip(RATES, missed(counts(**bad), QUIET).rates, strict=True))
    share = 400 / (CHILDREN + 400)
    assert found[RATES[0]] == pytest.approx(SHORTFALL[0] * share**2 + UNSEEN[0], rel=0.05)
    assert found[RATES[1]] == found[RATES[2]] == 0
    assert found[RATES[3]] == pytest.approx(SHORTFALL[3] * share**2, rel=0.05)


def test_a_bad_review_is_missed_alone() -> None:
    bad = {of(field, "the health visitor's record"): 400.0 for field in ("date_of_birth", "postcode")}
    rates = missed(counts(**bad), QUIET).rates
    assert rates[1] > 0
    assert rates[0] == UNSEEN[0]
    assert rates[2] == rates[4] == 0


def test_rarer_names_are_missed_more_rarely() -> None:
    bad = {of(field, "the pupil's record"): 400.0 for field in ("date_of_birth", "postcode")}
    common = counts(**bad)
    rare = common.copy()
    agree = [CELLS.index(cell) for cell in ALL_AGREE]
    rare[agree] = common[agree][::-1]
    assert missed(rare, QUIET).rates[3] < missed(common, QUIET).rates[3] / 2


def test_noise_moves_the_rates_and_does_not_lean() -> None:
    """Over many draws the mean is that of the exact counts, within its own error; the covariance says how far it
    strays, beside what the model itself may be off by."""
    rng = np.random.default_rng(1)
    here = counts(**{str(each): 150.0 for each in ONE_DIFFERS})
    deviation = 12.0
    drawn = np.array(
        [
            missed(here + rng.normal(0, deviation, len(CELLS)), np.full(len(CELLS), deviation**2)).rates
            for _ in range(400)
        ]
    )
    exact = missed(here, QUIET)
    assert drawn.mean(axis=0) == pytest.approx(exact.rates, abs=4 * drawn.std(axis=0).max() / 20)
    stated = missed(here, np.full(len(CELLS), deviation**2)).covariance - exact.covariance
    assert np.sqrt(np.diag(stated)) == pytest.approx(drawn.std(axis=0), rel=0.2)


@given(st.lists(st.integers(0, 3000), min_size=len(CELLS), max_size=len(CELLS)))
def test_rates_are_chances_and_their_covariance_is_one(numbers: list[int]) -> None:
    found = missed(np.array(numbers, dtype=float), QUIET)
    assert found.covariance == pytest.approx(found.covariance.T)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
    assert (found.rates >= 0).all()


def test_without_linked_children_rates_are_the_usual_ones_and_little_is_known_of_them() -> None:
    found = missed(np.zeros(len(CELLS)), np.full(len(CELLS), 100.0))
    assert found.rates == pytest.approx(USUAL)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(USUAL)


SLIPS = {of("date_of_birth", "the pupil's record"): 300.0, of("forename", "the setting's record"): 300.0}
MOVES = {of("postcode", "the health visitor's record"): 600.0}
SEEN_BY = np.array([20_000.0, 3_000.0, 3_000.0])


def factors(moved: np.ndarray, slipped: np.ndarray, children: np.ndarray, deviation: float = 0.0) -> Factors:
    """Of councils in which so many times as many children moved, and slips are so many times as common."""
    found = counts(**SLIPS, **MOVES)
    kinds = np.zeros((len(children), len(KINDS)))
    kinds[:, KINDS.index(AGREE)] = children
    for kind, cells, times in ((POSTCODE_DIFFERS, MOVES, moved), (FIELD_DIFFERS, SLIPS, slipped)):
        kinds[:, KINDS.index(kind)] = children * sum(cells.values()) / CHILDREN * times
    return by_council(found, QUIET, kinds, np.full(kinds.shape, deviation**2), SEEN_BY)


def test_every_cell_has_a_kind_that_says_what_it_says() -> None:
    assert set(KIND_OF) == set(KINDS)
    for cell, kind in zip(CELLS, KIND_OF, strict=True):
        assert (kind == AGREE) == (cell in ALL_AGREE)
        assert (kind == POSTCODE_DIFFERS) == cell.startswith("postcode of")
        assert (kind == FIELD_DIFFERS) == (" of " in cell and " differs" in cell and not cell.startswith("postcode"))


def test_where_councils_are_alike_links_are_missed_as_often_in_each() -> None:
    alike = np.ones(4)
    found = factors(alike, alike, np.full(4, 5_000.0))
    assert found.values == pytest.approx(alike)
    assert (found.variances > FACTOR_SD**2).all()


def test_a_council_with_more_slips_misses_more_links() -> None:
    """Between in proportion, for a slip beside a move, and with the square, for two slips at once."""
    slipped = np.array([3.0, 1 / 3, 1.0, 1.0])
    found = factors(np.ones(4), slipped, np.full(4, 100_000.0))
    of_all = slipped / np.average(slipped)
    assert (found.values[:1] > of_all[:1]).all()
    assert (found.values[:1] < of_all[:1] ** 2).all()
    assert found.values[1] < found.values[2] < found.values[0]


def test_what_the_noise_hides_is_left_as_over_all() -> None:
    moved, slipped, children = np.ones(2), np.array([3.0, 1.0]), np.array([100.0, 100_000.0])
    found = factors(moved, slipped, children, deviation=30.0)
    assert found.values[0] == pytest.approx(1.0, abs=0.1)
    assert np.sqrt(found.variances[0]) > 0.4


def test_where_hardly_a_child_was_linked_no_council_differs() -> None:
    kinds = np.zeros((3, len(KINDS)))
    found = by_council(np.zeros(len(CELLS)), np.ones(len(CELLS)), kinds, np.ones(kinds.shape), SEEN_BY)
    assert (found.values == 1).all()
    assert (found.variances == 0).all()


@given(st.lists(st.floats(-200, 5_000), min_size=5, max_size=5), st.floats(0, 100))
def test_factors_of_any_noisy_counts_can_be_used(of_one: list[float], deviation: float) -> None:
    kinds = np.array([of_one, [3_000.0, 10_000.0, 300.0, 300.0, 100.0]])
    found = by_council(counts(**SLIPS, **MOVES), QUIET, kinds, np.full(kinds.shape, deviation**2), SEEN_BY)
    assert np.isfinite(found.values).all()
    assert (found.values >= 0).all()
    assert (found.variances >= 0).all()

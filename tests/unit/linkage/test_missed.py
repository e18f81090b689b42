"""From how well found links agree to how many were missed, overall and in each council."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.linkage.cells import (
    AGREE,
    ALL_AGREE,
    CELLS,
    COMPARED,
    DIFFERS,
    JOINS,
    KIND_OF,
    KINDS,
    NAMES,
    ONE_DIFFERS,
    ONE_SORT,
    SIZES,
    Differs,
)
from privacy.linkage.missed import (
    CUT_OFF,
    FACTOR_SD,
    NOT_FOUND,
    RATES,
    SERVICES,
    SHORTFALL,
    USUAL,
    USUAL_UNJOINED,
    Factors,
    estimate_factors,
    estimate_missed,
    estimate_unjoined,
)

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
    assert estimate_missed(counts(), QUIET).rates == pytest.approx(np.zeros(len(RATES)))


@pytest.mark.parametrize("record", DIFFERS)
@pytest.mark.parametrize("field", COMPARED)
def test_one_thing_that_differs_misses_no_link(field: str, record: str) -> None:
    assert estimate_missed(counts(**{of(field, record): 500}), QUIET).rates == pytest.approx(
        np.zeros(len(RATES)), abs=1e-9
    )


def bad(record: str) -> np.ndarray:
    """Counts in which 400 records of a service have a wrong date and as many a wrong address."""
    return counts(**{of(field, record): 400.0 for field in ("date_of_birth", "postcode")})


def test_a_bad_record_of_the_pupil_is_missed_by_both_services_and_a_bad_review_alone() -> None:
    rates, share = estimate_missed(bad("the pupil's record"), QUIET).rates, 400 / (CHILDREN + 400)
    assert rates[[0, 3]] == pytest.approx(SHORTFALL[[0, 3]] * share**2, rel=0.05)
    assert rates[1] == rates[2] == 0
    rates = estimate_missed(bad("the health visitor's record"), QUIET).rates
    assert rates[1] > 0
    assert rates[0] == rates[2] == rates[4] == 0


def test_reviews_with_names_written_otherwise_are_missed_where_the_family_moved_as_well() -> None:
    """Of children whose names alone are far from each other, a few are not found for that either."""
    moved = {of("postcode", "the health visitor's record"): 2_000.0}
    otherwise = {of(NAMES, "the health visitor's record"): 1_000.0}
    share, of_moved = 1_000 / (CHILDREN + 1_000), 2_000 / (CHILDREN + 2_000)
    rates = estimate_missed(counts(**moved, **otherwise), QUIET).rates
    expected = share * (of_moved + CUT_OFF * (1 - of_moved))
    assert rates[1] == pytest.approx(SHORTFALL[1] * expected, rel=0.1)
    assert rates[1] > 10 * estimate_missed(counts(**moved), QUIET).rates[1]
    assert rates[2] == estimate_missed(counts(**moved), QUIET).rates[2]


def test_rarer_names_are_missed_more_rarely() -> None:
    common = bad("the pupil's record")
    rare = common.copy()
    agree = [CELLS.index(cell) for cell in ALL_AGREE]
    rare[agree] = common[agree][::-1]
    assert estimate_missed(rare, QUIET).rates[3] < estimate_missed(common, QUIET).rates[3] / 2


def test_noise_moves_the_rates_and_does_not_lean() -> None:
    """Over many draws the mean is that of the exact counts, within its own error; the covariance says how far it
    strays, beside what the model itself may be off by."""
    rng = np.random.default_rng(1)
    here = counts(**{str(each): 150.0 for each in ONE_DIFFERS})
    deviation = 12.0
    drawn = np.array(
        [
            estimate_missed(here + rng.normal(0, deviation, len(CELLS)), np.full(len(CELLS), deviation**2)).rates
            for _ in range(100)
        ]
    )
    exact = estimate_missed(here, QUIET)
    assert drawn.mean(axis=0) == pytest.approx(exact.rates, abs=4 * drawn.std(axis=0).max() / 10)
    stated = estimate_missed(here, np.full(len(CELLS), deviation**2)).covariance - exact.covariance
    assert np.sqrt(np.diag(stated)) == pytest.approx(drawn.std(axis=0), rel=0.2)


@given(st.lists(st.integers(0, 3000), min_size=len(CELLS), max_size=len(CELLS)))
def test_rates_are_chances_and_their_covariance_is_one(numbers: list[int]) -> None:
    found = estimate_missed(np.array(numbers, dtype=float), QUIET)
    assert found.covariance == pytest.approx(found.covariance.T)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
    assert (found.rates >= 0).all()


JOINED = np.array([200.0, 20_000.0, 2_500.0, 300.0])
"""Not found, one UPN and the same, one UPN and different, without a UPN."""


SURE = np.zeros(len(JOINS))


def test_rows_without_a_upn_in_common_whose_records_differ_are_not_found() -> None:
    found = estimate_unjoined(JOINED, SURE)
    assert found.share == pytest.approx(NOT_FOUND * 300 * 2_500 / 20_000 / JOINED[1:].sum(), rel=1e-4)
    every_upn = estimate_unjoined(np.array([500.0, 20_000.0, 2_500.0, 0.0]), SURE)
    assert every_upn.share == every_upn.deviation == 0.0
    twice = JOINED * np.array([1, 1, 1, 2])
    rows, more = JOINED[1:].sum(), twice[1:].sum()
    assert estimate_unjoined(twice, SURE).share * more == pytest.approx(2 * found.share * rows, rel=1e-4)


def test_noise_and_what_is_fixed_beforehand_are_in_the_deviation_and_services_miss_such_children() -> None:
    noisy, found = estimate_unjoined(JOINED, np.full(len(JOINS), 20.0**2)), estimate_unjoined(JOINED, SURE)
    assert noisy.share == found.share
    assert noisy.deviation > found.deviation > noisy.share / 2
    assert found.rates.shape == (len(RATES),)
    assert (found.rates > 0).all()
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-15


def test_without_linked_children_or_joined_rows_rates_are_the_usual_ones_and_little_is_known_of_them() -> None:
    found = estimate_missed(np.zeros(len(CELLS)), np.full(len(CELLS), 100.0))
    assert found.rates == pytest.approx(USUAL)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(USUAL)
    rows = estimate_unjoined(np.zeros(len(JOINS)), np.full(len(JOINS), 100.0))
    assert rows.share == rows.deviation == USUAL_UNJOINED


PUPILS = 100_000.0
SEEN_BY = np.array([100_000.0, 15_000.0, 15_000.0])
DIFFERENT = {str(each): 300.0 for each in ONE_DIFFERS if each.field != NAMES}
BOTH, REVIEW, SETTING = range(len(SERVICES))
PUPIL, VISITOR, SETTINGS, _ = DIFFERS


def usual_counts() -> np.ndarray:
    found = np.array([DIFFERENT.get(cell, 0.0) for cell in CELLS])
    found[[CELLS.index(cell) for cell in ALL_AGREE[2:5]]] = PUPILS / 3
    return found


def found(times: list[dict[str, float]], sizes: list[float], deviation: float = 0.0) -> Factors:
    """Of councils with these shares of the children, in which kinds are so many times as common."""
    of_kind = {kind: sum(n for n, k in zip(usual_counts(), KIND_OF, strict=True) if k == kind) for kind in KINDS}
    kinds = np.array(
        [
            [size * of_kind[kind] * more.get(kind, 1.0) for kind in KINDS]
            for size, more in zip(sizes, times, strict=True)
        ]
    )
    quiet = np.zeros(len(CELLS))
    return estimate_factors(usual_counts(), quiet, kinds, np.full(kinds.shape, deviation**2), SEEN_BY)


def kinds_of(record: str) -> list[str]:
    return [kind for kind in ONE_SORT if kind.endswith(f" of {record} differs")]


def test_every_cell_has_a_kind_that_says_what_it_says() -> None:
    assert set(KIND_OF) == set(KINDS)
    for cell, kind in zip(CELLS, KIND_OF, strict=True):
        assert (kind == AGREE) == (cell in ALL_AGREE)
    for each in ONE_DIFFERS:
        kind = KIND_OF[CELLS.index(str(each))]
        assert kind in kinds_of(each.record)
        assert kind.startswith("the postcode") == (each.field == "postcode")


def test_where_councils_are_alike_links_are_missed_as_often_in_each() -> None:
    alike = found([{}, {}, {}], [0.5, 0.3, 0.2])
    assert alike.values == pytest.approx(np.ones((3, 3)))
    assert (np.einsum("cgg->cg", alike.covariances) > FACTOR_SD**2).all()


def test_a_council_in_which_all_differs_more_often_misses_more_links_of_every_service() -> None:
    """With the square: two things must differ at once."""
    more = found([dict.fromkeys(ONE_SORT, 2.0), {}], [0.1, 0.9])
    over_all = 0.1 * 2.0 + 0.9
    assert more.values[:, 0] == pytest.approx(np.full(3, (2.0 / over_all) ** 2), rel=0.1)
    assert (more.values[:, 1] < 1.0).all()


def test_worse_records_of_one_service_or_of_pupils_are_missed_there() -> None:
    """A bad record of a pupil is missed by both services at once."""
    visitors, settings, pupils = (
        found([dict.fromkeys(kinds_of(record), 3.0), {}], [0.1, 0.9]).values[:, 0]
        for record in (VISITOR, SETTINGS, PUPIL)
    )
    assert visitors[REVIEW] > 2.0 > 1.1 > visitors[SETTING]
    assert settings[SETTING] > 2.0
    assert settings[REVIEW] < visitors[REVIEW]
    assert pupils[BOTH] == pupils.max() > 2.0


def test_what_the_noise_hides_is_left_as_over_all() -> None:
    small = found([dict.fromkeys(ONE_SORT, 3.0), {}], [0.001, 0.999], deviation=30.0)
    assert small.values[:, 0] == pytest.approx(np.ones(3), abs=0.1)
    assert (np.sqrt(np.einsum("cgg->cg", small.covariances))[0] > 0.4).all()


def test_where_hardly_a_child_was_linked_no_council_differs() -> None:
    kinds = np.zeros((3, len(KINDS)))
    none = estimate_factors(np.zeros(len(CELLS)), np.ones(len(CELLS)), kinds, np.ones(kinds.shape), SEEN_BY)
    assert (none.values == 1).all()
    assert (none.covariances == 0).all()


@given(
    st.lists(st.floats(-200, 5_000), min_size=len(KINDS), max_size=len(KINDS)),
    st.floats(0, 100),
    st.lists(st.floats(-50, 50), min_size=len(CELLS), max_size=len(CELLS)),
)
def test_factors_of_any_noisy_counts_can_be_used(of_one: list[float], deviation: float, noise: list[float]) -> None:
    kinds = np.array([of_one, [3_000.0, 10_000.0, *[100.0] * (len(KINDS) - 2)]])
    any_counts = usual_counts() / 100 + noise
    made = estimate_factors(any_counts, np.ones(len(CELLS)), kinds, np.full(kinds.shape, deviation**2), SEEN_BY)
    assert np.isfinite(made.values).all()
    assert (made.values >= 0).all()
    assert np.linalg.eigvalsh(made.covariances).min() > -1e-6


def test_a_group_that_plainly_differs_is_believed_however_few_they_are() -> None:
    """One in fifty children, whose reviews have other names twenty times as often: far beyond noise."""
    more = found([dict.fromkeys(kinds_of(VISITOR), 20.0), {}], [0.02, 0.98], deviation=15.0)
    assert more.values[REVIEW, 0] > 10.0
    assert more.values[SETTING, 0] < 2.0

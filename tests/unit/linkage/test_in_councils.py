"""From how often linked records differ in a council to how many more links are missed there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.linkage.cells import AGREE, ALL_AGREE, CELLS, DIFFERS, KIND_OF, KINDS, NAMES, ONE_DIFFERS, ONE_SORT
from privacy.linkage.missed import FACTOR_SD, SERVICES, Factors, factors

CHILDREN = 100_000.0
SEEN_BY = np.array([100_000.0, 15_000.0, 15_000.0])
DIFFERENT = {str(each): 300.0 for each in ONE_DIFFERS if each.field != NAMES}
BOTH, REVIEW, SETTING = range(len(SERVICES))
PUPIL, VISITOR, SETTINGS, _ = DIFFERS


def counts() -> np.ndarray:
    found = np.array([DIFFERENT.get(cell, 0.0) for cell in CELLS])
    found[[CELLS.index(cell) for cell in ALL_AGREE[2:5]]] = CHILDREN / 3
    return found


def found(times: list[dict[str, float]], sizes: list[float], deviation: float = 0.0) -> Factors:
    """Of councils with these shares of the children, in which kinds are so many times as common."""
    of_kind = {kind: sum(n for n, k in zip(counts(), KIND_OF, strict=True) if k == kind) for kind in KINDS}
    kinds = np.array(
        [
            [size * of_kind[kind] * more.get(kind, 1.0) for kind in KINDS]
            for size, more in zip(sizes, times, strict=True)
        ]
    )
    quiet = np.zeros(len(CELLS))
    return factors(counts(), quiet, kinds, np.full(kinds.shape, deviation**2), SEEN_BY)


def of(record: str) -> list[str]:
    return [kind for kind in ONE_SORT if kind.endswith(f" of {record} differs")]


def test_every_cell_has_a_kind_that_says_what_it_says() -> None:
    assert set(KIND_OF) == set(KINDS)
    for cell, kind in zip(CELLS, KIND_OF, strict=True):
        assert (kind == AGREE) == (cell in ALL_AGREE)
    for each in ONE_DIFFERS:
        kind = KIND_OF[CELLS.index(str(each))]
        assert kind in of(each.record)
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
        found([dict.fromkeys(of(record), 3.0), {}], [0.1, 0.9]).values[:, 0] for record in (VISITOR, SETTINGS, PUPIL)
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
    none = factors(np.zeros(len(CELLS)), np.ones(len(CELLS)), kinds, np.ones(kinds.shape), SEEN_BY)
    assert (none.values == 1).all()
    assert (none.covariances == 0).all()


@given(
    st.lists(st.floats(-200, 5_000), min_size=len(KINDS), max_size=len(KINDS)),
    st.floats(0, 100),
    st.lists(st.floats(-50, 50), min_size=len(CELLS), max_size=len(CELLS)),
)
def test_factors_of_any_noisy_counts_can_be_used(of_one: list[float], deviation: float, noise: list[float]) -> None:
    kinds = np.array([of_one, [3_000.0, 10_000.0, *[100.0] * (len(KINDS) - 2)]])
    any_counts = counts() / 100 + noise
    made = factors(any_counts, np.ones(len(CELLS)), kinds, np.full(kinds.shape, deviation**2), SEEN_BY)
    assert np.isfinite(made.values).all()
    assert (made.values >= 0).all()
    assert np.linalg.eigvalsh(made.covariances).min() > -1e-6


def test_a_group_that_plainly_differs_is_believed_however_few_they_are() -> None:
    """One in fifty children, whose reviews have other names twenty times as often: far beyond noise."""
    more = found([dict.fromkeys(of(VISITOR), 20.0), {}], [0.02, 0.98], deviation=15.0)
    assert more.values[REVIEW, 0] > 10.0
    assert more.values[SETTING, 0] < 2.0

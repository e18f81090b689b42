"""From how well found links agree to how many were missed, overall and in each council."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from privacy.linkage import cells, missed
from privacy.linkage.cells import (
    ALL_AGREE,
    CELLS,
    COMPARED,
    DIFFERS,
    JOINS,
    KIND_OF,
    KINDS,
    NAMES,
    NUMBERED,
    ONE_DIFFERS,
    SIZES,
)
from privacy.linkage.missed import Counted, Evidence
from tests.support.daily import limit_examples

CHILDREN = 20_000.0
QUIET = np.zeros(len(CELLS))
PUPIL, VISITOR, SETTING, _ = DIFFERS


def count(differing: dict[str, float], children: float = CHILDREN) -> np.ndarray:
    """Children who agree in everything, at the weights of common names, and by the text of a cell those who do not."""
    found = np.zeros(len(CELLS))
    found[[CELLS.index(cell) for cell in ALL_AGREE[2:5]]] = children / 3
    for cell, number in differing.items():
        found[CELLS.index(cell)] = number
    return found


def name_cell(field: str, record: str, size: str = "far") -> str:
    return str(cells.Differs(field, record, size if size in SIZES[field] else ""))


def count_bad(record: str) -> np.ndarray:
    """Counts in which 400 records of a service have a wrong date and as many a wrong address."""
    return count({name_cell(field, record): 400.0 for field in ("date_of_birth", "postcode")})


@pytest.mark.parametrize("record", DIFFERS)
@pytest.mark.parametrize("field", COMPARED)
def test_one_thing_that_differs_misses_no_link_and_nothing_that_differs_misses_none(field: str, record: str) -> None:
    for number in (0, 500):
        rates = missed.estimate_missed(count({name_cell(field, record): number}), QUIET).rates
        assert rates == pytest.approx(np.zeros(len(missed.RATES)), abs=1e-9)


def test_a_bad_record_of_the_pupil_is_missed_by_both_services_and_a_bad_review_alone() -> None:
    common = count_bad(PUPIL)
    rates, share = missed.estimate_missed(common, QUIET).rates, 400 / (CHILDREN + 400)
    assert rates[[0, 3]] == pytest.approx(np.full(2, missed.SHORTFALL * share**2), rel=0.05)
    assert rates[1] == rates[2] == 0
    # Rarer names are missed more rarely.
    rare, agree = common.copy(), [CELLS.index(cell) for cell in ALL_AGREE]
    rare[agree] = common[agree][::-1]
    assert missed.estimate_missed(rare, QUIET).rates[3] < rates[3] / 2
    rates = missed.estimate_missed(count_bad(VISITOR), QUIET).rates
    assert rates[1] > 0
    assert rates[0] < rates[1] / 5
    assert rates[2] == rates[4] == 0


def test_reviews_with_names_written_otherwise_are_missed_where_the_family_moved_as_well() -> None:
    """Of children whose names alone are far from each other, a few are not found for that either."""
    moved, otherwise = {name_cell("postcode", VISITOR): 2_000.0}, {name_cell(NAMES, VISITOR): 1_000.0}
    share, of_moved = 1_000 / (CHILDREN + 1_000), 2_000 / (CHILDREN + 2_000)
    rates, before = (missed.estimate_missed(count(each), QUIET).rates for each in (moved | otherwise, moved))
    expected = share * (of_moved + missed.CUT_OFF * (1 - of_moved))
    assert rates[1] == pytest.approx(expected, rel=0.1)
    assert rates[1] > 10 * before[1]
    assert rates[2] == before[2]


def test_noise_moves_the_rates_and_does_not_lean() -> None:
    """Over many draws the mean is that of the exact counts, within its own error; the covariance says how far it
    strays, beside what the model itself may be off by."""
    rng, deviation, here = np.random.default_rng(1), 12.0, count({str(each): 150.0 for each in ONE_DIFFERS})
    variances = np.full(len(CELLS), deviation**2)
    noisy = (here + rng.normal(0, deviation, len(CELLS)) for _ in range(100))
    drawn = np.array([missed.estimate_missed(each, variances).rates for each in noisy])
    exact = missed.estimate_missed(here, QUIET)
    assert drawn.mean(axis=0) == pytest.approx(exact.rates, abs=4 * drawn.std(axis=0).max() / 10)
    stated = missed.estimate_missed(here, variances).covariance - exact.covariance
    assert np.sqrt(np.diag(stated)) == pytest.approx(drawn.std(axis=0), rel=0.2)


@limit_examples(30)
@given(st.lists(st.integers(0, 3000), min_size=len(CELLS), max_size=len(CELLS)))
def test_rates_are_chances_and_their_covariance_is_one(numbers: list[int]) -> None:
    found = missed.estimate_missed(np.array(numbers, dtype=float), QUIET)
    assert found.covariance == pytest.approx(found.covariance.T)
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-9
    assert (found.rates >= 0).all()


JOINED = np.array([200.0, 20_000.0, 2_500.0, 300.0])
"""Not found, one UPN and the same, one UPN and different, without a UPN."""
SURE = np.zeros(len(JOINS))


def test_rows_without_a_upn_in_common_whose_records_differ_are_not_found() -> None:
    found = missed.estimate_unjoined(JOINED, SURE)
    assert found.share == pytest.approx(missed.NOT_FOUND * 300 * 2_500 / 20_000 / JOINED[1:].sum(), rel=1e-4)
    every_upn = missed.estimate_unjoined(np.array([500.0, 20_000.0, 2_500.0, 0.0]), SURE)
    assert every_upn.share == every_upn.deviation == 0.0
    twice = JOINED * np.array([1, 1, 1, 2])
    rows, more = JOINED[1:].sum(), twice[1:].sum()
    assert missed.estimate_unjoined(twice, SURE).share * more == pytest.approx(2 * found.share * rows, rel=1e-4)
    noisy = missed.estimate_unjoined(JOINED, np.full(len(JOINS), 20.0**2))
    assert noisy.share == found.share
    assert noisy.deviation > found.deviation > noisy.share / 2
    assert (found.rates > 0).all()
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-15


def test_without_linked_children_or_joined_rows_rates_are_the_usual_ones_and_little_is_known_of_them() -> None:
    found = missed.estimate_missed(np.zeros(len(CELLS)), np.full(len(CELLS), 100.0))
    assert found.rates == pytest.approx(missed.USUAL)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(missed.USUAL)
    rows = missed.estimate_unjoined(np.zeros(len(JOINS)), np.full(len(JOINS), 100.0))
    assert rows.share == rows.deviation == missed.USUAL_UNJOINED
    kinds = np.zeros((3, len(KINDS)))
    none = missed.estimate_factors(np.zeros(len(CELLS)), np.ones(len(CELLS)), kinds, np.ones(kinds.shape), SEEN_BY)
    assert (none.values == 1).all()
    assert (none.covariances == 0).all()


SEEN_BY = np.array([100_000.0, 15_000.0, 15_000.0])
WHOLE = count({str(each): 300.0 for each in ONE_DIFFERS if each.field != NAMES}, children=100_000.0)
BOTH, REVIEW_MISSED, SETTING_MISSED = range(3)


def estimate(times: dict[str, float], size: float, deviation: float = 0.0) -> missed.Factors:
    """The factors of a council with this share of the children and more of some kinds, and of all others."""
    of_kind = np.array([sum(WHOLE[[of == kind for of in KIND_OF]]) for kind in KINDS])
    here = size * of_kind * [times.get(kind, 1.0) for kind in KINDS]
    kinds = np.array([here, (1 - size) * of_kind])
    return missed.estimate_factors(WHOLE, QUIET, kinds, np.full(kinds.shape, deviation**2), SEEN_BY)


def list_kinds(record: str) -> list[str]:
    return [kind for kind in cells.ONE_SORT if kind.endswith(f" of {record} differs")]


SEEN = np.array([CHILDREN, 2_400.0, 1_800.0, 600.0])
"""Children found to be seen by both services, the health visitor only, a setting only, and neither."""


NO_NUMBERS = Counted(np.zeros(len(NUMBERED)), np.zeros(len(NUMBERED)))


def add_near(counts: np.ndarray, noise: np.ndarray, numbered: Counted = NO_NUMBERS) -> missed.Missed:
    """The rates of a cohort with these cells, before and after records known by number are counted."""
    evidence = Evidence(Counted(counts, noise), Counted(JOINED, SURE), numbered)
    return missed.add_near(missed.estimate_missed(counts, noise), evidence, SEEN)


def count_near(lost: np.ndarray, by_chance: float = 0.0) -> np.ndarray:
    """Counts if `lost` links are missed, by rate, and this share of pupils has a record near by chance."""
    found = count({name_cell("postcode", VISITOR): 400.0, name_cell("forename", VISITOR, "near"): 300.0})
    near = lost.astype(float)
    for _ in range(20):
        near = missed._compute_visible(near, SEEN.sum()) @ lost
    near += by_chance * np.array([0.0, 1.0, 1.0, 1.0, 1.0]) * SEEN[[3, 2, 1, 3, 3]]
    found[[CELLS.index(cell) for cell in cells.NEAR]] = near
    open_ = [SEEN[3] - near[[0, 3, 4]].sum(), SEEN[2] - near[1], SEEN[1] - near[2]]
    found[[CELLS.index(cell) for cell in cells.NOT_LINKED]] = open_
    found[[CELLS.index(cell) for cell in cells.NEAR_BY_CHANCE[1:]]] = by_chance * CHILDREN
    return found


@pytest.mark.parametrize(
    "lost", [(0, 0, 0, 0, 0), (4, 40, 60, 5, 6), (120, 800, 500, 90, 60), (300, 900, 900, 120, 90)]
)
@pytest.mark.parametrize("by_chance", [0.0, 0.02])
def test_missed_links_that_are_near_are_counted_whatever_errors_go_together(
    lost: tuple[int, ...], by_chance: float
) -> None:
    """The prior expects hardly any: the fields differ in few records, and never two at once."""
    truth = np.array(lost, float)
    counts, noise = count_near(truth, by_chance), np.full(len(CELLS), 11.0**2)
    found = add_near(counts, noise)
    children = missed._compute_true(SEEN, found.rates)
    deviation = np.sqrt(np.diag(found.covariance)) * children
    assert np.all(np.abs(found.rates * children - truth) < 2.5 * deviation)
    for some in ([0, 1, 2], [0, 3, 4]):
        assert (found.rates * children)[some].sum() == pytest.approx(truth[some].sum(), rel=0.25, abs=20)


@pytest.mark.parametrize(
    "known", [1, 3, 5, 7], ids=["reviews", "settings' records", "records of both", "reviews by settings"]
)
def test_records_known_by_number_say_how_many_others_are_missed(known: int) -> None:
    """Three times as many links are missed as near records show; of 4,000 known by number so many are unlike."""
    truth, noise = np.array([60.0, 1_200.0, 900.0, 120.0, 90.0]), np.full(len(CELLS), 11.0**2)
    counts = count_near(truth / 3)
    of = {1: [0, 1, 3], 3: [0, 2, 4], 5: [0, 1, 2], 7: [1]}[known]
    numbered, unlike = np.zeros(len(NUMBERED)), 4_000 * truth[of].sum() / (SEEN[0] + truth[of].sum())
    numbered[known : known + 2] = 4_000 - unlike, unlike
    few = numbered / 100
    before, after, hardly = (
        add_near(counts, noise, Counted(each, np.full(len(NUMBERED), 11.0**2)))
        for each in (np.zeros(len(NUMBERED)), numbered, few)
    )
    children = missed._compute_true(SEEN, after.rates)
    gain = (after.rates - before.rates) * children
    assert gain[of].sum() > 0.2 * (truth - before.rates * children)[of].sum()
    assert hardly.rates == pytest.approx(before.rates, rel=0.05, abs=1e-4)


@limit_examples(30)
@given(st.lists(st.floats(-60, 2_000), min_size=11, max_size=11))
def test_whatever_the_noise_makes_of_what_is_near_the_covariance_is_one(near: list[float]) -> None:
    counts, noise = count({name_cell("postcode", VISITOR): 400.0}), np.full(len(CELLS), 11.0**2)
    counts[-len(near) :] = near
    found = add_near(counts, noise)
    assert np.all(np.isfinite(found.rates))
    assert np.linalg.eigvalsh(found.covariance).min() > -1e-12


def test_every_cell_has_a_kind_that_says_what_it_says() -> None:
    assert set(KIND_OF) == set(KINDS)
    assert len(set(CELLS)) == len(CELLS) == 2 + len(ALL_AGREE) + len(ONE_DIFFERS) + 11
    for cell, kind in zip(CELLS, KIND_OF, strict=True):
        assert (kind == cells.AGREE) == (cell in ALL_AGREE)
    for each in ONE_DIFFERS:
        kind = KIND_OF[CELLS.index(str(each))]
        assert kind in list_kinds(each.record)
        assert kind.startswith("the postcode") == (each.field == "postcode")


def test_a_council_in_which_all_differs_more_often_misses_more_links_of_every_service() -> None:
    """With the square: two things must differ at once."""
    even = estimate({}, 0.3)
    assert even.values == pytest.approx(np.ones((3, 2)))
    assert (np.einsum("cgg->cg", even.covariances) > missed.FACTOR_SD**2).all()
    more = estimate(dict.fromkeys(cells.ONE_SORT, 2.0), 0.1)
    assert more.values[:, 0] == pytest.approx(np.full(3, (2.0 / (0.1 * 2.0 + 0.9)) ** 2), rel=0.1)
    assert (more.values[:, 1] < 1.0).all()


def test_worse_records_of_one_service_or_of_pupils_are_missed_there() -> None:
    """A bad record of a pupil is missed by both services at once."""
    visitors, settings, pupils = (
        estimate(dict.fromkeys(list_kinds(record), 3.0), 0.1).values[:, 0] for record in (VISITOR, SETTING, PUPIL)
    )
    assert visitors[REVIEW_MISSED] > 2.0 > 1.1 > visitors[SETTING_MISSED]
    assert settings[SETTING_MISSED] > 2.0
    assert settings[REVIEW_MISSED] < visitors[REVIEW_MISSED]
    assert pupils[BOTH] == pupils.max() > 2.0


def test_what_the_noise_hides_is_left_as_over_all_and_what_plainly_differs_is_believed() -> None:
    """One in fifty children, whose reviews have other names twenty times as often, is far beyond noise."""
    small = estimate(dict.fromkeys(cells.ONE_SORT, 3.0), 0.001, deviation=30.0)
    assert small.values[:, 0] == pytest.approx(np.ones(3), abs=0.1)
    assert (np.sqrt(np.einsum("cgg->cg", small.covariances))[0] > 0.4).all()
    more = estimate(dict.fromkeys(list_kinds(VISITOR), 20.0), 0.02, deviation=15.0)
    assert more.values[REVIEW_MISSED, 0] > 10.0
    assert more.values[SETTING_MISSED, 0] < 2.0


@limit_examples(30)
@given(
    st.lists(st.floats(-200, 5_000), min_size=len(KINDS), max_size=len(KINDS)),
    st.floats(0, 100),
    st.lists(st.floats(-50, 50), min_size=len(CELLS), max_size=len(CELLS)),
)
def test_factors_of_any_noisy_counts_can_be_used(of_one: list[float], deviation: float, noise: list[float]) -> None:
    kinds = np.array([of_one, [3_000.0, 10_000.0, *[100.0] * (len(KINDS) - 2)]])
    variances = np.full(kinds.shape, deviation**2)
    made = missed.estimate_factors(WHOLE / 100 + noise, np.ones(len(CELLS)), kinds, variances, SEEN_BY)
    assert np.isfinite(made.values).all()
    assert (made.values >= 0).all()
    found = np.linalg.eigvalsh(made.covariances)
    assert (found > -1e-6 - 1e-14 * found.max(axis=1, keepdims=True)).all(), "further below 0 than by rounding"


def test_no_more_children_leave_neither_than_were_found_there() -> None:
    """More links are missed than pupils lack one, by the records near and by those with a number."""
    counts, noise = count_near(np.array([300.0, 900.0, 900.0, 250.0, 200.0])), np.full(len(CELLS), 11.0**2)
    absurd = Counted(np.full(len(NUMBERED), 3_000.0), np.full(len(NUMBERED), 11.0**2))
    rates = add_near(counts, noise, absurd).rates
    moved = rates * missed._compute_true(SEEN, rates)
    assert moved[[0, 3, 4]].sum() == pytest.approx(SEEN[3], rel=0.05)

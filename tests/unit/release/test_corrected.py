"""Figures of an attribute that is recorded wrongly at known rates, and of children whose census row was not found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from privacy.estimation.corrected import Corrected, Joined, Local
from privacy.release.workload import Attribute, Cube, LinearCombination, Selector
from tests.support.release.doubles import ExactMoments

COUNCIL, SEEN = Attribute("council", ("a", "b")), Attribute("seen", ("both", "one", "none"))
GLD = Attribute("gld", ("yes", "no"))
TRUE = np.array([[[800.0, 400.0], [90.0, 60.0], [40.0, 10.0]], [[300.0, 100.0], [20.0, 20.0], [5.0, 15.0]]])
"""(council, seen, gld)."""
RATES = np.array([0.02, 0.05])


def chances(rates: np.ndarray) -> Mapping[str, np.ndarray]:
    lost, last = rates
    return {"seen": np.array([[1 - lost, 0, 0], [lost, 1 - last, 0], [0, last, 1.0]])}


def exact(counts: np.ndarray) -> ExactMoments:
    return ExactMoments(counts, COUNCIL, SEEN, GLD)


def found_of(true: np.ndarray) -> np.ndarray:
    return np.einsum("ft,ctg->cfg", chances(RATES)["seen"], true)


def corrected(counts: np.ndarray, covariance: np.ndarray | None = None) -> Corrected:
    return Corrected(exact(counts), chances, RATES, np.zeros((2, 2)) if covariance is None else covariance)


BY_COUNCIL = Cube({"council": Selector.for_each(COUNCIL), "seen": Selector.for_each(SEEN)})
YES = Cube(BY_COUNCIL.selectors, {"gld": Selector.for_categories(GLD, "yes")})
WHOLE = Cube({"council": Selector.for_each(COUNCIL), "seen": Selector.for_total(SEEN)})


def test_a_total_stays_as_it_is_to_the_bit() -> None:
    counts = found_of(TRUE)
    assert (corrected(counts).compute_values(WHOLE) == exact(counts).compute_values(WHOLE)).all()
    assert (corrected(counts, np.eye(2)).compute_variance(WHOLE) == 0).all()


def test_rates_that_are_not_known_widen_what_they_move() -> None:
    covariance = np.diag([0.01**2, 0.0])
    counts = found_of(TRUE)
    more = corrected(counts, covariance).compute_variance(BY_COUNCIL) - corrected(counts).compute_variance(BY_COUNCIL)
    step = 1e-5
    moved = Corrected(exact(counts), chances, RATES + np.array([step, 0.0]), covariance).compute_values(BY_COUNCIL)
    slope = (moved - corrected(counts).compute_values(BY_COUNCIL)) / step
    assert more == pytest.approx((0.01 * slope) ** 2, rel=0.01, abs=1e-6)


def test_a_combination_is_the_sum_of_its_parts() -> None:
    no = Cube(BY_COUNCIL.selectors, {"gld": Selector.for_categories(GLD, "no")})
    both = LinearCombination(((1.0, YES), (1.0, no)))
    moments = corrected(found_of(TRUE), np.diag([1e-4, 1e-4]))
    assert moments.compute_values(both) == pytest.approx(moments.compute_values(BY_COUNCIL))
    assert moments.compute_variance(both) == pytest.approx(moments.compute_variance(BY_COUNCIL))


def test_two_such_attributes_in_one_figure_are_refused() -> None:
    moments = Corrected(exact(TRUE), lambda rates: {"seen": np.eye(3), "gld": np.eye(2)}, RATES, np.zeros((2, 2)))
    with pytest.raises(ValueError, match="gld"):
        moments.compute_values(YES)


def higher_in_b(
    counts: np.ndarray, variance: float = 0.0, is_split: bool = True, more: Sequence[float] | None = None
) -> Corrected:
    """Links are missed as often as `RATES` say in the council a, and `MORE` times as often in b, of each kind."""
    covariances = np.array([np.zeros((2, 2)), np.diag([variance, 0.0])])
    factors = np.stack([np.ones(2), MORE if more is None else more], axis=1)
    local = Local("council", factors, covariances, np.array([0, 1]), SIZES, lambda _: is_split)
    return Corrected(exact(counts), chances, RATES, np.zeros((2, 2)), (local,))


MORE = np.array([1.2, 1.5])
SIZES = np.array([3.0, 1.0])
BOTH_COUNCILS = Cube({"council": Selector.for_total(COUNCIL), "seen": Selector.for_each(SEEN)})


def found_more_wrongly_in_b(true: np.ndarray) -> np.ndarray:
    matrices = np.stack([chances(RATES)["seen"], chances(MORE * RATES)["seen"]])
    return np.einsum("cft,ctg->cfg", matrices, true)


def test_each_place_is_corrected_by_its_own_rates_and_all_together_by_those_of_each() -> None:
    moments = higher_in_b(found_more_wrongly_in_b(TRUE))
    second_order = 300 * ((MORE[1] - 1) * RATES[1]) ** 2
    assert moments.compute_values(BY_COUNCIL)[0] == pytest.approx(TRUE.sum(axis=2)[0])
    assert moments.compute_values(BY_COUNCIL)[1] == pytest.approx(TRUE.sum(axis=2)[1], abs=second_order)
    assert moments.compute_values(BOTH_COUNCILS)[0] == pytest.approx(moments.compute_values(BY_COUNCIL).sum(axis=0))
    assert (moments.compute_values(WHOLE) == exact(found_more_wrongly_in_b(TRUE)).compute_values(WHOLE)).all()


def test_a_figure_that_cannot_be_had_by_place_is_corrected_by_the_mean_factor() -> None:
    counts = found_of(TRUE)
    mean = (SIZES[0] + SIZES[1] * MORE) / SIZES.sum()
    by_mean = Corrected(exact(counts), chances, mean * RATES, np.zeros((2, 2)))
    found = higher_in_b(counts, is_split=False)
    assert found.compute_values(BOTH_COUNCILS) == pytest.approx(by_mean.compute_values(BOTH_COUNCILS), abs=0.1)
    assert found.compute_variance(BOTH_COUNCILS) == pytest.approx(by_mean.compute_variance(BOTH_COUNCILS), rel=0.03)


def test_a_factor_that_is_not_known_widens_its_own_place_and_what_holds_it() -> None:
    counts = found_more_wrongly_in_b(TRUE)
    sure, unsure = higher_in_b(counts), higher_in_b(counts, variance=0.25)
    more = unsure.compute_variance(BY_COUNCIL) - sure.compute_variance(BY_COUNCIL)
    step = 1e-6
    moved = higher_in_b(counts, more=[MORE[0] + step, MORE[1]]).compute_values(BY_COUNCIL)
    slope = (moved - sure.compute_values(BY_COUNCIL)) / step
    assert more[0] == pytest.approx(np.zeros(3), abs=1e-9)
    assert more[1] == pytest.approx(0.25 * slope[1] ** 2, rel=1e-3, abs=1e-3)
    of_both = unsure.compute_variance(BOTH_COUNCILS) - sure.compute_variance(BOTH_COUNCILS)
    assert of_both[0] == pytest.approx(more[1])
    apart = LinearCombination(((1.0, _only("a")), (-1.0, _only("b"))))
    assert unsure.compute_variance(apart) - sure.compute_variance(apart) == pytest.approx(more[1])


def _only(council: str) -> Cube:
    return Cube({"seen": Selector.for_each(SEEN)}, {"council": Selector.for_categories(COUNCIL, council)})


def test_the_variance_by_chance_is_that_of_each_place() -> None:
    rng = np.random.default_rng(2)
    matrices = [chances(RATES)["seen"], chances(MORE * RATES)["seen"]]
    drawn = np.zeros((1000, *TRUE.shape))
    for council, true, gld in np.ndindex(*TRUE.shape):
        drawn[:, council, :, gld] += rng.multinomial(int(TRUE[council, true, gld]), matrices[council][:, true], 1000)
    values = [higher_in_b(counts).compute_values(BY_COUNCIL) for counts in drawn]
    stated = higher_in_b(found_more_wrongly_in_b(TRUE)).compute_variance(BY_COUNCIL)
    assert np.std(values, axis=0) == pytest.approx(np.sqrt(stated), rel=0.15, abs=0.15)


def test_a_number_is_the_same_in_a_table_that_cannot_be_had_by_place() -> None:
    """At the total of what keeps the table from it; the rest is corrected by the mean over all places."""
    counts = found_more_wrongly_in_b(TRUE)
    alone = higher_in_b(counts, 0.04)
    (local,) = alone.local
    mixed = replace(alone, local=(replace(local, splits=lambda names: "gld" not in names),))
    rows = Selector.for_total(GLD) + Selector.for_each(GLD)
    cube = Cube({**BOTH_COUNCILS.selectors, "gld": rows})
    for ask in (Corrected.compute_values, Corrected.compute_variance):
        found = ask(mixed, cube)
        assert (found[:, :, 0] == ask(alone, BOTH_COUNCILS)).all()
        assert (found[:, :, 1:] == ask(mixed, Cube({**BOTH_COUNCILS.selectors, "gld": Selector.for_each(GLD)}))).all()
    whole = Cube({**BOTH_COUNCILS.selectors, "gld": Selector.for_groups(GLD, dict.fromkeys("abc", GLD.categories))})
    assert (
        mixed.compute_covariance(cube, whole)[:, :, 0] == alone.compute_covariance(BOTH_COUNCILS, BOTH_COUNCILS)
    ).all()


def in_groups(counts: np.ndarray, more_in_yes: float) -> Corrected:
    """Links of those at a good level are missed `more_in_yes` times as often as over all, of the others less often."""
    by_gld = counts.sum(axis=(0, 1))
    less = (by_gld.sum() - more_in_yes * by_gld[0]) / by_gld[1]
    factors = np.array([[more_in_yes, less]] * 2)
    local = Local("gld", factors, np.zeros((2, 2, 2)), np.array([0, 1]), by_gld, lambda _: True, added_up=False)
    return Corrected(exact(counts), chances, RATES, np.zeros((2, 2)), (local,))


GROUPS = Selector.for_total(GLD) + Selector.for_each(GLD)
BY_GROUP = Cube({"seen": Selector.for_each(SEEN), "gld": GROUPS}, {"council": Selector.for_total(COUNCIL)})


def test_a_group_is_corrected_by_its_own_rates_and_all_groups_together_as_without_them() -> None:
    more = 1.4
    counts = (
        np.stack([chances(f * RATES)["seen"] @ TRUE.sum(axis=0)[:, at] for at, f in enumerate((more, 1.0))], axis=1)[
            None
        ].repeat(2, axis=0)
        / 2
    )
    found = in_groups(counts, more).compute_values(BY_GROUP)
    second_order = counts.sum() * ((more - 1) * RATES[1]) ** 2
    assert found[:, 1] == pytest.approx(TRUE.sum(axis=0)[:, 0], abs=second_order)
    without = Corrected(exact(counts), chances, RATES, np.zeros((2, 2)))
    assert (found[:, 0] == without.compute_values(BY_GROUP)[:, 0]).all()
    assert abs(without.compute_values(BY_GROUP)[:, 1] - TRUE.sum(axis=0)[:, 0]).max() > 2 * second_order


def test_the_factors_of_a_council_and_of_a_group_add_up() -> None:
    counts = found_of(TRUE)
    council, group = higher_in_b(counts).local[0], in_groups(counts, 1.4).local[0]
    both = Corrected(exact(counts), chances, RATES, np.zeros((2, 2)), (council, group))
    cube = Cube({"council": Selector.for_each(COUNCIL), "seen": Selector.for_each(SEEN), "gld": Selector.for_each(GLD)})
    plain = corrected(counts).compute_values(cube)
    parts = [
        Corrected(exact(counts), chances, RATES, np.zeros((2, 2)), (each,)).compute_values(cube)
        for each in (council, group)
    ]
    assert both.compute_values(cube) - plain == pytest.approx(sum(part - plain for part in parts))


FSM, GROUP = Attribute("fsm", ("yes", "no", "unknown")), Attribute("group", ("a", "b", "unknown"))
SEX = Attribute("sex", ("F", "M"))
LOST = 0.04
CHILDREN = np.arange(1.0, 19.0).reshape(3, 3, 2) * 100
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
    return Joined(ExactMoments(as_found(CHILDREN), FSM, GROUP, SEX, variance=1.0), unknown, LOST / (1 - LOST), variance)


def test_counts_of_rows_that_were_not_found_are_brought_back_in_tables_of_one_and_of_two_characteristics() -> None:
    found = joined().compute_values(Cube(EACH_OF_ALL))
    assert found[1:, 1:] == pytest.approx(CHILDREN)
    assert found[1:, 0] == pytest.approx(CHILDREN.sum(axis=1))
    assert found[0, 1:] == pytest.approx(CHILDREN.sum(axis=0))
    cube = Cube(EACH_OF_ALL)
    twice = LinearCombination(((1.0, cube), (1.0, cube)))
    assert joined().compute_values(twice) == pytest.approx(2 * found)


def test_the_total_of_rows_that_were_not_found_stays_as_it_is_to_the_bit() -> None:
    everyone = Cube(EACH_OF_ALL)
    assert (joined().compute_values(everyone)[0, 0] == joined().moments.compute_values(everyone)[0, 0]).all()
    assert (joined(0.1).compute_variance(everyone)[0, 0] == 1.0).all()


def test_an_unknown_rate_of_rows_that_were_not_found_widens_what_it_moves() -> None:
    cube, variance = Cube(EACH_OF_ALL), 1e-4
    step = 1e-6
    moved = Joined(joined().moments, joined().unknown, joined().odds + step, 0.0).compute_values(cube)
    slope = (moved - joined().compute_values(cube)) / step
    assert joined(variance).compute_variance(cube) - 1.0 == pytest.approx(variance * slope**2, rel=1e-4, abs=1e-9)
    assert joined(variance).compute_covariance(cube, cube) == pytest.approx(variance * slope**2, rel=1e-4, abs=1e-9)

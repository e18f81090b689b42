"""Intervals cover what they claim, for every input, and flags follow from published figures alone.

The model's column is nearer the truth for small groups, and follows a group that stands out.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from privacy.estimation import intervals
from privacy.estimation.estimates import Estimates
from privacy.release.mechanism import Measurement
from privacy.release.plan import make_plan
from privacy.release.policy import Reliability
from privacy.release.workload import Cube, LinearCombination, Marginal, MeasuredFamily, Selector
from tests.support.daily import limit_examples
from tests.support.release.examples import build_attributes, compute_published_rates

RELIABILITY = Reliability(unreliable_half_width=5.0, withheld_half_width=15.0, denominator_standard_errors=3.0)
MANY_PLACES, RELEASES = 300, 40


def fix(**numbers):
    """Moments given as numbers, for a numerator "x" and a denominator "y"; those that are left out are 0."""

    def look_up(*figures):
        return np.array(numbers.get("".join(sorted(figures)), 0.0))

    return SimpleNamespace(
        compute_values=look_up, compute_variance=lambda figures: look_up(figures, figures), compute_covariance=look_up
    )


def rate(**moments):
    table = compute_published_rates(fix(**moments), "x", "y", RELIABILITY)
    return float(table.value), float(table.lower), float(table.upper), str(table.flag)


@pytest.fixture(scope="module")
def coverage():
    """Shares of intervals that hold the truth, by kind of figure, over repeated releases of many independent places."""
    family = MeasuredFamily(
        "f",
        "u",
        build_attributes(place=MANY_PLACES, fsm=3, gld=2),
        (Marginal(("place", "fsm", "gld")), Marginal(("place", "gld"), 3.0)),
    )
    plan = make_plan(family, 0.05, delta=1e-6)
    exact = np.random.default_rng(1).integers(150, 900, (MANY_PLACES, 3, 2))
    outside = {a: tuple(i for i, other in enumerate(family.attributes) if other.name not in a) for a in plan.sigmas}
    counts = {a: exact.sum(axis=axes) for a, axes in outside.items()}
    places = {"place": Selector.for_each(family.get_attribute("place"))}
    groups = {"fsm": Selector.for_each(family.get_attribute("fsm"))}
    yes = {"gld": Selector.for_categories(family.get_attribute("gld"), "gld 1")}
    first = {"fsm": Selector.for_categories(family.get_attribute("fsm"), "fsm 0")}
    hits, everyone = Cube(places, yes), Cube(places)
    first_hits, first_everyone = Cube(places, yes | first), Cube(places, first)
    weighted = LinearCombination(((1.0, hits), (2.0, first_hits)))
    truth = {
        "count": exact[..., 1],
        "rate": 100 * exact[..., 1] / exact.sum(axis=2),
        "difference": 100 * (exact[:, 0, 1] / exact[:, 0].sum(1) - exact[..., 1].sum(1) / exact.sum((1, 2))),
        "average": (exact[..., 1].sum(1) + 2 * exact[:, 0, 1]) / exact.sum((1, 2)),
    }
    inside, rng = dict.fromkeys(truth, 0.0), np.random.default_rng(2)
    for _ in range(RELEASES):
        noisy = {a: np.rint(rng.normal(counts[a], sigma)) for a, sigma in plan.sigmas.items()}
        estimates = Estimates(plan, Measurement(plan.sha256, "normal (test)", "", 0.0, noisy))
        tables = {
            "count": intervals.compute_published_counts(estimates, Cube(places | groups, yes)),
            "rate": compute_published_rates(estimates, Cube(places | groups, yes), Cube(places | groups), RELIABILITY),
            "difference": intervals.compute_rate_differences(
                estimates, (first_hits, first_everyone), (hits, everyone), RELIABILITY
            ),
            "average": intervals.compute_published_ratios(estimates, weighted, everyone, RELIABILITY, largest=3.0),
        }
        for name, table in tables.items():
            inside[name] += float(((table.lower <= truth[name]) & (truth[name] <= table.upper)).mean())
    return {name: share / RELEASES for name, share in inside.items()}


@pytest.mark.parametrize("kind", ["count", "rate", "difference", "average"])
def test_intervals_cover_the_truth_in_95_of_100_cases(coverage, kind):
    assert 0.94 < coverage[kind] < 0.96


def test_counts_are_whole_and_not_negative():
    table = intervals.compute_published_counts(fix(x=-3.4, xx=4.0), "x")
    assert (int(table.value), float(table.lower)) == (0, 0.0)
    assert float(table.upper) == pytest.approx(-3.4 + 2 * intervals.Z95)
    table = intervals.compute_published_counts(fix(x=-30.0, xx=4.0), "x")
    assert (int(table.value), float(table.lower), float(table.upper)) == (0, 0.0, 0.0)
    assert int(intervals.compute_published_counts(fix(x=7.6, xx=4.0), "x").value) == 8


@pytest.mark.parametrize(
    ("moments", "flag"),
    [
        ({"x": 500.0, "y": 1000.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, intervals.RELIABLE),
        ({"x": 100.0, "y": 200.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, intervals.UNRELIABLE),
        ({"x": 15.0, "y": 31.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, intervals.WITHHELD),
        ({"x": 14.0, "y": 14.9, "xx": 0.1, "yy": 25.0, "xy": 0.0}, intervals.WITHHELD),
        ({"x": 3.0, "y": -5.0, "xx": 1.0, "yy": 1.0, "xy": 0.5}, intervals.WITHHELD),
        ({"x": 0.0, "y": 0.0}, intervals.WITHHELD),
    ],
)
def test_flags(moments, flag):
    value, low, high, found = rate(**moments)
    assert found == flag
    assert np.isnan(value) == (flag == intervals.WITHHELD)
    assert 0 <= low <= high <= 100


def test_what_noise_makes_impossible_is_judged_by_its_whole_interval():
    """A denominator within the noise has the whole range; a rate above 100 has what is left of it."""
    for y in (-10.0, -1.0, 0.0, 1.0):
        assert rate(x=5.0, y=y, xx=9.0, yy=9.0)[1:3] == (0.0, 100.0)
    value, low, high, flag = rate(x=120.0, y=100.0, xx=25.0, yy=4.0)
    assert (value, low, high, flag) == (100.0, 100.0, 100.0, intervals.RELIABLE)


def test_a_flag_is_about_the_interval_that_is_shown():
    """Half of an interval of 12 points is outside the possible range; the interval shown is 6.5 points wide."""
    value, low, high, flag = rate(x=1.0, y=200.0, xx=36.0, yy=36.0, xy=0.0)
    assert (value, low, flag) == (0.5, 0.0, intervals.RELIABLE)
    assert 6 < high < 7
    difference = intervals.compute_rate_differences(
        fix(a=99.0, b=100.0, c=-3.0, aa=36.0, cc=36.0, cb=0.0), ("a", "b"), ("c", "b"), RELIABILITY
    )
    assert float(difference.upper) == 100
    assert float(difference.half_width) == pytest.approx((100 - float(difference.lower)) / 2)


def test_whatever_withholds_a_rate_its_expected_width_has_no_end():
    """A plan counted on rates whose denominators are lost in noise, which a release withholds."""
    weak = {"x": 14.0, "y": 14.9, "xx": 0.1, "yy": 25.0}
    for moments, half_width in ((weak, np.inf), ({"x": 3.0, "y": -5.0}, np.inf), ({"x": 5.0, "y": 10.0}, 0.0)):
        assert compute_published_rates(fix(**moments), "x", "y", RELIABILITY).half_width == half_width


def test_fieller_solves_its_quadratic():
    x, y, xx, yy, xy = 310.0, 500.0, 90.0, 120.0, 40.0
    centre, half_width = intervals.RatioMoments(*(np.array(v) for v in (x, y, xx, yy, xy))).compute_interval()
    for bound in (centre - half_width, centre + half_width):
        assert (x - bound * y) ** 2 == pytest.approx(intervals.Z95**2 * (xx - 2 * bound * xy + bound**2 * yy))


@pytest.mark.filterwarnings("error")
@limit_examples(300)
@given(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5), st.floats(0, 1e4), st.floats(0, 1e4), st.floats(-1, 1))
def test_every_input_has_an_answer(x, y, xx, yy, correlation):
    moments = {"x": x, "y": y, "xx": xx, "yy": yy, "xy": correlation * np.sqrt(xx * yy)}
    value, low, high, flag = rate(**moments)
    assert 0 <= low <= high <= 100
    assert np.isnan(value) if flag == intervals.WITHHELD else low - 1e-9 <= value <= high + 1e-9
    difference = intervals.compute_rate_differences(fix(**moments), ("x", "y"), ("x", "y"), RELIABILITY)
    if difference.flag != intervals.WITHHELD:
        assert flag != intervals.WITHHELD
        assert float(difference.value) == 0
        assert -100 <= float(difference.lower) <= 0 <= float(difference.upper) <= 100
    else:
        # with two ends, a difference may be too wide though a rate that ends at 0 is not
        assert np.isnan(difference.value)
        assert flag == intervals.WITHHELD or float(difference.upper) > RELIABILITY.withheld_half_width


# --- The model's column


PLACES, GROUPS, NOISE = 12, 6, 12.0


def truth(seed: int, interaction: float) -> tuple[np.ndarray, np.ndarray]:
    """Sizes, most of them small, and rates: additive but for `interaction`, a standard deviation."""
    rng = np.random.default_rng(seed)
    size = np.rint(rng.lognormal(4.5, 1.0, (PLACES, GROUPS))) + 5
    chance = 0.66 + rng.normal(0, 0.04, (PLACES, 1)) + rng.normal(0, 0.08, (1, GROUPS))
    chance = np.clip(chance + rng.normal(0, interaction, (PLACES, GROUPS)), 0.05, 0.95)
    return size, rng.binomial(size.astype(int), chance) / size


def noisy_rates(size: np.ndarray, rate: np.ndarray, seed: int) -> intervals.NoisyRates:
    """Noise of one variance on those at the level and on those below it, as a table measures."""
    rng = np.random.default_rng(seed)
    yes, no = (share * size + rng.normal(0, NOISE, size.shape) for share in (rate, 1 - rate))
    variance = np.full(size.shape, NOISE**2)
    return intervals.NoisyRates(yes, yes + no, variance, 2 * variance, variance)


def simulate(releases, interaction, noise_seed, change=lambda *_: None):
    """Yield sizes, rates, their noisy counts and the model of each release; `change` alters some sizes and rates."""
    for seed in range(releases):
        size, rate = truth(seed, interaction)
        change(size, rate)
        noisy = noisy_rates(size, rate, noise_seed + seed)
        yield size, rate, noisy, intervals.model_rates(noisy)


@pytest.mark.parametrize(("interaction", "share"), [(0.0, 0.6), (0.04, 0.7)])
def test_small_groups_are_nearer_the_truth_with_and_without_interactions(interaction, share):
    """Root mean square error of groups of under 100 children, of the plain rates and of the model's."""
    plain, model = [], []
    for size, rate, noisy, found in simulate(30, interaction, 1000):
        small = size < 100
        ratio = np.clip(noisy.x / np.where(noisy.y > 0, noisy.y, np.inf), 0, 1)
        plain.append((ratio - rate)[small] ** 2)
        model.append((found.rate - rate)[small] ** 2)
    assert np.concatenate(model).mean() < share**2 * np.concatenate(plain).mean()


@pytest.mark.parametrize("interaction", [0.0, 0.03, 0.1])
def test_intervals_hold_the_rates_of_as_many_cells_as_they_say(interaction):
    held, narrower = [], []
    for size, rate, noisy, found in simulate(25, interaction, 3000):
        held.append((found.lower <= rate) & (rate <= found.upper))
        low, high = own_interval(noisy, intervals.Z95)
        narrower.append(((found.upper - found.lower) / (high - low))[size < 100])
    assert 0.93 < np.mean(held) < 0.975
    assert np.concatenate(narrower).mean() < 0.95


@pytest.mark.parametrize(("children", "below"), [(25, 0.4), (80, 0.15), (80, 0.3), (200, 0.1), (200, 0.3)])
def test_the_interval_of_a_group_that_stands_out_holds_its_rate_in_nine_of_ten_releases(children, below):
    """However small it is and however far from the others; within what chance makes of 120 such intervals."""
    ones = ((2, 5, 8), (3, 1, 4))

    def stand_out(size, rate):
        size[ones], rate[ones] = children, np.rint(np.maximum(rate[ones] - below, 0.0) * children) / children

    found = [((m.lower <= rate) & (rate <= m.upper))[ones] for _, rate, _, m in simulate(40, 0.0, 2000, stand_out)]
    assert np.mean(found) >= 0.87


def test_a_group_that_stands_out_further_than_noise_explains_keeps_its_figure():
    def stand_out(size, rate):
        size[2, 3], rate[2, 3] = 200, 0.30

    off = [100 * (m.rate - noisy.x / noisy.y)[2, 3] for *_, noisy, m in simulate(30, 0.0, 2000, stand_out)]
    assert np.abs(off).mean() < 2


def test_the_interval_holds_the_85_percent_interval_of_the_cell_itself():
    size, rate = truth(2, 0.0)
    noisy = noisy_rates(size, rate, 2)
    found, (low, high) = intervals.model_rates(noisy), own_interval(noisy, intervals.OWN_INTERVAL_Z)
    assert (found.lower <= low).all()
    assert (found.upper >= high).all()


def own_interval(noisy: intervals.NoisyRates, z: float) -> tuple[np.ndarray, np.ndarray]:
    middle, half_width = noisy.compute_interval(z)
    return np.clip(middle - half_width, 0, 1), np.clip(middle + half_width, 0, 1)


def test_without_noise_rates_are_as_they_were():
    size, rate = truth(6, 0.05)
    nothing = np.zeros(size.shape)
    found = intervals.model_rates(intervals.NoisyRates(rate * size, size, nothing, nothing, nothing))
    for values in (found.rate, found.lower, found.upper):
        np.testing.assert_allclose(values, rate, atol=1e-4)


def test_a_group_that_noise_drowns_is_what_its_place_and_its_kind_suggest_and_may_be_anything():
    size, rate = truth(1, 0.0)
    size[3, 2], rate[3, 2] = 60, 0.6
    noisy = noisy_rates(size, rate, 5)
    for variance, times in ((noisy.xx, 1), (noisy.yy, 2), (noisy.xy, 1)):
        variance[3, 2] = times * 500.0**2
    found = intervals.model_rates(noisy)
    others = np.delete(intervals.model_rates(noisy).rate, 3, axis=0)[:, 2]
    assert others.min() - 0.1 < found.rate[3, 2] < others.max() + 0.1
    assert (found.lower[3, 2], found.upper[3, 2]) == (0, 1)


def test_neither_the_order_of_places_nor_that_of_groups_matters_nor_the_time():
    size, rate = truth(7, 0.03)
    noisy = noisy_rates(size, rate, 7)
    places, groups = np.random.default_rng(1).permutation(PLACES), np.random.default_rng(2).permutation(GROUPS)
    mixed = np.ix_(places, groups)
    arrays = (noisy.x, noisy.y, noisy.xx, noisy.yy, noisy.xy)
    found, again = intervals.model_rates(noisy), intervals.model_rates(intervals.NoisyRates(*arrays))
    other = intervals.model_rates(intervals.NoisyRates(*(values[mixed] for values in arrays)))
    for name in ("rate", "lower", "upper"):
        assert (getattr(found, name) == getattr(again, name)).all()
        np.testing.assert_allclose(getattr(other, name), getattr(found, name)[mixed], atol=1e-6)


@pytest.mark.filterwarnings("error")
@limit_examples(60)
@given(st.integers(0, 10_000), st.floats(0, 200), st.integers(4, 9), st.integers(1, 5))
def test_every_input_has_a_rate_within_its_interval(seed, noise, places, groups):
    rng = np.random.default_rng(seed)
    y = rng.normal(30, 60, (places, groups))
    variance = np.full(y.shape, noise)
    found = intervals.model_rates(
        intervals.NoisyRates(rng.normal(20, 60, y.shape), y, variance, 2 * variance, variance)
    )
    assert ((found.lower >= 0) & (found.upper <= 1)).all()
    assert ((found.lower <= found.rate) & (found.rate <= found.upper)).all()


@limit_examples(40)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.3]))
def test_effects_and_their_variances_are_those_of_least_squares(seed, unknown):
    """Against a general solver, on the cells of which something is known."""
    rng = np.random.default_rng(seed)
    y = np.rint(rng.lognormal(4, 1, (5, 4))) * (rng.random((5, 4)) >= unknown)
    x, variance = 0.3 * y + rng.normal(0, 2, y.shape), rng.uniform(50, 500, y.shape)
    weight, known = (y**2 / variance).ravel(), y.ravel() > 0
    places, groups = np.kron(np.eye(5), np.ones((4, 1))), np.tile(np.eye(4), (5, 1))
    whole = np.hstack([places, groups])
    design = whole[known] * np.sqrt(weight[known])[:, None]
    target = (x.ravel()[known] / y.ravel()[known]) * np.sqrt(weight[known])
    exact = whole @ np.linalg.lstsq(design, target, rcond=1e-9)[0]
    inverse = np.linalg.pinv(design.T @ design, rcond=1e-9, hermitian=True)
    effects, spread, _ = intervals._fit_additive(x, y, variance)
    np.testing.assert_allclose(effects.ravel()[known], exact[known], atol=1e-6)
    np.testing.assert_allclose(
        spread.ravel()[known], np.einsum("ij,jk,ik->i", whole, inverse, whole)[known], rtol=1e-6, atol=1e-9
    )

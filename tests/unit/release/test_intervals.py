"""Intervals cover what they claim, for every input, and flags follow from published figures alone."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import (
    RELIABLE,
    UNRELIABLE,
    WITHHELD,
    Z95,
    RatioMoments,
    compute_published_counts,
    compute_published_ratios,
    compute_rate_differences,
)
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.plan import make_plan
from privacy.release.policy import Reliability
from privacy.release.workload import Cube, Family, LinearCombination, Marginal, Selector
from tests.support.daily import limit_examples
from tests.support.release.examples import build_attribute, compute_published_rates

RELIABILITY = Reliability(unreliable_half_width=5.0, withheld_half_width=15.0, denominator_standard_errors=3.0)
PLACES, RELEASES = 300, 40


@dataclass(frozen=True)
class Fixed:
    """Moments given as numbers, for a numerator "x" and a denominator "y"."""

    x: float
    y: float
    xx: float
    yy: float
    xy: float

    def compute_values(self, figures):
        return np.array(getattr(self, figures))

    def compute_variance(self, figures):
        return np.array(getattr(self, figures * 2))

    def compute_covariance(self, left, right):
        return np.array(getattr(self, "".join(sorted(left + right))))


def rate(**moments):
    table = compute_published_rates(Fixed(**({"xx": 0.0, "yy": 0.0, "xy": 0.0} | moments)), "x", "y", RELIABILITY)
    return float(table.value), float(table.lower), float(table.upper), str(table.flag)


@pytest.fixture(scope="module")
def coverage():
    """Shares of intervals that hold the truth, by kind of figure, over repeated releases of many independent places."""
    family = Family(
        "f",
        "u",
        (build_attribute("place", PLACES), build_attribute("fsm", 3), build_attribute("gld", 2)),
        (Marginal(("place", "fsm", "gld")), Marginal(("place", "gld"), 3.0)),
    )
    plan = make_plan(family, 0.05, delta=1e-6)
    exact = np.random.default_rng(1).integers(150, 900, (PLACES, 3, 2))
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
    inside = dict.fromkeys(truth, 0.0)
    for _ in range(RELEASES):
        estimates = Estimates(plan, measure(plan, counts, OpenDPNoise(compute_charge(plan))))
        tables = {
            "count": compute_published_counts(estimates, Cube(places | groups, yes)),
            "rate": compute_published_rates(estimates, Cube(places | groups, yes), Cube(places | groups), RELIABILITY),
            "difference": compute_rate_differences(
                estimates, (first_hits, first_everyone), (hits, everyone), RELIABILITY
            ),
            "average": compute_published_ratios(estimates, weighted, everyone, RELIABILITY, largest=3.0),
        }
        for name, table in tables.items():
            inside[name] += float(((table.lower <= truth[name]) & (truth[name] <= table.upper)).mean())
    return {name: share / RELEASES for name, share in inside.items()}


@pytest.mark.parametrize("kind", ["count", "rate", "difference", "average"])
def test_intervals_cover_the_truth_in_95_of_100_cases(coverage, kind):
    assert 0.94 < coverage[kind] < 0.96


def test_counts_are_whole_and_not_negative():
    table = compute_published_counts(Fixed(x=-3.4, y=0, xx=4.0, yy=0, xy=0), "x")
    assert (int(table.value), float(table.lower)) == (0, 0.0)
    assert float(table.upper) == pytest.approx(-3.4 + 2 * Z95)
    table = compute_published_counts(Fixed(x=-30.0, y=0, xx=4.0, yy=0, xy=0), "x")
    assert (int(table.value), float(table.lower), float(table.upper)) == (0, 0.0, 0.0)
    assert int(compute_published_counts(Fixed(x=7.6, y=0, xx=4.0, yy=0, xy=0), "x").value) == 8


@pytest.mark.parametrize(
    ("moments", "flag"),
    [
        ({"x": 500.0, "y": 1000.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, RELIABLE),
        ({"x": 100.0, "y": 200.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, UNRELIABLE),
        ({"x": 15.0, "y": 31.0, "xx": 100.0, "yy": 100.0, "xy": 50.0}, WITHHELD),
        ({"x": 14.0, "y": 14.9, "xx": 0.1, "yy": 25.0, "xy": 0.0}, WITHHELD),
        ({"x": 3.0, "y": -5.0, "xx": 1.0, "yy": 1.0, "xy": 0.5}, WITHHELD),
        ({"x": 0.0, "y": 0.0}, WITHHELD),
    ],
)
def test_flags(moments, flag):
    value, low, high, found = rate(**moments)
    assert found == flag
    assert np.isnan(value) == (flag == WITHHELD)
    assert 0 <= low <= high <= 100


def test_what_noise_makes_impossible_is_judged_by_its_whole_interval():
    """A denominator within the noise has the whole range; a rate above 100 is unreliable."""
    for y in (-10.0, -1.0, 0.0, 1.0):
        assert rate(x=5.0, y=y, xx=9.0, yy=9.0)[1:3] == (0.0, 100.0)
    value, low, high, flag = rate(x=120.0, y=100.0, xx=25.0, yy=4.0)
    assert (value, low, high, flag) == (100.0, 100.0, 100.0, UNRELIABLE)


def test_fieller_solves_its_quadratic():
    x, y, xx, yy, xy = 310.0, 500.0, 90.0, 120.0, 40.0
    centre, half_width = RatioMoments(*(np.array(v) for v in (x, y, xx, yy, xy))).compute_interval()
    for bound in (centre - half_width, centre + half_width):
        assert (x - bound * y) ** 2 == pytest.approx(Z95**2 * (xx - 2 * bound * xy + bound**2 * yy))


@pytest.mark.filterwarnings("error")
@limit_examples(300)
@given(
    st.floats(-1e5, 1e5),
    st.floats(-1e5, 1e5),
    st.floats(0, 1e4),
    st.floats(0, 1e4),
    st.floats(-1, 1),
    st.floats(-1e5, 1e5),
)
def test_every_input_has_an_answer(x, y, xx, yy, correlation, other):
    moments = Fixed(x, y, xx, yy, correlation * np.sqrt(xx * yy))
    value, low, high, flag = rate(**vars(moments))
    assert 0 <= low <= high <= 100
    assert np.isnan(value) if flag == WITHHELD else low - 1e-9 <= value <= high + 1e-9
    difference = compute_rate_differences(moments, ("x", "y"), ("x", "y"), RELIABILITY)
    if flag != WITHHELD:
        assert float(difference.value) == 0
        assert -100 <= float(difference.lower) <= 0 <= float(difference.upper) <= 100
    else:
        assert np.isnan(difference.value)

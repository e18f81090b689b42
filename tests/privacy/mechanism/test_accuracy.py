"""A plan delivers its expected accuracy, and improves on one query per table by the stated margin."""

from types import SimpleNamespace

import numpy as np
import pytest

from assets.release.planning import plan_family
from ndl_export.analyst_db.facts import NOISE_CORRELATION
from ndl_export.tables.parents import NOT_APPLICABLE, QUESTIONS
from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import compute_count_half_widths, compute_published_counts
from privacy.release.child_table import count_cells
from privacy.release.mechanism import OpenDPNoise, compute_charge, measure
from privacy.release.policy import load_policy
from privacy.release.workload import Cube, MeasuredFamily, Selector
from sources.reference.places import PILOT
from tests.support.release.accuracy import (
    CHARACTERISTICS,
    LARGE,
    draw_child_table,
    measure_correlation,
    measure_errors,
)
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import compute_published_rates
from tests.support.release.usable import count_usable_rates

QUESTIONED = sum(len(set(question.categories) - {NOT_APPLICABLE}) for question in QUESTIONS)
"""Number of answers to all questions in the survey of parents."""
TARGET = 0.45
"""Mean absolute error of GLD rates in cells of 200 children or more, relative to one query per table with an equal
budget."""


@pytest.fixture(scope="module")
def pilot():
    plan = plan_family("pupil", sorted(PILOT), load_policy())
    return plan, count_cells(draw_child_table(sorted(PILOT), 1), plan)


def rate_cubes(family: MeasuredFamily, characteristic: str) -> tuple[Cube, Cube]:
    axes = {name: Selector.for_each(family.get_attribute(name)) for name in ("council", characteristic)}
    return Cube(axes, {"gld": Selector.for_categories(family.get_attribute("gld"), "Yes")}), Cube(axes)


def test_expected_half_widths_are_those_of_the_release(pilot):
    plan, counts = pilot
    estimates, true = (
        Estimates(plan, measure(plan, counts, noise)) for noise in (OpenDPNoise(compute_charge(plan)), NoNoise())
    )
    reliability = load_policy().reliability
    for name in CHARACTERISTICS:
        numerator, denominator = rate_cubes(plan.family, name)
        table = compute_published_counts(estimates, denominator)
        whole = table.lower > 0
        np.testing.assert_allclose(
            compute_count_half_widths(Covariances(plan), denominator)[whole], ((table.upper - table.lower) / 2)[whole]
        )
        exact = np.rint(true.compute_marginal(("council", name, "gld")))
        size = exact.sum(axis=2)
        expected = compute_published_rates(true, numerator, denominator, reliability).half_width
        released = compute_published_rates(estimates, numerator, denominator, reliability)
        large = size >= 500
        np.testing.assert_allclose(expected[large], ((released.upper - released.lower) / 2)[large], rtol=0.15)
        # a denominator drowned in noise may be anything
        nothing = SimpleNamespace(
            compute_values=lambda figures: np.zeros(figures.shape),
            compute_variance=true.compute_variance,
            compute_covariance=true.compute_covariance,
        )
        assert np.isinf(compute_published_rates(nothing, numerator, denominator, reliability).half_width).all()


def test_the_published_tables_are_as_far_ahead():
    """A few releases of the project's tables, as one may be far off; `bench.release` measures many."""
    cells = measure_errors(sorted(PILOT), 4)
    assert cells.compute_mean_absolute("release", LARGE) < TARGET * cells.compute_mean_absolute("each", LARGE)
    assert cells.compute_mean_absolute("release", LARGE) < TARGET * cells.compute_mean_absolute("detailed", LARGE)


@pytest.mark.slow
def test_most_published_rates_are_usable_and_hold_the_truth():
    found = count_usable_rates(sorted(PILOT), 2)
    assert found.compute_share() >= 0.7
    assert found.count_published() >= 0.9 * found.count_defined()
    for area in ("Pilot councils", "Liverpool City Region", "Leeds"):
        usable = found.compute_share(table="parent_experience", area=area)
        assert usable * found.count_published(table="parent_experience", area=area) >= QUESTIONED
    assert 0.93 < found.coverage < 0.98


def test_councils_are_almost_independent():
    """The worked query assumes this, and the macros their bound, for the interval of a difference of two councils."""
    assert measure_correlation(sorted(PILOT)) < 0.03 < NOISE_CORRELATION

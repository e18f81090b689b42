"""Several measurements of one table are estimated as dense least squares over all of them would."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from privacy.estimation.estimates import Estimates, build_estimates, drop_categories
from privacy.release.mechanism import Measurement, combine_measurements, combine_plans
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Cube, Family, Marginal, Selector, WorkloadError
from tests.support.release.dense import Dense, noisy
from tests.support.release.examples import small_family, small_plan


def further(*marginals: tuple[str, ...], rho: float = 0.02) -> Plan:
    """A later plan over the same attributes, for these marginals."""
    family = small_family()
    asked = tuple(Marginal(names) for names in marginals)
    return make_plan(replace(family, marginals=asked, identities=()), rho, delta=1e-6)


CUBES = (
    (("council", "fsm", "gld"), {}),
    (("council", "asq", "gld"), {}),
    (("fsm", "asq", "gld"), {}),
    (("dots",), {}),
    ((), {}),
)


def test_estimates_and_variances_are_those_of_all_measurements_at_once() -> None:
    base = small_plan()
    later = [further(("fsm", "asq", "gld")), further(("council", "asq", "gld"), ("dots",), rho=0.005)]
    measured = [(plan, noisy(plan, seed)) for seed, plan in enumerate([base, *later])]
    whole, counts = combine_measurements(*measured[0], measured[1:])
    found, dense = build_estimates(whole, counts), Dense(*measured)
    for names, _ in CUBES:
        cube = Cube({name: Selector.each(whole.family.attribute(name)) for name in names})
        rows = dense.figures(cube)
        np.testing.assert_allclose(found.values(cube).ravel(), rows @ dense.estimate, atol=1e-6)
        variance = np.einsum("ij,jk,ik->i", rows, dense.covariance, rows)
        np.testing.assert_allclose(found.variance(cube).ravel(), variance, rtol=1e-6, atol=1e-9)


def test_the_order_of_what_came_later_does_not_matter() -> None:
    base, one, other = small_plan(), further(("fsm", "asq")), further(("council", "fsm"))
    assert combine_plans(base, [one, other]).sigmas == combine_plans(base, [other, one]).sigmas


def test_a_council_that_has_sent_nothing_is_left_out_of_all() -> None:
    base, later = small_plan(), further(("council", "asq", "gld"))
    measured = [(plan, noisy(plan, seed)) for seed, plan in enumerate([base, later])]
    together = drop_categories(*combine_measurements(*measured[0], measured[1:]), "council", ["council 1"])
    (one, drawn), (other, more) = (drop_categories(*each, "council", ["council 1"]) for each in measured)
    apart = combine_measurements(one, drawn, [(other, more)])
    assert together[0].sigmas == apart[0].sigmas
    for names, counts in together[1].noisy.items():
        np.testing.assert_allclose(counts, apart[1].noisy[names])


def test_what_is_of_another_table_is_refused() -> None:
    base = small_plan()
    smaller = Family("small", "child", base.family.attributes[:2], (Marginal(("council", "fsm")),))
    with pytest.raises(ValueError, match="not of one child table"):
        combine_plans(base, [make_plan(smaller, 0.1, delta=1e-6)])
    later = further(("fsm", "asq"))
    with pytest.raises(ValueError, match="another plan"):
        combine_measurements(base, noisy(base, 1), [(later, noisy(base, 2))])


# --- Estimates given that a category is known to be empty

COUNCIL, LEVEL = Attribute("council", ("a", "b", "c")), Attribute("level", ("yes", "no"))
BOTH, ONE = ("council", "level"), ("level",)
PLAN = Plan(
    Family("example", "child", (COUNCIL, LEVEL), (Marginal(BOTH), Marginal(ONE))), 0.25, 1e-6, {BOTH: 2.0, ONE: 3.0}
)
NOISY = {BOTH: np.array([[61, 32], [3, -4], [40, 23]]), ONE: np.array([100, 60])}
MEASURED = Measurement(PLAN.sha256, "by hand", "none", 0.25, NOISY)


def test_estimates_are_the_weighted_least_squares_under_the_known_zeros() -> None:
    plan, measured = drop_categories(PLAN, MEASURED, "council", ["b"])
    council, level = plan.family.attribute("council"), plan.family.attribute("level")
    estimates = Estimates(plan, measured)
    cells = Cube({"council": Selector.each(council), "level": Selector.each(level)})
    rows, seen, weights = [], [], []
    for index, counts in zip((0, 2), NOISY[BOTH][[0, 2]], strict=True):
        for column in (0, 1):
            rows.append([float((i, j) == (index, column)) for i in (0, 2) for j in (0, 1)])
            seen.append(counts[column])
            weights.append(1 / 2.0)
    for column in (0, 1):
        rows.append([float(j == column) for _ in (0, 2) for j in (0, 1)])
        seen.append(NOISY[ONE][column])
        weights.append(1 / 3.0)
    design = np.array(rows) * np.array(weights)[:, None]
    expected = np.linalg.lstsq(design, np.array(seen) * np.array(weights), rcond=None)[0]
    covariance = np.linalg.inv(design.T @ design)
    assert np.ravel(estimates.values(cells)) == pytest.approx(expected)
    assert np.ravel(estimates.variance(cells)) == pytest.approx(np.diag(covariance))


def test_a_category_must_be_left_and_the_plan_be_the_same() -> None:
    with pytest.raises(WorkloadError, match="needs a category"):
        drop_categories(PLAN, MEASURED, "council", COUNCIL.categories)
    with pytest.raises(ValueError, match="another plan"):
        drop_categories(PLAN, Measurement("0" * 64, "by hand", "none", 0.25, NOISY), "council", ["b"])

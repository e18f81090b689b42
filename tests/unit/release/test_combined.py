"""Several measurements of one table are estimated as dense least squares over all of them would."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.estimation.estimates import Estimates, build_estimates, drop_categories
from privacy.release.mechanism import combine_measurements, combine_plans
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Cube, Family, Marginal, Selector, WorkloadError
from tests.support.release.dense import Dense, draw_noisy
from tests.support.release.examples import build_small_family, make_small_plan


def further(*marginals: tuple[str, ...], rho: float = 0.02) -> Plan:
    """A later plan over the same attributes, for these marginals."""
    family = build_small_family()
    asked = tuple(Marginal(names) for names in marginals)
    return make_plan(replace(family, marginals=asked, identities=()), rho, delta=1e-6)


CUBES = (("council", "fsm", "gld"), ("council", "asq", "gld"), ("fsm", "asq", "gld"), ("dots",), ())


def test_estimates_and_variances_are_those_of_all_measurements_at_once() -> None:
    base = make_small_plan()
    later = [further(("fsm", "asq", "gld")), further(("council", "asq", "gld"), ("dots",), rho=0.005)]
    measured = [(plan, draw_noisy(plan, seed)) for seed, plan in enumerate([base, *later])]
    whole, counts = combine_measurements(*measured[0], measured[1:])
    found, dense = build_estimates(whole, counts), Dense(*measured)
    for names in CUBES:
        cube = Cube({name: Selector.for_each(whole.family.get_attribute(name)) for name in names})
        rows = dense.build_figures(cube)
        np.testing.assert_allclose(found.compute_values(cube).ravel(), rows @ dense.estimate, atol=1e-6)
        variance = np.einsum("ij,jk,ik->i", rows, dense.covariance, rows)
        np.testing.assert_allclose(found.compute_variance(cube).ravel(), variance, rtol=1e-6, atol=1e-9)


def test_the_order_of_what_came_later_does_not_matter() -> None:
    base, one, other = make_small_plan(), further(("fsm", "asq")), further(("council", "fsm"))
    assert combine_plans(base, [one, other]).sigmas == combine_plans(base, [other, one]).sigmas


def test_a_council_that_has_sent_nothing_is_left_out_of_all() -> None:
    base, later = make_small_plan(), further(("council", "asq", "gld"))
    measured = [(plan, draw_noisy(plan, seed)) for seed, plan in enumerate([base, later])]
    together = drop_categories(*combine_measurements(*measured[0], measured[1:]), "council", ["council 1"])
    (one, drawn), (other, more) = (drop_categories(*each, "council", ["council 1"]) for each in measured)
    apart = combine_measurements(one, drawn, [(other, more)])
    assert together[0].sigmas == apart[0].sigmas
    for names, counts in together[1].noisy.items():
        np.testing.assert_allclose(counts, apart[1].noisy[names])


def test_what_is_of_another_table_is_refused() -> None:
    base = make_small_plan()
    smaller = Family("small", "child", base.family.attributes[:2], (Marginal(("council", "fsm")),))
    with pytest.raises(ValueError, match="not of one child table"):
        combine_plans(base, [make_plan(smaller, 0.1, delta=1e-6)])
    later = further(("fsm", "asq"))
    with pytest.raises(ValueError, match="another plan"):
        combine_measurements(base, draw_noisy(base, 1), [(later, draw_noisy(base, 2))])


def test_estimates_without_an_empty_category_are_those_of_the_smaller_table() -> None:
    base = make_small_plan()
    smaller = drop_categories(base, draw_noisy(base, 1), "council", ["council 1"])
    found, dense = Estimates(*smaller), Dense(smaller)
    cells = Cube({name: Selector.for_each(smaller[0].family.get_attribute(name)) for name in ("council", "fsm", "gld")})
    rows = dense.build_figures(cells)
    np.testing.assert_allclose(found.compute_values(cells).ravel(), rows @ dense.estimate, atol=1e-6)
    np.testing.assert_allclose(
        found.compute_variance(cells).ravel(), np.diag(rows @ dense.covariance @ rows.T), rtol=1e-6
    )
    for names, counts in smaller[1].noisy.items():
        if "council" in names:
            assert (counts == np.delete(draw_noisy(base, 1).noisy[names], 1, names.index("council"))).all()
        else:
            assert (counts == draw_noisy(base, 1).noisy[names]).all()


def test_a_category_must_be_left_and_the_plan_be_the_same() -> None:
    base = make_small_plan()
    with pytest.raises(WorkloadError, match="needs a category"):
        drop_categories(base, draw_noisy(base, 1), "council", base.family.get_attribute("council").categories)
    with pytest.raises(ValueError, match="another plan"):
        drop_categories(base, draw_noisy(make_small_plan(0.2), 1), "council", ["council 1"])

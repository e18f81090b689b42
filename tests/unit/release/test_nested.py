"""Councils and regions together: figures are those of dense least squares over everything measured, at every level."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import build_estimates, drop_categories
from privacy.release.child_table import count_cells
from privacy.release.mechanism import compute_charge, measure
from privacy.release.plan import Plan, PlanError, make_plan
from privacy.release.workload import (
    Batch,
    Cube,
    Family,
    Identity,
    LinearCombination,
    Marginal,
    Nesting,
    Selector,
    Term,
    WorkloadError,
)
from tests.support.daily import limit_examples
from tests.support.release.dense import Dense, draw_noisy
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import build_attribute


def nested_family(groups: list[int], identities: bool = True, share: float = 0.15) -> Family:
    """Councils in regions of these sizes, two recorded facts of which one is the other's sum."""
    council, region = build_attribute("council", sum(groups)), build_attribute("region", len(groups))
    starts = np.cumsum([0, *groups])
    members = {r: council.categories[starts[i] : starts[i + 1]] for i, r in enumerate(region.categories)}
    same = Identity(
        Batch(("council", "gld"), (Term({"asq": ("asq 2",)}),)),
        Batch(("council", "gld"), (Term({"dots": ("dots 0", "dots 1")}),)),
        "no review",
    )
    tables = (("gld", "asq"), ("gld", "dots"), ("fsm", "gld"))
    return Family(
        "nested",
        "one child",
        (
            council,
            region,
            build_attribute("gld", 2),
            build_attribute("asq", 3),
            build_attribute("dots", 4),
            build_attribute("fsm", 2),
        ),
        (
            *(Marginal((place, *table)) for place in ("council", "region") for table in tables),
            Marginal(("region", "fsm", "asq")),
        ),
        (same,) if identities else (),
        Nesting("council", "region", members, share),
    )


def places(family: Family) -> Selector:
    """Each council, each region, two councils of different regions, and all."""
    council = family.get_attribute("council")
    groups = dict(family.nesting.members)
    across = Selector.for_groups(council, {"across": (council.categories[0], council.categories[-1])})
    return Selector.for_each(council) + Selector.for_groups(council, groups) + across + Selector.for_total(council)


@limit_examples(12)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=3), st.booleans(), st.integers(0, 1000))
def test_everything_equals_dense_least_squares(groups, identities, seed):
    family = nested_family(groups, identities)
    plan = make_plan(family, 0.1, delta=1e-6)
    measurement = draw_noisy(plan, seed)
    estimates, dense = build_estimates(plan, measurement), Dense((plan, measurement))
    council, fsm = family.get_attribute("council"), family.get_attribute("fsm")
    everywhere, groups_of = places(family), Selector.for_each(fsm) + Selector.for_total(fsm)
    some = Selector.for_categories(council, council.categories[0], council.categories[-1])
    beside = Selector.for_groups(council, dict.fromkeys(everywhere.labels, council.categories))
    yes, plain = (
        {"gld": Selector.for_categories(family.get_attribute("gld"), "gld 1")},
        {"council": everywhere, "fsm": groups_of},
    )
    cubes = (
        Cube(plain, yes),
        Cube(plain),
        Cube({"fsm": groups_of, "council": everywhere}),
        Cube({"fsm": groups_of, "council": beside}),
        Cube({"fsm": groups_of}, {"council": some}),
        Cube({"asq": Selector.for_each(family.get_attribute("asq")), "fsm": Selector.for_each(fsm)}),
        LinearCombination(((1.0, Cube(plain, yes)), (-2.0, Cube(plain)))),
    )
    for figures in cubes:
        rows = dense.build_figures(figures)
        np.testing.assert_allclose(
            estimates.compute_values(figures).ravel(), rows @ dense.estimate, rtol=1e-7, atol=1e-6
        )
        exact = np.diag(rows @ dense.covariance @ rows.T)
        for moments in (estimates, Covariances(plan)):
            np.testing.assert_allclose(moments.compute_variance(figures).ravel(), exact, rtol=1e-6, atol=1e-8)
    for left, right in (cubes[:2], cubes[2:4]):
        exact = np.diag(dense.build_figures(left) @ dense.covariance @ dense.build_figures(right).T)
        np.testing.assert_allclose(estimates.compute_covariance(left, right).ravel(), exact, rtol=1e-6, atol=1e-8)


def test_figures_that_the_workload_has_no_table_of_are_refused():
    plan = make_plan(nested_family([2, 1]), 0.1, delta=1e-6)
    estimates, family = build_estimates(plan, draw_noisy(plan, 0)), plan.family
    by_region = {name: Selector.for_each(family.get_attribute(name)) for name in ("fsm", "asq")}
    assert np.isfinite(estimates.compute_values(Cube(by_region))).all()
    by_council = Cube(by_region | {"council": Selector.for_each(family.get_attribute("council"))})
    for ask in (estimates.compute_values, estimates.compute_variance):
        with pytest.raises(WorkloadError, match="no table over"):
            ask(by_council)


def test_two_councils_of_a_region_have_the_very_same_variance():
    family = nested_family([5, 4, 6])
    covariances, council = Covariances(make_plan(family, 0.1, delta=1e-6)), family.get_attribute("council")
    fsm = Selector.for_each(family.get_attribute("fsm"))
    together = covariances.compute_variance(Cube({"council": places(family), "fsm": fsm}))
    alone = covariances.compute_variance(
        Cube({"fsm": fsm}, {"council": Selector.for_categories(council, council.categories[3])})
    )
    assert (together[:5] == alone).all()


def test_the_budget_is_shared_as_the_nesting_says():
    plan = make_plan(nested_family([5, 4, 6], share=0.3), 0.1, delta=1e-6)
    spent = {
        place: sum(0.5 / sigma**2 for names, sigma in plan.sigmas.items() if place in names)
        for place in ("council", "region")
    }
    assert spent == {"council": pytest.approx(0.07, rel=1e-3), "region": pytest.approx(0.03, rel=1e-3)}
    assert compute_charge(plan) <= 0.1
    assert Plan.from_json(plan.encode_json()) == plan


def test_the_region_of_a_row_follows_from_its_council():
    family = nested_family([2, 1], identities=False)
    plan = make_plan(family, 0.1, delta=1e-6)
    generator = np.random.default_rng(0)
    columns = {name: generator.integers(0, family.get_attribute(name).size, 60) for name in family.columns}
    texts = {name: [f"{name} {value}" for value in values] for name, values in columns.items()}
    table = pa.table({"child_id": range(60), **texts})
    estimates = build_estimates(plan, measure(plan, count_cells(table, plan), NoNoise()))
    exact = [(columns["council"] < 2).sum(), (columns["council"] == 2).sum()]
    regions = Selector.for_groups(family.get_attribute("council"), dict(family.nesting.members))
    assert estimates.compute_values(Cube({"council": regions})) == pytest.approx(exact)


def test_councils_known_to_be_empty_leave_their_region_and_an_empty_region_goes():
    family = nested_family([2, 1, 2], identities=False)
    plan = make_plan(family, 0.1, delta=1e-6)
    council = family.get_attribute("council").categories
    smaller, measurement = drop_categories(plan, draw_noisy(plan, 1), "council", {council[0], council[2]})
    assert smaller.family.get_attribute("region").categories == ("region 0", "region 2")
    left = smaller.family.get_attribute("council")
    assert left.categories == (council[1], *council[3:])
    values = build_estimates(smaller, measurement).compute_values(
        Cube({"council": Selector.for_each(left) + Selector.for_total(left)})
    )
    assert values[-1] == pytest.approx(values[:-1].sum())


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"region 0": ("council 0",), "region 1": ("council 1",)}, "does not group every category"),
        ({"region 0": ("council 0", "council 1", "council 2")}, "are not the categories of 'region'"),
        ({"region 0": ("council 0", "council 1", "council 2"), "region 1": ()}, "a group is empty"),
        ({"region 0": ("council 0", "council 1"), "region 1": ("council 1", "council 2")}, "is listed twice"),
    ],
)
def test_a_nesting_that_does_not_fit_is_refused(members, message):
    family = nested_family([2, 1])
    with pytest.raises(WorkloadError, match=message):
        Family("f", "u", family.attributes, family.marginals, nesting=Nesting("council", "region", members, share=0.15))


def test_a_table_of_neither_level_and_a_plan_that_lacks_one_are_refused():
    family = nested_family([2, 1])
    with pytest.raises(WorkloadError, match="must hold either 'council' or 'region'"):
        Family("f", "u", family.attributes, (*family.marginals, Marginal(("fsm",))), nesting=family.nesting)
    plan = make_plan(family, 0.1, delta=1e-6)
    kept = {names: sigma for names, sigma in plan.sigmas.items() if "council" not in names}
    with pytest.raises(PlanError, match="do not determine"):
        Plan(plan.family, plan.rho, plan.delta, kept)

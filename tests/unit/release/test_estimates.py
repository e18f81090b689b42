"""Estimates and covariances are those of dense least squares over all measurements, with regions at every level;
equal totals are one float."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from privacy.estimation.covariance import Covariances
from privacy.estimation.estimates import Estimates, build_estimates, drop_categories
from privacy.release.child_table import count_cells
from privacy.release.mechanism import combine_measurements, combine_plans, compute_charge, measure
from privacy.release.plan import Plan, PlanError, make_plan
from privacy.release.workload import (
    Attribute,
    Batch,
    Cube,
    Identity,
    LinearCombination,
    Marginal,
    MeasuredFamily,
    Nesting,
    Selector,
    Term,
    WorkloadError,
)
from tests.support.daily import limit_examples
from tests.support.release import examples
from tests.support.release.dense import Dense, draw_noisy
from tests.support.release.doubles import NoNoise


@st.composite
def families(draw) -> MeasuredFamily:
    """Two attributes to run over, two or three to weigh, random marginals and random identities, some redundant."""
    over = [examples.build_attribute(name, draw(st.integers(2, 3))) for name in ("a", "b")]
    weighed = [
        examples.build_attribute(name, draw(st.integers(2, 3))) for name in ("p", "q", "r")[: draw(st.integers(2, 3))]
    ]
    attributes = draw(st.permutations(over + weighed))
    names = [a.name for a in attributes]
    sets = draw(st.sets(st.sets(st.sampled_from(names), min_size=1, max_size=3).map(frozenset), max_size=3))
    required = {frozenset({"a", "b", w.name}) for w in weighed}
    marginals = [
        Marginal(tuple(draw(st.permutations(sorted(s)))), draw(st.floats(0.2, 5)))
        for s in sorted(sets | required, key=sorted)
    ]
    identities = draw(st.lists(identities_between(weighed), max_size=3))
    if identities:
        identities += draw(st.sampled_from([[], [identities[0]], [_scaled(identities[0])]]))
    return MeasuredFamily("f", "u", tuple(attributes), tuple(marginals), tuple(identities))


@st.composite
def identities_between(draw, weighed) -> Identity:
    over = draw(st.sampled_from([("a", "b"), ("b", "a"), ("a",), ("b",), ()]))
    left, right = draw(st.permutations(weighed))[:2]
    return Identity(Batch(over, (draw(terms(left)),)), Batch(over, (draw(terms(right)),)), "drawn")


@st.composite
def terms(draw, a) -> Term:
    if draw(st.booleans()):
        return Term({a.name: tuple(draw(st.sets(st.sampled_from(a.categories), min_size=1)))})
    weights = draw(st.lists(st.sampled_from([-1.0, 0.5, 1.0, 2.0]), min_size=a.size, max_size=a.size))
    return Term({a.name: dict(zip(a.categories, weights, strict=True))}, draw(st.sampled_from([1.0, -0.5])))


def _scaled(identity: Identity) -> Identity:
    def twice(batch: Batch) -> Batch:
        return Batch(batch.over, tuple(Term(t.vectors, 2 * t.coefficient) for t in batch.terms))

    return Identity(twice(identity.left), twice(identity.right), "twice that")


@st.composite
def cubes(draw, family: MeasuredFamily, lengths: tuple[int, ...]) -> Cube:
    """A cube of the given shape within one marginal, with one restriction where there is room."""
    wide = [m for m in family.marginals if len(m.attributes) >= len(lengths)]
    names = list(draw(st.permutations(draw(st.sampled_from(wide)).attributes)))
    selectors = {name: draw(selectors_on(family, name, n)) for name, n in zip(names, lengths, strict=False)}
    where = {name: draw(selectors_on(family, name, 1)) for name in names[len(lengths) : len(lengths) + 1]}
    return Cube(selectors, where)


@st.composite
def selectors_on(draw, family: MeasuredFamily, name: str, length: int) -> Selector:
    a = family.get_attribute(name)
    row = st.one_of(
        st.just((1.0,) * a.size),
        st.sampled_from([tuple(float(i == j) for i in range(a.size)) for j in range(a.size)]),
        st.tuples(*[st.sampled_from([0.0, 1.0, -0.5, 2.0])] * a.size),
    )
    rows = tuple(draw(row) for _ in range(length))
    return Selector(a, tuple(map(str, range(length))), rows)


@limit_examples(80)
@given(data=st.data())
def test_everything_equals_dense_least_squares(data):
    family = data.draw(families())
    plan = make_plan(family, data.draw(st.floats(0.01, 1.0)), delta=1e-6)
    measurement = draw_noisy(plan, data.draw(st.integers(0, 1000)))
    estimates, dense = Estimates(plan, measurement), Dense((plan, measurement))
    lengths = data.draw(st.sampled_from([(), (2,), (3, 2)]))
    left = data.draw(cubes(family, lengths))
    right = LinearCombination(((0.5, data.draw(cubes(family, lengths))), (-2.0, data.draw(cubes(family, lengths)))))
    f, g = dense.build_figures(left), dense.build_figures(right)
    scale = float(np.abs(dense.covariance).max()) * max(1.0, float(np.abs(f).max() * np.abs(g).max())) * f.shape[1]
    close = {"rtol": 1e-6, "atol": 1e-9 * scale}
    np.testing.assert_allclose(estimates.compute_values(left).ravel(), f @ dense.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(estimates.compute_values(right).ravel(), g @ dense.estimate, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(estimates.compute_variance(left).ravel(), np.diag(f @ dense.covariance @ f.T), **close)
    np.testing.assert_allclose(estimates.compute_variance(right).ravel(), np.diag(g @ dense.covariance @ g.T), **close)
    np.testing.assert_allclose(
        estimates.compute_covariance(left, right).ravel(), np.diag(f @ dense.covariance @ g.T), **close
    )


def test_the_same_figure_is_the_same_float_in_every_table():
    family = examples.build_pilot_family()
    plan = make_plan(family, 0.185, delta=1e-6)
    estimates = Estimates(plan, draw_noisy(plan, 1))
    council, gld = family.get_attribute("council"), family.get_attribute("gld")
    region = Selector.for_groups(council, {"region": council.categories[2:]})
    places = Selector.for_each(council) + region + Selector.for_total(council)
    alone = Cube({"council": places}, {"gld": Selector.for_categories(gld, "Yes")})
    expected, variance = estimates.compute_values(alone), estimates.compute_variance(alone)
    for name in ("sex", "fsm", "ethnic_group", "imd_quintile"):
        a = family.get_attribute(name)
        table = Cube(
            {name: Selector.for_each(a) + Selector.for_total(a), "gld": Selector.for_each(gld), "council": places}
        )
        assert (estimates.compute_values(table)[-1, 0] == expected).all()
        assert (estimates.compute_variance(table)[-1, 0] == variance).all()
        one = Cube({"council": region}, {"gld": Selector.for_categories(gld, "Yes"), name: Selector.for_total(a)})
        assert estimates.compute_values(one)[0] == expected[-2]
        assert estimates.compute_variance(one)[0] == variance[-2]


def test_without_noise_the_figures_are_the_counts():
    plan, table = examples.make_small_plan(), examples.draw_small_table(300)
    counts = count_cells(table, plan)
    estimates = Estimates(plan, measure(plan, counts, NoNoise()))
    for subset in plan.lattice.subsets:
        axes = {name: Selector.for_each(plan.family.get_attribute(name)) for name in subset}
        exact = table.group_by(list(subset)).aggregate([([], "count_all")]).to_pylist()
        found = {tuple(row[name] for name in subset): row["count_all"] for row in exact}
        values = estimates.compute_values(Cube(axes))
        for cell in np.ndindex(values.shape):
            categories = tuple(plan.family.get_attribute(n).categories[i] for n, i in zip(subset, cell, strict=True))
            assert values[cell] == pytest.approx(found.get(categories, 0), abs=1e-8)


def test_a_table_outside_the_workload_is_refused():
    plan = examples.make_small_plan()
    estimates = Estimates(plan, draw_noisy(plan, 0))
    cube = Cube({name: Selector.for_each(plan.family.get_attribute(name)) for name in ("fsm", "dots")})
    for ask in (estimates.compute_values, estimates.compute_variance):
        with pytest.raises(WorkloadError, match=r"no table over \(fsm, dots\)"):
            ask(cube)
    fsm = plan.family.get_attribute("fsm")
    estimates.compute_variance(Cube({"fsm": Selector.for_each(fsm)}))
    renamed = Attribute("fsm", tuple(f"not {category}" for category in fsm.categories))
    with pytest.raises(WorkloadError, match="another domain"):
        estimates.compute_variance(Cube({"fsm": Selector.for_each(renamed)}))
    other = make_plan(plan.family, 0.2, delta=1e-6)
    with pytest.raises(ValueError, match="another plan"):
        Estimates(plan, draw_noisy(other, 0))


def further(*marginals: tuple[str, ...], rho: float = 0.02) -> Plan:
    """A later plan over the same attributes, for these marginals."""
    family = examples.build_small_family()
    asked = tuple(Marginal(names) for names in marginals)
    return make_plan(replace(family, marginals=asked, identities=()), rho, delta=1e-6)


CUBES = (("council", "fsm", "gld"), ("council", "asq", "gld"), ("fsm", "asq", "gld"), ("dots",), ())


def test_estimates_and_variances_are_those_of_all_measurements_at_once() -> None:
    base = examples.make_small_plan()
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
    base, one, other = examples.make_small_plan(), further(("fsm", "asq")), further(("council", "fsm"))
    assert combine_plans(base, [one, other]).sigmas == combine_plans(base, [other, one]).sigmas


def test_a_council_that_has_sent_nothing_is_left_out_of_all() -> None:
    base, later = examples.make_small_plan(), further(("council", "asq", "gld"))
    measured = [(plan, draw_noisy(plan, seed)) for seed, plan in enumerate([base, later])]
    together = drop_categories(*combine_measurements(*measured[0], measured[1:]), "council", ["council 1"])
    (one, drawn), (other, more) = (drop_categories(*each, "council", ["council 1"]) for each in measured)
    apart = combine_measurements(one, drawn, [(other, more)])
    assert together[0].sigmas == apart[0].sigmas
    for names, counts in together[1].noisy.items():
        np.testing.assert_allclose(counts, apart[1].noisy[names])


def test_what_is_of_another_table_or_plan_and_a_table_without_categories_are_refused() -> None:
    base = examples.make_small_plan()
    smaller = MeasuredFamily("small", "child", base.family.attributes[:2], (Marginal(("council", "fsm")),))
    with pytest.raises(ValueError, match="not of one child table"):
        combine_plans(base, [make_plan(smaller, 0.1, delta=1e-6)])
    later = further(("fsm", "asq"))
    with pytest.raises(ValueError, match="another plan"):
        combine_measurements(base, draw_noisy(base, 1), [(later, draw_noisy(base, 2))])
    base = examples.make_small_plan()
    with pytest.raises(WorkloadError, match="needs a category"):
        drop_categories(base, draw_noisy(base, 1), "council", base.family.get_attribute("council").categories)
    with pytest.raises(ValueError, match="another plan"):
        drop_categories(base, draw_noisy(examples.make_small_plan(0.2), 1), "council", ["council 1"])


def test_estimates_without_an_empty_category_are_those_of_the_smaller_table() -> None:
    base = examples.make_small_plan()
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


# --- Councils in regions


def nested_family(groups: list[int], identities: bool = True, share: float = 0.15) -> MeasuredFamily:
    """Councils in regions of these sizes, two recorded facts of which one is the other's sum."""
    council, region = examples.build_attribute("council", sum(groups)), examples.build_attribute("region", len(groups))
    starts = np.cumsum([0, *groups])
    members = {r: council.categories[starts[i] : starts[i + 1]] for i, r in enumerate(region.categories)}
    same = examples.build_identity(("council", "gld"), {"asq": ("asq 2",)}, {"dots": ("dots 0", "dots 1")})
    tables = (("gld", "asq"), ("gld", "dots"), ("fsm", "gld"))
    return MeasuredFamily(
        "nested",
        "one child",
        (council, region, *examples.build_attributes(gld=2, asq=3, dots=4, fsm=2)),
        (
            *(Marginal((place, *table)) for place in ("council", "region") for table in tables),
            Marginal(("region", "fsm", "asq")),
        ),
        (same,) if identities else (),
        Nesting("council", "region", members, share),
    )


def places(family: MeasuredFamily) -> Selector:
    """Each council, each region, two councils of different regions, and all."""
    council = family.get_attribute("council")
    groups = dict(family.nesting.members)
    across = Selector.for_groups(council, {"across": (council.categories[0], council.categories[-1])})
    return Selector.for_each(council) + Selector.for_groups(council, groups) + across + Selector.for_total(council)


@limit_examples(12)
@given(st.lists(st.integers(1, 3), min_size=2, max_size=3), st.booleans(), st.integers(0, 1000))
def test_with_regions_everything_equals_dense_least_squares(groups, identities, seed):
    family = nested_family(groups, identities)
    plan = make_plan(family, 0.1, delta=1e-6)
    measurement = draw_noisy(plan, seed)
    estimates, dense = build_estimates(plan, measurement), Dense((plan, measurement))
    covariances = Covariances(plan)
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
        for moments in (estimates, covariances):
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
        MeasuredFamily(
            "f", "u", family.attributes, family.marginals, nesting=Nesting("council", "region", members, share=0.15)
        )


def test_a_table_of_neither_level_and_a_plan_that_lacks_one_are_refused():
    family = nested_family([2, 1])
    with pytest.raises(WorkloadError, match="must hold either 'council' or 'region'"):
        MeasuredFamily("f", "u", family.attributes, (*family.marginals, Marginal(("fsm",))), nesting=family.nesting)
    plan = make_plan(family, 0.1, delta=1e-6)
    kept = {names: sigma for names, sigma in plan.sigmas.items() if "council" not in names}
    with pytest.raises(PlanError, match="do not determine"):
        Plan(plan.family, plan.rho, plan.delta, kept)

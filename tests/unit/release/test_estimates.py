"""Estimates, variances and covariances are those of dense generalised least squares; equal totals are one float."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privacy.estimation.estimates import Estimates
from privacy.release.child_table import count_cells
from privacy.release.mechanism import measure
from privacy.release.plan import make_plan
from privacy.release.workload import (
    Batch,
    Cube,
    Family,
    Identity,
    LinearCombination,
    Marginal,
    Selector,
    Term,
    WorkloadError,
)
from tests.support.daily import limit_examples
from tests.support.release.dense import Dense, draw_noisy
from tests.support.release.doubles import NoNoise
from tests.support.release.examples import build_attribute, build_pilot_family, draw_small_table, make_small_plan


@st.composite
def families(draw) -> Family:
    """Two attributes to run over, two or three to weigh, random marginals and random identities, some redundant."""
    over = [build_attribute(name, draw(st.integers(2, 3))) for name in ("a", "b")]
    weighed = [build_attribute(name, draw(st.integers(2, 4))) for name in ("p", "q", "r")[: draw(st.integers(2, 3))]]
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
    return Family("f", "u", tuple(attributes), tuple(marginals), tuple(identities))


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
def cubes(draw, family: Family, lengths: tuple[int, ...]) -> Cube:
    """A cube of the given shape within one marginal, with one restriction where there is room."""
    wide = [m for m in family.marginals if len(m.attributes) >= len(lengths)]
    names = list(draw(st.permutations(draw(st.sampled_from(wide)).attributes)))
    selectors = {name: draw(selectors_on(family, name, n)) for name, n in zip(names, lengths, strict=False)}
    where = {name: draw(selectors_on(family, name, 1)) for name in names[len(lengths) : len(lengths) + 1]}
    return Cube(selectors, where)


@st.composite
def selectors_on(draw, family: Family, name: str, length: int) -> Selector:
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


@pytest.mark.parametrize("seed", range(3))
def test_the_same_figure_is_the_same_float_in_every_table(seed):
    family = build_pilot_family()
    plan = make_plan(family, 0.185, delta=1e-6)
    estimates = Estimates(plan, draw_noisy(plan, seed))
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
    plan, table = make_small_plan(), draw_small_table(300)
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
    plan = make_small_plan()
    estimates = Estimates(plan, draw_noisy(plan, 0))
    cube = Cube({name: Selector.for_each(plan.family.get_attribute(name)) for name in ("fsm", "dots")})
    for ask in (estimates.compute_values, estimates.compute_variance):
        with pytest.raises(WorkloadError, match=r"no table over \(fsm, dots\)"):
            ask(cube)
    other = make_plan(plan.family, 0.2, delta=1e-6)
    with pytest.raises(ValueError, match="another plan"):
        Estimates(plan, draw_noisy(other, 0))

"""Declarations that contradict themselves are refused; a plan spends its budget, and no other would spend it better."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import minimize

from privacy.release.canonical import encode_canonical_json
from privacy.release.components import Lattice
from privacy.release.mechanism import combine_plans
from privacy.release.plan import GAP, LEAST, Plan, PlanError, allocate, make_plan
from privacy.release.workload import Attribute, Batch, Identity, Marginal, MeasuredFamily, Selector, Term, WorkloadError
from tests.support.daily import limit_examples
from tests.support.release.dense import build_cells
from tests.support.release.examples import build_attribute, build_pilot_family, build_small_family, make_small_plan


def objective(lattice: Lattice, precisions: np.ndarray) -> float:
    return float((lattice.compute_component_weights() / (lattice.information @ precisions)).sum())


@pytest.mark.parametrize(("size", "table_weight", "total_weight"), [(5, 1.0, 1.0), (2, 3.0, 0.5), (40, 1.0, 7.0)])
def test_a_table_and_its_total_follow_the_closed_form(size, table_weight, total_weight):
    """With a = s of the table and t = s of the total, minimise w (n-1)/a + (w/n + v) / (t + a/n), a + t = B."""
    marginals = (Marginal(("a",), table_weight), Marginal((), total_weight))
    lattice = Lattice.build(MeasuredFamily("f", "u", (build_attribute("a", size),), marginals))
    budget = 1.7
    found = allocate(lattice.information, lattice.compute_component_weights(), budget)
    ratio = math.sqrt((table_weight / size + total_weight) / (table_weight * size))
    table = budget / (1 - 1 / size + ratio)
    best = np.array([budget - table, table])
    assert objective(lattice, found) == pytest.approx(objective(lattice, best), rel=2 * GAP)
    assert found == pytest.approx(best, rel=5e-3)


def test_no_general_optimiser_does_better():
    lattice = Lattice.build(build_small_family())
    found = allocate(lattice.information, lattice.compute_component_weights(), 1.0)

    def logits(x: np.ndarray) -> float:
        return objective(lattice, np.exp(x) / np.exp(x).sum())

    other = minimize(logits, np.zeros(len(found)), method="L-BFGS-B", options={"maxiter": 5000, "maxfun": 500_000})
    assert objective(lattice, found) <= other.fun * (1 + GAP)


def test_the_objective_is_the_weighted_sum_of_cell_variances_of_dense_least_squares():
    family = build_small_family()
    lattice = Lattice.build(family)
    precisions = np.random.default_rng(3).uniform(0.1, 1.0, len(lattice.subsets))
    rows = {subset: build_cells(family, subset) for subset in lattice.subsets}
    design = np.vstack([rows[s] * math.sqrt(p) for s, p in zip(lattice.subsets, precisions, strict=True)])
    covariance = np.linalg.pinv(design.T @ design, hermitian=True, rcond=1e-10)
    dense = sum(m.weight * np.trace(rows[m.attributes] @ covariance @ rows[m.attributes].T) for m in _ordered(family))
    assert objective(lattice, precisions) == pytest.approx(dense, rel=1e-8)


@pytest.mark.parametrize("councils", [8, 153])
def test_a_real_plan_is_quick_spends_its_budget_and_stays_optimal_when_rounded(councils):
    family = build_pilot_family(councils)
    begun = time.process_time()
    plan = make_plan(family, 0.185, delta=1e-6)
    assert time.process_time() - begun < 2
    spent = sum(0.5 / sigma**2 for sigma in plan.sigmas.values())
    assert 0.185 * (1 - 1e-4) < spent <= 0.185
    lattice = plan.lattice
    best = allocate(lattice.information, lattice.compute_component_weights(), 2 * 0.185)
    spread = float((lattice.compute_component_weights() / plan.component_precisions).sum())
    assert spread < objective(lattice, best) * (1 + 1e-4)


def test_a_further_plan_is_the_best_by_dense_least_squares():
    """Of what it may measure, for the tables that it is for, with what is known as rows of the same regression."""
    attributes = (build_attribute("a", 3), build_attribute("b", 4), build_attribute("c", 2))
    base = make_plan(
        MeasuredFamily("f", "u", attributes, (Marginal(("a", "b")), Marginal(("b", "c")))), 0.1, delta=1e-6
    )
    family = MeasuredFamily(
        "f", "u", attributes, (Marginal(("a", "c"), 2.0), Marginal(("a", "b"), 0.3), Marginal(("b",), 9.0))
    )
    further = make_plan(family, 0.05, delta=1e-6, known=[base])
    names = further.lattice.subsets
    known = [build_cells(family, subset) / sigma for subset, sigma in base.sigmas.items()]
    rows = {subset: build_cells(family, subset) for subset in names}

    def variance(precisions: np.ndarray) -> float:
        design = np.vstack([*known, *(rows[n] * math.sqrt(p) for n, p in zip(names, precisions, strict=True))])
        covariance = np.linalg.pinv(design.T @ design, hermitian=True, rcond=1e-12)
        return sum(
            m.weight * np.trace(rows[m.attributes] @ covariance @ rows[m.attributes].T) for m in _ordered(family)
        )

    def softmax(x: np.ndarray) -> np.ndarray:
        return 0.1 * np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    planned = variance(np.array([further.sigmas.get(name, math.inf) ** -2.0 for name in names]))
    for start in (np.zeros(len(names)), np.linspace(-4, 4, len(names))):
        other = minimize(lambda x: variance(softmax(x)), start, method="L-BFGS-B", options={"maxiter": 200})
        assert planned <= other.fun * (1 + 1e-3)


def test_what_is_known_of_sets_outside_the_tables_asked_for_counts():
    """All that it says of the subsets that are asked for: precision falls by the cells that are added up."""
    lattice = Lattice.build(
        MeasuredFamily("f", "u", (build_attribute("a", 3), build_attribute("b", 4)), (Marginal(("a",)),))
    )
    assert lattice.subsets == ((), ("a",))
    assert lattice.compute_precisions([(("a", "b"), 2.0), (("b",), 1.0)]) == pytest.approx(
        [0.25 / 12 + 1 / 4, 0.25 / 4]
    )


def test_a_further_plan_determines_its_tables_by_itself():
    """Even where what is known leaves nothing to gain by some of them."""
    family = MeasuredFamily(
        "f", "u", (build_attribute("a", 3), build_attribute("b", 4)), (Marginal(("a", "b")), Marginal((), 1e6))
    )
    known = Plan(family, 10.0, 1e-6, {("a", "b"): 0.3})
    further = make_plan(family, 0.001, delta=1e-6, known=[known])
    assert set(further.sigmas) == {(), ("a", "b")}
    assert further.sigmas["a", "b"] ** -2 == pytest.approx(LEAST * 0.002, rel=1e-3)


@limit_examples(60)
@given(st.data())
def test_knowing_what_was_measured_is_never_worse_than_ignoring_it(data):
    """The certificate closes for any workloads and budgets; no figure of any table gets worse by a further plan."""
    names = ["a", "b", "c", "d"]
    attributes = tuple(build_attribute(name, data.draw(st.integers(2, 5))) for name in names)
    tables = st.lists(st.sets(st.sampled_from(names), max_size=3).map(sorted).map(tuple), min_size=1, unique=True)
    weights, budgets = st.sampled_from([0.01, 1.0, 1.0, 30.0]), st.sampled_from([1e-5, 0.01, 0.2])
    base, asked = (
        MeasuredFamily("f", "u", attributes, tuple(Marginal(table, data.draw(weights)) for table in data.draw(tables)))
        for _ in range(2)
    )
    known = make_plan(base, data.draw(budgets), delta=1e-6)
    rho = data.draw(budgets)
    aware, ignorant = make_plan(asked, rho, delta=1e-6, known=[known]), make_plan(asked, rho, delta=1e-6)
    lattice = Lattice.build(asked)
    prior = lattice.compute_precisions(known.sigmas.items())

    def left(plan: Plan) -> float:
        return float((lattice.compute_component_weights() / (prior + plan.component_precisions)).sum())

    assert left(aware) <= left(ignorant) * (1 + 1e-3)
    before, after = known.component_precisions, combine_plans(known, [aware])
    for names_of, precision in zip(known.lattice.subsets, before, strict=True):
        assert after.component_precisions[after.lattice.find_position(names_of)] >= precision * (1 - 1e-12)


def test_a_plan_is_its_document():
    plan = make_small_plan()
    again = Plan.from_json(plan.encode_json())
    assert again == plan
    assert again.sha256 == plan.sha256 == make_small_plan().sha256
    assert make_plan(build_small_family(), 0.11, delta=1e-6).sha256 != plan.sha256
    assert all((sigma * 2**14).is_integer() for sigma in plan.sigmas.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d | {"method": "guesswork/7"}, "method 'guesswork/7'"),
        (lambda d: d | {"rho": 0.05}, "cost rho"),
        (lambda d: d | {"measured": d["measured"][:1]}, "do not determine"),
        (lambda d: d | {"extra": 1}, "canonical form"),
        (lambda d: {"method": d["method"]}, "not a plan document"),
        (lambda d: d | {"measured": [{"attributes": ["gld", "council"], "sigma": 9.0}]}, "attribute order"),
    ],
)
def test_a_document_that_is_not_the_plan_it_says_is_refused(change, message):
    document = json.loads(make_small_plan().encode_json())
    with pytest.raises(PlanError, match=message):
        Plan.from_json(encode_canonical_json(change(document)))


def _ordered(family: MeasuredFamily) -> list[Marginal]:
    return [Marginal(family.sort_names(m.attributes), m.weight) for m in family.marginals]


SEX = Attribute("sex", ("F", "M"))
GLD = Attribute("gld", ("no", "yes"))
FSM = Attribute("fsm", ("no", "yes", "unknown"))


def family(*marginals: tuple[str, ...], identities: tuple[Identity, ...] = ()) -> MeasuredFamily:
    return MeasuredFamily("f", "one child", (SEX, GLD, FSM), tuple(Marginal(m) for m in marginals), identities)


def same(over: tuple[str, ...], left: dict, right: dict) -> Identity:
    return Identity(Batch(over, (Term(left),)), Batch(over, (Term(right),)), "the same fact")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Attribute("sex", ()), "needs a category"),
        (lambda: Attribute("sex", ("F", "F")), "'F' is listed twice"),
        (lambda: Marginal(("sex", "sex")), "'sex' is listed twice"),
        (lambda: Marginal(("sex",), weight=0), "weight must be positive"),
        (lambda: Term({"sex": ()}), "empty choice"),
        (lambda: Term({"sex": "F"}), "tuple of categories"),
        (lambda: Term({"sex": {"F": float("nan")}}), "finite"),
        (lambda: Batch(("sex",), (Term({"sex": ("F",)}),)), "also weighs 'sex'"),
        (lambda: Identity(Batch(("sex",), (Term({}),)), Batch((), (Term({}),)), "x"), "different attributes"),
        (lambda: family(("sex", "age")), "no attribute 'age'"),
        (lambda: family(("sex", "gld"), ("gld", "sex")), "is listed twice"),
        (lambda: family(), "needs attributes and marginals"),
        (lambda: family(("sex",), identities=(same((), {"sex": ("X",)}, {"sex": ("F",)}),)), "no category 'X'"),
        (lambda: family(("sex",), identities=(same(("gld",), {"sex": ("F",)}, {}),)), "needs the marginal"),
        (
            lambda: family(
                ("sex", "gld"), identities=(same(("gld",), {"sex": ("F",)}, {}), same(("sex",), {"gld": ("no",)}, {}))
            ),
            "only one of the two",
        ),
        (lambda: Selector.for_groups(SEX, {"x": ("X",)}), "no category 'X'"),
    ],
)
def test_a_contradiction_is_refused(declare, message):
    with pytest.raises(WorkloadError, match=message):
        declare()

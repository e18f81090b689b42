"""The worked example of docs/privacy-derivation.md, number by number, and as the page prints it."""

import numpy as np
import pytest

from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import compute_published_counts, compute_rate_differences
from privacy.release import mechanism, policy, workload
from privacy.release.plan import Plan, make_plan
from tests.support import PROJECT
from tests.support.release.examples import compute_published_rates

PAGE = (PROJECT / "docs" / "privacy-derivation.md").read_text(encoding="utf-8")
EXAMPLE = PAGE[PAGE.index("## 7. By hand") : PAGE.index("## References")]
COUNCIL, LEVEL = workload.Attribute("council", ("a", "b")), workload.Attribute("level", ("yes", "no"))
BOTH, ONE = ("council", "level"), ("council",)
FAMILY = workload.MeasuredFamily(
    "example", "child", (COUNCIL, LEVEL), (workload.Marginal(BOTH), workload.Marginal(ONE))
)
YES = {"level": workload.Selector.for_categories(LEVEL, "yes")}


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(FAMILY, 0.25, 1e-6, {ONE: 2.0, BOTH: 2.0})


@pytest.fixture(scope="module")
def estimates(plan: Plan) -> Estimates:
    noisy = {BOTH: np.array([[61, 32], [40, 23]]), ONE: np.array([96, 60])}
    return Estimates(plan, mechanism.Measurement(plan.sha256, "by hand", "none", 0.25, noisy))


def _council(name: str) -> dict[str, workload.Selector]:
    return {"council": workload.Selector.for_categories(COUNCIL, name)}


def _rate(name: str) -> tuple[workload.Cube, workload.Cube]:
    return workload.Cube(_council(name), YES), workload.Cube(_council(name))


def _printed(*values: float, decimals: int = 2) -> None:
    for value in values:
        assert f"{value:.{decimals}f}" in EXAMPLE, value


def test_the_example_by_hand(estimates: Estimates, plan: Plan) -> None:
    total, yes = workload.Cube(_council("a")), workload.Cube(_council("a"), YES)
    assert np.ravel(estimates.compute_values(total)) == pytest.approx([95])
    assert np.ravel(estimates.compute_variance(total)) == pytest.approx([8 / 3])
    assert np.ravel(estimates.compute_values(yes)) == pytest.approx([62])
    assert np.ravel(estimates.compute_variance(yes)) == pytest.approx([8 / 3])
    assert np.ravel(estimates.compute_covariance(yes, total)) == pytest.approx([4 / 3])
    assert np.ravel(estimates.compute_values(workload.Cube(_council("b")))) == pytest.approx([61])
    assert np.ravel(estimates.compute_values(workload.Cube(_council("b"), YES))) == pytest.approx([39])
    assert sum(1 / (2 * sigma**2) for sigma in plan.sigmas.values()) == pytest.approx(0.25)


def test_the_formula_of_the_variance(plan: Plan) -> None:
    """tau by component, and the four terms."""
    assert plan.lattice.subsets == ((), ONE, ("level",), BOTH)
    assert plan.component_precisions == pytest.approx([3 / 16, 3 / 8, 1 / 8, 1 / 4])
    factors = np.array([1 / 16, 1 / 8, 1 / 8, 1 / 4])
    assert (factors / plan.component_precisions).tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1])


def test_what_is_published(estimates: Estimates) -> None:
    counts = compute_published_counts(estimates, _rate("a")[0])
    _printed(*np.ravel(counts.lower), *np.ravel(counts.upper))
    for name in ("a", "b"):
        rates = compute_published_rates(estimates, *_rate(name), policy.load_policy().reliability)
        _printed(*np.ravel(rates.value), *np.ravel(rates.lower), *np.ravel(rates.upper))
    difference = compute_rate_differences(estimates, _rate("a"), _rate("b"), policy.load_policy().reliability)
    _printed(*np.ravel(difference.value), *np.ravel(difference.lower), *np.ravel(difference.upper))
    assert np.ravel(difference.flag).tolist() == ["u"]


def test_what_it_costs_and_what_the_optimiser_would_have_measured() -> None:
    _printed(*(mechanism.compute_epsilon(factor * 0.25, 1e-6) for factor in (1, 2, 4)))
    sigmas = make_plan(FAMILY, 0.25, delta=1e-6).sigmas
    _printed(sigmas[BOTH], sigmas[ONE], decimals=4)
    assert sum(0.5 / sigma**2 for sigma in sigmas.values()) == pytest.approx(0.25, rel=1e-4)

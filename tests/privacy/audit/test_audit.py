"""Audit of the product."""

from collections.abc import Callable
from pathlib import Path

import pytest

from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES
from privacy.keys import KeyRing
from privacy.release.mechanism import compute_charge, compute_epsilon
from privacy.release.policy import load_policy
from sources.reference.places import PILOT, load_places
from tests.privacy.audit.accountants import by_loss_distributions, check_charge, check_epsilon, check_once
from tests.privacy.audit.black_box import Bundles, Small, check_black_box
from tests.privacy.audit.conftest import IS_FULL, SIZE
from tests.privacy.audit.draws import check_draws_under_load, check_interrupted_draws
from tests.privacy.audit.residuals import check_residuals
from tests.privacy.audit.sensitivity import CHILDREN, Neighbours, check_sensitivity, neighbours
from tests.privacy.audit.shape import check_shape
from tests.support.daily import mark_slow_after
from tests.support.release.crash import make_quick_folder
from tests.support.release.examples import make_small_plan
from tests.support.release.requests import make_further_plans

only_full = pytest.mark.skipif(not IS_FULL, reason="takes minutes: make audit")
COUNCILS = sorted(PILOT)


def test_residuals_of_a_small_plan() -> None:
    check_residuals(make_small_plan(), SIZE["releases of residuals"])


@only_full
@pytest.mark.parametrize("family", FAMILIES)
def test_residuals_of_the_pilots_plans(family: str) -> None:
    check_residuals(plan_family(family, COUNCILS, load_policy()), 10)


def test_sensitivity_to_the_worst_child(worst_neighbours: Neighbours) -> None:
    check_sensitivity(worst_neighbours, ("pupil", "health"))


@only_full
@pytest.mark.parametrize("child", CHILDREN)
def test_sensitivity_to_each_child(child: str, tmp_path: Path) -> None:
    moved = {"a response": ("parents",), "duplicate rows": ("pupil",)}.get(child, ("pupil", "health"))
    check_sensitivity(neighbours(tmp_path, CHILDREN[child]), moved)


@pytest.mark.parametrize("fewer", mark_slow_after(1, [0, 2]))
def test_the_black_box_of_a_small_family(fewer: int) -> None:
    check_black_box(Small(0.5), fewer, SIZE["releases distinguished"])


@pytest.mark.slow
@pytest.mark.parametrize("fewer", mark_slow_after(1, [0, 2]))
def test_the_black_box_with_more_measured_on_request(fewer: int) -> None:
    check_black_box(Small(0.3, 0.2), fewer, SIZE["releases distinguished"])


@only_full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fewer", mark_slow_after(1, [0, 2]))
def test_the_black_box_of_whole_releases(fewer: int) -> None:
    with make_quick_folder() as folder:
        publisher = Bundles(folder, KeyRing.create(folder / "keys", demonstration=True))
        check_black_box(publisher, fewer, SIZE["bundles distinguished"])


@pytest.mark.slow
def test_the_shape_of_a_release_and_of_one_that_answers_requests(tmp_path: Path) -> None:
    check_shape(tmp_path, SIZE["rows"], COUNCILS if IS_FULL else ["leeds"], on_request=True)


@pytest.mark.parametrize("check", [check_charge, check_once])
def test_what_is_charged_and_that_a_kill_and_a_retry_draw_once(tmp_path: Path, check: Callable[[Path], None]) -> None:
    check(tmp_path)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "councils", [COUNCILS, pytest.param(list(load_places()), marks=only_full)], ids=["pilot", "all"]
)
def test_the_epsilon_that_is_declared(family: str, councils: list[str]) -> None:
    plan = plan_family(family, councils, load_policy())
    check_epsilon(plan, compute_charge(plan))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_measured_on_request(family: str) -> None:
    """Its noise and its epsilon are as charged, alone and together with the earlier measurement."""
    plan, before = make_further_plans(COUNCILS)[family], plan_family(family, COUNCILS, load_policy())
    check_residuals(plan, SIZE["releases on request"])
    check_epsilon(plan, compute_charge(plan))
    declared = compute_epsilon(compute_charge(plan) + compute_charge(before), plan.delta)
    assert by_loss_distributions(before, plan) <= declared


@pytest.mark.slow
def test_draws_under_load() -> None:
    check_draws_under_load(SIZE["draws under load"])


@pytest.mark.slow
def test_interrupted_draws() -> None:
    check_interrupted_draws(SIZE["lines between interrupts"])

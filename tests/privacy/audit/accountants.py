"""E. The ledger's charge covers the noise that was drawn, by accountants independent of OpenDP and of our sums.

F. A run that is killed between draw and store and then repeated draws once for one charge.
"""

import signal
from math import fsum
from pathlib import Path

from dp_accounting import dp_event
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import rdp_privacy_accountant as rdp

from privacy.release.ledger import Ledger
from privacy.release.mechanism import compute_epsilon
from privacy.release.plan import Plan
from tests.support.release import crash

DISCRETISATION = 1e-3


def check_charge(folder: Path) -> None:
    """Measure a small family by the real path, and raise AssertionError if its ledger charged less than the cost."""
    scene = crash.Scene.create(folder / "home")
    crash.measure_in(scene, "audited")
    charged = Ledger(scene.location).find(crash.COHORT, "audited", crash.FAMILY)
    exact = fsum(0.5 / sigma**2 for sigma in crash.PLAN.sigmas.values())
    assert charged.rho >= exact, f"charged rho {charged.rho:.9f}, for noise that costs {exact:.9f}"
    check_epsilon(crash.PLAN, charged.rho)


def check_epsilon(plan: Plan, charged_rho: float) -> None:
    """Raise AssertionError if an accountant finds a higher epsilon than is declared for the charge."""
    declared = compute_epsilon(charged_rho, plan.delta)
    assert by_loss_distributions(plan) <= declared, "privacy loss distributions find more than is declared"
    assert by_loss_distributions(plan) <= by_renyi(plan), "the second accountant contradicts itself"


def by_loss_distributions(plan: Plan, *further: Plan) -> float:
    """Return epsilon at the plan's delta, for all plans together, from the composed privacy loss distributions of the
    discrete Gaussians, rounded pessimistically."""
    composed = None
    for sigma in (sigma for each in (plan, *further) for sigma in each.sigmas.values()):
        loss = pld.from_discrete_gaussian_mechanism(sigma, value_discretization_interval=DISCRETISATION)
        composed = loss if composed is None else composed.compose(loss)
    return float(composed.get_epsilon_for_delta(plan.delta))


def by_renyi(plan: Plan) -> float:
    """Return epsilon at the plan's delta from Renyi divergences of continuous Gaussians, a bound for discrete ones."""
    accountant = rdp.RdpAccountant()
    for sigma in plan.sigmas.values():
        accountant.compose(dp_event.GaussianDpEvent(sigma))
    return float(accountant.get_epsilon(plan.delta))


def check_once(folder: Path) -> None:
    """Raise AssertionError for two draws for one charge, a draw without a charge, or a charge left open."""
    scene = crash.Scene.create(folder / "home")
    names = crash.list_steps(scene, "whole")
    assert crash.kill_at(scene, "killed", names.index("after draw")) == -signal.SIGKILL
    crash.finish(scene, "killed")
    crash.check_evidence(scene, [crash.FIRST, "whole", "killed"])

"""Whether a stored measurement is that of the public plan. Nothing here sees a true count: plan and noisy integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assets.home.paths import Home
from assets.release.measured_plans import plan_of
from privacy.release.mechanism import Measurement, check_counts
from privacy.release.plan import Plan


@dataclass(frozen=True)
class PlanCheck:
    """How many noisy answers there are, what they were charged (rho), and how they depart from the plan, in words."""

    answers: int
    rho: float
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def check_of_plan(
    home: Home, cohort: str, version: str, councils: Sequence[str], family: str, measurement: Measurement
) -> PlanCheck:
    """Lay a family's measurement beside the plan that the release spends its share on."""
    plan = plan_of(home, cohort, version, councils, family)
    answers = sum(noisy.size for noisy in measurement.noisy.values())
    return PlanCheck(answers, measurement.rho, tuple(_problems(plan, measurement)))


def _problems(plan: Plan, measurement: Measurement) -> Iterator[str]:
    if measurement.plan_sha256 != plan.sha256:
        yield "it was measured under another plan"
    if measurement.rho > plan.rho:
        yield "it was charged more than the plan declares"
    try:
        check_counts(plan, measurement.noisy)
    except ValueError as problem:
        yield str(problem)

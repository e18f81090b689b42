"""The clerical review of a cohort in its releases: measured once, beside the families, and used by every release that
is measured from then on from the same links."""

from __future__ import annotations

from collections.abc import Mapping

from assets.home.paths import Home
from assets.linkage.review import Sample, reviews_measured
from assets.release.measured_plans import keep_plan
from privacy.linkage.cells import REVIEW
from privacy.linkage.review_rates import plan_review
from privacy.release.ledger import Ledger
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.policy import load_policy
from privacy.release.statement import MeasuredCohort


def review_measured_in(home: Home, cohort: str) -> str | None:
    """The release that measured the cohort's newest sample; None where none has."""
    sample, measured = Sample.read(home, cohort), reviews_measured(home, cohort)
    return measured[sample.number - 1] if sample and sample.number <= len(measured) else None


def with_review(home: Home, cohort: str, version: str, split: Mapping[str, float]) -> dict[str, tuple[str, ...]]:
    """The release that measures the review of a cohort, as `CohortRecord.further` has it, for a release that is
    measured now and spends `split` besides: an earlier one, or itself, whose plan is kept. Empty where no review was
    taken in, or it is of other links.

    Raises `BudgetExceeded`.
    """
    sample = Sample.read(home, cohort)
    if sample is None or not sample.is_of_links(home, cohort):
        return {}
    if earlier := review_measured_in(home, cohort):
        return {earlier: (REVIEW,)}
    if not home.reviewed(cohort).exists():
        return {}
    policy, ledger = load_policy(), Ledger(home.ledger)
    if ledger.cap(cohort):
        ledger.check_fits(cohort, version, {**split, REVIEW: policy.review_rho})
    keep_plan(home, cohort, version, plan_review(sample.children, policy.review_rho, policy.delta, sample.number))
    return {version: (REVIEW,)}


def review_of(own: MeasuredCohort) -> tuple[Plan, Measurement] | None:
    """The newest review that was measured of a cohort."""
    found = [(each.plan, each.measurement) for each in own.further if each.plan.family.name == REVIEW]
    return found[-1] if found else None

"""What share of the policy's split a release can spend.

A cohort's cap leaves less for a revision than a whole release costs: a revision spends a share, with wider noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assets.home.paths import Home
from privacy.release.ledger import NANO, BudgetExceeded, Ledger
from privacy.release.policy import Policy, load_policy

WHOLE = 1.0


def check_fits(home: Home, cohort: str, version: str, share: float) -> None:
    """Approve the cohort's budget, and see that every family of a release can be charged at this share.

    Raises `PolicyError` for what is no share, and `BudgetExceeded`, which names the largest share that fits.
    """
    policy, ledger = load_policy(), Ledger(home.ledger)
    ledger.approve(cohort, policy.cap_rho)
    try:
        ledger.check_fits(cohort, version, policy.scaled(share).split)
    except BudgetExceeded as refused:
        largest = _largest_share(policy, refused.left)
        fitting = f"; as a share of the policy's split, {largest:g} would (--share {largest:g})" if largest else ""
        raise BudgetExceeded(f"{refused}{fitting}", asked=refused.asked, left=refused.left) from None


@dataclass(frozen=True)
class Room:
    """What a new release of a cohort would charge, and what is left for it, in rho; the largest share that fits."""

    share: float
    asked_rho: float
    left_rho: float
    fits: bool
    largest_share: float


def room_for(home: Home, cohort: str, share: float) -> Room:
    """Whether a release that spends this share of the split would fit. Spends nothing, and approves nothing.

    Raises `PolicyError` for what is no share, and `LedgerError`.
    """
    policy = load_policy()
    asked, left = _nano(policy.scaled(share)), round(_left(home, cohort, policy) * NANO)
    return Room(share, asked / NANO, left / NANO, asked <= left, _largest_share(policy, left / NANO))


def _largest_share(policy: Policy, left: float) -> float:
    """The largest share, in thousandths, for which there is room."""
    return min(WHOLE, 1000 * round(left * NANO) // _nano(policy) / 1000)


def _nano(policy: Policy) -> int:
    return sum(round(rho * NANO) for rho in policy.split.values())


def _left(home: Home, cohort: str, policy: Policy) -> float:
    """What is left of the cohort's budget; the policy's cap, where none was approved yet."""
    if isinstance(home.ledger, Path) and not home.ledger.exists():
        return policy.cap_rho
    ledger = Ledger(home.ledger)
    ledger.verify_chain()
    return ledger.remaining(cohort) if ledger.cap(cohort) else policy.cap_rho

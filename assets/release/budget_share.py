"""What share of the policy's split a release spends, fixed with it before its first charge.

A cohort's cap leaves less for a revision than a whole release costs: a revision spends a share, with wider noise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from assets.home.paths import Home
from privacy.doors.files import write_json
from privacy.release.ledger import NANO, BudgetExceeded, Ledger, ReleaseConflict
from privacy.release.policy import Policy, load_policy

WHOLE = 1.0


def policy_of(home: Home, cohort: str, version: str) -> Policy:
    """The policy with the split that the release spends."""
    return load_policy().scaled(share_of(home, cohort, version))


def share_of(home: Home, cohort: str, version: str) -> float:
    """The share fixed with the release; the whole, where none was."""
    path = home.share(cohort, version)
    return float(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else WHOLE


def check_share(home: Home, cohort: str, version: str, share: float | None) -> bool:
    """Whether the share is still to be fixed; None leaves it as it is.

    Raises `PolicyError` for what is no share, `ReleaseConflict` where the release was charged with another, and
    `BudgetExceeded` where not every family can be charged: a release is not begun that would stop halfway.
    """
    fixed = share_of(home, cohort, version)
    wanted = fixed if share is None else share
    policy, ledger = load_policy(), Ledger(home.ledger)
    ledger.approve(cohort, policy.cap_rho)
    charged = ledger.is_charged(cohort, version)
    if charged and wanted != fixed:
        raise ReleaseConflict(
            f"release {version} of cohort {cohort} was charged with a share of {fixed:g}, not {wanted:g}. "
            "A revision is a new release, and draws on the same budget."
        )
    try:
        ledger.check_fits(cohort, version, policy.scaled(wanted).split)
    except BudgetExceeded as refused:
        largest = _largest_share(policy, refused.left)
        fitting = f"; as a share of the policy's split, {largest:g} would (--share {largest:g})" if largest else ""
        raise BudgetExceeded(f"{refused}{fitting}", asked=refused.asked, left=refused.left) from None
    return not charged


def fix_share(home: Home, cohort: str, version: str, share: float | None) -> None:
    """Fix the share with the release; None leaves it as it is. Raises what `check_share` raises."""
    if check_share(home, cohort, version, share):
        write_json(home.share(cohort, version), share_of(home, cohort, version) if share is None else share)


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

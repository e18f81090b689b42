"""What a planned release will be able to say, worked out from public figures before any data is read: how wide the
intervals of what it publishes will be (`expected_widths`), and whether that is worth its budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.release.expected_widths import Widths, expected_widths
from assets.release.planning import plan_family
from ndl_export.tables import FAMILIES
from ndl_export.tables.detail import Detail, level_of
from ndl_export.tables.geography import LOCAL_AUTHORITY, Geography
from privacy.release.mechanism import epsilon
from privacy.release.plan import Plan
from privacy.release.policy import Policy, load_policy

Array = NDArray[np.float64]


class NotAccurateEnough(Exception):
    """A plan that is not expected to be worth its budget under the policy; nothing was charged."""


@dataclass(frozen=True)
class Minimum:
    """Whether a family meets the policy's minimum accuracy: of all rates that it publishes, which share is accurate."""

    family: str
    rates: int
    share_accurate: float
    met: bool


def expected_accuracy(councils: Sequence[str], share: float = 1.0) -> dict[str, Any]:
    """Plan and expected accuracy of every table for these councils, at a share of the split: JSON-ready."""
    policy = load_policy().scaled(share)
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    published = {family: _published(plan, councils) for family, plan in plans.items()}
    tables = {
        table: list(found)
        for own in published.values()
        for table, found in groupby(own, key=lambda widths: widths.table.name)
    }
    return {
        "councils": list(councils),
        "cap_rho": {unit: account.cap_rho for unit, account in policy.accounts.items()},
        "delta": policy.delta,
        "families": [
            {
                "family": family,
                "rho": plan.rho,
                "epsilon": epsilon(plan.rho, policy.delta),
                "plan_sha256": plan.sha256,
                "measured_marginals": len(plan.sigmas),
            }
            for family, plan in plans.items()
        ],
        "minimum_accuracy": [asdict(_minimum(family, found, policy)) for family, found in published.items()],
        "warnings": [line for name, found in tables.items() for line in _warnings(name, found, policy)],
        "tables": [area for name, found in tables.items() for area in _by_area(name, found, policy)],
    }


def check_accuracy(family: str, plan: Plan, councils: Sequence[str], policy: Policy) -> None:
    """Raises `NotAccurateEnough` where the plan is not expected to meet the policy's minimum accuracy."""
    wanted = policy.minimum_accuracy[family]
    found = _minimum(family, _published(plan, councils), policy)
    if not found.met:
        raise NotAccurateEnough(
            f"the tables of {family} are not worth their budget: {found.share_accurate:.0%} of the {found.rates} rates"
            f" that they would publish are expected within {wanted.half_width_points:g} points, and the policy asks for"
            f" {wanted.share_of_rates:.0%}; `readiness plan` shows which"
        )


def _published(plan: Plan, councils: Sequence[str]) -> list[Widths]:
    """The half-widths of what the plan publishes; NaN for every figure that it does not."""
    detail = Detail.of(plan.detail)
    found = []
    for each in expected_widths(plan, councils):
        shown = np.array(
            [[detail.publishes(each.table.name, levels, area) for levels in each.levels] for area in each.areas]
        )
        counts, rates, denominators = (
            np.where(shown, values, np.nan) for values in (each.counts, each.rates, each.denominators)
        )
        found.append(replace(each, counts=counts, rates=rates, denominators=denominators))
    return found


def _minimum(family: str, published: Sequence[Widths], policy: Policy) -> Minimum:
    wanted = policy.minimum_accuracy[family]
    rates = np.concatenate([each.rates.ravel() for each in published])
    rates = rates[~np.isnan(rates)]
    share = float((rates <= wanted.half_width_points).mean()) if rates.size else 0.0
    return Minimum(family, int(rates.size), round(share, 4), share >= wanted.share_of_rates)


def _warnings(table: str, published: Sequence[Widths], policy: Policy) -> Iterator[dict[str, Any]]:
    """Rows of a table that will be unreliable or withheld in at least half of the councils that have them.

    `denominator`: what the rate is of, in the median council; None for a difference.
    """
    limits = policy.reliability
    for each in published:
        at_councils = [index for index, area in enumerate(each.areas) if area.level == LOCAL_AUTHORITY]
        for row, label in enumerate(each.labels):
            widths, denominators = each.rates[at_councils, row], each.denominators[at_councils, row]
            councils = int((~np.isnan(widths)).sum())
            withheld = int((widths > limits.withheld_half_width).sum())
            unreliable = int((widths > limits.unreliable_half_width).sum()) - withheld
            if councils and 2 * (withheld + unreliable) >= councils:
                known = denominators[~np.isnan(denominators)]
                yield {
                    "table": table,
                    "rows": label,
                    "denominator": round(float(np.median(known)), 1) if known.size else None,
                    "councils": councils,
                    "flagged_unreliable": unreliable,
                    "withheld": withheld,
                }


def _by_area(table: str, published: Sequence[Widths], policy: Policy) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[Geography, Array, Array]]] = {}
    for each in published:
        for area, counts, rates in zip(each.areas, each.counts, each.rates, strict=True):
            found.setdefault(area.name, []).append((area, counts, rates))
    return [_summary(table, rows, policy) for rows in found.values()]


def _summary(table: str, of_area: Sequence[tuple[Geography, Array, Array]], policy: Policy) -> dict[str, Any]:
    """Expected 95% half-widths of one table in one area: counts in units, rates in points; how many are unusable.

    `council` is the name of the council that the area is, where it is one.
    """
    area = of_area[0][0]
    counts, rates = np.concatenate([row[1] for row in of_area]), np.concatenate([row[2] for row in of_area])
    count_widths, rate_widths = counts[~np.isnan(counts)], rates[~np.isnan(rates)]
    limits = policy.reliability
    return {
        "table": table,
        "area": area.name,
        "level": level_of(area),
        "council": area.councils[0] if area.level == LOCAL_AUTHORITY else None,
        "figures": max(len(count_widths), len(rate_widths)),
        "rates": len(rate_widths),
        "median_count_half_width": round(float(np.median(count_widths)), 1) if count_widths.size else None,
        "median_rate_half_width": round(float(np.median(rate_widths)), 2) if rate_widths.size else None,
        "flagged_unreliable": int(
            ((rate_widths > limits.unreliable_half_width) & (rate_widths <= limits.withheld_half_width)).sum()
        ),
        "withheld": int((rate_widths > limits.withheld_half_width).sum()),
    }

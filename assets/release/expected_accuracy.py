"""Expected accuracy of a planned release, from public figures before any data is read.

It gives how many of the rates that the tables define will be published and how wide their intervals will be
(`expected_widths`), over all plausible shares, and whether that is worth the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.release.planning import SCENARIOS, Widths, expected_widths, plan_family
from ndl_export.tables import FAMILIES
from ndl_export.tables.geography import LOCAL_AUTHORITY, Geography
from ndl_export.tables.rows import level_of
from privacy.release.mechanism import epsilon
from privacy.release.plan import Plan
from privacy.release.policy import Policy, Reliability, load_policy

Array = NDArray[np.float64]
Range = tuple[int, int]


class NotAccurateEnough(Exception):
    """A plan that is not expected to be worth its budget under the policy; nothing was charged."""


def in_plausible(holds: NDArray[np.bool_]) -> Range:
    """Return for how many rates, (scenarios, areas, rows), something holds: least and most over plausible shares."""
    numbers = holds.sum(axis=(1, 2))
    return int(numbers.min()), int(numbers.max())


@dataclass(frozen=True)
class Minimum:
    """A family's expected accuracy against the policy's minimum.

    `share_accurate` is the share of rates expected to be accurate, at the most favourable plausible shares. People
    decide what the whole range is worth.
    """

    family: str
    rates: int
    share_accurate: float
    met: bool


def percent_of(least_and_most: Sequence[int], of: int) -> str:
    """Return text such as `52%`, or `52% to 75%` over all plausible shares."""
    return " to ".join(dict.fromkeys(f"{number / of:.0%}" for number in least_and_most)) if of else "-"


def expected_accuracy(
    councils: Sequence[str], share: float = 1.0, children: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return the plan and expected accuracy of every table for these councils at a share of the split, JSON-ready.

    `children` are expected numbers that replace a council's published number.
    """
    policy, sizes = load_policy().scaled(share), tuple(sorted((children or {}).items()))
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    widths = {family: expected_widths(plan, councils, sizes) for family, plan in plans.items()}
    tables = {
        table: list(found)
        for own in widths.values()
        for table, found in groupby(own, key=lambda widths: widths.table.name)
    }
    limits = policy.reliability
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
        "minimum_accuracy": [asdict(_minimum(family, found, policy)) for family, found in widths.items()],
        "by_table": [{"table": name} | _outlook(found, limits) for name, found in tables.items()],
        "warnings": [line for name, found in tables.items() for line in _warnings(name, found, limits)],
        "tables": [area for name, found in tables.items() for area in _by_area(name, found, limits)],
    }


def check_accuracy(family: str, plan: Plan, councils: Sequence[str], policy: Policy) -> None:
    """Raise `NotAccurateEnough` if the plan is not expected to meet the policy's minimum accuracy."""
    wanted = policy.minimum_accuracy[family]
    found = _minimum(family, expected_widths(plan, councils), policy)
    if not found.met:
        raise NotAccurateEnough(
            f"the tables of {family} are not worth their budget: of the {found.rates} rates that they define, at most"
            f" {found.share_accurate:.0%} can be expected within {wanted.half_width_points:g} points, and the policy"
            f" asks for {wanted.share_of_rates:.0%}; `readiness plan` shows which"
        )


def _outlook(widths: Sequence[Widths], limits: Reliability) -> dict[str, Any]:
    """Return how many of the defined rates will be published, and how many of those will be usable.

    A rate is published if its interval is narrow enough; rates marked `everywhere` may be wider.
    """
    judged = [(each.judged.reshape(SCENARIOS, 1, -1), _limit(each, limits)) for each in widths if each.is_rate]
    together = np.concatenate([each for each, _ in judged], axis=2) if judged else np.full((SCENARIOS, 1, 0), np.nan)
    limit = np.concatenate([np.full(each.shape[2], of) for each, of in judged]) if judged else np.zeros(0)
    return {
        "rates": int((~np.isnan(together[0])).sum()),
        "published": list(in_plausible(together <= limit)),
        "usable": list(in_plausible(together <= limits.unreliable_half_width)),
    }


def _limit(widths: Widths, limits: Reliability) -> float:
    """Return the half-width in points above which a rate is withheld."""
    return limits.for_figures(widths.block.everywhere).withheld_half_width


def _minimum(family: str, widths: Sequence[Widths], policy: Policy) -> Minimum:
    wanted = policy.minimum_accuracy[family]
    judged = [each.judged for each in widths if each.is_rate]
    rates = sum(int((~np.isnan(each[0])).sum()) for each in judged)
    accurate = sum((each <= wanted.half_width_points).sum(axis=(1, 2)) for each in judged)
    share = float(np.max(accurate)) / rates if rates else 0.0
    return Minimum(family, rates, round(share, 4), share >= wanted.share_of_rates)


def _warnings(table: str, widths: Sequence[Widths], limits: Reliability) -> Iterator[dict[str, Any]]:
    """Yield rows marked `everywhere` that will be unreliable or withheld in at least half of their councils.

    Uses shares in the middle of the plausible range. `denominator` is the rate's denominator in the median council.
    """
    for each in (each for each in widths if each.is_rate and each.block.everywhere):
        at_councils = [index for index, area in enumerate(each.areas) if area.level == LOCAL_AUTHORITY]
        for row, label in enumerate(each.labels):
            half_widths, denominators = each.middle[at_councils, row], each.denominators[at_councils, row]
            councils = int((~np.isnan(half_widths)).sum())
            withheld = int((half_widths > limits.withheld_half_width).sum())
            unreliable = int((half_widths > limits.unreliable_half_width).sum()) - withheld
            if councils and 2 * (withheld + unreliable) >= councils:
                yield {
                    "table": table,
                    "rows": label,
                    "denominator": round(float(np.nanmedian(denominators)), 1),
                    "councils": councils,
                    "flagged_unreliable": unreliable,
                    "withheld": withheld,
                }


def _by_area(table: str, widths: Sequence[Widths], limits: Reliability) -> list[dict[str, Any]]:
    found: dict[str, tuple[Geography, list[Widths]]] = {}
    for each in widths:
        for index, area in enumerate(each.areas):
            found.setdefault(area.name, (area, []))[1].append(each.only(index))
    return [_summary(table, area, own, limits) for area, own in found.values()]


def _summary(table: str, area: Geography, widths: Sequence[Widths], limits: Reliability) -> dict[str, Any]:
    """Return how many rates of a table are published in one area, and median expected 95% half-widths.

    Half-widths are in the middle of the plausible range: of counts in units, of the published rates in points.
    `council` is the name of the council, if the area is one.
    """
    counts = np.concatenate([each.counts.ravel() for each in widths])
    rates = [each.middle[each.middle <= _limit(each, limits)] for each in widths if each.is_rate]
    count_widths, rate_widths = counts[~np.isnan(counts)], np.concatenate([*rates, np.zeros(0)])
    return {
        "table": table,
        "area": area.name,
        "level": level_of(area),
        "council": area.councils[0] if area.level == LOCAL_AUTHORITY else None,
        "figures": len(count_widths),
        **_outlook(widths, limits),
        "median_count_half_width": round(float(np.median(count_widths)), 1) if count_widths.size else None,
        "median_rate_half_width": round(float(np.median(rate_widths)), 2) if rate_widths.size else None,
    }

"""What a planned release will be able to say, worked out from public figures before any data is read.

Denominators are the published size of each council's cohort times the published national share of each level; where no
share is published for an attribute its levels are taken as equally common. Rates are the published ones, or a half,
which is the widest. Nothing confidential goes in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assets.release.noise_workload import block_figures, plan_family
from ndl_export.tables import FAMILIES, Block, Family, Table
from ndl_export.tables.geography import LOCAL_AUTHORITY, Geography
from ndl_export.tables.model import Count, Ratio
from privacy.release.covariance import Covariances
from privacy.release.intervals import expected_difference_half_widths, expected_half_widths, expected_rate_half_widths
from privacy.release.mechanism import epsilon
from privacy.release.plan import Plan
from privacy.release.policy import Policy, load_policy
from sources.reference.places import COUNTRY
from sources.reference.profile_results import PUBLISHED_COHORT, SEX, TOTAL, children_by, council_size

Array = NDArray[np.float64]

_UNKNOWN_RATE = 0.5


class NotAccurateEnough(Exception):
    """A plan that is not expected to be worth its budget under the policy; nothing was charged."""


@dataclass(frozen=True)
class Minimum:
    """Whether a family meets the policy's minimum accuracy: of so many large rates, which share is accurate."""

    family: str
    rates: int
    share_accurate: float
    met: bool


@dataclass(frozen=True, eq=False)
class _Block:
    """Expected half-widths of a block; arrays are (areas, levels), NaN where there is no such figure.

    Counts in units; rates, or differences of rates, in points; denominators of rates that count for the minimum.
    """

    areas: tuple[Geography, ...]
    levels: tuple[str, ...]
    counts: Array
    rates: Array
    denominators: Array


def expected_accuracy(councils: Sequence[str], share: float = 1.0) -> dict[str, Any]:
    """Plan and expected accuracy of every table for these councils, at a share of the split: JSON-ready."""
    policy = load_policy().scaled(share)
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    blocks = {family: _family_blocks(family, plan, tuple(councils)) for family, plan in plans.items()}
    tables = {name: found for by_table in blocks.values() for name, found in by_table.items()}
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
        "minimum_accuracy": [asdict(_minimum(family, found, policy)) for family, found in blocks.items()],
        "warnings": [line for name, found in tables.items() for line in _warnings(name, found, policy)],
        "tables": [area for name, found in tables.items() for area in _by_area(name, found, policy)],
    }


def check_accuracy(family: str, plan: Plan, councils: Sequence[str], policy: Policy) -> None:
    """Raises `NotAccurateEnough` where the plan is not expected to meet the policy's minimum accuracy."""
    wanted = policy.minimum_accuracy[family]
    found = _minimum(family, _family_blocks(family, plan, tuple(councils)), policy)
    if not found.met:
        raise NotAccurateEnough(
            f"the tables of {family} are not worth their budget: {found.share_accurate:.0%} of their large rates are"
            f" expected within {wanted.half_width_points:g} points, and the policy asks for"
            f" {wanted.share_of_rates:.0%}; `readiness plan` shows which"
        )


@lru_cache(maxsize=32)
def _family_blocks(family: str, plan: Plan, councils: tuple[str, ...]) -> dict[str, list[_Block]]:
    """Expected half-widths of every block, by table."""
    covariances = Covariances(plan)
    return {
        table.name: [_block(table, block, plan, covariances, councils) for block in table.blocks]
        for table in FAMILIES[family].tables
    }


def _block(table: Table, block: Block, plan: Plan, covariances: Covariances, councils: Sequence[str]) -> _Block:
    figures = block_figures(block, plan.family, councils)
    labels = [tuple(level.label for level in chosen) for chosen in product(*(axis.selections for axis in block.axes))]
    possible = np.array([chosen not in block.structural_zeros for chosen in labels])
    flat = (len(figures.areas), len(labels))

    def shown(values: Array) -> Array:
        return np.where(possible, values.reshape(flat), np.nan)

    counts, rates, denominators = (np.full(flat, np.nan) for _ in range(3))
    if not any(ratio.taken_off for ratio in block.ratios.values()):
        counts = shown(expected_half_widths(covariances, figures.base))
    for name, (rate, taken_off) in figures.ratios.items():
        ratio = block.ratios[name]
        expected = _expected(table, block, ratio.whole, figures.areas)
        public_rate = np.full(expected.shape, _public_rate(ratio))
        if taken_off is not None and ratio.taken_off is not None:
            sizes = (expected, _expected(table, block, ratio.taken_off.whole, figures.areas))
            both = (rate, taken_off)
            rates = shown(expected_difference_half_widths(covariances, both, sizes, (public_rate, public_rate)))
        elif len(ratio.parts) == 1:
            rates = shown(expected_rate_half_widths(covariances, *rate, expected, public_rate))
            denominators = shown(expected)
    constants = [label for name, label in block.constants.items() if label not in ("Total", table.title)]
    return _Block(
        figures.areas,
        tuple(" / ".join([*constants, *chosen]) or "Total" for chosen in labels),
        counts,
        rates,
        denominators,
    )


def _minimum(family: str, blocks: dict[str, list[_Block]], policy: Policy) -> Minimum:
    wanted = policy.minimum_accuracy[family]
    accurate = [
        (block.rates <= wanted.half_width_points)[block.denominators >= wanted.denominator_at_least]
        for found in blocks.values()
        for block in found
    ]
    judged = np.concatenate(accurate)
    share = float(judged.mean()) if judged.size else 1.0
    return Minimum(family, int(judged.size), round(share, 4), share >= wanted.share_of_rates)


def _warnings(table: str, blocks: list[_Block], policy: Policy) -> Iterator[dict[str, Any]]:
    """Rows of a table that will be unreliable or withheld in at least half of the councils.

    `denominator`: what the rate is of, in the median council; None for a difference.
    """
    limits = policy.reliability
    for block in blocks:
        councils = [index for index, area in enumerate(block.areas) if area.level == LOCAL_AUTHORITY]
        if not councils:
            continue
        widths, middle = block.rates[councils], np.median(block.denominators[councils], axis=0)
        withheld = (widths > limits.withheld_half_width).sum(axis=0)
        unreliable = (widths > limits.unreliable_half_width).sum(axis=0) - withheld
        for level in np.flatnonzero(2 * (withheld + unreliable) >= len(councils)):
            yield {
                "table": table,
                "rows": block.levels[level],
                "denominator": None if np.isnan(middle[level]) else round(float(middle[level]), 1),
                "councils": len(councils),
                "flagged_unreliable": int(unreliable[level]),
                "withheld": int(withheld[level]),
            }


def _by_area(table: str, blocks: list[_Block], policy: Policy) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[Geography, Array, Array]]] = {}
    for block in blocks:
        for area, counts, rates in zip(block.areas, block.counts, block.rates, strict=True):
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


def _public_rate(ratio: Ratio) -> float:
    attributes = {attribute for part in ratio.parts for attribute, _ in part.groups}
    return _public_gld_rate() if "gld" in attributes else _UNKNOWN_RATE


def _expected(table: Table, block: Block, count: Count, areas: Sequence[Geography]) -> Array:
    """What is expected of a count by public figures, (areas, *levels)."""
    family = FAMILIES[table.family]
    sizes = np.array([family.rows_per_child * _size(area) for area in areas])
    if count.all_together:
        councils = [size for area, size in zip(areas, sizes, strict=True) if area.level == LOCAL_AUTHORITY]
        sizes = np.full(sizes.shape, sum(councils))
    expected = sizes * math.prod(_share(family, *group) for group in count.groups)
    for axis in block.axes:
        at_total = axis.filter == count.over
        shares = [1.0 if at_total else _share(family, axis.attribute, level.categories) for level in axis.selections]
        expected = expected[..., None] * np.array(shares)
    return expected


def _share(family: Family, attribute: str, categories: tuple[str, ...] | None) -> float:
    domain = family.attribute(attribute)
    known = public_shares(domain.label, domain.categories)
    return sum(known[category] for category in (domain.categories if categories is None else categories))


def _size(area: Geography) -> float:
    return sum(council_size(council) for council in area.councils)


def _public_gld_rate() -> float:
    return float(children_by(SEX)[COUNTRY[0], PUBLISHED_COHORT][TOTAL]["gld_children_percent"]) / 100


def public_shares(topic: str, categories: tuple[str, ...]) -> dict[str, float]:
    """National share of each category of an attribute; equal shares where nothing is published for it."""
    rows = children_by(topic).get((COUNTRY[0], PUBLISHED_COHORT), {})
    counts = {name: float(rows[name]["children_count"]) if name in rows else 0.0 for name in categories}
    total = sum(counts.values())
    return {name: count / total if total else 1 / len(categories) for name, count in counts.items()}

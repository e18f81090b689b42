"""What a planned release will be able to say, worked out from public figures before any data is read.

Denominators are the published size of each council's cohort times the published national share of each level; where no
share is published for an attribute its levels are taken as equally common. Rates are the published ones, or a half,
which is the widest. Nothing confidential goes in.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sources.reference
from assets.release import plan_family
from assets.workload import BlockFigures, block_figures
from ndl_export.geography import Geography
from ndl_export.tables import FAMILIES, Block, Table
from privacy.release import (
    Policy,
    epsilon,
    expected_half_widths,
    expected_rate_half_widths,
    load_policy,
)
from privacy.release.plan import Plan
from sources.reference.places import place

Array = NDArray[np.float64]

REVIEWED_SHARE = 0.85
"""Children with a two-year review, as a share of the cohort; about what England reports (OHID)."""
RESPONSE_SHARE = 0.1
"""Responses to the survey of parents as a share of the cohort: a planning assumption."""
_UNITS = {"pupil": 1.0, "health": REVIEWED_SHARE, "parents": RESPONSE_SHARE}
_UNKNOWN_RATE = 0.5
_COUNCILS_OF_ENGLAND = 153


@dataclass(frozen=True)
class AreaAccuracy:
    """Expected 95% half-widths of one table in one area: counts in units, rates in points; how many are unusable."""

    table: str
    area: str
    figures: int
    median_count_half_width: float
    median_rate_half_width: float | None
    flagged_unreliable: int
    withheld: int


def expected_accuracy(councils: Sequence[str]) -> dict[str, Any]:
    """Plan and expected accuracy of every table for these councils: JSON-ready."""
    policy = load_policy()
    plans = {family: plan_family(family, councils, policy) for family in FAMILIES}
    return {
        "councils": list(councils),
        "cap_rho": policy.cap_rho,
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
        "tables": [
            asdict(area)
            for family, plan in plans.items()
            for table in FAMILIES[family].tables
            for area in _table(table, plan, councils, policy)
        ],
    }


def _table(table: Table, plan: Plan, councils: Sequence[str], policy: Policy) -> list[AreaAccuracy]:
    counts: dict[str, list[Array]] = {}
    rates: dict[str, list[Array]] = {}
    for block in table.blocks:
        figures = block_figures(block, plan.family, councils)
        denominators = _denominators(table, block, figures)
        count_widths = expected_half_widths(plan, figures.base)
        rate_widths = _rate_widths(plan, block, figures, denominators)
        for index, area in enumerate(figures.areas):
            counts.setdefault(area.name, []).append(count_widths[index].ravel())
            if rate_widths is not None:
                rates.setdefault(area.name, []).append(rate_widths[index].ravel())
    return [_summary(table, area, counts[area], rates.get(area), policy) for area in counts]


def _rate_widths(plan: Plan, block: Block, figures: BlockFigures, denominators: Array) -> Array | None:
    if figures.part is None or figures.whole is None or block.average_of is not None:
        return None
    rate = _public_gld_rate() if block.numerator and block.numerator[0] == "gld" else _UNKNOWN_RATE
    return expected_rate_half_widths(plan, figures.part, figures.whole, denominators, np.full(denominators.shape, rate))


def _summary(table: Table, area: str, counts: list[Array], rates: list[Array] | None, policy: Policy) -> AreaAccuracy:
    count_widths = np.concatenate(counts)
    rate_widths = np.concatenate(rates) if rates else np.zeros(0)
    limits = policy.reliability
    return AreaAccuracy(
        table.name,
        area,
        len(count_widths),
        round(float(np.median(count_widths)), 1),
        round(float(np.median(rate_widths)), 2) if rates else None,
        int(((rate_widths > limits.unreliable_half_width) & (rate_widths <= limits.withheld_half_width)).sum()),
        int((rate_widths > limits.withheld_half_width).sum()),
    )


def _denominators(table: Table, block: Block, figures: BlockFigures) -> Array:
    """Expected denominators of a block's rates, (areas, *levels)."""
    expected = np.array([_UNITS[table.family] * _size(area) for area in figures.areas])
    for axis in block.axes:
        if axis.filter == block.share_of:
            shares = np.ones(len(axis.selections))
        else:
            domain = next(a for a in FAMILIES[table.family].attributes if a.name == axis.attribute)
            known = _public_shares(domain.label, domain.categories)
            shares = np.array(
                [
                    sum(known[category] for category in (domain.categories if s.categories is None else s.categories))
                    for s in axis.selections
                ]
            )
        expected = expected[..., None] * shares
    return expected


def _size(area: Geography) -> float:
    return sum(_council_size(council) for council in area.councils)


@cache
def _published() -> list[dict[str, str]]:
    path = Path(sources.reference.__file__).parent / "published_eyfsp_202425.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@cache
def _council_size(council: str) -> float:
    """Published number of children; the average of the councils that are not published here."""
    totals = {
        row["new_la_code"]: float(row["children_count"])
        for row in _published()
        if row["breakdown"] == row["sex"] == "Total"
    }
    england = totals.pop("E92000001")
    return totals.get(
        place(council).new_la_code, (england - sum(totals.values())) / (_COUNCILS_OF_ENGLAND - len(totals))
    )


def _public_gld_rate() -> float:
    total = next(
        row
        for row in _published()
        if row["geographic_level"] == "National" and row["breakdown"] == row["sex"] == "Total"
    )
    return float(total["gld_children_percent"]) / 100


def _public_shares(topic: str, categories: tuple[str, ...]) -> dict[str, float]:
    """National share of each category of an attribute; equal shares where nothing is published for it."""
    counts = {
        row["breakdown"] if topic != "Sex" else row["sex"]: float(row["children_count"])
        for row in _published()
        if row["geographic_level"] == "National"
        and (row["breakdown_topic"] == topic or (topic == "Sex" and row["breakdown_topic"] == "Total"))
    }
    found = {category: counts.get(category, 0.0) for category in categories}
    total = sum(found.values())
    if not total:
        return dict.fromkeys(categories, 1 / len(categories))
    return {category: count / total for category, count in found.items()}

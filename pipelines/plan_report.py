"""`readiness plan` as a person reads it."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from privacy.release.policy import MinimumAccuracy, load_policy

SHOWN = 12
"""Rows of one table that a warning names."""


def render(found: dict[str, Any]) -> str:
    """Budget by family, then expected half-widths by table and area."""
    lines = [
        f"Policy: at most rho {found['cap_rho']:g} per cohort, delta {found['delta']:g}",
        "",
        f"{'family':<10}{'rho':>8}{'epsilon':>9}  plan",
    ]
    lines += [
        f"{family['family']:<10}{family['rho']:>8.3f}{family['epsilon']:>9.2f}  {family['plan_sha256'][:16]}"
        for family in found["families"]
    ]
    policy = load_policy()
    limits = policy.reliability
    lines += [
        "",
        "Minimum accuracy:",
        *(_minimum(entry, policy.minimum_accuracy[entry["family"]]) for entry in found["minimum_accuracy"]),
        "",
        "Expected half-width of 95% intervals, from public cohort sizes (median over the rows of a table):",
        f"{'table':<22}{'area':<26}{'rows':>6}{'count +-':>10}{'rate +- points':>16}"
        f"{f'over {limits.unreliable_half_width:g}':>9}{f'over {limits.withheld_half_width:g}':>9}",
    ]
    for row in found["tables"]:
        count, rate = row["median_count_half_width"], row["median_rate_half_width"]
        lines.append(
            f"{row['table']:<22}{row['area']:<26}{row['figures']:>6}{'-' if count is None else f'{count:.1f}':>10}"
            f"{'-' if rate is None else f'{rate:.2f}':>16}{row['flagged_unreliable']:>9}{row['withheld']:>9}"
        )
    if found["warnings"]:
        lines += ["", "Warning: these rows will be unreliable (u) or withheld (low) in at least half of the councils:"]
    for table, rows in groupby(found["warnings"], key=itemgetter("table")):
        lines += _warned(table, list(rows))
    return "\n".join(lines)


def _warned(table: str, rows: list[dict[str, Any]]) -> list[str]:
    """The rows of a table that will be unusable, the worst first; all of them are in the JSON."""
    worst = sorted(rows, key=lambda row: (-row["withheld"], -row["flagged_unreliable"]))
    lines = [
        f"{table:<22}{row['rows']}: u in {row['flagged_unreliable']}, low in {row['withheld']} of {row['councils']}"
        for row in worst[:SHOWN]
    ]
    return lines + ([f"{table:<22}and {len(rows) - SHOWN} more rows: see --json"] if len(rows) > SHOWN else [])


def _minimum(entry: dict[str, Any], wanted: MinimumAccuracy) -> str:
    """What is expected of a family's large rates, beside what the policy asks for."""
    outcome = "met" if entry["met"] else "NOT MET: this family would not be measured"
    return (
        f"{entry['family']:<10}{entry['share_accurate']:>7.1%} of {entry['rates']} rates of"
        f" {wanted.denominator_at_least:g} or more are within {wanted.half_width_points:g} points"
        f" (at least {wanted.share_of_rates:.0%}): {outcome}"
    )

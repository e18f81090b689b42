"""`readiness plan` as a person reads it."""

from __future__ import annotations

from typing import Any

from privacy.release.policy import load_policy


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
    limits = load_policy().reliability
    lines += [
        "",
        "Expected half-width of 95% intervals, from public cohort sizes (median over the rows of a table):",
        f"{'table':<22}{'area':<26}{'rows':>6}{'count +-':>10}{'rate +- points':>16}"
        f"{f'over {limits.unreliable_half_width:g}':>9}{f'over {limits.withheld_half_width:g}':>9}",
    ]
    for row in found["tables"]:
        rate = f"{row['median_rate_half_width']:.2f}" if row["median_rate_half_width"] is not None else "-"
        lines.append(
            f"{row['table']:<22}{row['area']:<26}{row['figures']:>6}{row['median_count_half_width']:>10.1f}{rate:>16}"
            f"{row['flagged_unreliable']:>9}{row['withheld']:>9}"
        )
    return "\n".join(lines)

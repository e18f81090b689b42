"""`readiness plan` as text: in brief, for one council, or in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import Any

from assets.release.begin import WHOLE
from ndl_export.tables.geography import ALL_TOGETHER
from privacy.release.policy import MinimumAccuracy, load_policy

ROWS_PER_WARNING = 3
"""How many rows of a table a warning names, unless all are asked for."""

Row = dict[str, Any]


def render(found: dict[str, Any], *, council: str | None = None, everything: bool = False) -> str:
    """Budget by family, minimum accuracy, then expected half-widths: of each table over the councils; of one `council`;
    or, with `everything`, of each table in each area and all warnings."""
    parts = [_budget(found), _minima(found)]
    if council is not None:
        parts.append(_areas([row for row in found["tables"] if row["council"] == council]))
    elif everything:
        parts += [_areas(found["tables"]), _warnings(found["warnings"], None)]
    else:
        parts += [_in_brief(found["tables"]), _warnings(found["warnings"], ROWS_PER_WARNING)]
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _budget(found: dict[str, Any]) -> list[str]:
    room = found["budget"]
    verdict = "it fits" if room["fits"] else f"IT DOES NOT FIT; {_largest(room['largest_share'])}"
    return [
        f"Policy: of a cohort at most {_amounts(found['cap_rho'])}; delta {found['delta']:g}",
        "",
        f"{'family':<10}{'rho':>8}{'epsilon':>9}  plan",
        *(
            f"{family['family']:<10}{family['rho']:>8.3f}{family['epsilon']:>9.2f}  {family['plan_sha256'][:16]}"
            for family in found["families"]
        ),
        "",
        f"A share of {room['share']:g} of the policy's split would charge {_amounts(room['asked_rho'])}, and the cohort"
        f" has {_amounts(room['left_rho'])} left: {verdict}",
    ]


def _amounts(by_unit: Mapping[str, float]) -> str:
    return " and ".join(f"rho {rho:g} for a {unit}" for unit, rho in by_unit.items())


def _largest(share: float) -> str:
    return f"the largest share that would is {share:g}" if share else "no share would"


def _minima(found: dict[str, Any]) -> list[str]:
    policy = load_policy()
    return [
        "Minimum accuracy:",
        *(
            _minimum(entry, policy.minimum_accuracy[entry["family"]], whole=found["budget"]["share"] == WHOLE)
            for entry in found["minimum_accuracy"]
        ),
    ]


def _minimum(entry: Row, wanted: MinimumAccuracy, *, whole: bool) -> str:
    """The accuracy expected of a family's published rates, beside what the policy requires of a whole release."""
    refused = "this family would not be measured" if whole else "a share of the split is measured all the same"
    outcome = "met" if entry["met"] else f"NOT MET: {refused}"
    return (
        f"{entry['family']:<10}{entry['share_accurate']:>7.1%} of all {entry['rates']:,} rates that are published are"
        f" within {wanted.half_width_points:g} points (at least {wanted.share_of_rates:.0%}): {outcome}"
    )


def _in_brief(rows: Sequence[Row]) -> list[str]:
    """A line for each table: least, median and greatest council, what is published at which detail, and how much of
    that is unusable."""
    councils = {row["council"] for row in rows} - {None}
    lines = [
        f"Expected half-width of 95% intervals of what is published in {len(councils)} councils, from public sizes",
        "(of a council the median over the rows of a table); how many rates are published of all together, of areas of",
        "several councils and of councils, and how many of these will be unreliable (u) and withheld:",
        f"{'':<22}{'rate +- points':^24}{'count +-':^24}",
        f"{'table':<22}" + 2 * f"{'least':>8}{'median':>8}{'most':>8}" + f"{'all':>6}{'areas':>7}{'councils':>10}"
        f"{'u':>8}{'withheld':>10}",
    ]
    for table, found in groupby(rows, key=itemgetter("table")):
        areas = list(found)
        own = [row for row in areas if row["council"] is not None]
        rates = sum(row["rates"] for row in areas)
        together = sum(row["rates"] for row in areas if row["level"] == ALL_TOGETHER)
        of_councils = sum(row["rates"] for row in own)
        lines.append(
            f"{table:<22}"
            + "".join(_spread([row[f"median_{what}_half_width"] for row in own]) for what in ("rate", "count"))
            + f"{together:>6,}{rates - together - of_councils:>7,}{of_councils:>10,}"
            + f"{_share(areas, 'flagged_unreliable', rates):>8}{_share(areas, 'withheld', rates):>10}"
        )
    return [*lines, "Of one council: --council NAME; of every area: --all; as data: --json."]


def _spread(widths: Sequence[float | None]) -> str:
    known = [width for width in widths if width is not None]
    shown = [f"{width:.1f}" for width in (min(known), median(known), max(known))] if known else ["-"] * 3
    return "".join(f"{width:>8}" for width in shown)


def _share(rows: Sequence[Row], what: str, of: int) -> str:
    return f"{sum(row[what] for row in rows) / of:.0%}" if of else "-"


def _areas(rows: Sequence[Row]) -> list[str]:
    limits = load_policy().reliability
    return [
        "Expected half-width of 95% intervals, from public cohort sizes (median over the rows of a table):",
        f"{'table':<22}{'area':<26}{'rows':>6}{'count +-':>10}{'rate +- points':>16}"
        f"{f'over {limits.unreliable_half_width:g}':>9}{f'over {limits.withheld_half_width:g}':>9}",
        *(_area(row) for row in rows),
    ]


def _area(row: Row) -> str:
    count, rate = row["median_count_half_width"], row["median_rate_half_width"]
    return (
        f"{row['table']:<22}{row['area']:<26}{row['figures']:>6}{'-' if count is None else f'{count:.1f}':>10}"
        f"{'-' if rate is None else f'{rate:.2f}':>16}{row['flagged_unreliable']:>9}{row['withheld']:>9}"
    )


def _warnings(warnings: Sequence[Row], most: int | None) -> list[str]:
    """The rows that will be unusable, the largest groups of each table first."""
    lines = []
    for table, rows in groupby(warnings, key=itemgetter("table")):
        largest = sorted(rows, key=lambda row: -(row["denominator"] or 0))
        lines += [f"{table:<22}{_warned(row)}" for row in largest[:most]]
        if most is not None and len(largest) > most:
            lines.append(f"{table:<22}and {len(largest) - most} smaller: see --all")
    heading = "Warning: these rows will be unreliable (u) or withheld in at least half of the councils:"
    return [heading, *lines] if lines else []


def _warned(row: Row) -> str:
    of = "" if row["denominator"] is None else f" (of {row['denominator']:,.0f} in the median council)"
    return f"{row['rows']}{of}: u in {row['flagged_unreliable']}, withheld in {row['withheld']} of {row['councils']}"

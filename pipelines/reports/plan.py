"""`readiness plan`: the cost and the accuracy of a release; in brief, for one council, or in full."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import Any

from assets.release.planning import format_percent
from assets.release.record import WHOLE
from ndl_export.tables import TABLES
from pipelines.reports.budget import explain_budget_units
from pipelines.reports.document import Grid, Report, Section
from privacy.release.policy import load_policy

ROWS_PER_WARNING = 3
"""Rows of a table that warnings list, unless all are asked for."""

Row = dict[str, Any]


def report(found: Row, *, council: str | None = None, everything: bool = False) -> Report:
    """Report what the release would charge, whether it fits and is worth that, and how accurate its tables will be.

    Accuracy is given over the councils, in one `council`, or with `everything` in each area, with all warnings.
    """
    minima = [entry for entry in found["minimum_accuracy"] if not entry["met"]]
    most = None if everything else ROWS_PER_WARNING
    worth = "Every family of tables is as accurate as the policy asks for."
    if minima:
        families = ", ".join(entry["family"] for entry in minima)
        refused = found["budget"]["share"] == WHOLE
        worth = f"Less accurate than the policy asks for: {families}; "
        worth += "it would not be measured." if refused else "a share is measured all the same."
    if council is not None:
        accuracy = [_build_area_section([row for row in found["tables"] if row["council"] == council])]
    elif everything:
        accuracy = [_build_area_section(found["tables"]), _build_warning_section(found["warnings"], most)]
    else:
        accuracy = [_build_brief_section(found), _build_warning_section(found["warnings"], most)]
    return Report(
        kind="plan",
        title=f"Plan of a release of cohort {found['cohort']}",
        outcome=[*_describe_verdict(found["budget"]), worth],
        sections=[
            _build_charge_section(found),
            _build_minima_section(found),
            *(each for each in accuracy if each.grids),
            explain_budget_units(found["delta"]),
        ],
        facts=found,
        # a cohort that has its release needs no room for another
        good=(found["budget"]["fits"] or bool(found["budget"]["releases"])) and not minima,
    )


def _describe_verdict(room: Row) -> Iterator[str]:
    """Yield whether the release fits; for a cohort already measured, first the cost so far and of a repeat."""
    released = room["releases"]
    if released:
        yield (
            f"Already measured and paid for: release {', '.join(released)}. The same release again charges nothing:"
            " the same plan is never charged twice."
        )
        yield f"Left of the cohort's budget: {_format_amounts(room['left_rho'])}."
    if released and not room["share_was_asked"]:
        yield (
            f"Another release could spend a share of at most {room['largest_share']:g} of the policy's split;"
            f" --share {room['largest_share']:g} shows what it could say."
            if room["largest_share"]
            else "Nothing that could be used is left for another release."
        )
        return
    what, left, share, largest = "It", "", room["share"], room["largest_share"]
    if released:
        what = f"Another release, with a share of {share:g},"
    else:
        left = f"; the cohort has {_format_amounts(room['left_rho'])}"
        what += "" if share == WHOLE else f", with a share of {share:g} of the policy's split,"
    fit = "it does not fit; " + (f"the largest share that would is {largest:g}" if largest else "no share would")
    yield f"{what} would charge {_format_amounts(room['asked_rho'])}{left}: {'it fits' if room['fits'] else fit}."


def _format_amounts(by_unit: Mapping[str, float]) -> str:
    return " and ".join(f"rho {rho:.4f} for a {unit}" for unit, rho in by_unit.items())


def _build_charge_section(found: Row) -> Section:
    rows = [
        (family["family"], family["plan_sha256"][:16], f"{family['rho']:.4f}", f"{family['epsilon']:.2f}")
        for family in found["families"]
    ]
    limit = f"The policy allows a cohort at most {_format_amounts(found['cap_rho'])}."
    return Section(
        "What is charged, by family", [limit], [Grid("", ("family", "plan", "rho", "epsilon"), rows, numbers=2)]
    )


def _build_minima_section(found: Row) -> Section:
    wanted = load_policy().minimum_accuracy
    rows = [
        (
            entry["family"],
            "met" if entry["met"] else "NOT MET",
            f"at best {entry['share_accurate']:.1%} of {entry['rates']:,} rates within"
            f" {wanted[entry['family']].half_width_points:g} points;"
            f" at least {wanted[entry['family']].share_of_rates:.0%} are asked for",
        )
        for entry in found["minimum_accuracy"]
    ]
    return Section("Whether it is worth that", grids=[Grid("", ("family", "minimum", "expected accuracy"), rows)])


def _build_brief_section(found: Row) -> Section:
    """Return a line per table: the lowest, median and highest council, and how much of the table is published."""
    rows, by_table = found["tables"], {row["table"]: row for row in found["by_table"]}
    councils = {row["council"] for row in rows} - {None}
    lines = []
    for table, own in groupby(rows, key=itemgetter("table")):
        areas = list(own)
        found_widths = (row["median_rate_half_width"] for row in areas if row["council"] is not None)
        widths = [width for width in found_widths if width is not None]
        spread = [f"{of(widths):.1f}" if widths else "-" for of in (min, median, max)]
        lines.append((TABLES[table].title, *spread, *_format_outlook(by_table[table])))
    return Section(
        "What it can say",
        [
            f"Expected half-width of 95% intervals of rates, in points, in {len(councils)} councils, from public sizes"
            " (for a council, the median over the rates that are published); how many rates a table defines, and over"
            " all plausible shares how many of these are published, and how many can be used. For one council:"
            " --council; for every area: --all."
        ],
        [Grid("", ("table", "least", "median", "most", "rates", "published", "usable"), lines, numbers=6)],
    )


def _format_outlook(row: Row) -> tuple[str, ...]:
    """Return the number of rates, and the shares that are published and usable."""
    return (f"{row['rates']:,}", *(format_percent(row[what], row["rates"]) for what in ("published", "usable")))


def _build_area_section(rows: Sequence[Row]) -> Section:
    header = ("area", "count ±", "rate ± points", "rates", "published", "usable")
    return Section(
        "What it can say, by area",
        [
            "Expected half-width of 95% intervals, from public sizes (median over the counts of a table, and over the"
            " rates that are published); and over all plausible shares how many rates are published, and can be used."
        ],
        [
            Grid(TABLES[table].title, header, [_format_area(row) for row in areas], numbers=5)
            for table, areas in groupby(rows, key=itemgetter("table"))
        ],
    )


def _format_area(row: Row) -> tuple[str, ...]:
    count, rate = row["median_count_half_width"], row["median_rate_half_width"]
    return (
        row["area"],
        "-" if count is None else f"{count:.1f}",
        "-" if rate is None else f"{rate:.2f}",
        *_format_outlook(row),
    )


def _build_warning_section(warnings: Sequence[Row], most: int | None) -> Section:
    """Return the rows that will be unusable, the largest groups of each table first."""
    grids = []
    for table, rows in groupby(warnings, key=itemgetter("table")):
        largest = sorted(rows, key=lambda row: -row["denominator"])
        shown = [
            (
                row["rows"],
                *(f"{row[what]:,.0f}" for what in ("denominator", "flagged_unreliable", "withheld", "councils")),
            )
            for row in largest[:most]
        ]
        more = f" (and {len(largest) - len(shown)} smaller ones: --all)" if len(largest) > len(shown) else ""
        header = ("row", "children", "u in", "withheld in", "of councils")
        grids.append(Grid(f"Rows of: {TABLES[table].title}{more}", header, shown, numbers=4))
    return Section(
        "Rows to be warned of",
        [
            "A release is about these rows, and in at least half of the councils that have them they will be unreliable"
            " (u) or withheld. Children are those of the median council, by public sizes."
        ],
        grids,
    )

"""Renders the linkage report of a cohort for staff in the restricted zone: rates, agreement patterns, rounded counts.

The facts of the linkage come from `privacy.linkage.report`. This module adds how many children of each group are linked
to a two-year review and to a setting, with Wilson's 95% intervals, and the possible effect of missed links on the rates
of a good level of development, weighted by the inverse of the group's share of linked children
(`docs/linkage-report.md`). The page contains no tokens, child ids or row numbers.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from ndl_export.pages import kit
from ndl_export.pages.charts import Scale
from ndl_export.pages.number_format import capitalise
from ndl_export.tables import TableAttribute, model, pupil
from ndl_export.tables.model import Table
from privacy.doors.counts import EXACT_BELOW, describe_count, find_least_count, round_share
from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_parquet
from privacy.linkage import missed
from privacy.linkage.model import MISSING
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort
from sources.reference.places import get_place

Facts = dict[str, Any]
COUNCIL = "council"
GROUPED_BY = (model.SEX, pupil.ETHNIC, model.FSM, model.IMD, pupil.SEN, pupil.TERM)
LINKED_TO = {
    "review": f"asq3 <> '{pupil.NO_REVIEW}'",
    "setting": f"entitlement <> '{pupil.NOT_LINKED_TO_SETTING}'",
}
"""What a child may be linked to, as a condition over the children's table."""
_Z = 1.959963984540054  # two-sided 95%; from scipy, which takes 0.3 s to load


def count_links_by_group(children: Path) -> list[dict[str, Any]]:
    """Return one row per group: topic, group, children, and how many are linked to a review and to a setting.

    `children` is the confidential table of family pupil. All children come first, then councils, then every category in
    the public domain of each characteristic, including empty ones.
    """
    counted = ", ".join(f"count(*) FILTER ({condition}) AS {name}" for name, condition in LINKED_TO.items())
    columns = ", ".join([COUNCIL, *(attribute.name for attribute in GROUPED_BY)])
    rows = f"SELECT *, 'All children' AS everybody FROM {quote_parquet(children)}"
    by_column = f"UNPIVOT ({rows}) ON everybody, {columns} INTO NAME name VALUE category"
    with open_in_memory() as con:
        found = con.sql(f"SELECT name, category, count(*), {counted} FROM ({by_column}) GROUP BY ALL").fetchall()
    none = dict.fromkeys(("children", *LINKED_TO), 0)
    by_group = {(name, category): dict(zip(none, counts, strict=True)) for name, category, *counts in found}
    councils = sorted(category for name, category in by_group if name == COUNCIL)
    groups = [
        ("All", "All children", ("everybody", "All children")),
        *(("Council", get_place(council).la_name, (COUNCIL, council)) for council in councils),
        *((each.label, category, (each.name, category)) for each in GROUPED_BY for category in each.categories),
    ]
    return [{"topic": topic, "group": label} | by_group.get(key, none) for topic, label, key in groups]


def estimate_missed_links(children: Path) -> Facts:
    """Return the estimates of a release about missed links, from the true counts in the table of family pupil.

    `missed_links`: by what a child may be linked to, the share of links missed, of children seen by both services, with
    the limits of its 95% interval, and the groups with the least and the greatest share, by topic. `headline`: by the
    services that saw a child, half of the width in children that this gives the interval of their number.
    """
    with open_in_memory() as con:

        def count(attribute: TableAttribute, by: str | None = None) -> NDArray[np.float64]:
            """Return the children by category, or by category of `by` (in order of the alphabet) and category."""
            sql = f"SELECT {by}, {attribute.name}, count(*) FROM {quote_parquet(children)} GROUP BY ALL"
            counts = {(group, category): float(n) for group, category, n in con.sql(sql).fetchall()}
            # in a cohort without a Profile so far, there are no children
            groups = sorted({group for group, _ in counts}, key=str) or [None] * (by == "NULL")
            names[by] = groups
            return np.array([[counts.get((group, each), 0.0) for each in attribute.categories] for group in groups])

        names: dict[str | None, list[str]] = {}
        counted = (pupil.AGREEMENT, pupil.CENSUS_JOIN, pupil.SHARED_NUMBER, pupil.DOTS)
        (*evidence, dots) = (count(each, "NULL")[0] for each in counted)
        kinds = {column: count(pupil.DIFFERENCES, column) for column in _COMPARED}
    seen_by = [
        sum(dots[pupil.DOTS.categories.index(pupil.format_dots_category(seen, concern))] for concern in concerns)
        for seen, concerns in pupil.CONCERN_GIVEN_SEEN.items()
        if seen in HEADLINE
    ]
    seen, exact = np.array(seen_by), missed.Evidence(*(missed.Counted(each, np.zeros_like(each)) for each in evidence))
    found, _ = missed.estimate_rates(exact, seen)
    lines: dict[str, dict[str, Any]] = {}
    for name, share, deviation in zip(LINKED_TO, found.compute_shares(), found.compute_share_deviations(), strict=True):
        limits = {"share": share, "lower": share - _Z * deviation, "upper": share + _Z * deviation}
        lines[name] = {what: round(max(value, 0.0), 3) for what, value in limits.items()} | {"groups": []}
    for column, topic in ((column, topic) for column, topic in _COMPARED.items() if names[column]):
        factors = missed.estimate_factors(
            *exact.agreement, kinds[column], np.zeros_like(kinds[column]), seen[:3]
        ).values
        for line, own, rate in zip(lines.values(), factors[1:], found.rates[1:3], strict=True):
            shares = np.maximum(own * rate + factors[0] * found.rates[0], 0.0)
            ends = [
                (names[column][place], round(float(shares[place]), 3)) for place in (shares.argmin(), shares.argmax())
            ]
            line["groups"].append(
                {
                    "topic": topic,
                    "ends": [{"group": _name_group(column, group), "share": share} for group, share in ends],
                }
            )
    widths = zip(HEADLINE, _Z * found.compute_deviations(seen), strict=True)
    return {"missed_links": lines, "headline": {name: float(f"{width:.{_DIGITS}g}") for name, width in widths}}


_COMPARED = {COUNCIL: "council", pupil.ETHNIC.name: "ethnic group"}
"""Columns whose groups have shares of missed links of their own, with words."""
HEADLINE = (pupil.BOTH, pupil.HV_ONLY, pupil.SETTING_ONLY, pupil.NEITHER)
"""The services that saw a child, in the order of `missed.Missed.compute_deviations`."""


def _name_group(column: str, group: str) -> str:
    return get_place(group).la_name if column == COUNCIL else group


def compute_wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """Return Wilson's score interval (1927) of a share, at 95%."""
    spread = _Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = _Z * ((share * (1 - share) + spread / 4) / trials) ** 0.5 / (1 + spread)
    return max(centre - half, 0.0), min(centre + half, 1.0)


JOINTLY = "FSM, IMD quintile and sex jointly"
WEIGHTED_BY = {
    **{each.label: (each.name,) for each in (model.FSM, model.IMD, pupil.ETHNIC, model.SEX)},
    "Council": (COUNCIL,),
    JOINTLY: (model.FSM.name, model.IMD.name, model.SEX.name),
}
"""Each weighting, and the columns whose categories are its groups."""


_TABLES: tuple[tuple[Table, TableAttribute, dict[str, str], str], ...] = (
    (pupil.READINESS_PATHWAY, pupil.ASQ3, {category: category for category in pupil.LINKED}, LINKED_TO["review"]),
    (
        pupil.FUNDED_ENTITLEMENT,
        pupil.ENTITLEMENT,
        {c: c for c in pupil.ENTITLEMENT.categories if c != pupil.NOT_LINKED_TO_SETTING},
        LINKED_TO["setting"],
    ),
    (
        pupil.JOINED_DOTS,
        pupil.DOTS,
        {
            pupil.format_dots_category(pupil.BOTH, concern): f"Seen by both; concern: {concern.lower()}"
            for concern in pupil.CONCERN_GIVEN_SEEN[pupil.BOTH]
        },
        " AND ".join(f"({condition})" for condition in LINKED_TO.values()),
    ),
)
"""Each linked table, the attribute it shows rates for, the categories that count as linked, and the condition."""

_COLUMNS = dict.fromkeys(["gld", *chain(*WEIGHTED_BY.values()), *(attribute.name for _, attribute, *_ in _TABLES)])
"""Columns of the children's table that are read."""


def compute_weighted_rates(children: Path) -> list[dict[str, Any]]:
    """Return one row per linked category: table, title, category, children, and rates of a good level of development.

    Each rate is `unweighted` and `weighted` by each of `WEIGHTED_BY`. `children` is the table of family pupil.
    """
    with open_in_memory() as con:
        cells = f"SELECT {', '.join(_COLUMNS)}, count(*) AS n FROM {quote_parquet(children)} GROUP BY ALL"
        con.execute(f"CREATE TABLE of_children AS {cells}").fetchall()
        lines = []
        for table, attribute, labels, condition in _TABLES:
            plain = _compute_rates(con, attribute.name, condition, ())
            weighted = {
                name: _compute_rates(con, attribute.name, condition, columns) for name, columns in WEIGHTED_BY.items()
            }
            lines += [
                {
                    "table": table.name,
                    "title": table.title,
                    "category": label,
                    "children": plain[category][0],
                    "unweighted": plain[category][1],
                    "weighted": {name: rates[category][1] for name, rates in weighted.items()},
                }
                for category, label in labels.items()
                if category in plain
            ]
        return lines


def _compute_rates(
    con: duckdb.DuckDBPyConnection, attribute: str, condition: str, columns: tuple[str, ...]
) -> dict[str, tuple[int, float]]:
    """Return the number of children and the share at a good level of development for each linked category.

    If there are no `columns`, the children form one group.
    """
    listed = "".join(f"{column}, " for column in columns)
    group = f"PARTITION BY {', '.join(columns)}" if columns else ""
    found = con.execute(
        f"""
        WITH cells AS (
            SELECT {listed} {attribute} AS category, gld = 'Yes' AS good, {condition} AS linked,
                   sum(n)::BIGINT AS n
              FROM of_children GROUP BY ALL
        ), weighed AS (
            SELECT category, good, linked, n,
                   n * sum(n) OVER ({group}) / sum(n) FILTER (linked) OVER ({group}) AS weight
              FROM cells)
        SELECT category, sum(n), sum(weight * good::INTEGER) / sum(weight) FROM weighed WHERE linked GROUP BY category
        """
    ).fetchall()
    return {category: (int(count), share) for category, count, share in found}


_MEASURED = (
    *("children", "groups", "weighted", "rows_by_source", "rows_by_source_and_rule"),
    *("links", "linked_one_to_one", "subjects", "right_units"),
)
"""Facts that count what is measured with noise, or nearly so: shown by order of magnitude even below a hundred."""
_DIGITS = 2
"""Significant digits of error limits."""


def coarsen_facts(facts: Facts) -> Facts:
    """Return the facts as they are written: no measured count can be worked out from them.

    Counts of children and rows, and all other counts of a hundred or more, are shown by order of magnitude. At least
    ten counts give the same rate (`round_share`), and its interval follows from what is shown. Charts are not changed.
    """
    sources, control = facts["rows_by_source"], facts["negative_control"]
    changed = [
        line | {"changed": _compute_mistake_share(line["gained"] + line["lost"], line["links"])}
        for line in facts["thresholds"]
    ]
    unlinkable = [
        line | {"share": _compute_mistake_share(line["rows"], sources[line["source"]])} for line in facts["unlinkable"]
    ]
    in_band = sum(step["in_review_band"] for step in facts["steps"])
    facts = facts | {
        "groups": [line | _compute_shares(line) for line in facts["groups"]],
        "weighted": [_coarsen_weighted_rates(line) for line in facts["weighted"]],
        "thresholds": changed,
        "unlinkable": unlinkable,
        "pairs_in_review_band": in_band,
    }
    # Counts last: the shares above are computed from exact counts.
    found = {name: _coarsen_counts(value, always=name in _MEASURED) for name, value in facts.items()}
    steps = [_coarsen_counts(_round_limits(step), always=False) for step in control["steps"]]
    return found | {"negative_control": control | {"steps": steps}}


def _compute_mistake_share(part: int, whole: int) -> float | None:
    """Return a part as a share of the smallest whole of this magnitude, which reveals no more than the magnitude."""
    if part >= EXACT_BELOW:
        return round_share(part, whole)
    least = find_least_count(whole)
    return round(part / least, 3) if least else None


def _compute_shares(line: dict[str, Any]) -> dict[str, Any]:
    """Return a group's linked share, with Wilson's interval at the least size of its magnitude; None if too small."""
    children, found = line["children"], {}
    for name in LINKED_TO:
        share = round_share(line[name], children)
        limits = (None, None) if share is None else compute_wilson_interval(share, find_least_count(children))
        lower, upper = (None if limit is None else round(limit, 3) for limit in limits)
        found[name] = {"share": share, "lower": lower, "upper": upper}
    return found


def _coarsen_weighted_rates(line: dict[str, Any]) -> dict[str, Any]:
    """Return rates of a category's linked children, in steps that suit their number."""
    children = line["children"]
    # Each is rounded as if it were a count of these children, so that it is as coarse as the unweighted rate.
    weighted = {name: round_share(share * children, children) for name, share in line["weighted"].items()}
    return line | {"unweighted": round_share(line["unweighted"] * children, children), "weighted": weighted}


def _round_limits(step: dict[str, Any]) -> dict[str, Any]:
    """Return a step with error limits of two significant digits; a limit that is no less than all links is None."""
    found = {name: float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value for name, value in step.items()}
    for of in ("", "_cautious"):
        if found.get(f"share_of_links_at_most{of}", 0) >= 1:
            found[f"false_links_at_most{of}"] = None
    return found


def _coarsen_counts(value: Any, *, always: bool) -> Any:
    if isinstance(value, dict):
        return {key: _coarsen_counts(each, always=always or key in _MEASURED) for key, each in value.items()}
    if isinstance(value, list):
        return [_coarsen_counts(each, always=always) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return describe_count(value) if always or value >= EXACT_BELOW else value
    return value


PATTERNS_DRAWN, PATTERNS_LISTED = 4, 30
"""Number of review-band patterns drawn as waterfalls, and listed in the table; the JSON has all."""
_TEMPLATES = Path(__file__).parent / "templates"


def render(report: Facts) -> str:
    """Render the page of a linkage report; `report` is the content of `linkage.json`."""
    by_source: dict[str, dict[str, str]] = {}
    for line in report["rows_by_source_and_rule"]:
        by_source.setdefault(CONTRACTS[line["source"]].heading, {})[line["match_rule"]] = line["rows"]
    weighted = [line for line in report["weighted"] if line["unweighted"] is not None]
    moves = (abs(share - line["unweighted"]) for line in weighted for share in line["weighted"].values())
    return kit.render(
        _TEMPLATES,
        "linkage.html.j2",
        report=report,
        cohort=Cohort(report["cohort"]).label,
        titles={source: contract.heading for source, contract in CONTRACTS.items()},
        by_source=by_source,
        most_moved=max(moves, default=None),
        too_many=missed.TOO_MANY,
        seen_by=HEADLINE,
        scales={name: _build_share_scale([line[name] for line in report["groups"]]) for name in LINKED_TO},
        patterns_listed=PATTERNS_LISTED,
        patterns_drawn=_build_waterfalls(report["review_patterns"][:PATTERNS_DRAWN]),
        weights_scale=_build_bits_scale([line["weight"] for line in report["weights"]]),
        examples=_build_waterfalls(report["examples"]),
        missing=MISSING,
    )


def _build_share_scale(rates: Sequence[Facts]) -> Scale:
    """Return a scale from the lowest share, rounded down to ten percent, to 1; ignores groups with wide intervals."""
    lows = [rate["share"] for rate in rates if rate["share"] is not None and rate["upper"] - rate["lower"] < 0.2]
    return Scale(min([int(low * 10 - 0.5) / 10 for low in lows], default=0.0), 1)


def _build_bits_scale(values: Sequence[float]) -> Scale:
    """Return a scale that contains 0 and all values, rounded outwards to five bits."""
    return Scale(5 * ((min([0.0, *values]) - 0.01) // 5), -5 * ((-max([0.0, *values]) - 0.01) // 5))


def _build_waterfalls(examples: Sequence[Facts]) -> Facts:
    """Return each example with its terms and the running totals before and after each, and their common scale."""
    found = []
    for example in examples:
        terms = list(_iter_terms(example))
        sums = list(accumulate((bits for _, _, bits in terms), initial=0.0))
        lines = [
            {"name": name, "about": about, "bits": bits, "before": before, "after": after}
            for (name, about, bits), before, after in zip(terms, sums, sums[1:], strict=False)
        ]
        found.append(example | {"lines": lines, "total": sums[-1]})
    return {"all": found, "scale": _build_bits_scale([line["after"] for example in found for line in example["lines"]])}


def _iter_terms(example: Facts) -> Iterator[tuple[str, str, float]]:
    """Yield the terms that add up to an example's weight: name, description, bits."""
    yield "Prior", f"one in {1 / example['prior']:,.0f} pairs", example["prior_bits"]
    for entry in example["comparisons"]:
        name = entry["comparison"].replace("_", " ").replace("nhs", "NHS")
        chances = "" if entry["m"] is None else f", m {entry['m']:.7g}, u {entry['u']:.7g}"
        yield capitalise(name), f"{entry['level']}{chances}", entry["bits"]
    if abs(example["correction"]) > 0.05:
        yield "Beyond the pair", "rivals, nobody else left, rule of households", example["correction"]

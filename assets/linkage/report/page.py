"""The page: what the template needs besides the facts of a linkage, and that is words, scales and sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from assets.linkage.report.rates import WEIGHTED_BY
from ndl_export.pages import kit
from ndl_export.pages.charts import Scale
from ndl_export.pages.words import capital
from privacy.linkage.model import MISSING
from sources.contracts import CONTRACTS
from sources.reference.cohorts import Cohort

Facts = dict[str, Any]
PATTERNS_DRAWN, PATTERNS_LISTED = 4, 30
"""Patterns of the review band with a waterfall, and in the table; the JSON has all."""
LINKED_TO = {"review": "a two-year review", "setting": "a setting"}
_RULES = {
    "upn": "the same UPN within education",
    "nhs_number": "the same NHS number",
    "scoped_id": "the same number of one sender",
    "identical_demographics": "the same in every respect",
    "probabilistic": "match weight",
    "none": "stands alone, or the others were brought to it",
}
_TEMPLATES = Path(__file__).parent / "templates"


def render(report: Facts) -> str:
    """The page of a linkage report; `report` is the content of `linkage.json`."""
    by_source = _rows_by_rule(report)
    patterns = report["review_patterns"]
    return kit.render(
        _TEMPLATES,
        "linkage.html.j2",
        report=report,
        cohort=Cohort(report["cohort"]).label,
        titles={source: contract.title for source, contract in CONTRACTS.items()},
        linked_to=LINKED_TO,
        by_source=by_source,
        rules=_rules(by_source),
        scales={name: _zoomed([line[name] for line in report["groups"]]) for name in LINKED_TO},
        weighted_by=list(WEIGHTED_BY),
        patterns=[pattern | {"words": _pattern_words(pattern)} for pattern in patterns[:PATTERNS_LISTED]],
        more_patterns=max(len(patterns) - PATTERNS_LISTED, 0),
        patterns_drawn=_waterfalls(patterns[:PATTERNS_DRAWN]),
        weights_scale=_around_nothing([line["weight"] for line in report["weights"]]),
        examples=_waterfalls(report["examples"]),
    )


def _rows_by_rule(report: Facts) -> dict[str, dict[str, int]]:
    """Rows of each source, by its title, by the rule that brought them to their child."""
    found: dict[str, dict[str, int]] = {}
    for line in report["rows_by_source_and_rule"]:
        found.setdefault(CONTRACTS[line["source"]].title, {})[line["match_rule"]] = line["rows"]
    return found


def _rules(by_source: dict[str, dict[str, int]]) -> dict[str, str]:
    """The rules that brought any row to its child, in words; those without words last."""
    met = {rule for counts in by_source.values() for rule in counts}
    return {rule: words for rule, words in _RULES.items() if rule in met} | dict.fromkeys(sorted(met - set(_RULES)), "")


def _zoomed(rates: Sequence[Facts]) -> Scale:
    """From the lowest limit of a group of some size, rounded down to ten percent, to one."""
    lows = [rate["share"] for rate in rates if rate["share"] is not None and rate["upper"] - rate["lower"] < 0.2]
    return Scale(min([int(low * 10 - 0.5) / 10 for low in lows], default=0.0), 1)


def _around_nothing(values: Sequence[float]) -> Scale:
    """Around 0 and all values, to the next five bits."""
    return Scale(5 * ((min([0.0, *values]) - 0.01) // 5), -5 * ((-max([0.0, *values]) - 0.01) // 5))


def _pattern_words(pattern: Facts) -> str:
    compared = [entry for entry in pattern["comparisons"] if entry["level"] != MISSING]
    missing = [_words(entry["comparison"]) for entry in pattern["comparisons"] if entry["level"] == MISSING]
    said = "; ".join(f"{_words(entry['comparison'])} {entry['level']}" for entry in compared)
    return f"{said}; not compared: {', '.join(missing)}" if missing else said


def _waterfalls(examples: Sequence[Facts]) -> Facts:
    """Each example with its terms and where the sum stood before and after each, and the scale that they share."""
    found = []
    for example in examples:
        terms = list(_terms(example))
        sums = list(accumulate((bits for _, _, bits in terms), initial=0.0))
        lines = [
            {"name": name, "about": about, "bits": bits, "before": before, "after": after}
            for (name, about, bits), before, after in zip(terms, sums, sums[1:], strict=False)
        ]
        found.append(example | {"lines": lines, "total": sums[-1]})
    return {"all": found, "scale": _around_nothing([line["after"] for example in found for line in example["lines"]])}


def _terms(example: Facts) -> Iterator[tuple[str, str, float]]:
    """What the weight of an example is the sum of: name, what it is, bits."""
    yield "Prior", f"one in {1 / example['prior']:,.0f} pairs", example["prior_bits"]
    for entry in example["comparisons"]:
        chances = "" if entry["m"] is None else f", m {entry['m']:.7g}, u {entry['u']:.7g}"
        yield capital(_words(entry["comparison"])), f"{entry['level']}{chances}", entry["bits"]
    if abs(example["correction"]) > 0.05:
        yield "Beyond the pair", "rivals, nobody else left, rule of households", example["correction"]


def _words(comparison: str) -> str:
    return comparison.replace("_", " ").replace("nhs", "NHS")

"""The sections about the model: weights by level, the review band by pattern, and weights as waterfalls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from assets.linkage.report.charts import Scale, span
from assets.pages.markup import Html, joined, tag
from assets.pages.parts import details, paragraph, table
from assets.pages.words import capital
from privacy.linkage.model import MISSING

PATTERNS_DRAWN, PATTERNS_LISTED = 4, 30
"""Patterns of the review band with a waterfall, and in the table; the JSON has all."""


def weights(report: dict[str, Any]) -> Iterator[Html]:
    scale = _scale([line["weight"] for line in report["weights"]])
    yield paragraph(
        f"Bars to the right speak for one child, to the left for two; drawn from {scale.low:.0f} to {scale.high:+.0f}"
        " bits, with a line at 0. Where there is nothing to compare, the weight is 0."
    )
    for comparison, lines in groupby(report["weights"], key=lambda line: line["comparison"]):
        body = [
            (
                joined((line["level"], _bar(scale, 0, line["weight"], 0))),
                f"{line['m']:.7g}",
                f"{line['u']:.7g}",
                _signed(line["weight"]),
            )
            for line in lines
        ]
        name = capital(_words(comparison))
        yield table(
            f"{name}: m, u and weight of each level", ("Level", "m", "u", "Weight, bits"), body, 3, class_="bars"
        )


def examples(report: dict[str, Any]) -> Iterator[Html]:
    found = report["examples"]
    yield paragraph(
        "Patterns made of the model's own levels: all comparisons at their strongest; then without an NHS number, as"
        " most education records are, one at a time at its weakest or with nothing to compare. Pairs of one household"
        " (date of birth, postcode and surname agree, the forename does not) have a rule of their own in place of"
        " this sum."
    )
    body = [(example["title"], _signed(example["weight"]), _probability(example["posterior"])) for example in found]
    yield table("Weight of each example", ("Pattern", "Weight, bits", "Posterior before assignment"), body, 2)
    scale = _waterfall_scale(found)
    for example in (found[0], found[-1]):
        yield tag("h3", capital(example["title"]))
        yield _waterfall(example, capital(example["title"]), scale, report["threshold"])
    for example in found[1:-1]:
        yield details(
            f"Waterfall: {example['title']}", _waterfall(example, example["title"], scale, report["threshold"])
        )


def review(report: dict[str, Any]) -> Iterator[Html]:
    patterns = report["review_patterns"]
    low, high = report["review_band"]
    yield paragraph(
        f"Pairs with a posterior from {low:g} to {high:g}, linked or not, by agreement pattern. A clerk cannot look at"
        " names; a pattern with many pairs is a reason to look at the model's levels, or at how a source records names."
    )
    if not patterns:
        yield paragraph("There are none.")
        return
    body = [
        (
            joined((tag("strong", capital(pattern["step"])), tag("span", _pattern_words(pattern), class_="about"))),
            f"{pattern['pairs']:,}",
            _range(pattern["posterior_low"], pattern["posterior_high"]),
        )
        for pattern in patterns[:PATTERNS_LISTED]
    ]
    yield table("Review queue by pattern", ("Step and pattern", "Pairs", "Posterior"), body, 2)
    if len(patterns) > PATTERNS_LISTED:
        yield paragraph(f"{len(patterns) - PATTERNS_LISTED:,} rarer patterns are in linkage.json.")
    scale = _waterfall_scale(patterns[:PATTERNS_DRAWN])
    for number, pattern in enumerate(patterns[:PATTERNS_DRAWN], 1):
        title = f"Pattern {number} of the review band, {pattern['pairs']:,} pairs"
        yield details(title, _waterfall(pattern, f"{title}: {pattern['step']}", scale, report["threshold"]))


def _pattern_words(pattern: dict[str, Any]) -> str:
    compared = [entry for entry in pattern["comparisons"] if entry["level"] != MISSING]
    missing = [_words(entry["comparison"]) for entry in pattern["comparisons"] if entry["level"] == MISSING]
    said = "; ".join(f"{_words(entry['comparison'])} {entry['level']}" for entry in compared)
    return f"{said}; not compared: {', '.join(missing)}" if missing else said


def _waterfall(example: dict[str, Any], caption: str, scale: Scale, threshold: float) -> Html:
    """A line a term: where the sum stood before and after it."""
    body, total = [], 0.0
    for name, about, bits in _terms(example):
        body.append(
            (
                joined((name, tag("span", about, class_="about"), _bar(scale, total, total + bits, 0))),
                _signed(bits),
                _signed(total + bits),
            )
        )
        total += bits
    verdict = f"posterior {_probability(example['posterior'])}, threshold {threshold:g}"
    body.append(
        (
            joined(
                (tag("strong", "Match weight"), tag("span", verdict, class_="about"), span(scale, 0, total, "total", 0))
            ),
            "",
            tag("strong", _signed(total)),
        )
    )
    drawn = f"{caption} (drawn from {scale.low:.0f} to {scale.high:+.0f} bits, line at 0)"
    return table(drawn, ("Term", "Bits", "Sum"), body, 2, class_="bars")


def _terms(example: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    yield "Prior", f"one in {1 / example['prior']:,.0f} pairs", example["prior_bits"]
    for entry in example["comparisons"]:
        chances = "" if entry["m"] is None else f", m {entry['m']:.7g}, u {entry['u']:.7g}"
        yield capital(_words(entry["comparison"])), f"{entry['level']}{chances}", entry["bits"]
    if abs(example["correction"]) > 0.05:
        yield "Beyond the pair", "rivals, nobody else left, rule of households", example["correction"]


def _waterfall_scale(examples_: Sequence[dict[str, Any]]) -> Scale:
    sums = []
    for example in examples_:
        total = 0.0
        for _, _, bits in _terms(example):
            total += bits
            sums.append(total)
    return _scale(sums)


def _scale(values: Sequence[float]) -> Scale:
    """Around 0 and all values, to the next five bits."""
    return Scale(5 * ((min(0.0, *values) - 0.01) // 5), -5 * ((-max(0.0, *values) - 0.01) // 5))


def _bar(scale: Scale, start: float, end: float, mark: float) -> Html:
    return span(scale, start, end, "plus" if end >= start else "minus", mark)


def _words(comparison: str) -> str:
    return comparison.replace("_", " ").replace("nhs", "NHS")


def _signed(bits: float) -> str:
    rounded = f"{abs(bits):.1f}"
    return rounded if rounded == "0.0" else f"{'+' if bits > 0 else '−'}{rounded}"


def _probability(value: float) -> str:
    """Never rounded to 0 or 1 when it is neither."""
    return "under 0.0001" if value < 0.0001 else "over 0.9999" if value > 0.9999 else f"{value:.4f}"


def _range(low: float, high: float) -> str:
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"

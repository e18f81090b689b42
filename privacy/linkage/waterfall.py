"""How a match weight adds up: prior, then the Bayes factor of each comparison in bits, then the posterior.

From the model alone, so that a weight can be explained without a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacy.linkage import model
from privacy.linkage.link import bits_of

MISSING = "nothing to compare"
_SAME = 0.006
"""Bits. A factor that was rounded to two figures is that of a level this near."""


def waterfall(levels: Mapping[str, str | None], children: int, weight: float | None = None) -> dict[str, Any]:
    """The weight of a pair with these levels (None: nothing to compare) between services of so many children.

    prior and prior_bits; comparisons, each with its level, m, u and bits; correction, the bits by which what is beyond
    the pair (households, rivals, nobody else left) moves the sum to `weight`, 0 where that is not given; weight and
    posterior.
    """
    return _summed([_comparison(name, levels[name], children) for name in model.LEVELS], children, weight)


def waterfall_of_bits(bits: Mapping[str, float], children: int, weight: float) -> dict[str, Any]:
    """The same for a pattern of which only the Bayes factors (log2) were kept: a level is named by its factor."""
    comparisons = [
        {
            "comparison": name,
            "level": " / ".join(levels_of(name, bits[name], children)),
            "m": None,
            "u": None,
            "bits": bits[name],
        }
        for name in model.LEVELS
    ]
    return _summed(comparisons, children, weight)


def _comparison(name: str, level: str | None, children: int) -> dict[str, Any]:
    if level is None:
        return {"comparison": name, "level": MISSING, "m": None, "u": None, "bits": 0.0}
    m, _ = model.parameters()["comparisons"][name][level]
    u = model.share_by_chance(name, level, children)
    return {"comparison": name, "level": level, "m": m, "u": u, "bits": model.weight(name, level, children)}


def _summed(comparisons: list[dict[str, Any]], children: int, weight: float | None) -> dict[str, Any]:
    prior = model.prior(children)
    total = bits_of(prior) + sum(entry["bits"] for entry in comparisons)
    weight = total if weight is None else weight
    return {
        "prior": prior,
        "prior_bits": bits_of(prior),
        "comparisons": comparisons,
        "correction": weight - total,
        "weight": weight,
        "posterior": probability_of(weight),
    }


def probability_of(weight: float) -> float:
    """The probability of these log2 odds."""
    return 1 / (1 + 2.0**-weight)


def levels_of(comparison: str, bits: float, children: int) -> tuple[str, ...]:
    """The levels of a comparison whose Bayes factor this is between services of so many children; `MISSING` among them
    where it is 0."""
    found = tuple(
        level
        for level in model.parameters()["comparisons"][comparison]
        if abs(model.weight(comparison, level, children) - bits) < _SAME
    )
    return (MISSING, *found) if abs(bits) < _SAME else found


def examples(children: int) -> list[dict[str, Any]]:
    """Waterfalls of patterns made of the model's own levels, between services of so many children.

    Every comparison at its strongest level; then, without an NHS number, as most education records are, one at a time
    at its weakest, or with nothing to compare; then every one at its weakest. Rules about whole pairs are left out.
    """
    strongest, weakest = ({name: _by_weight(name)[end] for name in model.LEVELS} for end in (-1, 0))
    usual: dict[str, str | None] = {**strongest, "nhs_number": None}
    patterns: list[tuple[str, Mapping[str, str | None]]] = [
        ("everything agrees as well as it can", strongest),
        ("the same without NHS numbers", usual),
    ]
    for name in model.LEVELS:
        words = name.replace("_", " ").replace("nhs", "NHS")
        ends = (weakest[name],) if usual[name] is None else (weakest[name], None)
        patterns += [(f"{words}: {end or MISSING}", usual | {name: end}) for end in ends]
    patterns.append(("everything disagrees as much as it can", weakest))
    return [{"title": title, **waterfall(levels, children)} for title, levels in patterns]


def _by_weight(comparison: str) -> list[str]:
    """Levels of a comparison, lightest first."""
    return sorted(model.parameters()["comparisons"][comparison], key=lambda level: model.weight(comparison, level))

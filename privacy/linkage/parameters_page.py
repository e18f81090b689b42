"""The page `docs/linkage-parameters.md`: every parameter in force, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.linkage import estimate, model
from privacy.normalise import NORMALISER_VERSION
from privacy.pseudonyms import PSEUDONYM_VERSION


def page() -> str:
    """The Markdown of the page; a function of the model and of the script that estimated it alone."""
    return "\n".join(_lines()) + "\n"


_INTRODUCTION = """# Parameters of the linkage model

Made by `make docs` from `privacy/linkage/model.json` and `privacy/linkage/estimate.py`; change those, not this page.
What the numbers are for: [linkage.md](linkage.md). Who should use the model, and for what:
[linkage-model-card.md](linkage-model-card.md).
"""
_HOW_MADE = """
m is a level's share among two records of one child, u among records of two children; the weight is log2(m / u).
Counted levels were counted on synthetic pairs; levels set by hand are what such pairs cannot tell, with the reason
beside them in `estimate.SET`. A comparison with nothing to compare weighs 0."""
_ERRORS = """
## Errors of the synthetic pairs

The second record of a child has each error at this rate. The rates were chosen, not measured: see the docstring of
`estimate.RATES`.

| error | share of second records |
|---|---|"""


def _lines() -> Iterator[str]:
    yield _INTRODUCTION
    yield "| what | value |"
    yield "|---|---|"
    yield f"| version of the model | {model.parameters()['version']} |"
    yield f"| version of the tokens, of the normaliser | {PSEUDONYM_VERSION}, {NORMALISER_VERSION} |"
    yield f"| synthetic children, seed | {estimate.CHILDREN:,}, {estimate.SEED} |"
    yield "| prior | one over the number of children of the larger side, rounded to a power of two |"
    yield _HOW_MADE
    for comparison, levels in model.parameters()["comparisons"].items():
        yield ""
        yield f"## {comparison.replace('_', ' ').capitalize().replace('Nhs', 'NHS')}"
        yield ""
        yield "| level | m | u | weight, bits | how |"
        yield "|---|---|---|---|---|"
        for level, (m, u) in levels.items():
            how = _how(comparison, level, m, u)
            yield f"| {level} | {m:.7g} | {u:.7g} | {model.weight(comparison, level):+.2f} | {how} |"
    yield _ERRORS
    for error, rate in estimate.RATES.items():
        yield f"| {error} | {rate:g} |"
    yield f"| another typing error in a name that has one | {estimate.FURTHER_ERROR:g} |"


def _how(comparison: str, level: str, m: float, u: float) -> str:
    if level in estimate.SET.get(comparison, {}):
        return "set by hand"
    return "counted, at the least value" if m <= estimate.LEAST_M or u <= estimate.least_u(level) else "counted"

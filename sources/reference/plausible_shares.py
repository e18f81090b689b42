"""Plausible ranges for the share of each category, known before any data are read (`plausible_shares.csv`).

Plans are evaluated over these ranges; no other module assumes a share. A range is centred on the share published for
the council or for England, if there is one; otherwise the file states it with its source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sources.reference import rows_of
from sources.reference.cohorts import Cohort
from sources.reference.places import Place
from sources.reference.profile_results import PUBLISHED_COHORT, shares

FILE = Path(__file__).with_name("plausible_shares.csv")
OWN, COUNTRYWIDE = 1.5, 2.0
"""Factor by which the odds of a share may differ from published ones: the council's, which may be three years old, or
England's. The odds of free school meals, published for four councils, are 0.8 to 1.5 times England's."""
_UNPUBLISHED = 0.05
"""Highest plausible share of an unpublished category: 3% of England's children have no known ethnic group."""
_ANY_OTHER = "any other"


@dataclass(frozen=True)
class Range:
    """The lowest and highest plausible value of a share, and its central value."""

    least: float
    middle: float
    most: float

    @classmethod
    def around(cls, share: float, factor: float) -> Range:
        """Return the range of shares whose odds are within a factor of the centre's."""
        odds = share / max(1 - share, 1e-9)
        least, most = odds / factor, odds * factor
        return cls(least / (1 + least), share, most / (1 + most))


@cache
def rows_per_child(family: str) -> Range:
    """Return the range of rows per child of the cohort in a family's table; the centre is the geometric mean."""
    least, most = _stated()["rows per child"][family]
    return Range(least, (least * most) ** 0.5, most)


def plausible_shares(attribute: str, label: str, categories: Sequence[str], where: Place) -> Mapping[str, Range]:
    """Return the range of each category of an attribute in a council; the central values add up to 1.

    `label` is the name of the attribute in published statistics.
    """
    if attribute in _stated():
        return _between({name: _stated()[attribute][name] for name in categories})
    named = [name for name in categories if name != "Unknown"]
    if found := shares(where, Cohort(PUBLISHED_COHORT), label, named):
        known = {name: Range.around(each.value, OWN if each.own else COUNTRYWIDE) for name, each in found.items()}
        return {name: known.get(name, Range(0.0, 0.0, _UNPUBLISHED)) for name in categories}
    least, most = _stated()[_ANY_OTHER][""]
    # Half the average share: with many categories, some are smaller than the stated lowest share.
    return _between(dict.fromkeys(categories, (min(least, 0.5 / len(categories)), most)))


def _between(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Range]:
    total = sum(least + most for least, most in ranges.values())
    return {name: Range(least, (least + most) / total, most) for name, (least, most) in ranges.items()}


@cache
def _stated() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Read the ranges of the file by attribute and category."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in rows_of(FILE):
        for name in [row["what"]] if row["what"] in ("rows per child", _ANY_OTHER) else row["what"].split():
            found.setdefault(name, {})[row["category"]] = (float(row["least"]), float(row["most"]))
    return found

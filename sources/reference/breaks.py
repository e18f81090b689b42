"""Breaks in the time series (`breaks.yaml`): cohorts whose figures are not comparable with earlier ones.

Cohort codes sort by time as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from sources.reference.cohorts import Cohort
from sources.reference.places import place


@dataclass(frozen=True)
class Break:
    """A change from a cohort onwards that affects figures by one of `attributes`, in `councils` or, if empty, in all.
    `not_known` says what is still unknown about it."""

    name: str
    cohort: str
    attributes: frozenset[str]
    what: str
    source: str
    councils: frozenset[str] = frozenset()
    not_known: str = ""

    def parts(self, before: str | None, cohort: str) -> bool:
        """Return whether the break is between two cohorts; `before` is the earlier one, or None for all earlier
        cohorts."""
        return (before is None or before < self.cohort) and self.cohort <= cohort


@cache
def breaks() -> tuple[Break, ...]:
    """Return every known break. Raises `InvalidCohort` or `UnknownCouncil` for an invalid entry."""
    content = yaml.safe_load(Path(__file__).with_name("breaks.yaml").read_text(encoding="utf-8"))
    return tuple(
        Break(
            entry["name"],
            Cohort(entry["cohort"]).code,
            frozenset(entry["attributes"]),
            entry["what"].strip(),
            entry["source"],
            frozenset(council for council in entry.get("councils", ()) if place(council)),
            entry.get("not_known", "").strip(),
        )
        for entry in content
    )

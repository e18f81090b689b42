"""Breaks in the time series: from which cohort on figures are not comparable with those before, as `breaks.yaml` says.

Codes of cohorts are in order of time as text.
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
    """What changed with a cohort, for figures that depend on one of `attributes`; in all councils where none is
    given. `not_known` says what nobody knows of it yet."""

    name: str
    cohort: str
    attributes: frozenset[str]
    what: str
    source: str
    councils: frozenset[str] = frozenset()
    not_known: str = ""

    def parts(self, before: str | None, cohort: str) -> bool:
        """Whether it lies between these cohorts, of which `before` is the earlier; None for everything earlier."""
        return (before is None or before < self.cohort) and self.cohort <= cohort


@cache
def breaks() -> tuple[Break, ...]:
    """Every break known. Raises what `Cohort` and `place` raise for an unknown cohort or council."""
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

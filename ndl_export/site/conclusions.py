"""What may be concluded for children like these: asked of the macros of the analyst database, which decide it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from ndl_export.analyst_db.child_groups import EVERYONE, comparisons
from ndl_export.tables import ALL
from privacy.doors.sql import quoted

GAP, OUTCOMES = "Not eligible less eligible", "All five domains at or above less two or more below"
"""Comparisons of two groups of an area, as `gld_differences` has them."""


@dataclass(frozen=True)
class Difference:
    """Percentage points that one figure is above another: both ends of the interval, and `gld_compared`'s verdict."""

    lower: float
    upper: float
    verdict: str

    @property
    def is_certain(self) -> bool:
        return self.verdict != "cannot say"


@dataclass(frozen=True)
class Conclusions:
    """Differences from all councils together and of the comparisons in each area, by cohort and area; changes from the
    cohort before, of a group or comparison; verdicts beside England, by levels of `gld_headline`; and the goals or
    answers that could be the lowest, or given most often, by breakdown or question."""

    from_all: Mapping[tuple[str, str], Difference]
    within: Mapping[tuple[str, str, str], Difference]
    changes: Mapping[tuple[str, str, str], Difference]
    beside_england: Mapping[tuple[str, str, tuple[str, ...]], str]
    could_be: Mapping[tuple[str, str, str], frozenset[str]]


def conclusions_of(database: duckdb.DuckDBPyConnection, cohorts: Iterable[str]) -> Conclusions:
    """Asks the database of one release for everything that its pages conclude."""
    from_all, within, england = {}, {}, {}
    could_be: dict[tuple[str, str, str], set[str]] = {}
    pairs = {each.comparison: (each.first, each.second or each.first) for each in comparisons()}
    for cohort in cohorts:
        same = f"{quoted(cohort)}, {quoted(cohort)}"
        together = _differences(database, f"{quoted(EVERYONE)}, {quoted(EVERYONE)}, false, {same}", "less_is_all")
        from_all |= {(cohort, area): found for area, found in together}
        for name in (GAP, OUTCOMES):
            first, second = map(quoted, pairs[name])
            of_pair = f"group_key = {first} AND less_group_key = {second}"
            found = _differences(database, f"{first}, {second}, true, {same}", of_pair)
            within |= {(name, cohort, area): each for area, each in found}
        england |= {
            (cohort, area, tuple(levels)): verdict
            for area, *levels, verdict in _rows(
                database,
                "SELECT area_code, breakdown_topic, breakdown, sex, verdict"
                f" FROM gld_against_england({quoted(cohort)}) WHERE verdict IS NOT NULL",
            )
        }
        for area, of_what, item in _rows(
            database, f"SELECT area_code, of_what, item FROM could_be_extreme({quoted(cohort)}) WHERE could_be"
        ):
            could_be.setdefault((cohort, area, of_what), set()).add(item)
    changes = {
        (name, cohort, area): Difference(*found)
        for name in (ALL.label, GAP)
        for cohort, area, *found in _rows(
            database,
            "SELECT time_period, area_code, lower_end, upper_end, verdict"
            f" FROM gld_compared({quoted(name)}, {quoted(name)}, true, NULL, NULL) WHERE verdict IS NOT NULL",
        )
    }
    return Conclusions(from_all, within, changes, england, {key: frozenset(found) for key, found in could_be.items()})


def _differences(database: duckdb.DuckDBPyConnection, asked: str, where: str) -> list[tuple[str, Difference]]:
    query = (
        f"SELECT area_code, lower_end, upper_end, verdict FROM gld_compared({asked})"
        f" WHERE verdict IS NOT NULL AND {where}"
    )
    return [(area, Difference(*found)) for area, *found in _rows(database, query)]


def _rows(database: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return database.execute(query).fetchall()

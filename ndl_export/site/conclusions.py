"""What may be concluded for children like these: asked of the macros of the analyst database, which decide it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from ndl_export.analyst_db.child_groups import EVERYONE, comparisons
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
class Distance:
    """How far an area is from a target, as `gld_to_target` answers: in points and in children of a year group of this
    size, each with the ends of its interval."""

    percent: float
    year: int
    name: str
    verdict: str
    points: tuple[float, float, float]
    children: tuple[float, float, float]


@dataclass(frozen=True)
class Conclusions:
    """Differences from all councils together and of the comparisons in each area, by cohort and area; changes from the
    cohort before, of a group or comparison; verdicts beside England, by levels of `gld_headline`; the goals or answers
    that could be the lowest, or given most often, by breakdown or question; and distances from targets, by cohort and
    area."""

    from_all: Mapping[tuple[str, str], Difference]
    within: Mapping[tuple[str, str, str], Difference]
    changes: Mapping[tuple[str, str, str], Difference]
    beside_england: Mapping[tuple[str, str, tuple[str, ...]], str]
    could_be: Mapping[tuple[str, str, str], frozenset[str]]
    targets: Mapping[tuple[str, str], tuple[Distance, ...]]


def conclusions_of(database: duckdb.DuckDBPyConnection, cohorts: Iterable[str]) -> Conclusions:
    """Asks the database of one release for everything that its pages conclude."""
    every = [quoted(cohort) for cohort in cohorts]
    groups = {each.comparison: (quoted(each.first), quoted(each.second or each.first)) for each in comparisons()}
    everyone = quoted(EVERYONE)
    from_all: dict[tuple[str, str], Difference] = {}
    within: dict[tuple[str, str, str], Difference] = {}
    for cohort in every:
        from_all |= _differences(database, f"{everyone}, {everyone}, false, {cohort}, {cohort}", "less_is_all")
        for name in (GAP, OUTCOMES):
            first, second = groups[name]
            of_pair = f"group_key = {first} AND less_group_key = {second}"
            found = _differences(database, f"{first}, {second}, true, {cohort}, {cohort}", of_pair)
            within |= {(name, *key): each for key, each in found.items()}
    changes = {
        (name, *key): each
        for name in (EVERYONE, GAP)
        for key, each in _differences(database, f"{quoted(name)}, {quoted(name)}, true, NULL, NULL").items()
    }
    england = _each(database, every, "area_code, breakdown_topic, breakdown, sex, verdict FROM gld_against_england")
    could_be: dict[tuple[str, str, str], frozenset[str]] = {}
    for cohort, area, of_what, item, possible in _each(
        database, every, "area_code, of_what, item, could_be FROM could_be_extreme"
    ):
        if possible:
            could_be[cohort, area, of_what] = could_be.get((cohort, area, of_what), frozenset()) | {item}
    return Conclusions(
        from_all,
        within,
        changes,
        {(cohort, area, tuple(levels)): verdict for cohort, area, *levels, verdict in england if verdict},
        could_be,
        _targets(database, every),
    )


def _targets(
    database: duckdb.DuckDBPyConnection, cohorts: Iterable[str]
) -> dict[tuple[str, str], tuple[Distance, ...]]:
    """By cohort and area, the distances from the targets of the area; `cohorts` as SQL writes them."""
    found: dict[tuple[str, str], tuple[Distance, ...]] = {}
    for cohort in cohorts:
        query = (
            "SELECT time_period, area_code, target_percent, target_year, target, verdict,"
            " [points_to_go, points_lower_ci, points_upper_ci], [children_to_go, children_lower_ci, children_upper_ci]"
            f" FROM gld_to_target({quoted(EVERYONE)}, cohort := {cohort}) WHERE verdict <> 'no figure'"
        )
        for period, area, percent, year, name, verdict, points, children in database.execute(query).fetchall():
            distance = Distance(percent, year, name, verdict, tuple(points), tuple(children))
            found[period, area] = (*found.get((period, area), ()), distance)
    return found


def _differences(
    database: duckdb.DuckDBPyConnection, asked: str, where: str = "true"
) -> dict[tuple[str, str], Difference]:
    """By cohort and area, differences that there is a verdict on."""
    query = (
        f"SELECT time_period, area_code, lower_end, upper_end, verdict FROM gld_compared({asked})"
        f" WHERE verdict IS NOT NULL AND {where}"
    )
    return {(cohort, area): Difference(*found) for cohort, area, *found in database.execute(query).fetchall()}


def _each(database: duckdb.DuckDBPyConnection, cohorts: Iterable[str], wanted: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a macro for each cohort, with the cohort before them; `cohorts` as SQL writes them."""
    for cohort in cohorts:
        yield from database.execute(f"SELECT {cohort}, {wanted}({cohort})").fetchall()

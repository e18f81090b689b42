"""Published EYFS Profile figures, to compare with a council's file.

A council's figure takes precedence over England's, and the nearest year over others (if tied, the earlier).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from sources.reference import rows_of
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY, Place, place, places

SOURCE = (
    "Department for Education, Early years foundation stage profile results and Local Authority Interactive Tool; Open"
    " Government Licence v3.0"
)
SEX, TERM_OF_BIRTH, FSM = "Sex", "Term of birth", "Free school meal eligibility"
ETHNIC_GROUP, FIRST_LANGUAGE, SEN = "Ethnic group", "First language", "SEN provision"
TOTAL = "Total"
PUBLISHED_COHORT = "202425"
"""The newest cohort with published numbers of children in these files."""

_HERE = Path(__file__).parent

_Rows = Mapping[str, Mapping[str, str]]
_ByAreaAndCohort = Mapping[tuple[str, str], _Rows]


@dataclass(frozen=True)
class Published:
    """A published value; `own` is false if it is England's because the council's is not published."""

    value: float
    area: str
    own: bool
    cohort: Cohort


def expected_level(place: Place, cohort: Cohort) -> dict[str, Published]:
    """Return shares (0 to 1) of children at the expected level.

    Keys are `gld`, `all_goals` and the areas of learning `com`, `pse`, `phy`, `lit`, `mat`, `utw`, `exp` (all goals of
    the area).
    """
    if not (found := _nearest(_expected_level(), place, cohort)):
        return {}
    rows, published = found
    return {figure: published(float(row["percent"]) / 100) for figure, row in rows.items()}


def number_of_children(place: Place, cohort: Cohort) -> Published | None:
    """Return the number of children assessed in the council's schools, or None if only England's is known."""
    if not (found := _nearest(children_by(SEX), place, cohort)):
        return None
    rows, published = found
    total = published(float(rows[TOTAL]["children_count"]))
    return total if total.own else None


@cache
def council_size(council: str) -> float:
    """Return the published number of children, or the average of the other councils if it is not published."""
    sizes = {
        area: float(rows[TOTAL]["children_count"])
        for (area, cohort), rows in children_by(SEX).items()
        if cohort == PUBLISHED_COHORT
    }
    england = sizes.pop(COUNTRY[0])
    return sizes.get(place(council).new_la_code, (england - sum(sizes.values())) / (len(places()) - len(sizes)))


def shares(place: Place, cohort: Cohort, topic: str, breakdowns: Iterable[str]) -> dict[str, Published]:
    """Return shares (0 to 1) of `breakdowns` in the nearest year and area for which all of them are published."""
    wanted = tuple(breakdowns)
    complete = {key: rows for key, rows in children_by(topic).items() if all(name in rows for name in wanted)}
    if not (found := _nearest(complete, place, cohort)):
        return {}
    rows, published = found
    counts = {name: int(rows[name]["children_count"]) for name in wanted}
    return {name: published(count / sum(counts.values())) for name, count in counts.items()}


@cache
def children_by(topic: str) -> _ByAreaAndCohort:
    """Return published rows by area, cohort and breakdown of `topic`; `SEX` has `Female`, `Male` and `TOTAL`."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for file, cohort in (("published_children_202122.csv", "202122"), ("published_eyfsp_202425.csv", PUBLISHED_COHORT)):
        for row in rows_of(_HERE / file):
            if row["breakdown_topic"] == (TOTAL if topic == SEX else topic):
                name = row["sex"] if topic == SEX else row["breakdown"]
                found.setdefault((row["new_la_code"], cohort), {})[name] = row
    return found


def _nearest(
    figures: _ByAreaAndCohort, place: Place, cohort: Cohort
) -> tuple[_Rows, Callable[[float], Published]] | None:
    """Return the rows of the area and year to compare with, and a function that turns a value into a `Published`."""
    for code, name in ((place.new_la_code, place.la_name), COUNTRY):
        years = [Cohort(year) for area, year in sorted(figures) if area == code]
        if years:
            year = min(years, key=lambda held: abs(held.first_year - cohort.first_year))
            own = code == place.new_la_code
            return figures[code, year.code], partial(Published, area=name, own=own, cohort=year)
    return None


@cache
def _expected_level() -> _ByAreaAndCohort:
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in rows_of(_HERE / "published_expected_level.csv"):
        found.setdefault((row["new_la_code"], row["cohort"]), {})[row["figure"]] = row
    return found

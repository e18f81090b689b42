"""Published EYFS Profile figures, targets and breaks, and what follows: plausible shares, expected numbers of rows.

A council's figure takes precedence over England's, and the nearest year over others (if tied, the earlier). Plans are
evaluated over plausible ranges of shares; no other module assumes a share. A range is centred on the share published
for the council or for England, if there is one; otherwise `plausible_shares.csv` states it with its source.

An extract is expected to have as many rows as the published number of children, or the number that the operator sets in
`landing/reference/expected_rows.csv` (`council,source,cohort,rows`). The operator's number takes precedence, for any
source. It covers cases that publications cannot: a moved boundary, a provider's number of reviews, a demonstration of
another size.

A break in the time series (`breaks.yaml`) is a cohort from which figures are not comparable with earlier ones.
"""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from privacy.doors.shipped import read_yaml
from sources.reference import FOLDER, read_rows
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY, Place, get_place, load_places

PUBLISHED_BY = (
    "Department for Education, Early years foundation stage profile results and Local Authority Interactive Tool; Open"
    " Government Licence v3.0"
)
SEX, TERM_OF_BIRTH, FSM = "Sex", "Term of birth", "Free school meal eligibility"
ETHNIC_GROUP, FIRST_LANGUAGE, SEN = "Ethnic group", "First language", "SEN provision"
TOTAL = "Total"
PUBLISHED_COHORT = "202425"
"""The newest cohort with published numbers of children in these files."""

_ByAreaAndCohort = Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]]
"""Rows of a file by area and cohort, and then by breakdown or figure."""


@dataclass(frozen=True)
class PublishedValue:
    """A published value; `own` is false if the value is England's because the council's is not published."""

    value: float
    area: str
    own: bool
    cohort: Cohort


def find_expected_level(place: Place, cohort: Cohort) -> dict[str, PublishedValue]:
    """Return shares (0 to 1) of children at the expected level.

    Keys are `gld`, `all_goals` and the areas of learning `com`, `pse`, `phy`, `lit`, `mat`, `utw`, `exp` (all goals of
    the area).
    """
    return _find_nearest(_load_expected_level(), place, cohort, lambda row: float(row["percent"]) / 100)


def find_number_of_children(place: Place, cohort: Cohort) -> PublishedValue | None:
    """Return the number of children assessed in the council's schools, or None if only England's is known."""
    total = _find_nearest(load_children(SEX), place, cohort, _get_count).get(TOTAL)
    return total if total and total.own else None


@cache
def estimate_council_size(council: str) -> float:
    """Return the published number of children, or England's average over the councils for which none is published."""
    sizes = {
        area: _get_count(rows[TOTAL])
        for (area, cohort), rows in load_children(SEX).items()
        if cohort == PUBLISHED_COHORT
    }
    england = sizes.pop(COUNTRY[0])
    return sizes.get(
        get_place(council).new_la_code, (england - sum(sizes.values())) / (len(load_places()) - len(sizes))
    )


def find_shares(place: Place, cohort: Cohort, topic: str, breakdowns: Iterable[str]) -> dict[str, PublishedValue]:
    """Return shares (0 to 1) of `breakdowns` in the nearest year and area for which all of them are published."""
    wanted = tuple(breakdowns)
    complete = {key: rows for key, rows in load_children(topic).items() if all(name in rows for name in wanted)}
    found = _find_nearest(complete, place, cohort, _get_count)
    total = sum(found[name].value for name in wanted if found)
    return {name: replace(found[name], value=found[name].value / total) for name in wanted if found}


@cache
def load_children(topic: str) -> _ByAreaAndCohort:
    """Return published rows by area, cohort and breakdown of `topic`; `SEX` has `Female`, `Male` and `TOTAL`."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for file, cohort in (("published_children_202122.csv", "202122"), ("published_eyfsp_202425.csv", PUBLISHED_COHORT)):
        for row in read_rows(FOLDER / file):
            # Figures by sex alone are published under the topic Total.
            if row["breakdown_topic"] == (TOTAL if topic == SEX else topic):
                name = row["sex"] if topic == SEX else row["breakdown"]
                found.setdefault((row["new_la_code"], cohort), {})[name] = row
    return found


def _find_nearest(
    figures: _ByAreaAndCohort, place: Place, cohort: Cohort, get_value: Callable[[Mapping[str, str]], float]
) -> dict[str, PublishedValue]:
    """Return the values of the area and year to compare with, by breakdown; empty if nothing is published."""
    for code, name in ((place.new_la_code, place.la_name), COUNTRY):
        # Sorted, so that of two years equally near the earlier one is taken.
        if years := [Cohort(year) for area, year in sorted(figures) if area == code]:
            year = min(years, key=lambda other: abs(other.first_year - cohort.first_year))
            own = code == place.new_la_code
            return {
                key: PublishedValue(get_value(row), name, own, year) for key, row in figures[code, year.code].items()
            }
    return {}


def _get_count(row: Mapping[str, str]) -> float:
    return float(row["children_count"])


@cache
def _load_expected_level() -> _ByAreaAndCohort:
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in read_rows(FOLDER / "published_expected_level.csv"):
        found.setdefault((row["new_la_code"], row["cohort"]), {})[row["figure"]] = row
    return found


@dataclass(frozen=True)
class Target:
    """Percentage of an area's children who should reach a good level of development in a year.

    `year` is the one in which the academic year ends; a target without `area_code` is for every area.
    """

    area_code: str | None
    percent: float
    year: int
    name: str
    source: str


@cache
def load_targets() -> tuple[Target, ...]:
    """Return the targets in file order."""
    rows = tuple({**row, "area_code": row["area_code"] or None} for row in read_rows(FOLDER / "gld_targets.csv"))
    return TypeAdapter(tuple[Target, ...]).validate_python(rows)


PLAUSIBLE_SHARES = FOLDER / "plausible_shares.csv"
OWN, COUNTRYWIDE = 1.5, 2.0
"""Factor by which the odds of a share may differ from those of the published share: the council's, which may be three
years old, or England's. The odds of free school meals, published for four councils, are 0.8 to 1.5 times England's."""
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
    def build(cls, share: float, factor: float) -> "Range":
        """Return the range of shares whose odds are within a factor of the centre's."""
        odds = share / max(1 - share, 1e-9)
        least, most = odds / factor, odds * factor
        return cls(least / (1 + least), share, most / (1 + most))


@cache
def get_rows_per_child(family: str) -> Range:
    """Return the range of rows per child of the cohort in a family's table; the centre is the geometric mean."""
    least, most = _load_stated_ranges()["rows per child"][family]
    return Range(least, (least * most) ** 0.5, most)


def get_plausible_shares(attribute: str, label: str, categories: Sequence[str], where: Place) -> Mapping[str, Range]:
    """Return the range of each category of an attribute, published as `label`, in a council; middles add up to 1."""
    if attribute in _load_stated_ranges():
        return _build_ranges({name: _load_stated_ranges()[attribute][name] for name in categories})
    # Unknown is not published as a category; it gets a range up to `_UNPUBLISHED`.
    named = [name for name in categories if name != "Unknown"]
    if found := find_shares(where, Cohort(PUBLISHED_COHORT), label, named):
        known = {name: Range.build(each.value, OWN if each.own else COUNTRYWIDE) for name, each in found.items()}
        return {name: known.get(name, Range(0.0, 0.0, _UNPUBLISHED)) for name in categories}
    least, most = _load_stated_ranges()[_ANY_OTHER][""]
    # Half the average share: with many categories, some are smaller than the stated lowest share.
    return _build_ranges(dict.fromkeys(categories, (min(least, 0.5 / len(categories)), most)))


def _build_ranges(ranges: Mapping[str, tuple[float, float]]) -> dict[str, Range]:
    total = sum(least + most for least, most in ranges.values())
    return {name: Range(least, (least + most) / total, most) for name, (least, most) in ranges.items()}


@cache
def _load_stated_ranges() -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """Read the ranges of the file by attribute and category."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for row in read_rows(PLAUSIBLE_SHARES):
        for name in [row["what"]] if row["what"] in ("rows per child", _ANY_OTHER) else row["what"].split():
            found.setdefault(name, {})[row["category"]] = (float(row["least"]), float(row["most"]))
    return found


EXPECTED_ROWS_FILE = "expected_rows.csv"
SOURCES_OF_CHILDREN = ("eyfsp", "school_census")
"""Sources with a row for every child of the cohort."""
_COLUMNS = ("council", "source", "cohort", "rows")

ExpectedRows = Mapping[tuple[str, str, str], int]
"""Number of rows by source, cohort and council."""


class InvalidExpectedRows(Exception):
    """The file of expected rows is invalid; the message names the line."""


def read_expected_rows(path: Path) -> ExpectedRows:
    """Read the operator's numbers; empty if there is no file. Raises `InvalidExpectedRows`."""
    found: dict[tuple[str, str, str], int] = {}
    for line, row in enumerate(read_rows(path) if path.exists() else [], 2):
        try:
            council, source, cohort, rows = (row[name].strip() for name in _COLUMNS)
            found[source, Cohort.parse(cohort).code, get_place(council).council] = int(rows)
        # A line that is too short has None for its last values.
        except (KeyError, AttributeError, ValueError, TypeError):
            raise InvalidExpectedRows(f"{path.name}, line {line}: it needs {', '.join(_COLUMNS)}") from None
    return found


def write_expected_rows(path: Path, rows: ExpectedRows) -> None:
    """Add these numbers to the file, keeping those of other extracts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = {**read_expected_rows(path), **rows}
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows((council, source, cohort, lines[source, cohort, council]) for source, cohort, council in lines)


def find_published_rows(source: str, council: str) -> int | None:
    """Return the newest published number of children of the council if the source has one row per child."""
    figure = (
        find_number_of_children(get_place(council), Cohort(PUBLISHED_COHORT)) if source in SOURCES_OF_CHILDREN else None
    )
    return round(figure.value) if figure else None


@dataclass(frozen=True)
class Break:
    """A change from a cohort on that affects `attributes`, in `councils` (all if empty); `not_known` is still open."""

    name: str
    cohort: str
    attributes: frozenset[str]
    what: str
    source: str
    councils: frozenset[str] = frozenset()
    not_known: str = ""

    def is_between(self, before: str | None, cohort: str) -> bool:
        """Return whether the break is between two cohorts; `before` is the earlier one, None for all earlier ones."""
        # Codes of cohorts sort by time as text.
        return (before is None or before < self.cohort) and self.cohort <= cohort


@cache
def load_breaks() -> tuple[Break, ...]:
    """Return every known break."""
    return TypeAdapter(tuple[Break, ...]).validate_python(read_yaml(FOLDER / "breaks.yaml"))

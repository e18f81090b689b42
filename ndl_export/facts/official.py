"""Official figures to compare ours with.

The Department for Education publishes the good level of development, and the Office for Health Improvement and
Disparities (OHID) the two-year review. Both publish exact counts without noise. Pages that show them say how each
differs from ours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ndl_export.tables import ALL
from ndl_export.tables.geography import LOCAL_AUTHORITY, NATIONAL
from sources.reference import FOLDER, cohorts, places, read_rows

_PROFILE = "DfE, Early years foundation stage profile results"
_LAIT = "DfE, Local Authority Interactive Tool"
_YEARS_FROM_REVIEW = 2
"""Years from the financial year in which children turn 2½ to the academic year of their EYFS Profile."""


@dataclass(frozen=True)
class OfficialFigure:
    """One published percentage of children at a good level of development, in the academic year of the cohort."""

    cohort: str
    geographic_level: str
    area_code: str
    area_name: str
    breakdown_topic: str
    breakdown: str
    sex: str
    percent: float
    source: str

    @property
    def key(self) -> tuple[str, ...]:
        """Its key, unique among official figures."""
        return (self.cohort, self.geographic_level, self.area_code, self.breakdown_topic, self.breakdown, self.sex)


@dataclass(frozen=True)
class OfficialReview:
    """One published percentage on the two-year review, for children who turned 2½ in `financial_year`.

    Eleven in twelve of them belong to `cohort`: a financial year covers births from October to September, a cohort
    those from September to August. `domain` is empty if the measure has none.
    """

    cohort: str
    financial_year: str
    geographic_level: str
    area_code: str
    area_name: str
    measure: str
    domain: str
    percent: float
    source: str


USED_ASQ3 = "Reviews that used ASQ-3"
AT_EXPECTED = "Children at or above the expected level"
"""The two measures of `OfficialReview`: a percentage of all reviews, and of reviews with a score for the domain (OHID's
C08a to C08f)."""


@cache
def read_official_figures(cohort: str) -> tuple[OfficialFigure, ...]:
    """Return the official figures of the cohort, England first, each from the source with the most decimals."""
    found: dict[tuple[str, ...], OfficialFigure] = {}
    for row, percent, source in _iter_published(cohort):
        breakdown = (row["breakdown_topic"], row["breakdown"], row["sex"])
        figure = OfficialFigure(cohort, *_get_area(row), *breakdown, float(percent), source)
        # Sources with more decimals come first, so the first value of a figure is kept.
        found.setdefault(figure.key, figure)
    return tuple(sorted(found.values(), key=lambda figure: (figure.geographic_level != NATIONAL, figure.area_name)))


def _iter_published(cohort: str) -> Iterator[tuple[dict[str, str], str, str]]:
    """Yield row, percentage and source of every published figure, from the source with the most decimals first."""
    profile = FOLDER / f"published_eyfsp_{cohort}.csv"
    for row in read_rows(profile) if profile.is_file() else ():
        if row["gld_children_percent"]:
            yield row, row["gld_children_percent"], f"{_PROFILE}, {cohorts.Cohort(cohort).label}"
    for row in read_rows(FOLDER / "published_gld.csv"):
        if row["cohort"] == cohort:
            yield row, row["percent"], row["source"]
    everyone = dict.fromkeys(("breakdown_topic", "breakdown", "sex"), ALL.label)
    for row in read_rows(FOLDER / "published_expected_level.csv"):
        if (row["cohort"], row["figure"]) == (cohort, "gld"):
            yield row | everyone, row["percent"], _LAIT


@cache
def read_official_cohorts() -> tuple[str, ...]:
    """Return the cohorts with a published percentage of all children of an area."""
    return tuple(sorted({row["cohort"] for row in read_rows(FOLDER / "published_expected_level.csv")}))


@cache
def read_official_reviews(cohort: str) -> tuple[OfficialReview, ...]:
    """Return the official figures of the financial year in which a cohort's children turned 2½."""
    first = cohorts.Cohort(cohort).first_year - _YEARS_FROM_REVIEW
    year = f"{first}{(first + 1) % 100:02d}"
    return tuple(
        OfficialReview(
            cohort, year, *_get_area(row), row["measure"], row["asq3_domain"], float(row["percent"]), row["source"]
        )
        for row in read_rows(FOLDER / "published_asq3.csv")
        if row["financial_year"] == year
    )


def _get_area(row: dict[str, str]) -> tuple[str, str, str]:
    """Return level, code and name of a row's area."""
    code, name = places.COUNTRY
    if row["new_la_code"] == code:
        return NATIONAL, code, name
    return LOCAL_AUTHORITY, row["new_la_code"], row["la_name"]

"""Official statistics as the page sets them beside ours: exact, of all children, and each with how it is defined."""

from __future__ import annotations

from ndl_export.facts.official import AT_EXPECTED, USED_ASQ3, official_figures, official_reviews
from ndl_export.site.figures import Figure
from ndl_export.site.panels import Levels, Sentences
from ndl_export.tables import ALL, TABLES
from ndl_export.tables.dimensions import FSM
from ndl_export.tables.geography import Geography
from ndl_export.tables.health import ALL_FIVE, DOMAINS
from ndl_export.tables.pupil import GLD_PERCENT
from sources.reference.cohorts import Cohort
from sources.reference.places import COUNTRY

_ENGLAND = COUNTRY[0]
_EVERYONE = (ALL.label,) * 3
_GAP = TABLES["gld_differences"].measure("gld_difference_points")


def england(cohort: str) -> Figure | None:
    """England's percentage at a good level of development."""
    return _figures(cohort).get((_ENGLAND, *_EVERYONE))


def england_gap(cohort: str) -> tuple[Figure | None, ...]:
    """England's percentages of children eligible for free school meals and of those not eligible, and the gap."""
    found = [_figures(cohort).get((_ENGLAND, FSM.label, group, ALL.label)) for group in FSM.categories[:2]]
    values = [figure.value for figure in found if figure and figure.value is not None]
    if len(values) < len(found):
        return (*found, None)
    eligible, others = values
    return (*found, Figure(_GAP, round(others - eligible, 1), None, None, None))


def of_group(cohort: str, area: Geography, levels: Levels) -> tuple[Figure | None, Figure | None]:
    """England's percentage of a group of children, and the area's own, where they are published."""
    figures = _figures(cohort)
    return figures.get((_ENGLAND, *levels)), figures.get((area.code, *levels))


def _figures(cohort: str) -> dict[tuple[str, ...], Figure]:
    return {
        (each.area_code, each.breakdown_topic, each.breakdown, each.sex): Figure(
            GLD_PERCENT, round(each.percent, 1), None, None, None
        )
        for each in official_figures(cohort)
    }


def england_remarks(cohort: str) -> Sentences:
    """Where England's figures by area are from, and how they differ from ours."""
    sources = "; ".join(dict.fromkeys(each.source for each in official_figures(cohort) if each.area_code == _ENGLAND))
    if not sources:
        return (f"The Department for Education’s figures of {Cohort(cohort).label} are not held here.",)
    return (
        f"England: official statistics of the academic year {Cohort(cohort).label}, every child assessed in England,"
        f" without noise ({sources}). Ours count the children in the extracts. A change in what is recorded, as of the"
        " goals in 2021, breaks both series alike.",
    )


def gld_remarks(cohort: str, area: Geography) -> Sentences:
    """Where official figures by characteristic are from, and how they differ from ours."""
    figures = [each for each in official_figures(cohort) if each.area_code in (_ENGLAND, area.code)]
    if not figures:
        return (f"The Department for Education’s figures of {Cohort(cohort).label} are not held here.",)
    sources = "; ".join(dict.fromkeys(each.source for each in figures))
    own = (
        " The council’s own official figure is about the same children as ours: where the extracts are complete it lies"
        " within the interval in 95 of 100 rows."
        if any(each.area_code == area.code for each in figures)
        else ""
    )
    return (
        f"Official statistics: academic year {Cohort(cohort).label}, every child assessed, without noise ({sources})."
        f" Ours count the children in the extracts.{own}",
    )


def review_remarks(cohort: str, area: Geography) -> Sentences:
    """The official figures on the review that are held, and why they are not to be compared as they stand."""
    found = {(each.area_code, each.measure, each.domain): each for each in official_reviews(cohort)}
    expected = found.get((_ENGLAND, AT_EXPECTED, DOMAINS[ALL_FIVE]))
    used = [(who, found.get((code, USED_ASQ3, ""))) for who, code in (("England", _ENGLAND), (area.name, area.code))]
    told = [f"{each.percent:.1f}% of reviews in {who} used ASQ-3" for who, each in used if each]
    if expected:
        children = f"{expected.percent:.1f}% of England’s children with a score were at or above the expected level in"
        told.insert(0, f"{children} all five areas")
    if not told:
        return ()
    year = next(iter(found.values())).financial_year
    return (
        f"Official statistics (OHID) of children who turned 2½ in the financial year {year[:4]}/{year[4:]}, eleven in"
        f" twelve of them of this cohort: {'; '.join(told)}. They count children with a score. This chart counts every"
        " child reviewed, and is lower where there is no score: do not compare the two as they stand. Councils’ own"
        " figures are in Fingertips, indicator C08a.",
    )

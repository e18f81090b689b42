"""Published figures are the council's own where there are any, of the nearest year, and complete."""

import pytest

from sources.reference import published_figures as published
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT, get_place

TERMS = ("Autumn-born", "Spring-born", "Summer-born")


@pytest.mark.parametrize("council", PILOT)
def test_every_pilot_council_has_its_own_expected_levels(council: str) -> None:
    for cohort in ("202122", "202223", "202324", "202425"):
        figures = published.find_expected_level(get_place(council), Cohort(cohort))
        assert len(figures) == 9
        for figure in figures.values():
            assert (figure.own, figure.area, figure.cohort.code) == (True, get_place(council).la_name, cohort)
            assert 0.5 < figure.value < 0.95
        assert figures["all_goals"].value <= figures["gld"].value <= figures["lit"].value
    # the interactive tool gives one decimal of what the statistical release gives
    row = published.load_children(published.SEX)[get_place(council).new_la_code, "202425"][published.TOTAL]
    assert figures["gld"].value * 100 == pytest.approx(float(row["gld_children_percent"]), abs=0.051)


def test_the_nearest_year_that_is_held_is_taken() -> None:
    for cohort, year in {"202526": "202425", "202223": "202122", "202324": "202425"}.items():
        found = published.find_number_of_children(get_place("leeds"), Cohort(cohort))
        assert found
        assert found.cohort.code == year


def test_a_council_without_figures_is_laid_beside_england() -> None:
    assert {f.area for f in published.find_expected_level(get_place("bradford"), Cohort("202425")).values()} == {
        "England"
    }
    assert published.find_number_of_children(get_place("bradford"), Cohort("202425")) is None


def test_an_incomplete_breakdown_is_not_used() -> None:
    sen = ("No SEN provision", "SEN support / SEN without an EHC plan", "Education, health and care plan")
    shares = published.find_shares(get_place("hammersmith-and-fulham"), Cohort("202425"), published.SEN, sen)
    assert {share.area for share in shares.values()} == {"England"}


def test_terms_of_birth_are_those_of_todays_definition() -> None:
    """Until 2021/22 spring was January to April: those figures are not comparable and not held."""
    shares = published.find_shares(get_place("leeds"), Cohort("202122"), published.TERM_OF_BIRTH, TERMS)
    assert {share.cohort.code for share in shares.values()} == {"202425"}


def test_shares_add_up() -> None:
    for topic, breakdown in {published.SEX: ("Female", "Male"), published.TERM_OF_BIRTH: TERMS}.items():
        for council in PILOT:
            shares = published.find_shares(get_place(council), Cohort("202425"), topic, breakdown)
            assert sum(share.value for share in shares.values()) == pytest.approx(1)

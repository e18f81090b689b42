"""Published figures are the council's own where there are any, of the nearest year, and complete."""

import pytest

from sources.reference import published_figures as published
from sources.reference.cohorts import Cohort
from sources.reference.places import PILOT, get_place


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
        assert found.cohort.code == year


def test_a_council_without_figures_is_laid_beside_england() -> None:
    assert {f.area for f in published.find_expected_level(get_place("bradford"), Cohort("202425")).values()} == {
        "England"
    }
    assert published.find_number_of_children(get_place("bradford"), Cohort("202425")) is None

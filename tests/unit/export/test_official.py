"""Official figures: one of each, from the more exact source, and the sources agree where two have the same."""

import pytest

from ndl_export.facts.official import read_official_figures, read_official_reviews
from ndl_export.tables.pupil import BREAKDOWNS
from sources.reference import FOLDER, read_rows
from sources.reference.cohorts import list_cohort_codes

SHOWN = {(attribute.label, selection.label) for attribute, selections in BREAKDOWNS for selection in selections}


@pytest.mark.parametrize("cohort", list_cohort_codes(2026))
def test_each_is_of_a_row_that_tables_have_and_names_its_source(cohort: str) -> None:
    figures, reviews = read_official_figures(cohort), read_official_reviews(cohort)
    assert len({figure.key for figure in figures}) == len(figures)
    assert {(f.breakdown_topic, f.breakdown) for f in figures if f.breakdown not in ("Total", "Unknown")} <= SHOWN
    assert all(0 <= each.percent <= 100 and each.source for each in (*figures, *reviews))
    assert {int(each.financial_year[:4]) for each in reviews} <= {int(cohort[:4]) - 2}


def test_the_more_exact_of_two_sources_is_taken_and_they_agree() -> None:
    taken = {(f.area_code, f.breakdown_topic, f.breakdown, f.sex): f for f in read_official_figures("202425")}
    both = 0
    for row in read_rows(FOLDER / "published_gld.csv"):
        figure = taken.get((row["new_la_code"], row["breakdown_topic"], row["breakdown"], row["sex"]))
        if row["cohort"] == "202425" and figure and figure.source != row["source"]:
            assert figure.percent == pytest.approx(float(row["percent"]), abs=0.06)
            both += 1
    assert both > 15

"""Public reference data fits the codes of the contracts."""

from pathlib import Path

import pytest

from sources.reference import code_lists, cohorts, places
from sources.reference.published_figures import load_breaks, load_targets, read_expected_rows


def test_every_code_of_an_ethnicity_has_a_major_group_unless_it_says_nothing() -> None:
    assert set(code_lists.ETHNICITY_CODES) - set(code_lists.MAJOR_GROUP) == {"REFU", "NOBT"}
    assert set(code_lists.MAJOR_GROUP) <= set(code_lists.ETHNICITY_CODES)


@pytest.mark.parametrize("typed", ["202425", "2024/25", "2024-25", "2024–25", "2024/2025", " 2024/25 "])
def test_a_cohort_is_read_as_people_write_it(typed: str) -> None:
    assert cohorts.Cohort.parse(typed).code == "202425"


@pytest.mark.parametrize(
    "typed", ["2024/26", "2024", "24/25", "2024/1925", "2024 25", "2024//25", "20242025", "2024/24", ""]
)
def test_what_is_no_cohort_is_refused(typed: str) -> None:
    with pytest.raises(cohorts.InvalidCohort, match="is not a cohort: write"):
        cohorts.Cohort.parse(typed)
    with pytest.raises(cohorts.InvalidCohort):
        cohorts.Cohort("2024/25")  # the form of files and partitions is 202425 alone


def test_expected_rows_may_name_the_cohort_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "expected_rows.csv"
    path.write_text("council,source,cohort,rows\nwirral,hv_reviews,2024/25,6500\n")
    assert read_expected_rows(path) == {("hv_reviews", "202425", "wirral"): 6500}


def test_targets_and_breaks_are_of_areas_and_years_that_there_are() -> None:
    areas = {code for place in places.load_places().values() for code in (place.new_la_code, place.region_code)}
    areas |= {place.english_devolved_area_code for place in places.load_places().values()}
    for target in load_targets():
        assert target.area_code is None or target.area_code in areas
        assert 0 < target.percent <= 100
        assert 2022 <= target.year <= 2100
        assert target.name
        assert target.source
    assert (None, 75.0, 2028) in {(each.area_code, each.percent, each.year) for each in load_targets()}
    for each in load_breaks():
        assert cohorts.Cohort(each.cohort).code == each.cohort
        assert each.councils <= places.load_places().keys()

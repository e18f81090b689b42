"""Public reference data fits the codes of the contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.reference.code_lists import ETHNICITY_CODES, MAJOR_GROUP
from sources.reference.cohorts import Cohort, InvalidCohort
from sources.reference.published_figures import read_expected_rows


def test_every_code_of_an_ethnicity_has_a_major_group_unless_it_says_nothing() -> None:
    assert set(ETHNICITY_CODES) - set(MAJOR_GROUP) == {"REFU", "NOBT"}
    assert set(MAJOR_GROUP) <= set(ETHNICITY_CODES)


@pytest.mark.parametrize("typed", ["202425", "2024/25", "2024-25", "2024–25", "2024/2025", " 2024/25 "])
def test_a_cohort_is_read_as_people_write_it(typed: str) -> None:
    assert Cohort.parse(typed).code == "202425"


@pytest.mark.parametrize(
    "typed", ["2024/26", "2024", "24/25", "2024/1925", "2024 25", "2024//25", "20242025", "2024/24", ""]
)
def test_what_is_no_cohort_is_said_to_be_none(typed: str) -> None:
    with pytest.raises(InvalidCohort, match="is not a cohort: write two consecutive years as 202425 or 2024/25"):
        Cohort.parse(typed)


def test_files_and_partitions_have_one_form() -> None:
    with pytest.raises(InvalidCohort):
        Cohort("2024/25")


def test_expected_rows_may_name_the_cohort_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "expected_rows.csv"
    path.write_text("council,source,cohort,rows\nwirral,hv_reviews,2024/25,6500\n")
    assert read_expected_rows(path) == {("hv_reviews", "202425", "wirral"): 6500}

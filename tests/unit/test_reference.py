"""Public reference data fits the codes of the contracts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sources.reference.code_lists import ETHNICITY_CODES, MAJOR_GROUP
from sources.reference.cohorts import Cohort, InvalidCohort
from sources.reference.goals import Target, load_targets
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
def test_what_is_no_cohort_is_refused(typed: str) -> None:
    with pytest.raises(InvalidCohort, match="is not a cohort: write"):
        Cohort.parse(typed)
    with pytest.raises(InvalidCohort):
        Cohort("2024/25")  # the form of files and partitions is 202425 alone


def test_expected_rows_may_name_the_cohort_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "expected_rows.csv"
    path.write_text("council,source,cohort,rows\nwirral,hv_reviews,2024/25,6500\n")
    assert read_expected_rows(path) == {("hv_reviews", "202425", "wirral"): 6500}


def test_targets_are_national_or_of_an_area(tmp_path: Path) -> None:
    assert [(t.area_code, t.percent, t.year) for t in load_targets()] == [(None, 75.0, 2028)]
    file = tmp_path / "targets.csv"
    file.write_text("area_code,percent,year,name,source\nE08000035,70,2027,local plan,Leeds\n")
    assert load_targets(file) == (Target("E08000035", 70.0, 2027, "local plan", "Leeds"),)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("E99999999,70,2027,plan,Leeds", "line 2: area_code"),
        ("E08000035,seventy,2027,plan,Leeds", "line 2: percent and year"),
        ("E08000035,170,2027,plan,Leeds", "line 2: percent is"),
        ("E08000035,70,2027,plan,", "line 2: percent is"),
    ],
)
def test_a_target_that_cannot_be_is_named(line: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "targets.csv"
    file.write_text(f"area_code,percent,year,name,source\n{line}\n")
    with pytest.raises(ValueError, match=named):
        load_targets(file)

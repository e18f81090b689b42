"""Which rows are flagged as a break in the time series, and what a release of several cohorts says to people."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from frictionless import validate
from hypothesis import given
from hypothesis import strategies as st

from ndl_export.bundle.make import list_bundle_files, read_contents
from ndl_export.bundle.verify import verify
from ndl_export.check.content_checks import build_table_layouts
from ndl_export.facts.missing import explain_breaks
from ndl_export.tables import FAMILIES, TABLES
from sources.reference.cohorts import Cohort, list_cohort_codes, load_breaks
from sources.reference.places import PILOT
from tests.support.export.ees_screener import screen
from tests.support.export.fake_release import COHORT, COHORTS, EARLIER

pytestmark = pytest.mark.slow


def flagged(cohorts: tuple[str, ...], table: str, cohort: str, **levels: str) -> set[str | None]:
    """What `series_break` holds in the rows of a cohort with these levels."""
    layout = build_table_layouts(PILOT, cohorts)[table]
    rows = layout.keys.append_column("series_break", layout.breaks)
    for name, level in (levels | {"time_period": cohort}).items():
        rows = rows.filter(pc.equal(rows[name], level))
    assert rows.num_rows
    return set(rows["series_break"].to_pylist())


def test_breaks_are_about_attributes_that_tables_have_and_give_their_reason() -> None:
    known = {attribute.name for family in FAMILIES.values() for attribute in family.attributes}
    for each in load_breaks():
        assert each.attributes <= known, each.name
        assert each.what.endswith(".")
        assert each.source.startswith("https://")
    assert len({each.name for each in load_breaks()}) == len(load_breaks())


MEALS = {"breakdown_topic": "Free school meal eligibility"}
TAKEN = {"two_year_old_entitlement": "Taken", "fsm_eligibility": "Total"}


@pytest.mark.parametrize(
    ("table", "levels", "cohorts", "broken"),
    [
        ("gld_headline", MEALS, ("202526", "202627"), {"202627"}),
        ("gld_headline", {"breakdown_topic": "Ethnic group"}, ("202526", "202627"), set()),
        ("gld_differences", MEALS, ("202526", "202627"), {"202627"}),
        ("asq3_outcomes", {}, ("202526", "202627"), set()),
        ("funded_entitlement", TAKEN, ("202526", "202627", "202728", "202829"), {"202627", "202728"}),
        ("early_learning_goals", {}, ("202122",), {"202122"}),
        ("linkage_quality", {}, ("202122",), set()),
        ("early_learning_goals", {}, ("202223",), set()),
    ],
)
def test_a_break_is_flagged_in_figures_by_its_attributes_alone(
    table: str, levels: dict[str, str], cohorts: tuple[str, ...], broken: set[str]
) -> None:
    found = {cohort: flagged(cohorts, table, cohort, **levels) for cohort in cohorts}
    assert found == {cohort: {"b"} if cohort in broken else {None} for cohort in cohorts}


@given(st.sets(st.sampled_from(list_cohort_codes(2030)), min_size=1, max_size=4))
def test_a_cohort_left_out_does_not_hide_a_break(chosen: set[str]) -> None:
    """A row is flagged where, and only where, a break began after the cohort before it."""
    cohorts = tuple(sorted(chosen))
    meals = {"breakdown_topic": "Free school meal eligibility"}
    for index, cohort in enumerate(cohorts):
        before = cohorts[index - 1] if index else getattr(Cohort(cohort).previous, "code", "")
        begun = [each for each in load_breaks() if before < each.cohort <= cohort and each.attributes & {"fsm", "gld"}]
        assert flagged(cohorts, "gld_headline", cohort, **meals) == ({"b"} if begun else {None})


def test_all_councils_together_break_where_they_are_others() -> None:
    missing = {EARLIER: {"eyfsp": ("halton",)}}
    layouts = build_table_layouts(PILOT, COHORTS, missing)
    rows = layouts["gld_headline"].keys.append_column("b", layouts["gld_headline"].breaks).to_pandas()
    broken = rows[rows.b == "b"]
    assert set(broken.geographic_level) == {"Pilot councils"}
    assert set(broken.time_period) == {COHORT}
    assert set(layouts["asq3_outcomes"].breaks.to_pylist()) == {None}
    (sentence,) = explain_breaks(COHORTS, PILOT, missing)
    assert "2024/25: all councils together are not the same ones as in 2023/24" in sentence
    assert "(new: Halton)" in sentence


def test_a_bundle_of_two_cohorts_is_sound(series: Path) -> None:
    assert verify(series).ok, str(verify(series))
    assert read_contents(series).keys() == list_bundle_files(COHORTS, PILOT)
    assert {"noise_plan_pupil_202324.json", "noise_plan_pupil_202425.json"} <= read_contents(series).keys()
    for name in TABLES:
        data = pq.read_table(series / f"{name}.parquet")
        assert pc.unique(data["time_period"]).to_pylist() == list(COHORTS)
        assert screen(series / f"{name}.csv", series / f"{name}.meta.csv") == []
    report = validate(str(series / "datapackage.json"))
    assert report.valid, report.flatten(["name", "type", "note"])


def test_catalogues_state_the_time_from_first_to_last(series: Path) -> None:
    dcat, ckan = (json.loads((series / name).read_text()) for name in ("dcat.jsonld", "ckan_package.json"))
    period = dcat["dct:temporal"]
    assert (period["dcat:startDate"]["@value"], period["dcat:endDate"]["@value"]) == ("2023-09-01", "2025-08-31")
    extras = {each["key"]: each["value"] for each in ckan["extras"]}
    assert (extras["temporal_coverage-from"], extras["temporal_coverage-to"]) == ("2023-09-01", "2025-08-31")


def test_official_figures_of_each_cohort_stand_beside_ours(series: Path) -> None:
    with (series / "reconciliation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {cohort: {row["area_name"] for row in rows if row["time_period"] == cohort} for cohort in COHORTS}
    assert len(found[EARLIER]) == 8
    assert found[EARLIER] <= found[COHORT]

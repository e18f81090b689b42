"""Which rows are flagged as a break in the time series, and what a release of several cohorts says to people."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from frictionless import Package
from hypothesis import given
from hypothesis import strategies as st

from ndl_export.bundle.make import bundle_files, contents
from ndl_export.bundle.verify import verify
from ndl_export.check.content_checks import table_faults, table_layouts
from ndl_export.facts.missing import break_statements
from ndl_export.tables import FAMILIES, TABLES
from sources.reference.cohorts import Cohort, breaks, cohort_codes
from sources.reference.places import PILOT
from tests.support.export.ees_screener import screen
from tests.support.export.fake_release import COHORT, COHORTS, EARLIER, fake_tables

pytestmark = pytest.mark.slow


def flagged(cohorts: tuple[str, ...], table: str, cohort: str, **levels: str) -> set[str | None]:
    """What `series_break` holds in the rows of a cohort with these levels."""
    layout = table_layouts(PILOT, cohorts)[table]
    rows = layout.keys.append_column("series_break", layout.breaks)
    for name, level in (levels | {"time_period": cohort}).items():
        rows = rows.filter(pc.equal(rows[name], level))
    assert rows.num_rows
    return set(rows["series_break"].to_pylist())


def test_breaks_are_about_attributes_that_tables_have_and_give_their_reason() -> None:
    known = {attribute.name for family in FAMILIES.values() for attribute in family.attributes}
    for each in breaks():
        assert each.attributes <= known, each.name
        assert each.what.endswith(".")
        assert each.source.startswith("https://")
    assert len({each.name for each in breaks()}) == len(breaks())


def test_meals_of_2026_break_figures_by_meals_alone() -> None:
    meals, other = "Free school meal eligibility", "Ethnic group"
    cohorts = ("202526", "202627")
    assert flagged(cohorts, "gld_headline", "202627", breakdown_topic=meals) == {"b"}
    assert flagged(cohorts, "gld_headline", "202627", breakdown_topic=other) == {None}
    assert flagged(cohorts, "gld_headline", "202526", breakdown_topic=meals) == {None}
    assert flagged(cohorts, "gld_differences", "202627", breakdown_topic=meals) == {"b"}
    assert flagged(cohorts, "asq3_outcomes", "202627") == {None}
    assert flagged(("202627",), "gld_headline", "202627", breakdown_topic=meals) == {"b"}
    assert flagged(("202627", "202728"), "gld_headline", "202728", breakdown_topic=meals) == {None}


def test_of_meals_of_2026_it_is_told_what_is_known_and_what_is_not() -> None:
    [meals] = [each for each in break_statements(["202627"], PILOT, {}) if "free school meals" in each]
    known, unknown = meals.split(" Not known: ")
    assert "whatever the household earns" in known
    assert "Every pupil in Reception gets a free lunch in any case" in known
    assert unknown.startswith("how many pupils in Reception the census records as eligible")
    assert "Flagged `b`: figures by Free school meal eligibility. Source: <https://" in unknown


def test_terms_of_birth_that_an_entitlement_reached_break_figures_by_it_twice() -> None:
    cohorts = ("202526", "202627", "202728", "202829")
    taken = {"two_year_old_entitlement": "Taken", "fsm_eligibility": "Total"}
    found = {cohort: flagged(cohorts, "funded_entitlement", cohort, **taken) for cohort in cohorts}
    assert found == {"202526": {None}, "202627": {"b"}, "202728": {"b"}, "202829": {None}}


def test_the_first_goals_break_with_what_was_before_them() -> None:
    assert flagged(("202122",), "early_learning_goals", "202122") == {"b"}
    assert flagged(("202122",), "linkage_quality", "202122") == {None}
    assert flagged(("202223",), "early_learning_goals", "202223") == {None}


@given(st.sets(st.sampled_from(cohort_codes(2030)), min_size=1, max_size=4))
def test_a_cohort_left_out_does_not_hide_a_break(chosen: set[str]) -> None:
    """A row is flagged where, and only where, a break began after the cohort before it."""
    cohorts = tuple(sorted(chosen))
    meals = {"breakdown_topic": "Free school meal eligibility"}
    for index, cohort in enumerate(cohorts):
        before = cohorts[index - 1] if index else getattr(Cohort(cohort).previous, "code", "")
        begun = [each for each in breaks() if before < each.cohort <= cohort and each.attributes & {"fsm", "gld"}]
        assert flagged(cohorts, "gld_headline", cohort, **meals) == ({"b"} if begun else {None})
        assert bool(break_statements([cohort], PILOT, {cohort: {}})) in (True, False)


def test_all_councils_together_break_where_they_are_others() -> None:
    missing = {EARLIER: {"eyfsp": ("halton",)}}
    layouts = table_layouts(PILOT, COHORTS, missing)
    rows = layouts["gld_headline"].keys.append_column("b", layouts["gld_headline"].breaks).to_pandas()
    broken = rows[rows.b == "b"]
    assert set(broken.geographic_level) == {"Pilot councils"}
    assert set(broken.time_period) == {COHORT}
    assert set(layouts["asq3_outcomes"].breaks.to_pylist()) == {None}
    (sentence,) = break_statements(COHORTS, PILOT, missing)
    assert "2024/25: all councils together are not the same ones as in 2023/24" in sentence
    assert "(new: Halton)" in sentence


def test_a_wrong_flag_is_found() -> None:
    tables, layouts = fake_tables(cohorts=COHORTS), table_layouts(PILOT, COHORTS)
    assert table_faults(tables, layouts) == []
    data = tables["joined_dots"]
    position = data.column_names.index("series_break")
    wrong = data.set_column(position, data.schema.field(position), pa.array(["b"] + [None] * (data.num_rows - 1)))
    assert any("series_break" in fault for _, fault in table_faults(tables | {"joined_dots": wrong}, layouts))


def test_a_bundle_of_two_cohorts_is_sound(series: Path) -> None:
    assert verify(series).ok, str(verify(series))
    assert contents(series).keys() == bundle_files(COHORTS, PILOT)
    assert {"noise_plan_pupil_202324.json", "noise_plan_pupil_202425.json"} <= contents(series).keys()
    for name in TABLES:
        assert pc.unique(pq.read_table(series / f"{name}.parquet")["time_period"]).to_pylist() == list(COHORTS)


@pytest.mark.parametrize("name", TABLES)
def test_its_csv_files_hold_one_family_of_periods_and_pass_the_screener(name: str, series: Path) -> None:
    assert screen(series / f"{name}.csv", series / f"{name}.meta.csv") == []
    report = Package(str(series / "datapackage.json")).get_resource(f"{name}-csv".replace("_", "-")).validate()
    assert report.valid, report.flatten(["type", "note"])
    with (series / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["time_period"], row["time_identifier"]) for row in rows} == {(c, "Academic year") for c in COHORTS}
    assert {row["series_break"] for row in rows} == {"none"}


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


def test_the_changelog_speaks_of_each_cohort(series: Path) -> None:
    text = (series / "changelog.md").read_text(encoding="utf-8")
    assert "### Children who finished Reception in 2023/24\n\nThe first release about 2023/24" in text
    assert "### Children who finished Reception in 2024/25\n\nCompared with release 2025.11.0, which it" in text

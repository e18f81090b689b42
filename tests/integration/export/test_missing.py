"""Releases without some sources, or across a break in the series: their symbols in every form, and what they say."""

import csv
import json
from itertools import product
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from frictionless import validate
from hypothesis import given, strategies as st

from ndl_export.bundle import checks, make, release_directory
from ndl_export.bundle.verify import list_bundle_files, verify
from ndl_export.facts import bundle_reader
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.missing import explain_breaks, find_faults, format_missing
from ndl_export.tables import FAMILIES, TABLES, csv_files, schema
from sources.reference.cohorts import Cohort, list_cohort_codes
from sources.reference.places import PILOT, get_place
from sources.reference.published_figures import load_breaks
from tests.support.export.bundles import KEY, MISSING
from tests.support.export.ees_screener import list_failures
from tests.support.export.fake_release import COHORT, COHORTS, EARLIER, fake_facts, fake_tables
from tests.support.site.pages import SITE_FILES

HALTON = "E06000006"


def test_the_bundle_is_sound_by_every_check_and_its_rows_are_not_available(incomplete: Path) -> None:
    assert verify(incomplete).ok, str(verify(incomplete))
    headline = pq.read_table(incomplete / "gld_headline.parquet")
    halton = headline.filter(pc.equal(headline["new_la_code"], HALTON))
    assert set(halton["children_count_flag"].to_pylist()) == {"x"}
    assert set(halton["elgs_expected_average_flag"].to_pylist()) == {"x", "z"}
    assert halton["children_count_estimate"].null_count == halton.num_rows > 0
    outcomes = pq.read_table(incomplete / "asq3_outcomes.parquet")
    flagged = outcomes.filter(pc.equal(outcomes["reviewed_children_count_flag"], "x"))
    assert set(flagged["la_name"].to_pylist()) == {"Sefton"}
    assert "English devolved area" not in headline["geographic_level"].to_pylist()
    package = json.loads((incomplete / "datapackage.json").read_text(encoding="utf-8"))
    assert package["missing"] == {COHORT: {source: list(absent) for source, absent in MISSING.items()}}
    for page in ("README.md", "methodology.md"):
        assert "- Halton: no EYFS Profile" in (incomplete / page).read_text(encoding="utf-8")
    for name in TABLES:
        assert list_failures(incomplete / f"{name}.csv", incomplete / f"{name}.meta.csv") == []
    report = validate(str(incomplete / "datapackage.json"))
    assert report.valid, report.flatten(["name", "type", "note"])
    assert len(report.tasks) == len(list_bundle_files((COHORT,), PILOT)) - len(SITE_FILES) - 3
    with (incomplete / "reconciliation.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["area_code"] == HALTON]
    assert rows
    assert {(row["percent"], row["lower_ci"], row["within_interval"]) for row in rows} == {("", "", "")}
    assert {row["note"] for row in rows} == {"Not available: the council has sent no EYFS Profile"}


def test_a_statement_must_fit_the_release_and_flag_x_its_rows(incomplete: Path, tmp_path: Path) -> None:
    assert find_faults({COHORT: {"census": ("leeds",), "eyfsp": ("barnet",)}}, PILOT, [COHORT]) == [
        "there is no source census",
        "barnet is stated to have sent no eyfsp, and does not take part",
    ]
    with pytest.raises(release_directory.BundleRefused, match="does not take part"):
        make.write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("barnet",)}), fake_tables(), KEY)
    with pytest.raises(release_directory.BundleRefused, match="rows are"):
        make.write_bundle(tmp_path, fake_facts(missing={"eyfsp": ("halton",)}), fake_tables(), KEY)
    tables = {name: pq.read_table(incomplete / f"{name}.parquet") for name in TABLES}
    headline, column = tables["gld_headline"], "children_count_flag"
    for flag, row in ((None, HALTON), ("x", "E08000035")):
        flags = pc.if_else(pc.equal(headline["area_code"], row), pa.scalar(flag, pa.string()), headline[column])
        wrong = headline.set_column(headline.column_names.index(column), headline.field(column), flags)
        layouts = checks.build_table_layouts(PILOT, (COHORT,), {COHORT: MISSING})
        found = checks.find_table_faults(tables | {"gld_headline": wrong}, layouts)
        assert any("flag x where" in fault for _, fault in found)


@pytest.mark.parametrize("name", TABLES)
def test_the_csv_says_what_the_table_says_with_the_same_columns_and_symbols(name: str, incomplete: Path) -> None:
    data = csv_files.select_official_rows(pq.read_table(incomplete / f"{name}.parquet")).to_pylist()
    with (incomplete / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {column for column in rows[0] if column not in data[0]} == set()
    for row, source in zip(rows, data, strict=True):
        assert row["series_break"] == (source["series_break"] or "none")
        for measure in TABLES[name].measures:
            flag, figure = source[f"{measure.name}_flag"], source[measure.name]
            assert measure.is_count or row[f"{measure.name}_flag"] == (flag or "none")
            limit = source[f"{measure.name}_lower_ci"]
            is_whole = flag == "u" and measure.unit
            assert row[f"{measure.name}_lower_ci"] == (flag if limit is None else f"{limit:.{0 if is_whole else 3}f}")
            decimals = 0 if is_whole else measure.decimals
            assert row[measure.name] == (flag if figure is None else f"{figure:.{decimals}f}")


def test_the_database_carries_the_flags_and_what_is_missing(incomplete: Path) -> None:
    with duckdb.connect(str(incomplete.parent / DATABASE_FILE), read_only=True) as connection:
        stated = dict(connection.execute("SELECT flag, meaning FROM dimension.flag").fetchall())
        ((rows,),) = connection.execute("SELECT count(*) FROM latest.gld_by_group").fetchall()
        ((joined,),) = connection.execute(
            "SELECT count(*) FROM latest.gld_by_group LEFT JOIN dimension.flag ON flag = gld_children_percent_flag"
        ).fetchall()
        ((missing,),) = connection.execute("SELECT missing FROM releases.release").fetchall()
        told = [
            row
            for council, topic in product(PILOT, ("Ethnic group", "IMD quintile", "SEN provision"))
            for row in connection.execute(
                "SELECT gld_percent, flag, in_words FROM gld_rate(?, ?)", [get_place(council).la_name, topic]
            ).fetchall()
        ]
    assert stated == schema.SYMBOLS
    assert missing == format_missing({COHORT: MISSING})
    assert joined == rows
    assert {flag for _, flag, _ in told} >= {None, "u", "withheld", "x"}
    assert all(
        (f": {percent:.{0 if flag == 'u' else 1}f}%" if percent is not None else f": {stated[flag]}") in words
        for percent, flag, words in told
    )


def flagged(cohorts: tuple[str, ...], table: str, cohort: str, **levels: str) -> set[str | None]:
    """What `series_break` holds in the rows of a cohort with these levels."""
    layout = checks.build_table_layouts(PILOT, cohorts)[table]
    rows = layout.keys.append_column("series_break", layout.breaks)
    for name, level in (levels | {"time_period": cohort}).items():
        rows = rows.filter(pc.equal(rows[name], level))
    assert rows.num_rows
    return set(rows["series_break"].to_pylist())


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


@pytest.mark.slow
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
    """Other breaks are about attributes that tables have, and give their reason."""
    known = {attribute.name for family in FAMILIES.values() for attribute in family.attributes}
    for each in load_breaks():
        assert each.attributes <= known, each.name
        assert each.what.endswith(".")
        assert each.source.startswith("https://")
    assert len({each.name for each in load_breaks()}) == len(load_breaks())
    missing = {EARLIER: {"eyfsp": ("halton",)}}
    layouts = checks.build_table_layouts(PILOT, COHORTS, missing)
    rows = layouts["gld_headline"].keys.append_column("b", layouts["gld_headline"].breaks).to_pandas()
    broken = rows[rows.b == "b"]
    assert set(broken.geographic_level) == {"Pilot councils"}
    assert set(broken.time_period) == {COHORT}
    assert set(layouts["asq3_outcomes"].breaks.to_pylist()) == {None}
    (sentence,) = explain_breaks(COHORTS, PILOT, missing)
    assert "2024/25: all councils together are not the same ones as in 2023/24" in sentence
    assert "(new: Halton)" in sentence


@pytest.mark.slow
def test_a_bundle_of_two_cohorts_is_sound(series: Path) -> None:
    assert verify(series).ok, str(verify(series))
    assert bundle_reader.read_contents(series).keys() == list_bundle_files(COHORTS, PILOT)
    assert {"noise_plan_pupil_202324.json", "noise_plan_pupil_202425.json"} <= bundle_reader.read_contents(
        series
    ).keys()
    for name in TABLES:
        data = pq.read_table(series / f"{name}.parquet")
        assert pc.unique(data["time_period"]).to_pylist() == list(COHORTS)
        assert list_failures(series / f"{name}.csv", series / f"{name}.meta.csv") == []
    report = validate(str(series / "datapackage.json"))
    assert report.valid, report.flatten(["name", "type", "note"])

"""Columns, rows and areas of published tables, as derived from their definitions, and official figures of rows."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from ndl_export.bundle.checks import build_table_layouts
from ndl_export.facts.official import read_official_figures, read_official_reviews
from ndl_export.tables import TABLES, Table, geography, parents, pupil
from ndl_export.tables.rows import Layout, build_layout, collect_statements, list_rows
from sources.reference import FOLDER, cohorts, read_rows
from sources.reference.code_lists import REVIEW_CODES
from sources.reference.places import PILOT, UnknownCouncil, load_places
from tests.support.export.fake_release import COHORT


@pytest.fixture(params=TABLES.values(), ids=TABLES)
def table(request: pytest.FixtureRequest) -> Table:
    return request.param


def expected(table: Table) -> Layout:
    return build_layout(table, {COHORT: geography.list_geographies(PILOT)})


def test_rows_are_unique_complete_and_have_something_to_say(table: Table) -> None:
    found = list_rows(table, all_together=True)
    assert len({row.levels for row in found}) == len(found)
    assert all(len(row.levels) == len(table.filters) for row in found)
    assert {name for row in found for name in row.applies} == {measure.name for measure in table.measures}


@pytest.mark.parametrize("breakdown", [("Total", "Total"), ("Age of the child", "Three")])
def test_a_length_of_wait_is_a_share_of_the_responses_to_which_it_applies(breakdown: tuple[str, str]) -> None:
    """Half of all parents have not waited at all: among them, `Under 4 weeks` is no share of those who have."""
    table = TABLES["parent_experience"]
    (question,) = [each for each in parents.QUESTIONS if each.label == "Length of wait"]
    group = {("child_age_band", frozenset({breakdown[1]}))} if breakdown[1] != "Total" else set()
    applying = frozenset({*question.categories} - {parents.NOT_APPLICABLE})
    whole = frozenset({(question.name, applying), *group})
    told, applies = collect_statements(table), {row.levels: row.applies for row in list_rows(table, all_together=True)}
    for answer in applying:
        counted = frozenset({(question.name, frozenset({answer})), *group})
        assert told[question.label, answer, *breakdown] == {(counted, None), (counted, whole)}
    assert applies[question.label, parents.NOT_APPLICABLE, *breakdown] == {"response_count"}


def test_rows_of_impossible_levels_averages_and_goals() -> None:
    found = {row.levels: row.applies for row in list_rows(pupil.JOINED_DOTS, all_together=False)}
    assert not found["Neither", "Both"]
    assert found["Neither", "None"]
    headline = list_rows(pupil.GLD_HEADLINE, all_together=False)
    assert [row.levels for row in headline if "elgs_expected_average" in row.applies] == [("Total",) * 3]
    goals = (len(list_rows(pupil.EARLY_LEARNING_GOALS, all_together=together)) for together in (False, True))
    assert tuple(goals) == (17, 17 * 5)


def test_rows_are_put_in_the_order_of_the_definition_for_each_cohort(table: Table) -> None:
    both = build_layout(table, dict.fromkeys(("202526", COHORT), geography.list_geographies(PILOT)))
    assert both.keys.num_rows == 2 * expected(table).keys.num_rows
    assert both.keys["time_period"][0].as_py() == COHORT
    shuffled = np.random.default_rng(0).permutation(both.keys.num_rows)
    assert both.sort_rows(both.keys.take(pa.array(shuffled))).equals(both.keys)


def test_missing_unknown_and_repeated_rows_are_named() -> None:
    layout_ = expected(pupil.GLD_HEADLINE)
    keys = layout_.keys
    with pytest.raises(ValueError, match=r"1 rows are missing, such as 202425/.*/Pilot councils/.*/Total"):
        layout_.sort_rows(keys.slice(1))
    with pytest.raises(ValueError, match="1 rows are there more than once"):
        layout_.sort_rows(pa.concat_tables([keys, keys.slice(0, 1)]))
    other = keys.set_column(0, keys.schema.field(0), pa.repeat("202526", keys.num_rows))
    with pytest.raises(ValueError, match="660 rows are not in the definition, such as 202526/"):
        layout_.sort_rows(pa.concat_tables([keys, other]))


def test_what_a_row_says_is_the_same_in_whichever_table_it_stands() -> None:
    """Which children it counts, of which others; a share is of its row at the total; what cannot be says nothing."""
    eligible = ("fsm", frozenset({"Eligible for free school meals"}))
    good = ("gld", frozenset({"Yes"}))
    headline = collect_statements(pupil.GLD_HEADLINE)[
        "Free school meal eligibility", "Eligible for free school meals", "Total"
    ]
    rate = (frozenset({eligible, good}), frozenset({eligible}))
    assert headline == {rate, (frozenset({eligible}), None), (frozenset({eligible, good}), None)}
    assert rate in collect_statements(TABLES["readiness_pathway"])["Total", "Eligible for free school meals"]
    neither = frozenset({("dots", frozenset({pupil.format_dots_category("Neither", "None")}))})
    assert (neither, frozenset()) in collect_statements(pupil.JOINED_DOTS)["Neither", "Total"]
    assert collect_statements(pupil.JOINED_DOTS)["Neither", "Both"] == set()
    everyone = collect_statements(pupil.GLD_HEADLINE)["Total", "Total", "Total"]
    assert everyone == {(frozenset(), None), (frozenset({good}), None), (frozenset({good}), frozenset())}


EVERYWHERE = tuple(load_places())
LIVERPOOL_CITY_REGION = {"halton", "knowsley", "liverpool", "sefton", "st-helens", "wirral"}


def test_areas_are_the_councils_and_what_is_whole_above_them() -> None:
    """More than twenty councils bring their regions, and all of them England."""
    areas = geography.list_geographies(PILOT)
    assert [area.level for area in areas] == ["Pilot councils", "English devolved area", *["Local authority"] * 8]
    assert set(areas[0].councils) == set(PILOT)
    assert set(areas[1].councils) == LIVERPOOL_CITY_REGION
    assert (areas[1].code, areas[1].name) == ("E47000004", "Liverpool City Region")
    assert "English devolved area" not in {area.level for area in geography.list_geographies(set(PILOT) - {"wirral"})}
    london = [name for name, entry in load_places().items() if entry.region_name == "London"]
    areas = geography.list_geographies([*london, "leeds"])
    assert [area.name for area in areas if area.level == "Regional"] == ["London"]
    assert areas[0].level == "Pilot councils"
    assert "Regional" not in {area.level for area in geography.list_geographies(london[:20])}
    areas = geography.list_geographies(EVERYWHERE)
    assert (areas[0].level, areas[0].name, areas[0].code) == ("National", "England", "E92000001")
    assert sum(area.level == "Regional" for area in areas) == 9
    assert sum(area.level == "Local authority" for area in areas) == 153


def test_unknown_and_no_councils_are_refused() -> None:
    with pytest.raises(UnknownCouncil, match="atlantis"):
        geography.list_geographies(["atlantis"])
    with pytest.raises(ValueError, match="at least one council"):
        geography.list_geographies([])


def test_a_council_without_the_source_is_in_its_own_area_alone() -> None:
    areas = geography.list_geographies(PILOT, ["halton"])
    assert [area.level for area in areas] == ["Pilot councils", *["Local authority"] * 8]
    assert "halton" not in areas[0].councils
    assert [area.name for area in areas if not area.available] == ["Halton"]
    everywhere = geography.list_geographies(EVERYWHERE, ["halton"])
    assert (everywhere[0].level, len(everywhere[0].councils)) == ("Pilot councils", 152)
    regions = {entry.region_name for entry in load_places().values()}
    assert {area.name for area in everywhere if area.level == "Regional"} == regions - {"North West"}
    assert not geography.list_geographies(["leeds"], ["leeds"])[0].available


def test_rows_about_a_review_are_there_where_every_council_sends_it() -> None:
    """Also if a council has sent no reviews at all; every other row stays, so a total is the same in each table."""
    for missing, lacking in (
        ({"hv_reviews/ANV": ["halton"]}, {"Antenatal visit"}),
        ({"hv_reviews": ["halton"]}, set(REVIEW_CODES.values())),
    ):
        layouts = build_table_layouts(PILOT, (COHORT,), {COHORT: missing})
        reviews = layouts["health_visitor_reviews"]
        keys = reviews.keys.select(["area_name", "health_review"]).to_pylist()
        away = {tuple(key.values()) for key, there in zip(keys, reviews.available.tolist(), strict=True) if not there}
        assert away == set(product(("Pilot councils", "Liverpool City Region", "Halton"), lacking))
        others = (layout for name, layout in layouts.items() if name not in (reviews.table.name, "asq3_outcomes"))
        assert all(layout.available.all() for layout in others)


SHOWN = {row.levels[:2] for row in list_rows(pupil.GLD_HEADLINE, all_together=True)}


@pytest.mark.parametrize("cohort", cohorts.list_cohort_codes(2026))
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

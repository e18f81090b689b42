"""The profile of an extract, the published figures beside it, and the rule of when a difference is worth a look."""

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, strategies as st

from assets.intake.quality_report import profile
from assets.intake.quality_report.compare import POINTS, Share, has_changed, is_departure
from ndl_export.pages.number_format import format_row_ranges
from sources.contracts import CONTRACTS, Column, Kind, Role
from sources.reference import code_lists, cohorts, places, published_figures as published
from tests.support.daily import limit_examples

COHORT = cohorts.Cohort("202425")
CONTRACT = CONTRACTS["hv_reviews"]
SCORE = CONTRACT["asq3_communication"]
TYPES = {Kind.DATE: pa.date32(), Kind.DECIMAL: pa.float64()}

scores = st.floats(0, 60, allow_nan=False) | st.none()
days = st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)) | st.none()
reviews = st.lists(
    st.fixed_dictionaries(
        {
            "review": st.sampled_from([*(CONTRACT["review"].codes or ())]),
            "review_date": days,
            "asq3_communication": scores,
            "term_of_birth": st.sampled_from([None, "Autumn-born", "Summer-born"]),
        }
    ),
    min_size=1,
    max_size=30,
)


def kept(path: Path, source: str, rows: list[dict[str, Any]]) -> profile.Uncounted:
    """A kept extract of `rows`; columns that they leave out are empty."""
    columns = (*CONTRACTS[source].select_role(Role.PAYLOAD), *CONTRACTS[source].derived)
    fields = [pa.field(column.name, TYPES.get(column.kind, pa.string())) for column in columns]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), path)
    return profile.Uncounted(CONTRACTS[source], COHORT.code, path)


def profiled(*extracts: profile.Uncounted) -> list[profile.Profile]:
    return profile.count(duckdb.connect(), extracts)


def bin_of(column: Column, value: float) -> str:
    *lower, _ = profile.compute_bin_edges(column)
    return f"{max(low for low in lower if low <= value):g}"


def month_of(day: dt.date) -> str:
    window = profile.list_months(COHORT)
    month = day.replace(day=1)
    return profile.BEFORE if month < window[0] else profile.AFTER if month > window[-1] else f"{month:%Y-%m}"


@limit_examples(20, [HealthCheck.function_scoped_fixture])
@given(rows=reviews)
def test_counts_are_those_of_counting_one_by_one(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found, empty = profiled(*(kept(tmp_path / str(len(some)), "hv_reviews", some) for some in (rows, [])))
    grouped = {
        "review": lambda value: value,
        "review_date": month_of,
        "asq3_communication": lambda value: bin_of(SCORE, value),
        "term_of_birth": lambda value: value,
    }
    assert found.rows == len(rows)
    for name, group_of in grouped.items():
        values = [row[name] for row in rows if row[name] is not None]
        assert found.columns[name].filled == len(values)
        counted = {key: rows for key, rows in found.columns[name].groups.items() if rows}
        assert counted == dict(Counter(group_of(value) for value in values))
    keys = [[(name, key) for name, column in p.columns.items() for key in column.groups] for p in (found, empty)]
    assert keys[0] == keys[1], "groups depend on the data"


def test_measures_of_the_profile(tmp_path: Path) -> None:
    all_expected = dict.fromkeys(code_lists.GOALS, "2")
    rows = [
        all_expected,
        all_expected | {"exp_e17": "1"},
        all_expected | {code_lists.GLD_GOALS[0]: "1"},
        dict.fromkeys(code_lists.GOALS, "A"),
    ]
    (found,) = profiled(kept(tmp_path / "kept", "eyfsp", rows))
    shares = {name: (measure.rows, measure.of) for name, measure in found.measures.items()}
    assert shares["gld"] == (2, 4)
    assert shares["all_goals"] == (1, 4)
    assert (shares["com"], shares["exp"], shares["mat"]) == ((2, 4), (2, 4), (3, 4))


def test_extracts_counted_together_are_counted_as_each_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [dict.fromkeys(code_lists.GOALS, "2"), dict.fromkeys(code_lists.GOALS, "1")]
    named = (("O'Brien [1]", rows), ("none", []), ("100%", rows[:1]))
    wanted = [kept(tmp_path / name, "eyfsp", some) for name, some in named]
    together = profiled(*wanted)
    assert together == [profiled(extract)[0] for extract in wanted]
    assert [found.rows for found in together] == [2, 0, 1]


def test_ranges_and_months_are_public() -> None:
    columns = (column for contract in CONTRACTS.values() for column in contract.select_role(Role.PAYLOAD))
    assert {
        len(profile.compute_bin_edges(column)) for column in columns if column.kind in (Kind.DECIMAL, Kind.INTEGER)
    } == {11}
    window = profile.list_months(COHORT)
    assert (window[0], window[-1]) == (dt.date(2018, 12, 1), dt.date(2025, 8, 1))


@pytest.mark.parametrize("council", places.PILOT)
def test_every_pilot_council_has_its_own_expected_levels(council: str) -> None:
    for cohort in ("202122", "202223", "202324", "202425"):
        figures = published.find_expected_level(places.get_place(council), cohorts.Cohort(cohort))
        assert len(figures) == 9
        for figure in figures.values():
            assert (figure.own, figure.area, figure.cohort.code) == (True, places.get_place(council).la_name, cohort)
            assert 0.5 < figure.value < 0.95
        assert figures["all_goals"].value <= figures["gld"].value <= figures["lit"].value
    # the interactive tool gives one decimal of what the statistical release gives
    row = published.load_children(published.SEX)[places.get_place(council).new_la_code, "202425"][published.TOTAL]
    assert figures["gld"].value * 100 == pytest.approx(float(row["gld_children_percent"]), abs=0.051)


def test_without_own_figures_of_the_year_those_of_the_nearest_or_of_england_are_taken() -> None:
    for cohort, year in {"202526": "202425", "202223": "202122", "202324": "202425"}.items():
        found = published.find_number_of_children(places.get_place("leeds"), cohorts.Cohort(cohort))
        assert found.cohort.code == year
    assert {
        f.area for f in published.find_expected_level(places.get_place("bradford"), cohorts.Cohort("202425")).values()
    } == {"England"}
    assert published.find_number_of_children(places.get_place("bradford"), cohorts.Cohort("202425")) is None


counts = st.integers(1, 10_000).flatmap(lambda of: st.builds(Share, st.integers(0, of), st.just(of)))


@given(st.sets(st.integers(1, 500)))
def test_row_ranges_name_these_rows_and_no_others(numbers: set[int]) -> None:
    named: set[int] = set()
    for part in filter(None, format_row_ranges(numbers).split(", ")):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers


@pytest.mark.parametrize(
    ("now", "last", "expected"),
    [
        (Share(60, 100), Share(50, 100), False),
        (Share(600, 1000), Share(500, 1000), True),
        (Share(5400, 10_000), Share(5000, 10_000), False),
        (Share(10, 10), Share(0, 0), False),
        (Share(0, 1000), Share(1000, 1000), True),
    ],
)
def test_a_change_must_be_large_and_no_chance(now: Share, last: Share, expected: bool) -> None:
    assert has_changed(now, last) is expected


@given(counts, counts)
def test_a_change_is_the_same_both_ways_and_never_small(now: Share, last: Share) -> None:
    assert has_changed(now, last) == has_changed(last, now)
    if has_changed(now, last):
        assert abs(now.rows / now.of - last.rows / last.of) > POINTS


@pytest.mark.parametrize(
    ("now", "published", "expected"),
    [
        (Share(600, 1000), 0.64, False),
        (Share(590, 1000), 0.66, True),
        (Share(59, 100), 0.66, False),
        (Share(0, 0), 0.5, False),
    ],
)
def test_departing_from_a_published_share(now: Share, published: float, expected: bool) -> None:
    assert is_departure(now, published) is expected

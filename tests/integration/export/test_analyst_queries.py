"""The worked queries of the analyst database: each runs, and several are worked out anew from the Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm

from ndl_export.analyst_db import DATABASE_FILE
from ndl_export.analyst_db.help import WORKED_QUERIES, WorkedQuery
from ndl_export.facts.official import official_figures, official_reviews
from tests.support.daily import first
from tests.support.release.comparisons import Z, certain_from


def run(directory: Path, title: str) -> list[dict[str, Any]]:
    """The answer of the query as it stands in the file."""
    with duckdb.connect(str(directory / DATABASE_FILE), read_only=True) as reader:
        [(sql,)] = reader.execute("SELECT sql FROM help.worked_queries WHERE title = ?", [title]).fetchall()
        rows: list[dict[str, Any]] = reader.sql(sql).to_arrow_table().to_pylist()
    return rows


@pytest.mark.parametrize("query", WORKED_QUERIES, ids=lambda query: query.title)
def test_each_answers_and_is_explained(query: WorkedQuery, two_releases: Path) -> None:
    answer = run(two_releases, query.title)
    assert any(value is not None for row in answer for value in row.values())
    assert query.question.endswith((".", "?"))
    assert query.meaning.endswith(".")


@pytest.mark.parametrize("query", first(6, WORKED_QUERIES), ids=lambda query: query.title)
def test_a_second_cohort_in_a_release_does_not_get_mixed_in(
    query: WorkedQuery, two_releases: Path, two_cohorts: Path
) -> None:
    """The newest cohort is the same in both; queries that are about several cohorts name each."""
    one, two = run(two_releases, query.title), run(two_cohorts, query.title)
    if "time_period" in two[0]:
        two = [row for row in two if row["time_period"] == "202425"]
    if "change_points" not in one[0]:
        assert sorted(map(str, two)) == sorted(map(str, one))


def test_steps_to_begin_with_run(two_releases: Path) -> None:
    with duckdb.connect(str(two_releases / DATABASE_FILE), read_only=True) as reader:
        steps = reader.execute("SELECT step, try_this FROM help.start ORDER BY step").fetchall()
        assert [step for step, _ in steps] == list(range(1, 11))
        assert all(reader.execute(query).fetchall() for _, query in steps)


def test_councils_compared(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    expected = {
        row["la_name"]: (row["gld_children_percent"], row["gld_children_percent_flag"])
        for row in tables["gld_headline"].to_pylist()
        if row["geographic_level"] == "Local authority" and row["breakdown"] == row["sex"] == "Total"
    }
    found = run(two_releases, "Compare councils")
    assert {row["area_name"]: (row["percent"], row["flag"]) for row in found} == expected


def binomial(row: dict[str, Any]) -> float:
    """Variance by chance of a row's rate, in squared percentage points."""
    percent = 50 if row["gld_children_percent"] is None else row["gld_children_percent"]
    return max(percent * (100 - percent), 0.0) / max(row["children_count_estimate"], 1.0)


def asked_of(distances: dict[Any, float], risk: float = 0.05) -> float:
    """Standard errors from 0 that a list of differences asks for."""
    return float(certain_from(np.array([list(distances.values())]), risk)[0])


def test_widest_gap(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    gaps = {
        row["la_name"]: [row[f"gld_difference_points{end}"] for end in ("", "_lower_ci", "_upper_ci")]
        for row in tables["gld_differences"].to_pylist()
        if row["geographic_level"] == "Local authority" and row["comparison"] == "Not eligible less eligible"
    }
    gaps = {name: gap for name, gap in gaps.items() if gap[0] is not None}
    chance = dict.fromkeys(gaps, 0.0)
    for row in tables["gld_headline"].to_pylist():
        of_pair = row["breakdown"] in ("Eligible for free school meals", "Not eligible for free school meals")
        if row["la_name"] in gaps and of_pair and row["sex"] == "Total":
            chance[row["la_name"]] += binomial(row)
    found = {row["area_name"]: row for row in run(two_releases, "Widest free school meal gap, with certainty")}
    assert set(found) == set(gaps)
    distances = {}
    for name, (points, low, _) in gaps.items():
        for other, (less, _, high) in gaps.items():
            down, up = points - low, high - less
            noise = down**2 + up**2 + 2 * 0.05 * down * up
            if points > less:
                error = (noise / Z**2 + chance[name] + chance[other]) ** 0.5
                distances[name, other] = (points - less) / error
    for name in gaps:
        others = [found[name][f"surely_{side}_than"] for side in ("wider", "narrower")]
        # Pairs with areas that are no councils are in the list: it asks for more than these alone.
        at_95 = sum(one == name and distance > Z for (one, _), distance in distances.items())
        alone = sum(one == name and d > asked_of(distances, 0.001) for (one, _), d in distances.items())
        assert alone <= others[0] <= at_95
        assert sum(others) <= found[name]["other_councils"] == len(gaps) - 1


def test_children_no_one_joined_up(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    found = {(r["area_name"], r["seen_by"], r["concern_by"]): r for r in run(two_releases, "Children no one joined up")}
    expected = [
        row
        for row in tables["joined_dots"].to_pylist()
        if (row["seen_by"], row["concern_by"])
        in (("Both", "Health visitor only"), ("Both", "Setting only"), ("Neither", "Total"))
    ]
    assert len(found) == len(expected) == 30
    for row in expected:
        area = row["la_name"] or row["english_devolved_area_name"] or "Pilot councils"
        assert found[area, row["seen_by"], row["concern_by"]]["children_count"] == row["children_count"]


def test_all_councils_against_england(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    official = {
        (figure.breakdown_topic, figure.breakdown): figure.percent
        for figure in official_figures("202425")
        if figure.geographic_level == "National" and figure.sex == "Total"
    }
    ours = {
        (row["breakdown_topic"], row["breakdown"]): row
        for row in tables["gld_headline"].to_pylist()
        if row["geographic_level"] == "Pilot councils" and row["sex"] == "Total"
    }
    found = run(two_releases, "All councils against England")
    assert {(row["breakdown_topic"], row["breakdown"]) for row in found} == set(official) & set(ours)
    for row in found:
        key = (row["breakdown_topic"], row["breakdown"])
        percent, low, high = (ours[key][f"gld_children_percent{end}"] for end in ("", "_lower_ci", "_upper_ci"))
        if percent is None:
            assert row["is_certain"] is None
            continue
        arm = percent - low if percent > official[key] else high - percent
        assert row["england"] == pytest.approx(official[key], abs=0.051)
        distance = abs(percent - official[key]) / ((arm / Z) ** 2 + binomial(ours[key])) ** 0.5
        assert row["is_certain"] <= (distance > Z)
        assert row["is_certain"] or distance < 3.3  # at most 20 groups


def test_every_group_stands_beside_englands_figure_and_the_councils_own(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    figures = {(f.area_name, f.breakdown_topic, f.breakdown): f for f in official_figures("202425") if f.sex == "Total"}
    ours = {
        (row["la_name"], row["breakdown_topic"], row["breakdown"]): row
        for row in tables["gld_headline"].to_pylist()
        if row["geographic_level"] == "Local authority" and row["sex"] == "Total"
    }
    found = run(two_releases, "By characteristic, beside official figures")
    assert {row["breakdown_topic"] for row in found} >= {
        "Free school meal eligibility",
        "SEN provision",
        "Ethnic group",
    }
    assert all(row["source"].startswith("DfE, ") for row in found)
    told = 0
    for row in found:
        key = (row["area_name"], row["breakdown_topic"], row["breakdown"])
        own, england = figures.get(key), figures["England", *key[1:]].percent
        assert row["official"] == (own and round(own.percent, 2))
        percent, low, high = (ours[key][f"gld_children_percent{end}"] for end in ("", "_lower_ci", "_upper_ci"))
        if percent is not None:
            for sign, arm, verdict in ((1, percent - low, "ahead"), (-1, high - percent, "behind")):
                distance = sign * (percent - england) / ((arm / Z) ** 2 + binomial(ours[key])) ** 0.5
                assert (row["beside_england"] == verdict) <= (distance > Z)
                assert row["beside_england"] == verdict or distance < 4.2  # at most 200 rows
            told += own is not None
    assert told > 20


def test_the_review_stands_beside_what_is_published_of_its_year(two_releases: Path) -> None:
    """Children of 2024/25 turned 2½ in 2022/23."""
    found = {
        (row["area_name"], row["asq3_domain"]): row
        for row in run(two_releases, "The two-year review, beside official figures")
    }
    assert {row["financial_year"] for row in found.values()} == {"202223"}
    assert {row["england_reviews_that_used_asq3"] for row in found.values()} == {92.5}
    leeds, together = found["Leeds", "All five domains"], found["Pilot councils", "Communication"]
    assert (leeds["england_expected_level"], leeds["reviews_that_used_asq3"]) == (79.2, 79.9)
    assert (together["england_expected_level"], together["reviews_that_used_asq3"]) == (85.3, None)
    assert not any("is_" in column for column in leeds)
    assert len({figure.measure for figure in official_reviews("202425")}) == 2


def test_goals_that_could_be_the_lowest(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    name = "expected_children_percent"
    goals = [
        row
        for row in tables["early_learning_goals"].to_pylist()
        if row["geographic_level"] == "Pilot councils" and row["breakdown"] == "Total" and row[name] is not None
    ]
    [everyone] = (
        row["children_count_estimate"]
        for row in tables["gld_headline"].to_pylist()
        if row["geographic_level"] == "Pilot councils" and row["breakdown"] == row["sex"] == "Total"
    )
    found = {row["early_learning_goal"]: row["could_be_lowest"] for row in run(two_releases, "Weakest goals")}
    assert set(found) == {row["early_learning_goal"] for row in goals}
    for one in goals:
        surely_above = False
        for other in goals:
            noise = one[name] - one[f"{name}_lower_ci"] + other[f"{name}_upper_ci"] - other[name]
            chance = sum(row[name] * (100 - row[name]) / everyone for row in (one, other))
            surely_above |= one[name] - other[name] > norm.isf(0.05 / 16) * (noise**2 / Z**2 + chance) ** 0.5
        assert found[one["early_learning_goal"]] == (not surely_above)
    assert any(found.values())


def test_who_is_surely_ahead_of_all_is_so_by_more_than_noise_and_chance(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    headline = [
        row for row in tables["gld_headline"].to_pylist() if row["breakdown"] == "Total" and row["sex"] == "Total"
    ]
    [together] = [row for row in headline if row["geographic_level"] == "Pilot councils"]
    of = {row["la_name"] or row["english_devolved_area_name"] or "together": row for row in headline}
    variance = {name: binomial(row) for name, row in of.items()}
    distances, councils = {}, set()
    for row in tables["gld_differences"].to_pylist():
        name, points = row["la_name"] or row["english_devolved_area_name"], row["gld_difference_points"]
        if row["comparison"] == "All children: area less all councils together" and name and points is not None:
            share = of[name]["children_count_estimate"] / together["children_count_estimate"]
            chance = variance[name] * (1 - 2 * share) + variance["together"]
            end = row["gld_difference_points_lower_ci" if points > 0 else "gld_difference_points_upper_ci"]
            distances[name] = abs(points) / (((points - end) / Z) ** 2 + chance) ** 0.5
            councils |= {row["la_name"]}
    expected = {name for name in councils & set(distances) if distances[name] > asked_of(distances, 0.025)}
    found = run(two_releases, "Which councils differ from all together")
    assert {row["area_name"] for row in found} == expected


def test_figures_not_to_be_used(two_releases: Path, tables: dict[str, pa.Table]) -> None:
    found = {(r["characteristic"], r["child_group"]): r for r in run(two_releases, "Which figures should I not use?")}
    rows = [
        row
        for row in tables["gld_headline"].to_pylist()
        if row["breakdown_topic"] == "Ethnic group" and row["breakdown"] == "White" and row["sex"] == "Total"
    ]
    white = found["Ethnic group", "White"]
    flags = [row["gld_children_percent_flag"] for row in rows]
    assert (white["areas"], white["unreliable"], white["withheld"]) == (10, flags.count("u"), flags.count("withheld"))


def test_this_release_and_the_one_before(two_releases: Path) -> None:
    found = run(two_releases, "This release and the one before")
    assert {(row["release_version"], row["earlier_version"]) for row in found} == {("2027.02.0", "2026.11.0")}
    for row in found:
        if row["moved"] is not None:
            assert row["moved"] == pytest.approx(row["percent"] - row["earlier_percent"], abs=0.051)

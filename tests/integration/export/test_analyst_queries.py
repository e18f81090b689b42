"""The worked queries of the analyst database: each runs, and several are worked out anew from the Parquet files."""

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ndl_export.analyst_db.build import WORKED_QUERIES, WorkedQuery
from ndl_export.facts.description import DATABASE_FILE
from ndl_export.facts.official import read_official_figures, read_official_reviews
from tests.support.daily import mark_slow_after
from tests.support.export.analyst import COUNCILS, TOTAL, Row, answer, compute_chance, compute_ends, list_published
from tests.support.release.comparisons import Z, compute_certain_from


def run(directory: Path, title: str) -> list[Row]:
    """The answer of the query as it stands in the file."""
    with duckdb.connect(str(directory / DATABASE_FILE), read_only=True) as reader:
        [(sql,)] = reader.execute("SELECT sql FROM help.worked_queries WHERE title = ?", [title]).fetchall()
        return answer(reader, sql)


@pytest.mark.parametrize("query", WORKED_QUERIES, ids=lambda query: query.title)
def test_each_answers_and_is_explained(query: WorkedQuery, two_releases: Path) -> None:
    answer = run(two_releases, query.title)
    assert any(value is not None for row in answer for value in row.values())
    assert query.question.endswith((".", "?"))
    assert query.meaning.endswith(".")


@pytest.mark.parametrize("query", mark_slow_after(6, WORKED_QUERIES), ids=lambda query: query.title)
def test_a_second_cohort_in_a_release_does_not_get_mixed_in(
    query: WorkedQuery, two_releases: Path, two_cohorts: Path
) -> None:
    """The newest cohort is the same in both; queries that are about several cohorts name each."""
    one, two = run(two_releases, query.title), run(two_cohorts, query.title)
    if "time_period" in two[0]:
        two = [row for row in two if row["time_period"] == "202425"]
    if "change_points" not in one[0]:
        assert sorted(map(str, two)) == sorted(map(str, one))


def test_every_group_stands_beside_englands_figure_and_the_councils_own(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    figures = {
        (f.area_name, f.breakdown_topic, f.breakdown): f for f in read_official_figures("202425") if f.sex == "Total"
    }
    rows = list_published(tables, "gld_headline", **COUNCILS, sex="Total")
    ours = {(row["la_name"], row["breakdown_topic"], row["breakdown"]): row for row in rows}
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
        percent, low, high = compute_ends(ours[key])
        if percent is not None:
            for sign, arm, verdict in ((1, percent - low, "ahead"), (-1, high - percent, "behind")):
                distance = sign * (percent - england) / ((arm / Z) ** 2 + compute_chance(ours[key])) ** 0.5
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
    assert len({figure.measure for figure in read_official_reviews("202425")}) == 2


def test_who_is_surely_ahead_of_all_is_so_by_more_than_noise_and_chance(
    two_releases: Path, tables: dict[str, pa.Table]
) -> None:
    headline = list_published(tables, "gld_headline", **TOTAL)
    of = {row["la_name"] or row["english_devolved_area_name"] or "together": row for row in headline}
    distances, councils = {}, set()
    for row in list_published(tables, "gld_differences", comparison="All children: area less all councils together"):
        name, (points, low, high) = (
            row["la_name"] or row["english_devolved_area_name"],
            compute_ends(row, "gld_difference_points"),
        )
        if name and points is not None:
            share = of[name]["children_count_estimate"] / of["together"]["children_count_estimate"]
            variance = compute_chance(of[name]) * (1 - 2 * share) + compute_chance(of["together"])
            noise = (points - (low if points > 0 else high)) / Z
            distances[name] = abs(points) / (noise**2 + variance) ** 0.5
            councils |= {row["la_name"]}
    (needed,) = compute_certain_from(np.array([list(distances.values())]), 0.025)
    expected = {name for name in councils & set(distances) if distances[name] > needed}
    found = run(two_releases, "Which councils differ from all together")
    assert {row["area_name"] for row in found} == expected

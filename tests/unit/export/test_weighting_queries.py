"""The worked queries that weigh linked children by their group's link rate, on a few figures, by hand."""

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from ndl_export.analyst_db.build import WORKED_QUERIES

ELIGIBLE, OTHER = "Eligible for free school meals", "Not eligible for free school meals"
ABOVE, NONE = "All five domains at or above the cut-off", "No linked review"
QUERIES = {query.title.removeprefix("If missed links are not random: "): query.sql for query in WORKED_QUERIES}


def _answer(query: str, **tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with duckdb.connect() as con:
        con.execute("CREATE SCHEMA latest; CREATE MACRO latest_cohort() AS '202425'").fetchall()
        for name, rows in tables.items():
            con.register("rows", pa.Table.from_pylist([row | {"time_period": "202425"} for row in rows]))
            con.execute(f"CREATE TABLE latest.{name} AS FROM rows").fetchall()
        found: list[dict[str, Any]] = con.sql(QUERIES[query]).to_arrow_table().to_pylist()
    return found


def _rows(columns: str, *values: tuple[Any, ...], **same: Any) -> list[dict[str, Any]]:
    return [dict(zip(columns.split(), each, strict=True)) | same for each in values]


LIMITS = {"gld_children_percent_lower_ci": 0.0, "gld_children_percent_upper_ci": 100.0}


def test_from_review_to_school() -> None:
    """Half of 80 eligible children linked, 20 good of 40; 90 of 100 others, 72 good. Weights 2 and 1 / .9."""
    rates = _rows(
        "breakdown linked_children_percent",
        *((ELIGIBLE, 50.0), (OTHER, 90.0), ("Unknown", None)),
        is_all_together=True,
        linked_to_review="Total",
        breakdown_topic="Free school meal eligibility",
    )
    rows = _rows(
        "fsm_eligibility asq3_outcome children_count_estimate gld_children_count_estimate is_all_together",
        (ELIGIBLE, ABOVE, 40, 20, True),
        (OTHER, ABOVE, 90, 72, True),
        ("Unknown", ABOVE, 5, 5, True),
        ("Total", ABOVE, 130, 92, True),
        ("Total", NONE, 50, 20, True),
        (ELIGIBLE, NONE, 40, 10, True),
        (ELIGIBLE, ABOVE, 1_000, 0, False),
        **LIMITS,
    )
    for row in rows:
        row["gld_children_percent"] = 100 * row["gld_children_count_estimate"] / row["children_count_estimate"]
    (found,) = _answer("from review to school", linkage_quality=rates, readiness_pathway=rows)
    assert found["asq3_outcome"] == ABOVE
    assert found["unweighted_percent"] == pytest.approx(100 * 92 / 130)
    assert found["weighted_percent"] == pytest.approx(100 * (20 * 2 + 72 / 0.9) / (40 * 2 + 90 / 0.9), abs=0.05)


def test_funded_entitlement() -> None:
    """A quarter of the eligible not linked, a tenth of the others."""
    rows = _rows(
        "fsm_eligibility two_year_old_entitlement children_count_estimate gld_children_percent",
        (ELIGIBLE, "Taken", 30.0, 50.0),
        (ELIGIBLE, "Not taken", 30.0, 40.0),
        (ELIGIBLE, "Not linked to a setting", 20.0, 30.0),
        (ELIGIBLE, "Total", 80.0, 41.0),
        (OTHER, "Taken", 10.0, 80.0),
        (OTHER, "Not taken", 80.0, 70.0),
        (OTHER, "Not linked to a setting", 10.0, 60.0),
        (OTHER, "Total", 100.0, 70.0),
        ("Total", "Taken", 40.0, 57.5),
        ("Total", "Not taken", 110.0, 61.8),
        ("Total", "Total", 180.0, 57.0),
        is_all_together=True,
        **LIMITS,
    )
    found = {row["two_year_old_entitlement"]: row for row in _answer("funded entitlement", funded_entitlement=rows)}
    assert set(found) == {"Taken", "Not taken"}
    eligible, other = 30 / 0.75, 10 / 0.9
    expected = (50 * eligible + 80 * other) / (eligible + other)
    assert found["Taken"]["weighted_percent"] == pytest.approx(expected, abs=0.05)
    assert found["Taken"]["unweighted_percent"] == 57.5


def test_children_seen_by_both_services() -> None:
    """Half of the children of one council seen by both, all of the other's; one council has no figure."""
    rows = _rows(
        "area_code seen_by concern_by children_count_estimate gld_children_percent",
        ("a", "Total", "Total", 100.0, 60.0),
        ("a", "Both", "Total", 50.0, 60.0),
        ("a", "Both", "None", 40.0, 75.0),
        ("b", "Total", "Total", 100.0, 60.0),
        ("b", "Both", "Total", 100.0, 60.0),
        ("b", "Both", "None", 60.0, 50.0),
        ("c", "Total", "Total", 10.0, 60.0),
        ("c", "Both", "Total", 5.0, 60.0),
        ("c", "Both", "None", 5.0, None),
        geographic_level="Local authority",
    )
    (found,) = _answer("children seen by both services", joined_dots=rows)
    assert (found["concern_by"], found["councils_with_a_figure"]) == ("None", 2)
    assert found["unweighted_percent"] == pytest.approx((75 * 40 + 50 * 60) / 100, abs=0.05)
    assert found["weighted_percent"] == pytest.approx((75 * 80 + 50 * 60) / 140, abs=0.05)

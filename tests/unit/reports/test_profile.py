"""The profile counts what is there, in groups that the data have no say in."""

import datetime as dt
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from assets.intake.quality_report.profile import (
    AFTER,
    BEFORE,
    Profile,
    Uncounted,
    compute_bin_edges,
    count,
    list_months,
)
from sources.contracts import CONTRACTS, Column, Kind, Role
from sources.reference.code_lists import GLD_GOALS, GOALS
from sources.reference.cohorts import Cohort
from tests.support.daily import limit_examples

COHORT = Cohort("202425")
CONTRACT = CONTRACTS["hv_reviews"]
SCORE = CONTRACT["asq3_communication"]
TYPES = {Kind.DATE: pa.date32(), Kind.DECIMAL: pa.float64()}

scores = st.none() | st.floats(0, 60, allow_nan=False)
days = st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))
reviews = st.lists(
    st.fixed_dictionaries(
        {
            "review": st.sampled_from([*(CONTRACT["review"].codes or ())]),
            "review_date": days,
            "asq3_communication": scores,
            "term_of_birth": st.sampled_from([None, "Autumn-born", "Summer-born"]),
        }
    ),
    max_size=30,
)


def kept(folder: Path, source: str, rows: list[dict[str, Any]]) -> Path:
    """A kept extract of `rows`; columns that they leave out are empty."""
    columns = (*CONTRACTS[source].select_role(Role.PAYLOAD), *CONTRACTS[source].derived)
    fields = [pa.field(column.name, TYPES.get(column.kind, pa.string())) for column in columns]
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), folder / "kept.parquet")
    return folder / "kept.parquet"


def profiled(folder: Path, source: str, rows: list[dict[str, Any]]) -> Profile:
    (found,) = count(duckdb.connect(), [Uncounted(CONTRACTS[source], COHORT.code, kept(folder, source, rows))])
    return found


def bin_of(column: Column, value: float) -> str:
    *lower, _ = compute_bin_edges(column)
    return f"{max(low for low in lower if low <= value):g}"


def month_of(day: dt.date) -> str:
    window = list_months(COHORT)
    month = day.replace(day=1)
    return BEFORE if month < window[0] else AFTER if month > window[-1] else f"{month:%Y-%m}"


@limit_examples(25, [HealthCheck.function_scoped_fixture])
@given(rows=reviews)
def test_counts_are_those_of_counting_one_by_one(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = profiled(tmp_path, "hv_reviews", rows)
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
    empty = profiled(tmp_path, "hv_reviews", [])  # groups do not depend on the data
    keys = [[(name, key) for name, column in p.columns.items() for key in column.groups] for p in (found, empty)]
    assert keys[0] == keys[1]


def test_measures_of_the_profile(tmp_path: Path) -> None:
    all_expected = dict.fromkeys(GOALS, "2")
    rows = [
        all_expected,
        all_expected | {"exp_e17": "1"},
        all_expected | {GLD_GOALS[0]: "1"},
        dict.fromkeys(GOALS, "A"),
    ]
    found = profiled(tmp_path, "eyfsp", rows).measures
    shares = {name: (measure.rows, measure.of) for name, measure in found.items()}
    assert shares["gld"] == (2, 4)
    assert shares["all_goals"] == (1, 4)
    assert (shares["com"], shares["exp"], shares["mat"]) == ((2, 4), (2, 4), (3, 4))


def test_extracts_counted_together_are_counted_as_each_alone(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [dict.fromkeys(GOALS, "2"), dict.fromkeys(GOALS, "1")]
    wanted = []
    for name, some in (("O'Brien [1]", rows), ("none", []), ("100%", rows[:1])):
        (tmp_path / name).mkdir()
        wanted.append(Uncounted(CONTRACTS["eyfsp"], COHORT.code, kept(tmp_path / name, "eyfsp", some)))
    together = count(duckdb.connect(), wanted)
    assert together == [count(duckdb.connect(), [extract])[0] for extract in wanted]
    assert [found.rows for found in together] == [2, 0, 1]


def test_ranges_and_months_are_public() -> None:
    columns = (column for contract in CONTRACTS.values() for column in contract.select_role(Role.PAYLOAD))
    assert {len(compute_bin_edges(column)) for column in columns if column.kind in (Kind.DECIMAL, Kind.INTEGER)} == {11}
    window = list_months(COHORT)
    assert (window[0], window[-1]) == (dt.date(2018, 12, 1), dt.date(2025, 8, 1))

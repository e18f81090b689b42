"""The history of rows, and which deliveries are unusual, on small tables."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from assets.home.paths import Home
from assets.returns.row_history import LEAST_NEW, MOST_ALIKE, Unusual, observe
from privacy.returns.facts import ALIKE_TOKENS
from privacy.services import SERVICES

DAY = dt.date(2026, 11, 26)
NEXT = DAY + dt.timedelta(days=5)
PROFILE, CENSUS = ("leeds", "eyfsp"), ("leeds", "school_census")

Sent = dict[tuple[str, str], tuple[str, Sequence[str]]]
"""The MAC of each extract and the marks of its rows, in their order; after a space, that of the two names alone."""
History = dict[str, tuple[dt.date | None, int, bool]]


def observe_all(
    home: Home,
    sent: Sent,
    on: dt.date = DAY,
    released: Sequence[str] = (),
    alike: int | None = None,
    cohort: str = "202425",
) -> tuple[History, dict[tuple[str, str], Unusual]]:
    """Day, deliveries and start of each mark of the Profile; and what is unusual. All rows share the token `alike`."""
    rows: list[dict[str, Any]] = [
        {"source": source, "council": council, "service": SERVICES[source], "row_key": number}
        | dict(zip(("identity", "names"), (*mark.split(), None), strict=False))
        for (council, source), (_, marks) in sent.items()
        for number, mark in enumerate(marks, 1)
    ]
    kinds = {"source": pa.string(), "council": pa.string(), "service": pa.string(), "row_key": pa.uint64()}
    table = pa.Table.from_pylist(rows, pa.schema([*kinds.items(), ("identity", pa.string()), ("names", pa.string())]))
    for name in (*ALIKE_TOKENS, "t_upn", "t_nhs"):
        value = alike if name == ALIKE_TOKENS[0] else None
        table = table.append_column(name, pa.array([value] * len(rows), pa.uint64()))
    with duckdb.connect() as con:
        con.register("given", table)
        con.execute("CREATE TEMP TABLE records AS FROM given")
        extracts: Any = {key: SimpleNamespace(file_mac=mac) for key, (mac, _) in sent.items()}
        unusual = observe(con, home.get_cohort(cohort), extracts, released, on)
        found = con.execute(
            "SELECT concat_ws(' ', identity, names), first_day, deliveries, at_start FROM records"
            " WHERE source = 'eyfsp'"
        ).fetchall()
    return {mark: (day, deliveries, start) for mark, day, deliveries, start in found}, unusual


OLD = [f"old{n}" for n in range(100)]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_mark_keeps_its_day_and_counts_deliveries_not_runs(home: Home) -> None:
    assert observe_all(home, {PROFILE: ("1", ["a", "b"])})[0] == {"a": (DAY, 1, True), "b": (DAY, 1, True)}
    for _ in range(2):
        assert observe_all(home, {PROFILE: ("2", ["b", "c"])}, NEXT)[0] == {"b": (DAY, 2, True), "c": (NEXT, 1, False)}
    assert observe_all(home, {PROFILE: ("3", ["a", "b"])}, NEXT)[0] == {"a": (NEXT, 1, False), "b": (DAY, 3, True)}


def test_another_source_of_the_same_service_counts_and_of_another_does_not(home: Home) -> None:
    observe_all(home, {CENSUS: ("1", ["a"]), ("leeds", "hv_reviews"): ("2", ["b"]), ("wirral", "eyfsp"): ("3", ["c"])})
    later = observe_all(home, {CENSUS: ("1", ["a"]), PROFILE: ("4", ["a", "b", "c"])}, NEXT)[0]
    assert later == {"a": (DAY, 2, True), "b": (NEXT, 1, False), "c": (NEXT, 1, False)}


def test_a_row_whose_token_of_two_names_goes_is_known_and_one_that_gets_another_is_new(home: Home) -> None:
    """A sender of tokens could put anybody's names to an old row, and learnt of that child the same day."""
    observe_all(home, {PROFILE: ("1", ["a Ann", "b", "c Cai"])})
    gone = observe_all(home, {PROFILE: ("2", ["a", "b Eve", "c Eve"])}, NEXT)[0]
    assert gone == {"a": (DAY, 2, True), "b Eve": (NEXT, 1, False), "c Eve": (NEXT, 1, False)}
    back = observe_all(home, {PROFILE: ("3", ["a Ann", "b", "c Cai"])}, NEXT)[0]
    assert back["a Ann"] == (DAY, 3, True)


def test_the_names_of_a_new_row_get_no_day_from_a_row_without_any(home: Home) -> None:
    observe_all(home, {PROFILE: ("1", ["a"])})
    observe_all(home, {PROFILE: ("2", ["a", "a Eve"])}, NEXT)
    observe_all(home, {PROFILE: ("3", ["a"])}, NEXT)
    assert observe_all(home, {PROFILE: ("4", ["a Eve"])}, NEXT)[0] == {"a Eve": (NEXT, 1, False)}


def test_variants_of_the_names_of_one_row_are_unusual(home: Home) -> None:
    observe_all(home, {PROFILE: ("1", OLD)})
    variants = [f"old1 name{n}" for n in range(MOST_ALIKE + 1)]
    assert observe_all(home, {PROFILE: ("2", variants)}, NEXT, alike=7)[1]


def test_variants_that_come_a_few_at_a_time_are_unusual_together(home: Home) -> None:
    rows, found = list(OLD), []
    observe_all(home, {PROFILE: ("first", rows)})
    for day in range(3):
        rows += [f"new{day}.{n}" for n in range(MOST_ALIKE // 2)]
        found.append(bool(observe_all(home, {PROFILE: (f"{day}", rows)}, NEXT, alike=7)[1]))
    assert found == [False, False, True]


@pytest.mark.parametrize(
    ("source", "start", "days", "rows", "waits"),
    [
        ("hv_reviews", "2025-11-01", 60, 200, False),  # 61 days after the first birth, and 121: twice as many are born
        ("hv_reviews", "2025-11-01", 60, 320, True),
        ("hv_reviews", "2025-11-01", 10, 200, True),
        ("hv_reviews", "2026-09-01", 60, 200, True),  # all are born
        ("early_years_census", "2028-02-01", 60, 200, True),
        ("early_years_census", "2028-02-01", 365, 1000, False),  # a census in between
    ],
)
def test_a_cohort_that_is_born_and_a_census_bring_new_children(
    home: Home, source: str, start: str, days: int, rows: int, waits: bool
) -> None:
    sender = ("leeds", source)
    first = dt.date.fromisoformat(start)
    observe_all(home, {sender: ("1", OLD)}, first, cohort="203031")
    later = [*OLD, *(f"new{n}" for n in range(rows - len(OLD)))]
    unusual = observe_all(home, {sender: ("2", later)}, first + dt.timedelta(days), cohort="203031")[1]
    assert bool(unusual) == waits


def test_nothing_is_kept_without_an_extract(home: Home) -> None:
    observe_all(home, {PROFILE: ("1", ["a"])})
    assert home.get_cohort("202425").row_history.stat().st_mode & 0o777 == 0o600
    observe_all(home, {})
    assert not home.get_cohort("202425").row_history.exists()


@pytest.mark.parametrize(
    ("marks", "alike", "reason"),
    [
        (OLD * 2, None, "many more rows than the delivery before"),
        (OLD + [f"new{n}" for n in range(LEAST_NEW)], None, "many of its rows are new"),
        (OLD + [f"new{n}" for n in range(MOST_ALIKE + 1)], 7, "variants of one child"),
    ],
)
def test_an_unusual_delivery_waits_and_its_new_rows_do_not_begin_to_stand(
    home: Home, marks: list[str], alike: int | None, reason: str
) -> None:
    assert observe_all(home, {PROFILE: ("1", OLD)})[1] == {}
    for _ in range(2):
        history, unusual = observe_all(home, {PROFILE: ("2", marks)}, NEXT, alike=alike)
        assert reason in unusual[PROFILE].reasons[0]
        assert history["old1"] == (DAY, 1, True)
        assert {day for mark, (day, _, _) in history.items() if mark.startswith("new")} <= {None}
    history, unusual = observe_all(home, {PROFILE: ("2", marks)}, NEXT, released=["2"], alike=alike)
    assert unusual == {}
    assert history["old1"] == (DAY, 2, True)
    assert {day for mark, (day, _, _) in history.items() if mark.startswith("new")} <= {NEXT}


def test_a_usual_delivery_does_not_wait(home: Home) -> None:
    old = [f"old{n}" for n in range(1000)]
    observe_all(home, {PROFILE: ("1", old)}, alike=7)
    more = old + [f"new{n}" for n in range(MOST_ALIKE)]
    assert observe_all(home, {PROFILE: ("2", more)}, alike=7)[1] == {}

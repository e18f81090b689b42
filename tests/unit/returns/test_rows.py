"""Which rows have not stood, and what the linkage is given in their absence, on small tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from privacy.doors.database import in_memory
from privacy.keys import KeyRing
from privacy.pseudonyms import BAND_BITS, TOKENS
from privacy.returns.agreement import Fact, First, NewChildren, Sender
from privacy.returns.rows import identity_sql, left_out, names_sql, note_waiting, prepare_marks, tokens_without

ON = dt.date(2026, 11, 26)
SCHOOL = Sender("leeds", "education")


def judged(
    rule: NewChildren, stood: int | None = 100, deliveries: int = 1, at_start: bool = False, council: str = "leeds"
) -> tuple[bool, bool]:
    """Whether a row waits, and whether it is left out of the linkage for its service."""
    first_day = None if stood is None else ON - dt.timedelta(days=stood)
    columns = {
        "source": ["eyfsp"],
        "council": [council],
        "service": ["education"],
        "row_key": pa.array([1], pa.uint64()),
        "first_day": pa.array([first_day], pa.date32()),
        "deliveries": [deliveries],
        "at_start": [at_start],
    }
    with duckdb.connect() as con:
        con.register("sent", pa.table(columns))
        con.execute("CREATE TEMP TABLE records AS FROM sent")
        note_waiting(con, {SCHOOL: rule}, ON)
        ((waiting,),) = con.execute("SELECT waiting FROM all_records").fetchall()
        assert left_out(con, "health").num_rows == 0
        return waiting, bool(left_out(con, "education").num_rows)


@pytest.mark.parametrize(
    ("stood", "deliveries", "waits"),
    [(28, 2, False), (27, 2, True), (28, 1, True), (400, 9, False), (None, 0, True)],
)
def test_a_row_has_stood_after_the_days_and_the_deliveries_of_the_rule(
    stood: int | None, deliveries: int, waits: bool
) -> None:
    assert judged(NewChildren(after_deliveries=2), stood, deliveries) == (waits, waits)


def test_rows_of_a_first_delivery_stand_at_once_only_where_the_agreement_says_so() -> None:
    assert judged(NewChildren(), stood=0, at_start=True) == (True, True)
    assert judged(NewChildren(first_delivery=First.AT_ONCE), stood=0, at_start=True) == (False, False)
    assert judged(NewChildren(first_delivery=First.AT_ONCE), stood=0) == (True, True)


def test_a_rule_by_which_new_rows_are_told_something_leaves_none_out() -> None:
    assert judged(NewChildren(until_then=frozenset({Fact.KNOWN_TO})), stood=0) == (True, False)


def test_rows_of_a_sender_who_receives_nothing_wait_for_nothing() -> None:
    assert judged(NewChildren(), stood=None, council="wirral") == (False, False)


def test_a_namesake_that_is_left_out_leaves_no_trace_in_the_tokens_of_others() -> None:
    """The token of two common names is there while one child bears them: a new namesake would take it away."""
    rare, common = (0xABCD << 2 * BAND_BITS) + 2 ** (2 * BAND_BITS) - 1, 0xABCD << 2 * BAND_BITS

    def sent(keys: list[int], names: list[int | None]) -> pa.RecordBatchReader:
        columns = {"council": ["leeds"] * len(keys), "row_key": pa.array(keys, pa.uint64())}
        return pa.table(columns | {"t_names": pa.array(names, pa.uint64())}).to_reader()

    new = pa.table({"council": ["leeds"], "row_key": pa.array([3], pa.uint64())})
    without = tokens_without(sent([1, 2], [common, rare]), new.slice(1))
    assert tokens_without(sent([1, 2, 3], [None, rare, None]), new).sort_by("row_key") == without.sort_by("row_key")
    assert without["t_names"].to_pylist() == [None, rare]


@pytest.mark.parametrize("changed", ["sex", *(token.name for token in TOKENS)])
def test_a_row_with_another_token_has_another_mark(tmp_path: Path, changed: str) -> None:
    """Before, `t_names` was in none where another token of a name was: whoever wrote a tokens file could change it."""
    row = {token.name: number << 3 * BAND_BITS for number, token in enumerate(TOKENS, 1)}
    texts = pa.array(["F", "M" if changed == "sex" else "F"])
    tokens = {name: pa.array([value, value << (name == changed)], pa.uint64()) for name, value in row.items()}
    with in_memory() as con:
        prepare_marks(con, KeyRing.create(tmp_path / "keys"))
        con.register("sent", pa.table({"sex": texts, **tokens}))
        marks = f"{identity_sql(row)}, {names_sql(row)}"
        before, after = con.sql(f"SELECT {marks} FROM sent, identity_pads").fetchall()
    assert before != after
    assert (before[0] == after[0]) == (changed == "t_names")

"""Which rows have not stood, and what the linkage is given in their absence, on small tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from privacy.doors.database import in_memory
from privacy.keys import KeyRing
from privacy.pseudonyms import BAND_BITS, TOKENS
from privacy.returns.agreement import Fact, First, NewChildren, Sender
from privacy.returns.facts import identity_sql, left_out, names_sql, note_waiting, prepare_marks, tokens_without

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


NEW = {"stood": 0}
FIRST = NEW | {"at_start": True}
AT_ONCE = NewChildren(first_delivery=First.AT_ONCE)
TWICE = NewChildren(after_deliveries=2)


@pytest.mark.parametrize(
    ("rule", "row", "waits", "is_left_out"),
    [
        (TWICE, {"stood": 28, "deliveries": 2}, False, False),
        (TWICE, {"stood": 27, "deliveries": 2}, True, True),
        (TWICE, {"stood": 28, "deliveries": 1}, True, True),
        (TWICE, {"stood": 400, "deliveries": 9}, False, False),
        (TWICE, {"stood": None, "deliveries": 0}, True, True),
        (NewChildren(), FIRST, True, True),
        (AT_ONCE, FIRST, False, False),
        (AT_ONCE, NEW, True, True),
        (NewChildren(until_then=frozenset({Fact.KNOWN_TO})), NEW, True, False),
        (NewChildren(), {"stood": None, "council": "wirral"}, False, False),
    ],
)
def test_a_row_waits_by_the_rule_of_its_sender_who_receives_something(
    rule: NewChildren, row: dict[str, Any], waits: bool, is_left_out: bool
) -> None:
    assert judged(rule, **row) == (waits, is_left_out)


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

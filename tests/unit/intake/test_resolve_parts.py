"""Which rows are in force, against an oracle in plain Python over random parts."""

from dataclasses import dataclass

import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from assets.intake.parts import Part
from assets.intake.resolve_parts import Ordered, Resolved, resolve
from sources.councils.dialect import Parts
from tests.support.daily import limit_examples


@dataclass(frozen=True)
class Row:
    """A row of a part: the record that it names, if any, and what it says of it; or that the record is deleted."""

    record: int | None
    says: int
    state: str = "kept"


def part(number: int, rows: list[Row]) -> Part:
    deleted = sum(row.state == "deleted" for row in rows)
    return Part(
        number=number,
        file=f"{number}.csv",
        sender_mac="",
        file_mac="",
        read_at="",
        arrived=1,
        made_under={},
        rows_read=len(rows) - deleted,
        rows_deleted=deleted,
    )


def composed(parts: list[list[Row]], how: Parts | None, ties: list[int] | None = None) -> Resolved:
    """Row keys tell part and row: 100 times the part, and the row."""
    marks = {
        number: pa.table(
            {
                "row_key": pa.array([100 * number + place for place in range(len(rows))], pa.uint64()),
                "number": pa.array(range(len(rows)), pa.int64()),
                "record": pa.array([row.record for row in rows], pa.uint64()),
                "content": pa.array([content(row) for row in rows], pa.uint64()),
                "state": pa.array([row.state for row in rows], pa.string()),
            }
        )
        for number, rows in enumerate(parts, 1)
    }
    ordered = Ordered(tuple(map(part, marks, parts)), tuple(ties or range(len(parts))), "test")
    return resolve("leeds/eyfsp/202425", ordered, marks, how)


def content(row: Row) -> int:
    return 1_000_000 + row.says + (1000 * row.record if row.record is not None else 500_000)


def in_force(found: Resolved) -> list[int]:
    return sorted(found.rows["row_key"].to_pylist())


def oracle(parts: list[list[Row]], how: Parts) -> dict[object, set[int]]:
    """What each record, or row that names none, says at last; an empty part is a month without news."""
    held: dict[object, set[int]] = {}
    for rows in filter(None, parts):
        if how is Parts.CUMULATIVE:
            held = {}
        rows = [row for row in rows if row.state != "rejected"]
        if how is Parts.CHANGES:
            rows = list({key(row): row for row in rows}.values())
        for record in {key(row) for row in rows}:
            of_record = [row for row in rows if key(row) == record]
            if any(row.state == "deleted" for row in of_record):
                held.pop(record, None)
            else:
                held[record] = {content(row) for row in of_record}
    return held


def key(row: Row) -> object:
    return ("record", row.record) if row.record is not None else ("says", row.says)


ROWS = st.builds(
    Row, st.one_of(st.none(), st.integers(1, 6)), st.integers(0, 2), st.sampled_from(["kept"] * 5 + ["rejected"])
)
DELETIONS = st.builds(Row, st.integers(1, 6), st.just(0), st.just("deleted"))
SEQUENCES = st.lists(st.lists(ROWS, max_size=6), min_size=1, max_size=6)


@limit_examples(30)
@pytest.mark.parametrize("how", [Parts.INCREMENTAL, Parts.CUMULATIVE])
@given(parts=SEQUENCES)
def test_random_parts(how: Parts, parts: list[list[Row]]) -> None:
    check(parts, composed(parts, how), how)


@limit_examples(30)
@given(parts=st.lists(st.lists(st.one_of(ROWS, DELETIONS), max_size=8), min_size=1, max_size=6))
def test_random_changes(parts: list[list[Row]]) -> None:
    check(parts, composed(parts, Parts.CHANGES), Parts.CHANGES)


def check(parts: list[list[Row]], found: Resolved, how: Parts) -> None:
    of_key = {100 * number + place: row for number, rows in enumerate(parts, 1) for place, row in enumerate(rows)}
    said: dict[object, list[int]] = {}
    for row_key in in_force(found):
        said.setdefault(key(of_key[row_key]), []).append(content(of_key[row_key]))
    expected = oracle(parts, how)
    assert {record: set(contents) for record, contents in said.items()} == expected
    assert all(len(contents) == len(set(contents)) for contents in said.values())
    kept = sum(row.state == "kept" for row in of_key.values())
    tallies = found.tallies.values()
    if how is not Parts.CHANGES:
        assert sum(each["in_force"] + each["repeated"] + each["replaced"] for each in tallies) == kept
    assert sum(each["in_force"] for each in tallies) == len(in_force(found))


def test_a_row_that_says_the_same_again_keeps_its_key_unless_something_else_was_said_meanwhile() -> None:
    one, other = Row(1, 0), Row(1, 1)
    assert in_force(composed([[one], [one]], None)) == [100]
    assert in_force(composed([[one], [other], [one]], None)) == [300]

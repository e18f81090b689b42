"""Parquet of any column types gives the text that a text file would."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from sources.errors import ExtractStopped
from tests.support.intake.desk import EYFSP_HEADER
from tests.support.intake.files import Landing, as_parquet, children

ROWS = children(*[{}] * 3)
SURNAME = EYFSP_HEADER.index("surname")
SUMMER = dt.datetime(2020, 6, 1, tzinfo=dt.UTC)


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    return Landing(tmp_path)


def _table() -> pa.Table:
    return pyarrow.parquet.read_table(io.BytesIO(as_parquet(ROWS)))


def _written(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([1, None, 3], pa.int8()), ["1", None, "3"]),
        (pa.array([9990001234, 2, 3], pa.uint64()), ["9990001234", "2", "3"]),
        (pa.array([2.0, 24.02, float("nan")]), ["2", "24.02", None]),
        (pa.array([9990001234.0, 1e15, 1e300]), ["9990001234", "1000000000000000", "1e+300"]),
        (pa.array([2.0, 24.02, None], pa.float32()), ["2", "24.02", None]),
        (pa.array([2.5, 2, None], pa.float16()), ["2.5", "2", None]),
        (pa.array([decimal.Decimal("2.00"), decimal.Decimal("24.02"), None]), ["2", "24.02", None]),
        (pa.array([True, False, None]), ["TRUE", "FALSE", None]),
        (pa.array([dt.date(2020, 2, 29)] * 3), ["2020-02-29"] * 3),
        (pa.array([dt.datetime(2020, 2, 29, 13, 30)] * 3), ["2020-02-29"] * 3),
        (pa.array([SUMMER] * 3, pa.timestamp("us", tz="Europe/London")), ["2020-06-01"] * 3),
        (pa.array([SUMMER - dt.timedelta(hours=1)] * 3, pa.timestamp("ns", tz="Europe/London")), ["2020-06-01"] * 3),
        (pa.array(["a", "b", None]).dictionary_encode(), ["a", "b", None]),
        (pa.array(["a", "b", "Zoë"], pa.large_string()), ["a", "b", "Zoë"]),
        (pa.array(["a", "b", "Zoë"], pa.string_view()), ["a", "b", "Zoë"]),
        (pa.array([b"a", b"b", "Zoë".encode()], pa.binary()), ["a", "b", "Zoë"]),
        (pa.array([b"a", b"b", b"c"], pa.binary(1)), ["a", "b", "c"]),
        (pa.array([None] * 3, pa.null()), [None] * 3),
    ],
)
def test_column_types(landing: Landing, values: pa.Array, expected: list[str | None]) -> None:
    landing.put(_written(_table().set_column(SURNAME, "surname", values)), ".parquet")
    assert [row["surname"] for row in landing.read().rows.values()] == expected


NOT_SINGLE = [
    pa.array([["a"], [], None]),
    pa.array([{"a": 1}] * 3),
    pa.array([b"\xff\xfe"] * 3),
    pa.array([[("a", 1)]] * 3, pa.map_(pa.string(), pa.int64())),
]


@pytest.mark.parametrize("values", NOT_SINGLE)
def test_what_is_no_single_value_stops_it_where_it_is_read(landing: Landing, values: pa.Array) -> None:
    landing.put(_written(_table().append_column("more", values)), ".parquet")
    assert len(landing.read().rows) == 3
    landing.put(_written(_table().set_column(SURNAME, "surname", values)), ".parquet")
    with pytest.raises(ExtractStopped, match=r"not single values: column [0-9]+$"):
        landing.read()


def test_a_text_that_is_not_utf_8_stops_it(landing: Landing) -> None:
    """Arrow hands such bytes on as text."""
    content = _written(_table(), compression="none")
    landing.put(content.replace(b"Thornton", b"Thornt\xff\xff"), ".parquet")
    with pytest.raises(ExtractStopped, match=r"not single values: column [0-9]+$"):
        landing.read()


@pytest.mark.slow
def test_row_numbers_run_on_across_row_groups(landing: Landing) -> None:
    table = pa.concat_tables([_table()] * 40_000)
    landing.put(_written(table, row_group_size=7_001), ".parquet")
    assert list(landing.read().rows) == list(range(1, 120_001))


def test_headings_with_blanks_and_none(landing: Landing) -> None:
    names = [f" {name.upper()} " for name in EYFSP_HEADER]
    table = _table().rename_columns(names).append_column("", pa.array([1, 2, 3])).append_column(" ", pa.array([1] * 3))
    landing.put(_written(table), ".parquet")
    assert landing.read().rows[1]["surname"] == "Thornton"


def test_a_dotted_heading_is_a_column(landing: Landing) -> None:
    landing.put(_written(_table().append_column("surname.old", pa.array(["x"] * 3))), ".parquet")
    assert landing.read().rows[1]["surname"] == "Thornton"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_written(_table().append_column("sex", pa.array([1] * 3))), "columns [0-9]+ and [0-9]+ have the same name"),
        (as_parquet(ROWS)[:-100], "not a readable Parquet file"),
        (as_parquet(ROWS)[:1000], "not a readable Parquet file"),
        (b"PAR1", "not a readable Parquet file"),
        (b"PARE" + bytes(100) + b"PARE", "encrypted"),
        (_written(_table().select([])), "the file is empty"),
        (_written(_table().rename_columns([f"x{n}" for n in range(len(EYFSP_HEADER))])), "missing column"),
    ],
)
def test_stops(landing: Landing, content: bytes, message: str) -> None:
    landing.put(content, ".parquet")
    with pytest.raises(ExtractStopped, match=message):
        landing.read()


def test_a_blank_row_is_no_row(landing: Landing) -> None:
    blank = pa.Table.from_pylist([dict.fromkeys(EYFSP_HEADER)], schema=_table().schema)
    landing.put(_written(pa.concat_tables([_table(), blank, _table()])), ".parquet")
    assert list(landing.read().rows) == [1, 2, 3, 5, 6, 7]

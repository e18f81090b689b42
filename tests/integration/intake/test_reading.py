"""The same children, however their file is written, give the same rows."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd
import pytest

from sources.errors import ExtractStopped
from tests.support.intake.desk import Desk

Text = Callable[..., str]
NAMES = [{"surname": "Núñez"}, {"surname": "O'Brien", "forename": "Zoë"}, {"postcode": "LS2 9JT", "sex": "M"}]
TOKENS = "COLUMNS('^t_')"


def _tokens(desk: Desk) -> list[object]:
    desk.take()
    return desk.kept(columns=f"source_row, sex, term_of_birth, imd_quintile, {TOKENS}")


@pytest.fixture
def expected(desk: Desk, eyfsp: Text) -> list[object]:
    desk.land(eyfsp(*NAMES))
    return _tokens(desk)


def test_payload_is_typed_and_derived(desk: Desk, eyfsp: Text) -> None:
    desk.land(eyfsp({}, {"date_of_birth": "2019-09-01", "postcode": "ls29jt"}, {"postcode": "ZZ99 3VZ"}))
    desk.take()
    assert desk.kept(columns="sex, com_e01, term_of_birth, imd_quintile") == [
        ("F", "2", "Spring-born", 1),
        ("F", "2", "Autumn-born", 5),
        ("F", "2", "Spring-born", None),
    ]


def test_another_delimiter_encoding_and_packing(desk: Desk, eyfsp: Text, expected: list[object]) -> None:
    """`test_formats_same` has every format."""
    desk.land("").unlink()
    desk.land(eyfsp(*NAMES, delimiter=";").encode("windows-1252"), suffix=".csv.gz")
    assert _tokens(desk) == expected


def test_headings_in_another_case_and_order(desk: Desk, eyfsp: Text, expected: list[object]) -> None:
    frame = pd.read_csv(io.StringIO(eyfsp(*NAMES)), dtype=str)
    frame = frame[list(reversed(frame.columns))].rename(columns=str.upper).assign(EXTRA="x")
    desk.land(frame.to_csv(index=False))
    assert _tokens(desk) == expected


def test_quoted_line_breaks_do_not_shift_row_numbers(desk: Desk, eyfsp: Text) -> None:
    desk.land(eyfsp({"surname": '"Thorn\nton"'}, {}, {"com_e01": "7"}, *[{}] * 3))
    desk.take()
    assert desk.kept() == [1, 2, 4, 5, 6]
    assert desk.quarantined() == {(3, "com_e01-invalid")}


def test_malformed_rows_are_quarantined_under_their_own_numbers(desk: Desk, eyfsp: Text) -> None:
    lines = eyfsp(*[{}] * 9).splitlines()
    lines[2] += ",one,too,many"
    lines[5] = lines[5].rpartition(",")[0]
    desk.land("\n".join(lines) + "\n")
    quality = desk.take()
    assert (quality.rows_read, quality.rows_rejected) == (9, 2)
    assert desk.quarantined() == {(2, "malformed-row"), (5, "malformed-row")}
    assert desk.kept() == [1, 3, 4, *range(6, 10)]


def test_a_file_with_many_malformed_rows_is_stopped(desk: Desk, eyfsp: Text) -> None:
    lines = eyfsp(*[{}] * 90).splitlines()
    desk.land("\n".join([*lines[:70], *(line + ",one,too,many" for line in lines[70:])]) + "\n")
    with pytest.raises(ExtractStopped, match="More than 20% of the rows were rejected"):
        desk.take()


def test_the_same_file_again_is_read_from_its_earlier_result(desk: Desk, eyfsp: Text) -> None:
    desk.land(eyfsp())
    assert not desk.take().unchanged
    assert desk.take().unchanged
    desk.land(eyfsp({"sex": "M"}))
    assert not desk.take().unchanged
    assert desk.kept(columns="sex") == ["M"]

"""Headings are matched in bounded time, whatever they are."""

import time

import pytest

from sources.contracts import CONTRACTS
from sources.councils.dialect import CONTRACT_DIALECT
from sources.errors import ExtractStopped
from sources.extract.table import MAX_COLUMNS, MAX_HEADING, clean_header, match_columns

_MOST_SECONDS = 20
"""Of processor time: it takes one, and took 250 when every heading was compared with every name in full."""


def _headings(length: int) -> list[str]:
    """As many as there may be, each made of the letters of names and none of them one."""
    words = "surname forename date of birth postcode " * 60
    return [words[number % 37 :][: length - 4] + f"{number:04}" for number in range(MAX_COLUMNS)]


@pytest.mark.parametrize("length", [25, MAX_HEADING])
def test_half_a_megabyte_of_headings_is_matched_in_bounded_time(length: int) -> None:
    began = time.process_time()
    with pytest.raises(ExtractStopped, match="missing column 'upn'"):
        match_columns("a file", CONTRACTS["eyfsp"], CONTRACT_DIALECT, clean_header("a file", _headings(length)))
    assert time.process_time() - began < _MOST_SECONDS


def test_a_heading_that_is_longer_than_any_stops_the_file() -> None:
    with pytest.raises(ExtractStopped, match=r"heading is longer than 1,000 characters.*: column 2$"):
        clean_header("a file", ["upn", "x" * (MAX_HEADING + 1)])

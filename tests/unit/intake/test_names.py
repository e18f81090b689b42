"""Headings are matched in bounded time, and of the name of a file no word is kept that may be a child's."""

import re
import time

import pytest

from sources.contracts import CONTRACTS
from sources.councils.dialect import CONTRACT_DIALECT
from sources.errors import ExtractStopped
from sources.extract.part_names import mark_words, parse_place
from sources.extract.table import MAX_COLUMNS, MAX_HEADING, clean_header, match_columns

_MOST_SECONDS = 6
"""Of processor time: it takes a third, and took 60 when every heading was compared with every name in full."""


def _headings(length: int) -> list[str]:
    """A quarter of as many as there may be, each made of the letters of names and none of them one."""
    words = "surname forename date of birth postcode " * 60
    return [words[number % 37 :][: length - 4] + f"{number:04}" for number in range(MAX_COLUMNS // 4)]


@pytest.mark.parametrize("length", [25, MAX_HEADING])
def test_headings_of_any_length_are_matched_in_bounded_time(length: int) -> None:
    began = time.process_time()
    with pytest.raises(ExtractStopped, match="missing column 'upn'"):
        match_columns("a file", CONTRACTS["eyfsp"], CONTRACT_DIALECT, clean_header("a file", _headings(length)))
    assert time.process_time() - began < _MOST_SECONDS


def test_a_heading_that_is_longer_than_any_stops_the_file() -> None:
    with pytest.raises(ExtractStopped, match=r"heading is longer than 1,000 characters.*: column 2$"):
        clean_header("a file", ["upn", "x" * (MAX_HEADING + 1)])


@pytest.mark.parametrize(
    "name", ["2026-05.csv", "reviews 31.05.2026.xlsx", "hv_reviews_20260531.csv.gz", "May 2026.csv", "3 of 12.csv"]
)
def test_a_name_of_dates_numbers_and_usual_words_is_kept(name: str) -> None:
    assert mark_words(name, b"k" * 32) == name


@pytest.mark.parametrize(
    "name", ["Qwyjibo\nZorblax.csv", "Qwyjibo 9977000000 May 2026.csv", "M\u00fcller-Qwyjibo 2026-05.csv"]
)
def test_any_other_word_is_a_mark_and_the_place_is_the_same(name: str) -> None:
    kept = mark_words(name, b"k" * 32)
    assert not re.search("qwyjibo|zorblax|ller|99770", kept, re.IGNORECASE)
    assert parse_place(kept) == parse_place(name)
    assert kept == mark_words(name, b"k" * 32) != mark_words(name, b"l" * 32)

"""What may be kept of the name of a file, which may be a child's."""

import re

import pytest

from sources.extract.part_names import mark_words, parse_place


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

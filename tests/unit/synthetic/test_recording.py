"""Slips are the slips they claim to be."""

import numpy as np
import pytest

from sources.synthetic import drawing, people, recording, writing


def test_a_mistyped_name_is_one_slip_away() -> None:
    """A short one is left alone."""
    short = np.array(["Li", "Ng", "Ava"], dtype=people.NAME_TYPE)
    assert list(recording.mistype_words(np.random.default_rng(1), short)) == list(short)
    words = np.array(["Katherine", "Łukasz", "O'Brien", "Amelia"] * 50, dtype=people.NAME_TYPE)
    typed = recording.mistype_words(np.random.default_rng(1), words)
    for word, other in zip(words, typed, strict=True):
        assert word[0] == other[0]
        assert abs(len(word) - len(other)) <= 1
        if len(word) == len(other):
            assert sum(a != b for a, b in zip(word, other, strict=True)) <= 2
    assert (typed != words).mean() > 0.9


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "Łukasz Zoë 李"), ("latin-1", "Lukasz Zoë ?"), ("windows-1252", "Lukasz Zoë ?")],
)
def test_letters_that_an_encoding_lacks(encoding: str, expected: str) -> None:
    assert writing._encode_text("Łukasz Zoë 李".encode(), encoding).decode(encoding) == expected


def test_assign_gives_exact_numbers_and_forced_children_first() -> None:
    stratum = np.repeat([0, 1], [6, 4])
    counts = np.array([[2, 1, 3], [1, 1, 2]])
    forced = np.where(np.arange(10) % 5 == 0, np.inf, 0.0)
    category = drawing.assign(np.random.default_rng(3), stratum, counts, {0: forced})
    table = np.array([np.bincount(category[stratum == s], minlength=3) for s in (0, 1)])
    assert (table == counts).all()
    assert category[0] == category[5] == 0

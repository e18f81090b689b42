"""Unique pupil numbers and NHS numbers with correct check characters."""

from __future__ import annotations

import numpy as np

from sources.synthetic.quotas import Ints, Texts

UPN_LETTERS = np.array(list("ABCDEFGHJKLMNPQRTUVWXYZ"))
"""Check letters in order of remainder (modulus 23); a letter in the number counts as its place here."""


def nhs_numbers(rng: np.random.Generator, size: int) -> Texts:
    """Different NHS numbers of the range 999 000 0000 to 999 999 9999, which is kept for tests and never issued."""
    stem = 999_000_000 + np.arange(1_000_000)
    digits = stem[:, None] // 10 ** np.arange(8, -1, -1) % 10
    check = (11 - digits @ np.arange(10, 1, -1) % 11) % 11
    valid = (stem * 10 + check)[check != 10]
    if size > len(valid):
        raise ValueError(
            f"{size:,} children need NHS numbers; the test range holds {len(valid):,}: use a smaller scale"
        )
    return rng.permutation(valid)[:size].astype("U10")


def upns(la_code: Ints, estab: Ints, year: int, serial: Ints) -> Texts:
    """Permanent numbers: check letter, authority, school, year of issue and serial number (below 1,000)."""
    return _with_check_letter(_stem(la_code, estab, year, serial // 10), serial % 10, (serial % 10).astype("U1"))


def temporary_upns(la_code: Ints, estab: Ints, year: int, serial: Ints) -> Texts:
    """Temporary numbers: as permanent ones, with a letter for the last digit (serial below 2,300)."""
    return _with_check_letter(_stem(la_code, estab, year, serial // 23), serial % 23, UPN_LETTERS[serial % 23])


def _stem(la_code: Ints, estab: Ints, year: int, serial: Ints) -> Ints:
    """The first eleven digits after the check letter."""
    return ((la_code * 10_000 + estab) * 100 + year % 100) * 100 + serial


def _with_check_letter(stem: Ints, last_value: Ints, last: Texts) -> Texts:
    digits = stem[:, None] // 10 ** np.arange(10, -1, -1) % 10
    remainder = (digits @ np.arange(2, 13) + 13 * last_value) % 23
    return np.strings.add(np.strings.add(UPN_LETTERS[remainder], stem.astype("U11")), last)

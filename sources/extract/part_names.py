"""Dates and sequence numbers in the names of an extract's parts.

`2026-05.csv`, `reviews 31.05.2026.xlsx` and `May 2026.csv` have a date; `part-3.csv` and `3 of 12.csv` have numbers,
which are compared if the rest of the names is the same. Other names say nothing about order. A name may be a child's,
so a home folder stores only the position that it states and replaces all other words with keyed marks.
"""

import calendar
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sources.contracts import CONTRACTS

_MONTHS = {
    name.lower(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
} | {"sept": 9}
_YEAR, _MONTH, _DAY = r"(?P<year>20\d\d)", r"(?P<month>0[1-9]|1[0-2])", r"(?P<day>0[1-9]|[12]\d|3[01])"
_SHORT_DAY = r"(?P<day>0?[1-9]|[12]\d|3[01])"
_NAMED = rf"(?P<named>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_PARTED = r"[-_. /]{1,2}"
# full dates come before months, because the first form that matches is taken
_DATES = tuple(
    re.compile(rf"(?<![0-9a-z]){form}(?![0-9a-z])")
    for form in (
        rf"{_YEAR}(?P<sep>[-_. ]){_MONTH}(?P=sep){_DAY}",
        rf"{_YEAR}{_MONTH}{_DAY}",
        rf"{_DAY}(?P<sep>[-_. ]){_MONTH}(?P=sep){_YEAR}",
        rf"(?:{_SHORT_DAY}(?:st|nd|rd|th)?{_PARTED})?{_NAMED}{_PARTED}?{_YEAR}",
        rf"{_YEAR}{_PARTED}?{_NAMED}(?:{_PARTED}{_SHORT_DAY})?",
        rf"{_YEAR}[-_. ]?{_MONTH}",
        rf"{_MONTH}[-_. ]{_YEAR}",
    )
)
_NUMBER = re.compile(r"\d{1,18}")
_OTHER_WORD = re.compile(r"[^\W\d_]+|\d{5,}|[^\x20-\x7e]+")
_MARK_LETTERS = 8
_AS_LETTERS = str.maketrans("0123456789abcdef", "bcdfghjklmnpqrst")
"""Spells marks without digits, so that a mark cannot be read as a sequence number."""
_USUAL = "part of extract file data new changes delta final cohort st nd rd th"
_ENDINGS = "csv txt tsv psv gz tokens parquet xlsx xls xlsb ods xml zip"
_KNOWN_WORDS = frozenset(
    {*_MONTHS, *_USUAL.split(), *_ENDINGS.split(), *(word for name in CONTRACTS for word in name.split("_"))}
)


@dataclass(frozen=True)
class PartPosition:
    """Position of a part: comparable names have the same `form` and are sorted by `numbers`."""

    form: str
    numbers: tuple[int, ...]


def parse_place(name: str) -> PartPosition | None:
    """Return the position that a file's name states; None if it states none."""
    stem = re.sub(r"(\.[a-z]{2,7})+$", "", name.lower())
    stem = re.sub(r"(?<=[a-z])_(?=\d)|(?<=\d)_(?=[a-z])", " ", stem)
    for form in _DATES:
        if found := form.search(stem):
            parts = found.groupdict()
            month = parts.get("month") or _MONTHS[parts["named"]]
            return PartPosition("date", (int(parts["year"]), int(month), int(parts.get("day") or 0)))
    numbers = tuple(map(int, _NUMBER.findall(stem)))
    return PartPosition(_NUMBER.sub("#", stem), numbers) if numbers else None


def mark_words(name: str, key: bytes) -> str:
    """Replace every word and long number in the name, except dates and usual words, with a keyed mark.

    The same word always has the same mark, so names that were equal or comparable stay so.
    """
    found = next(filter(None, (form.search(name.lower()) for form in _DATES)), None)
    kept = range(*found.span()) if found else range(0)

    def mark(word: re.Match[str]) -> str:
        text = word[0].lower()
        if text in _KNOWN_WORDS or word.start() in kept:
            return word[0]
        # file names need not be valid UTF-8
        mac = hmac.digest(key, text.encode(errors="surrogateescape"), hashlib.sha256).hex()
        return mac[:_MARK_LETTERS].translate(_AS_LETTERS)

    return _OTHER_WORD.sub(mark, name)


def are_comparable(places: Sequence[PartPosition | None]) -> bool:
    """Return whether names with these positions can be sorted."""
    return None not in places and len({place.form for place in places if place}) <= 1

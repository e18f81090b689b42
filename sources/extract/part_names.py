"""What the name of a part says of its place among the parts of an extract: a date, or numbers that count.

`2026-05.csv`, `reviews 31.05.2026.xlsx` and `May 2026.csv` have a date; `part-3.csv` and `3 of 12.csv` have numbers,
which are compared where all else in the names is the same. Any other name says nothing.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Place:
    """`form` is what names that can be compared have in common, `numbers` are what they are compared by."""

    form: str
    numbers: tuple[int, ...]


def place_of(name: str) -> Place | None:
    """What the name of a file says of its place; None where it says nothing."""
    stem = re.sub(r"(\.[a-z]{2,7})+$", "", name.lower())
    stem = re.sub(r"(?<=[a-z])_(?=\d)|(?<=\d)_(?=[a-z])", " ", stem)
    for form in _DATES:
        if found := form.search(stem):
            said = found.groupdict()
            month = said.get("month") or _MONTHS[said["named"]]
            return Place("date", (int(said["year"]), int(month), int(said.get("day") or 0)))
    numbers = tuple(map(int, _NUMBER.findall(stem)))
    return Place(_NUMBER.sub("#", stem), numbers) if numbers else None


def are_comparable(places: Sequence[Place | None]) -> bool:
    """Whether names of these places can be laid in an order beside one another."""
    return None not in places and len({place.form for place in places if place}) <= 1

"""Formats of numbers, times and lists on pages: the filters of every template."""

import datetime as dt
from collections.abc import Iterable, Sequence

MINUS = "\N{MINUS SIGN}"


def format_number(count: float | str | None, decimals: int = 0) -> str:
    """Format a number with thousands separators, and None as a dash; text is returned unchanged."""
    if isinstance(count, str):
        return count
    return "–" if count is None else f"{count:,.{decimals}f}"


def format_percent(share: float | None) -> str:
    """Format a share in percent with one decimal; only 0 and 1 themselves become 0.0% and 100.0%."""
    if share is None:
        return "–"
    if 0 < share < 0.0005:
        return "under 0.1%"
    if 0.9995 <= share < 1:
        return "over 99.9%"
    return f"{share * 100:.1f}%"


def format_points(difference: float) -> str:
    """Format a difference of two shares in percentage points."""
    return f"{difference * 100:.1f}"


def format_percent_range(least_and_most: Sequence[int], total: int) -> str:
    """Format two numbers as shares of a total: `52% to 75%`, or `52%` if they are alike; a dash if the total is 0."""
    return " to ".join(dict.fromkeys(f"{number / total:.0%}" for number in least_and_most)) if total else "-"


def format_decimal(number: float, decimals: int = 1) -> str:
    """Format a number with thousands separators and, if it is negative, a true minus sign; zero has no sign."""
    written = f"{abs(number):,.{decimals}f}"
    return MINUS + written if number < 0 and written.strip("0.,") else written


def format_signed(value: float) -> str:
    """Format a change with its sign, plus or minus, and one decimal; zero has no sign."""
    # Rounded before the sign is chosen, or -0.04 would become −0.0.
    rounded = f"{abs(value):.1f}"
    return rounded if rounded == "0.0" else f"{'+' if value > 0 else MINUS}{rounded}"


def format_rows(number: int) -> str:
    return format_count(number, "row")


def format_count(number: int, what: str) -> str:
    """Format a count with its noun: `1 row`, `1,954 rows`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def format_size(in_bytes: int) -> str:
    """Format a file size: `950 bytes`, `11.3 kB`, `1.2 MB`."""
    if in_bytes < 1000:
        return f"{in_bytes} bytes"
    return f"{in_bytes / 1000:,.1f} kB" if in_bytes < 1_000_000 else f"{in_bytes / 1_000_000:,.1f} MB"


def format_row_ranges(numbers: Iterable[int]) -> str:
    """Format row numbers in ascending order, consecutive ones as a range: `3-7, 12`."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def join_parts(*parts: str) -> str:
    """Join the parts that are not empty, with spaces."""
    return " ".join(part for part in parts if part)


def end_sentence(words: str) -> str:
    """Add a full stop, unless the words end with punctuation."""
    return words if words.endswith((".", "!", "?")) else f"{words}."


def join_words(words: Iterable[str]) -> str:
    """Join words: `a, b and c`."""
    *others, last = list(words) or [""]
    return f"{', '.join(others)} and {last}" if others else last


def format_time(iso: str) -> str:
    """Format an ISO 8601 time: `24 November 2025, 19:24`."""
    when = dt.datetime.fromisoformat(iso)
    zone = " UTC" if when.utcoffset() == dt.timedelta(0) else ""
    return f"{when.day} {when:%B %Y, %H:%M}{zone}"


def format_day(iso: str) -> str:
    """Format `2026-11-25` as `25 November 2026`."""
    when = dt.date.fromisoformat(iso)
    return f"{when.day} {when:%B %Y}"


def format_month(key: str) -> str:
    """Format `2022-05` as `May 2022`."""
    return f"{dt.datetime.strptime(key, '%Y-%m'):%B %Y}"


def capitalise(sentence: str) -> str:
    """Capitalise the first letter and leave the rest unchanged."""
    return sentence[:1].upper() + sentence[1:]


FILTERS = {
    "number": format_number,
    "percent": format_percent,
    "points": format_points,
    "signed": format_signed,
    "signed_points": lambda difference: format_signed(difference * 100),
    "rows": format_rows,
    "row_ranges": format_row_ranges,
    "listed": join_words,
    "moment": format_time,
    "day": format_day,
    "month": format_month,
    "capital": capitalise,
    "sentence": end_sentence,
}
"""By name in templates."""

"""True counts in logs, messages and reports, given only by order of magnitude.

Published counts of rows and children have noise added, so the exact count must not appear outside the restricted zone.
The steps are 1, 2, 5, 10 and so on, in words, fixed in advance and the same for every count.
"""

from bisect import bisect_right

EXACT_BELOW = 100
"""Counts of errors and doubtful cases, which are not published, may be shown exactly below this."""
FEW = "under a hundred"
_UNITS = ((1_000_000, "million"), (1000, "thousand"), (100, "hundred"))
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_COUNTS_OF_A_SHARE = 10  # at least this many counts round to the same share, so that none can be worked out
_SHARE_STEPS = (10, 20, 50, 100, 200, 500, 1000)
"""Steps in which a share is rounded: tenths, twentieths, and so on."""
_PARTS = ((0.01, "few"), (0.1, "under a tenth"), (0.5, "under half"), (0.9, "more than half"), (1.0, "nearly all"))


def describe_count(count: int) -> str:
    """Describe a count by its step: `none`, `under a hundred`, or for example `2 to 5 thousand`."""
    if count < _UNITS[-1][0]:
        return FEW if count > 0 else "none"
    unit, name = _find_unit(count)
    step = bisect_right(_STEPS, count // unit)
    if step == len(_STEPS):
        return f"over {_STEPS[-1]:,} {name}"
    return f"{_STEPS[step - 1]} to {_STEPS[step]} {name}"


def find_least_count(count: int) -> int:
    """Return the smallest count that `describe_count` describes in the same words; 0 for a count under a hundred."""
    if count < _UNITS[-1][0]:
        return 0
    unit, _ = _find_unit(count)
    return _STEPS[bisect_right(_STEPS, count // unit) - 1] * unit


def _find_unit(count: int) -> tuple[int, str]:
    return next(entry for entry in _UNITS if entry[0] <= count)


def round_share(part: float, whole: int) -> float | None:
    """Round a share of true counts to steps wide enough that at least ten counts give the same result.

    Returns None for a total under a hundred. Someone who knows the total, such as a published council total, cannot
    work out the part. The step depends on the order of magnitude of the total, from a tenth (100 to 999) to a
    thousandth (10,000 and more).
    """
    # Judged by the least total of the same order, so that the step reveals nothing more about the total than its order.
    fit = [step for step in _SHARE_STEPS if find_least_count(whole) >= _COUNTS_OF_A_SHARE * step]
    return round(round(part / whole * max(fit)) / max(fit), 3) if fit else None


def describe_rows(count: int) -> str:
    """Describe a number of rows: `2 to 5 thousand rows`, or `no row`."""
    return f"{describe_count(count)} rows" if count > 0 else "no row"


def describe_row_share(part: int, whole: int) -> str:
    """Describe a share of rows in words, such as `more than half of the rows`."""
    if part >= whole:
        return "all rows"
    return f"{next(words for bound, words in _PARTS if part < bound * whole)} of the rows"


def describe_share(share: float) -> str:
    """Describe a share of a known number in steps of a tenth: `about 60%`, `under 10%`, `over 2 times`."""
    if share < 0.1:
        return "under 10%"
    return f"over {int(share)} times" if share >= 2 else f"about {round(share * 10) * 10}%"

"""The one way to tell of a true count in a log, a message or a report: by its order of size, never as a number.

What is measured with noise is a count of rows or of children, so the count itself may stand nowhere that more people
read than the restricted zone. The steps are 1, 2, 5, 10 and so on, in words: the same for every count, set beforehand.
"""

from __future__ import annotations

from bisect import bisect_right

EXACT_BELOW = 100
"""Counts of mistakes and doubts, which are not measured, may be told in numbers below this."""
FEW = "under a hundred"
_UNITS = ((100, 1000, "hundred"), (1000, 1_000_000, "thousand"), (1_000_000, None, "million"))
_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_COUNTS_OF_A_SHARE = 10
_SHARE_STEPS = (10, 20, 50, 100, 200, 500, 1000)
"""Of a share of one: a tenth, a twentieth, and so on."""
_PARTS = ((0.01, "few"), (0.1, "under a tenth"), (0.5, "under half"), (0.9, "more than half"), (1.0, "nearly all"))


def magnitude(count: int) -> str:
    """`none`, `under a hundred`, or the step that a count lies in, such as `2 to 5 thousand`."""
    if count <= 0:
        return "none"
    for unit, end, name in _UNITS:
        if unit <= count and (end is None or count < end):
            step = bisect_right(_STEPS, count // unit)
            if step == len(_STEPS):
                return f"over {_STEPS[-1]:,} {name}"
            return f"{_STEPS[step - 1]} to {_STEPS[step]} {name}"
    return FEW


def least_of_size(count: int) -> int:
    """The smallest count of the same order of size, as `magnitude` says it; 0 for one under a hundred."""
    for unit, end, _ in _UNITS:
        if unit <= count and (end is None or count < end):
            return _STEPS[bisect_right(_STEPS, count // unit) - 1] * unit
    return 0


def share_in_steps(part: float, whole: int) -> float | None:
    """A share of true counts in steps so wide that at least ten counts give the same; None of under a hundred.

    Who knows the whole, as of a council that publishes it, cannot work out the part from it: the step follows from the
    order of size of the whole, from a tenth (100 to 999) to a thousandth (10,000 and more).
    """
    fit = [step for step in _SHARE_STEPS if least_of_size(whole) >= _COUNTS_OF_A_SHARE * step]
    return round(round(part / whole * max(fit)) / max(fit), 3) if fit else None


def rows(count: int) -> str:
    """`2 to 5 thousand rows`, or `no row`."""
    return f"{magnitude(count)} rows" if count > 0 else "no row"


def share_of_rows(part: int, whole: int) -> str:
    """`more than half of the rows`, and the like."""
    if part >= whole:
        return "all rows"
    for bound, words in _PARTS:
        if part < bound * whole:
            return f"{words} of the rows"
    return "nearly all of the rows"


def about(share: float) -> str:
    """A share of a number that is known, in steps of a tenth: `about 60%`, `under 10%`, `over 2 times`."""
    if share < 0.1:
        return "under 10%"
    return f"over {int(share)} times" if share >= 2 else f"about {round(share * 10) * 10}%"

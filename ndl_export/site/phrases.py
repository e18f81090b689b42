"""Sentences of panels about the children in the data: a few figures with their intervals.

Conclusions about children like these are in `inference`.
"""

from __future__ import annotations

from ndl_export.site.figures import Line, Sentences

_LINES_TO_COMPARE = 2


def rate(line: Line) -> str:
    return f"{line.label}: {line.figures[0].words}."


def gap(line: Line) -> str:
    """State both groups and their gap."""
    eligible, others, difference = line.figures
    return (
        f"{line.label}: of the children eligible for free school meals, {eligible.words}; of those not eligible,"
        f" {others.words}. Gap: {difference.words}."
    )


def outset(lines: tuple[Line, ...]) -> Sentences:
    """State the first line."""
    return (rate(lines[0]),)


def extremes(lines: tuple[Line, ...]) -> Sentences:
    """State the lowest and the highest of the figures that are shown."""
    shown = [line for line in lines if line.figures[0].value is not None]
    if len(shown) < _LINES_TO_COMPARE:
        return ()
    lowest, highest = (choose(shown, key=_first_value) for choose in (min, max))
    return (
        f"Lowest: {lowest.label}, {lowest.figures[0].words}.",
        f"Highest: {highest.label}, {highest.figures[0].words}.",
    )


def of_both_groups(lines: tuple[Line, ...]) -> Sentences:
    """State the goal that the fewest eligible children reach, for both groups."""
    shown = [line for line in lines if line.figures[0].value is not None]
    if not shown:
        return ()
    lowest = min(shown, key=_first_value)
    return (
        f"Lowest for children eligible for free school meals: {lowest.label}, {lowest.figures[0].words}; for those not"
        f" eligible, {lowest.figures[1].words}.",
    )


def neither(line: Line) -> str:
    """State how many children of an area neither service had a record of, and how they did."""
    share, number, did = (figure.words for figure in line.figures)
    return f"{line.label}: {share}; their number: {number}; of them, at a good level of development: {did}."


def no_record(lines: tuple[Line, ...]) -> Sentences:
    """State how many children neither service had a record of (the line before the last)."""
    share, number = lines[-2].figures
    return (f"Children whom neither had seen: {share.words}; their number: {number.words}.",)


def one_service_concerned(lines: tuple[Line, ...]) -> Sentences:
    """State about how many children only one service had a concern (the second line and the third)."""
    _, health_visitor, setting, *_ = (line.figures[0].words for line in lines)
    return (f"The health visitor alone had a concern: {health_visitor}; the nursery alone: {setting}.",)


def one_service_alone(lines: tuple[Line, ...]) -> Sentences:
    """State how many children both services saw but only one had a concern about (the second and third lines)."""
    _, health_visitor, setting, *_ = lines
    return (
        "Number of children whom both had seen and about whom the health visitor alone had a concern:"
        f" {health_visitor.figures[1].words}; the nursery alone: {setting.figures[1].words}.",
    )


def each_cohort(lines: tuple[Line, ...]) -> Sentences:
    """State every cohort, and any breaks."""
    return (*(rate(line) for line in lines), *_breaks(lines))


def _breaks(lines: tuple[Line, ...]) -> Sentences:
    told = " and ".join(line.label for line in lines[1:] if line.broken)
    return (f"There is a break in the series before {told} [b]: do not compare across it.",) if told else ()


def each_gap(lines: tuple[Line, ...]) -> Sentences:
    """State both groups and their gap for every cohort, and any breaks."""
    return (*(gap(line) for line in lines), *_breaks(lines))


def most_given(lines: tuple[Line, ...]) -> Sentences:
    """State the answer given most often, among those that are shown."""
    shown = [line for line in lines if line.figures[0].value is not None]
    if not shown:
        return ("Every figure here is withheld as too uncertain. The chart and the table give their intervals.",)
    most = max(shown, key=_first_value)
    return (f"Given most often: {most.label}, {most.figures[0].words}.",)


def _first_value(line: Line) -> float:
    value = line.figures[0].value
    return -1.0 if value is None else value

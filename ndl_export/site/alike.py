"""What a panel concludes: for children like these, so that nothing is called ahead, behind, risen or fallen that noise
and chance explain. Every conclusion says so at its beginning."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from ndl_export.site.chance import (
    OTHER_CHILDREN,
    WHATEVER,
    Difference,
    chance_variance,
    difference,
    published,
    variance_within,
    with_chance,
)
from ndl_export.site.figures import points
from ndl_export.site.panels import Line, Sentences
from ndl_export.tables.geography import LOCAL_AUTHORITY

_LIKE_THESE = "For children like these"
_MORE_THAN_CHANCE = "by more than noise and chance explain"
_MOST_NAMED = 16
"""Areas, goals or answers that a sentence names; it counts more than these."""


def councils(lines: tuple[Line, ...]) -> Sentences:
    """Which councils are ahead of or behind all together, of the first line."""
    together, *others = lines
    found = {line.label: _from_all(line, together) for line in others if line.area.level == LOCAL_AUTHORITY}
    return _apart(found, "councils", _inside(together.label))


def council(line: Line, together: Line) -> str:
    found = _from_all(line, together)
    return f"{_LIKE_THESE}, {_told(line.label, _inside(together.label), found)}." if found else ""


def gap(line: Line, _: Line) -> str:
    """The gap of one area by free school meals."""
    eligible, others, difference_of = line.figures
    found = published(difference_of, others, eligible, chance_variance(eligible) + chance_variance(others))
    if found is None:
        return ""
    sure = "some gap there would be" if found.is_above or found.is_below else "there might be none"
    return f"{_LIKE_THESE}, the gap would be between {_between(found)} points: {sure}."


def first_gap(lines: tuple[Line, ...]) -> Sentences:
    """The gap of the first line, all councils together."""
    return tuple(filter(None, (gap(lines[0], lines[0]),)))


def changes(lines: tuple[Line, ...]) -> Sentences:
    """From each cohort to the next, where no break lies between."""
    pairs = _comparable(lines)
    found = ((before, now, difference(now.figures[0], before.figures[0], OTHER_CHILDREN)) for before, now in pairs)
    return _changes(found, "the figure", ("rose", "fell"))


def gap_changes(lines: tuple[Line, ...]) -> Sentences:
    """The same of the gap."""
    found = []
    for before, now in _comparable(lines):
        variance = sum(chance_variance(figure) for line in (before, now) for figure in line.figures[:2])
        noise = difference(now.figures[2], before.figures[2], OTHER_CHILDREN)
        found.append((before, now, noise and with_chance(noise, variance)))
    return _changes(found, "the gap", ("widened", "narrowed"))


def lowest(lines: tuple[Line, ...]) -> Sentences:
    """Goals that could be the lowest; they are of the same children, who do alike in them."""
    return _could_be(lines, _LIKE_THESE, "lowest", -1, one_answer_each=False)


def most_often(lines: tuple[Line, ...]) -> Sentences:
    """Answers that could be given most often."""
    return _could_be(lines, "For responses like these", "given most often", 1, one_answer_each=True)


def outcomes(lines: tuple[Line, ...]) -> Sentences:
    """The children of the first line less those of the third, whose difference is published."""
    first, third = lines[0], lines[2]
    one, other = first.figures[0], third.figures[0]
    found = published(first.also[0], one, other, chance_variance(one) + chance_variance(other))
    return (f"{_LIKE_THESE}, {_told(f'“{first.label}”', f'“{third.label}”', found)}.",) if found else ()


def england(lines: tuple[Line, ...]) -> Sentences:
    """Which groups are ahead of or behind England's official figure."""
    found = {line.label: difference(line.figures[0], line.compared, WHATEVER) for line in lines if line.compared}
    return _apart(found, "groups", "England’s official figure")


def _from_all(line: Line, together: Line) -> Difference | None:
    own, all_ = line.figures[0], together.figures[0]
    return published(line.also[0], own, all_, variance_within(own, all_))


def _apart(found: dict[str, Difference | None], kind: str, from_what: str) -> Sentences:
    """Who is ahead of or behind something, of those that have a figure."""
    judged = {label: each for label, each in found.items() if each}
    if not judged:
        return ()
    ahead = [label for label, each in judged.items() if each.is_above]
    behind = [label for label, each in judged.items() if each.is_below]
    if not ahead and not behind:
        return (f"{_LIKE_THESE}, none of the {kind} would be ahead of or behind {from_what} {_MORE_THAN_CHANCE}.",)
    told = [
        f"these would be {where} {from_what}, {_MORE_THAN_CHANCE}: {_named(labels, kind)}."
        for where, labels in (("ahead of", ahead), ("behind", behind))
        if labels
    ]
    others = ["Of the others it cannot be told."] if len(judged) > len(ahead) + len(behind) else []
    return (" ".join((*(f"{_LIKE_THESE}, {each}" for each in told), *others)),)


def _told(one: str, other: str, found: Difference) -> str:
    verdict = f"ahead, {_MORE_THAN_CHANCE}" if found.is_above else f"behind, {_MORE_THAN_CHANCE}"
    if not (found.is_above or found.is_below):
        verdict = "which of them is ahead cannot be told"
    return f"{one} less {other} would be between {_between(found)} points: {verdict}"


def _changes(found: Iterable[tuple[Line, Line, Difference | None]], what: str, verbs: tuple[str, str]) -> Sentences:
    rose, fell = verbs
    told = []
    for before, now, change in found:
        if change:
            verdict = rose if change.is_above else fell if change.is_below else "cannot be said to have changed"
            more = f", {_MORE_THAN_CHANCE}" if change.is_above or change.is_below else ""
            told.append(
                f"{_LIKE_THESE}, {now.label} less {before.label} would be between {_between(change)} points:"
                f" {what} {verdict}{more}."
            )
    return tuple(told)


def _comparable(lines: tuple[Line, ...]) -> list[tuple[Line, Line]]:
    """Cohorts that follow each other with no break between."""
    return [(before, now) for before, now in pairwise(lines) if not now.broken]


def _could_be(lines: tuple[Line, ...], alike: str, what: str, sign: int, *, one_answer_each: bool) -> Sentences:
    """The lines that no other is beyond, by more than noise and chance explain; `sign` is 1 where high is beyond."""
    shown = [line for line in lines if line.figures[0].value is not None]
    if not shown:
        return ()

    def is_beyond(one: Line, other: Line) -> bool:
        found = difference(one.figures[0], other.figures[0], WHATEVER, one_answer_each=one_answer_each)
        return found is not None and (found.is_above if sign > 0 else found.is_below)

    possible = [line.label for line in shown if not any(is_beyond(other, line) for other in shown if other != line)]
    if len(possible) == 1:
        return (f"{alike}, “{possible[0]}” would be {what}, {_MORE_THAN_CHANCE}.",)
    return (f"{alike}, any of these could be {what}: {_named(possible, 'of them')}.",)


def _named(labels: list[str], kind: str) -> str:
    return "; ".join(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} {kind}"


def _between(found: Difference) -> str:
    return f"{points(found.lower)} and {points(found.upper)}"


def _inside(label: str) -> str:
    """A label within a sentence: areas keep their capital, `All ...` loses it."""
    return label[0].lower() + label[1:] if label.startswith("All ") else label

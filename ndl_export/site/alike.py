"""What a panel concludes, in words: for children like these, so that nothing is called ahead, behind, risen or fallen
that noise and chance explain. `conclusions` decides; every sentence says at its beginning whom it is about."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.site.conclusions import GAP, OUTCOMES, Conclusions, Difference
from ndl_export.site.figures import points
from ndl_export.site.panels import Alike, Levels, Line, Sentences
from ndl_export.tables.geography import LOCAL_AUTHORITY

_LIKE_THESE = "For children like these"
_MORE_THAN_CHANCE = "by more than noise and chance explain"
_MOST_NAMED = 16
"""Areas, goals or answers that a sentence names; it counts more than these."""


def councils(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> Sentences:
    """Which councils are ahead of or behind all together, of the first line."""
    together, *others = lines
    judged = {
        line.label: each.verdict
        for line in others
        if line.area.level == LOCAL_AUTHORITY and (each := found.from_all.get((cohort, line.area.code)))
    }
    return _apart(judged, "councils", _inside(together.label))


def council(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> Sentences:
    """The first line less the second, all councils together."""
    line, together = lines
    return _less(line.label, _inside(together.label), found.from_all.get((cohort, line.area.code)))


def gap(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> Sentences:
    """The gap of the first line by free school meals."""
    each = found.within.get((GAP, cohort, lines[0].area.code))
    if each is None:
        return ()
    sure = "there would be a gap" if each.is_certain else "there might be none"
    return (f"{_LIKE_THESE}, the gap would be between {_between(each)} points: {sure}.",)


def outcomes(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> Sentences:
    """The children of the first line less those of the third."""
    first, third = lines[0], lines[2]
    return _less(f"“{first.label}”", f"“{third.label}”", found.within.get((OUTCOMES, cohort, first.area.code)))


def changes(lines: tuple[Line, ...], found: Conclusions, _: str) -> Sentences:
    """From each cohort to the next, where no break lies between."""
    return _changes(lines, found, EVERYONE, "the figure", {"ahead": "rose", "behind": "fell"})


def gap_changes(lines: tuple[Line, ...], found: Conclusions, _: str) -> Sentences:
    """The same of the gap."""
    return _changes(lines, found, GAP, "the gap", {"ahead": "widened", "behind": "narrowed"})


def lowest(of_what: str) -> Alike:
    """Goals that could be the lowest."""
    return lambda lines, found, cohort: _could_be(
        lines, found.could_be.get((cohort, lines[0].area.code, of_what)), _LIKE_THESE, "lowest"
    )


def most_often(question: str) -> Alike:
    """Answers that could be given most often."""
    return lambda lines, found, cohort: _could_be(
        lines,
        found.could_be.get((cohort, lines[0].area.code, question)),
        "For responses like these",
        "given most often",
    )


def england(levels: Mapping[str, Levels]) -> Alike:
    """Which groups are ahead of or behind England's official figure; `levels` by label."""

    def said(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> Sentences:
        judged = {
            line.label: verdict
            for line in lines
            if (verdict := found.beside_england.get((cohort, line.area.code, levels[line.label])))
        }
        return _apart(judged, "groups", "England’s official figure")

    return said


def _apart(judged: Mapping[str, str], kind: str, from_what: str) -> Sentences:
    """Who is ahead of or behind something, of those that have a figure."""
    if not judged:
        return ()
    told = [
        f"these would be {where} {from_what}, {_MORE_THAN_CHANCE}: {_named(labels, kind)}."
        for verdict, where in (("ahead", "ahead of"), ("behind", "behind"))
        if (labels := [label for label, each in judged.items() if each == verdict])
    ]
    if not told:
        return (f"{_LIKE_THESE}, none of the {kind} would be ahead of or behind {from_what} {_MORE_THAN_CHANCE}.",)
    others = ["For the others, the data cannot say."] if "cannot say" in judged.values() else []
    return (" ".join((*(f"{_LIKE_THESE}, {each}" for each in told), *others)),)


def _less(one: str, other: str, found: Difference | None) -> Sentences:
    if found is None:
        return ()
    verdict = "the data cannot say which of them is ahead"
    if found.is_certain:
        verdict = f"{found.verdict}, {_MORE_THAN_CHANCE}"
    return (f"{_LIKE_THESE}, {one} less {other} would be between {_between(found)} points: {verdict}.",)


def _changes(
    lines: tuple[Line, ...], found: Conclusions, of_what: str, what: str, verbs: Mapping[str, str]
) -> Sentences:
    told = []
    for before, now in pairwise(lines):
        change = found.changes.get((of_what, now.cohort, now.area.code))
        if change and not now.broken:
            verdict = f"{what} {verbs[change.verdict]}, {_MORE_THAN_CHANCE}" if change.is_certain else ""
            told.append(
                f"{_LIKE_THESE}, {now.label} less {before.label} would be between {_between(change)} points:"
                f" {verdict or f'{what} cannot be said to have changed'}."
            )
    return tuple(told)


def _could_be(lines: tuple[Line, ...], found: frozenset[str] | None, alike: str, what: str) -> Sentences:
    possible = [line.label for line in lines if found and line.label in found]
    if not possible:
        return ()
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

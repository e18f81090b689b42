"""What a panel concludes, in words: for children like these, so that nothing is called ahead, behind, risen or fallen
that noise and chance explain. `conclusions` decides; every sentence says at its beginning whom it is about, and has a
finding for headings only where the data can say something."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.pages.words import capital, listed
from ndl_export.site.conclusions import GAP, OUTCOMES, Conclusions, Difference
from ndl_export.site.figures import points
from ndl_export.site.panels import Alike, Concluded, Levels, Line
from ndl_export.tables.geography import LOCAL_AUTHORITY

_LIKE_THESE = "For children like these"
_MORE_THAN_CHANCE = "by more than noise and chance explain"
_MOST_NAMED, _MOST_IN_A_HEADING = 16, 2
"""Areas, goals or answers that a sentence names, and a heading; they count more than these."""
_Said = tuple[Concluded, ...]


def councils(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> _Said:
    """Which councils are ahead of or behind all together, of the first line."""
    together, *others = lines
    judged = {
        line.label: each.verdict
        for line in others
        if line.area.level == LOCAL_AUTHORITY and (each := found.from_all.get((cohort, line.area.code)))
    }
    return _apart(judged, "councils", _inside(together.label))


def council(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> _Said:
    """The first line less the second, all councils together."""
    line, together = lines
    return _less(line.label, _inside(together.label), found.from_all.get((cohort, line.area.code)))


def gap(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> _Said:
    """The gap of the first line by free school meals."""
    each = found.within.get((GAP, cohort, lines[0].area.code))
    if each is None:
        return ()
    sure = "there would be a gap" if each.is_certain else "there might be none"
    where = {"ahead": "behind", "behind": "ahead of"}.get(each.verdict)
    return (
        Concluded(
            f"{_LIKE_THESE}, the gap would be between {_between(each)} points: {sure}.",
            f"Children eligible for free school meals are {where} the others" if where else "",
        ),
    )


def outcomes(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> _Said:
    """The children of the first line less those of the third."""
    first, third = lines[0], lines[2]
    each = found.within.get((OUTCOMES, cohort, first.area.code))
    at_or_above, below = "Children at or above the cut-off in all five domains", "those below it in two or more"
    return _less(f"“{first.label}”", f"“{third.label}”", each, at_or_above, below)


def changes(lines: tuple[Line, ...], found: Conclusions, _: str) -> _Said:
    """From each cohort to the next, where no break lies between."""
    return _changes(lines, found, EVERYONE, "the figure", {"ahead": "rose", "behind": "fell"})


def gap_changes(lines: tuple[Line, ...], found: Conclusions, _: str) -> _Said:
    """The same of the gap."""
    return _changes(lines, found, GAP, "the gap", {"ahead": "widened", "behind": "narrowed"})


def lowest(of_what: str) -> Alike:
    """Goals that could be the lowest."""
    whom = "" if of_what == EVERYONE else f", {of_what[0].lower()}{of_what[1:]}"
    return lambda lines, found, cohort: _could_be(
        lines,
        found.could_be.get((cohort, lines[0].area.code, of_what)),
        _LIKE_THESE,
        "lowest",
        f"the lowest goal{whom}",
    )


def most_often(question: str) -> Alike:
    """Answers that could be given most often."""
    return lambda lines, found, cohort: _could_be(
        lines,
        found.could_be.get((cohort, lines[0].area.code, question)),
        "For responses like these",
        "given most often",
        "the answer given most often",
    )


def england(levels: Mapping[str, Levels]) -> Alike:
    """Which groups are ahead of or behind England's official figure; `levels` by label."""

    def said(lines: tuple[Line, ...], found: Conclusions, cohort: str) -> _Said:
        judged = {
            line.label: verdict
            for line in lines
            if (verdict := found.beside_england.get((cohort, line.area.code, levels[line.label])))
        }
        return _apart(judged, "groups", "England’s official figure")

    return said


def _apart(judged: Mapping[str, str], kind: str, from_what: str) -> _Said:
    """Who is ahead of or behind something, of those that have a figure."""
    if not judged:
        return ()
    apart = {
        where: labels
        for verdict, where in (("ahead", "ahead of"), ("behind", "behind"))
        if (labels := [label for label, each in judged.items() if each == verdict])
    }
    if not apart:
        none = f"{_LIKE_THESE}, none of the {kind} would be ahead of or behind {from_what} {_MORE_THAN_CHANCE}."
        return (Concluded(none),)
    told = [
        f"{_LIKE_THESE}, these would be {where} {from_what}, {_MORE_THAN_CHANCE}: {_named(labels, kind)}."
        for where, labels in apart.items()
    ]
    others = ["For the others, the data cannot say."] if "cannot say" in judged.values() else []
    heading = "; ".join(f"{_counted(labels, kind)} {where} {from_what}" for where, labels in apart.items())
    return (Concluded(" ".join((*told, *others)), heading),)


def _counted(labels: list[str], kind: str) -> str:
    """`Halton is`, `Halton and Leeds are`, `5 councils are`."""
    if len(labels) > _MOST_IN_A_HEADING:
        return f"{len(labels)} {kind} are"
    return f"{listed(labels)} {'is' if len(labels) == 1 else 'are'}"


def _less(one: str, other: str, found: Difference | None, first: str = "", second: str = "") -> _Said:
    """`first` and `second` are what a heading calls the two."""
    if found is None:
        return ()
    verdict, heading = "the data cannot say which of them is ahead", ""
    if found.is_certain:
        verdict = f"{found.verdict}, {_MORE_THAN_CHANCE}"
        where = "ahead of" if found.verdict == "ahead" else "behind"
        heading = f"{first or one} {'are' if first else 'is'} {where} {second or other}"
    said = f"{_LIKE_THESE}, {one} less {other} would be between {_between(found)} points: {verdict}."
    return (Concluded(said, heading),)


def _changes(lines: tuple[Line, ...], found: Conclusions, of_what: str, what: str, verbs: Mapping[str, str]) -> _Said:
    told = []
    for before, now in pairwise(lines):
        change = found.changes.get((of_what, now.cohort, now.area.code))
        if change and not now.broken:
            verdict = f"{what} {verbs[change.verdict]}" if change.is_certain else ""
            certain = f"{verdict}, {_MORE_THAN_CHANCE}" if verdict else f"{what} cannot be said to have changed"
            between = f"{now.label} less {before.label} would be between {_between(change)} points"
            heading = f"{capital(verdict)} from {before.label} to {now.label}" if verdict else ""
            told.append(Concluded(f"{_LIKE_THESE}, {between}: {certain}.", heading))
    return tuple(told)


def _could_be(lines: tuple[Line, ...], found: frozenset[str] | None, alike: str, what: str, in_short: str) -> _Said:
    """`in_short` is `what` as a heading has it."""
    possible = [line.label for line in lines if found and line.label in found]
    if not possible:
        return ()
    if len(possible) == 1:
        only = f"{alike}, “{possible[0]}” would be {what}, {_MORE_THAN_CHANCE}."
        return (Concluded(only, f"“{possible[0]}” is {in_short}"),)
    return (Concluded(f"{alike}, any of these could be {what}: {_named(possible, 'of them')}."),)


def _named(labels: list[str], kind: str) -> str:
    return "; ".join(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} {kind}"


def _between(found: Difference) -> str:
    return f"{points(found.lower)} and {points(found.upper)}"


def _inside(label: str) -> str:
    """A label within a sentence: areas keep their capital, `All ...` loses it."""
    return label[0].lower() + label[1:] if label.startswith("All ") else label

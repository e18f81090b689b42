"""Conclusions about children like these: the macros of the analyst database decide, and this module writes sentences.

A difference that noise and chance can explain is never called ahead, behind, a rise or a fall: it is too close to call.
Every sentence begins with the children that it is about, and has a short form for a heading only if the data can say
something.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import duckdb

from ndl_export.analyst_db.child_groups import EVERYONE
from ndl_export.pages.number_format import capitalise, format_decimal
from ndl_export.site.figures import Concluded, Levels, PanelRow
from ndl_export.tables.geography import LOCAL_AUTHORITY
from ndl_export.tables.schema import count_unit_decimals
from privacy.doors.sql import quote_text

GAP, OUTCOMES = "Not eligible less eligible", "All five domains at or above less two or more below"
"""Comparisons of two groups within an area, by their names in `gld_differences`."""
_FROM_ALL, _CHANGE = "All children: area less all councils together", "Change of "
_LIKE_THESE = "For children like these"
_ELIGIBLE = "children eligible for free school meals"
_WHERE = {"ahead": "ahead of", "behind": "behind"}
_MOST_NAMED, _MOST_NAMED_IN_A_HEADING = 16, 2
"""Most areas, goals or answers that a sentence and a heading list by name; longer lists are counted instead."""


class Difference(NamedTuple):
    """A difference of two figures in percentage points, for children like these: its interval, and the verdict.

    `points` is the difference of the figures as published, and `flag` that of the less reliable one. `more_than_noise`
    is the verdict on the children in the data, if the difference is published.
    """

    lower: float
    upper: float
    verdict: str
    points: float | None = None
    flag: str | None = None
    more_than_noise: str | None = None

    @property
    def is_certain(self) -> bool:
        return self.verdict != "cannot say"

    @property
    def in_heading(self) -> str:
        """The published difference without its sign, followed by a space; empty if it has a flag.

        A figure with a flag is given with its interval, for which a heading has no room.
        """
        return "" if self.flag else f"{abs(self.points or 0):.1f} points "

    @property
    def between(self) -> str:
        """The interval of a difference that is certain: `between 0.4 and 3.1 points`."""
        least, most = sorted((abs(self.lower), abs(self.upper)))
        return f"between {least:.1f} and {most:.1f} points"

    def describe_range(self, below: str, above: str) -> str:
        """Return the interval of a difference that is not certain, with words for either direction."""
        return f"anywhere from {abs(self.lower):.1f} points {below} to {abs(self.upper):.1f} points {above}"


class Distance(NamedTuple):
    """The distance of an area from a target, in points and in children of a year group, each with its interval.

    `flag` is that of the area's percentage.
    """

    percent: float
    year: int
    name: str
    verdict: str
    points: tuple[float, float, float]
    children: tuple[float, float, float]
    flag: str | None = None


@dataclass(frozen=True)
class Conclusions:
    """All conclusions of a release.

    `differences` are by comparison, cohort and area. `beside_england` has differences from England's official figure by
    cohort, area and levels of `gld_headline`. `could_be` has the goals that could be the lowest, or the answers that
    could be given most often, by cohort, area and breakdown or question. `targets` has the distances from targets by
    cohort and area.
    """

    differences: dict[tuple[str, str, str], Difference]
    beside_england: dict[tuple[str, str, Levels], Difference]
    could_be: dict[tuple[str, str, str], list[str]]
    targets: dict[tuple[str, str], list[Distance]]


def query_conclusions(database: duckdb.DuckDBPyConnection, cohorts: Iterable[str]) -> Conclusions:
    """Query the database of one release for everything that its pages conclude."""

    def query_rows(query: str) -> list[tuple[Any, ...]]:
        return database.execute(query).fetchall()

    found = Conclusions({}, {}, {}, {})
    everyone = quote_text(EVERYONE)
    # The macros allow for all comparisons of a release. Tested one at a time, they would find a difference in half of
    # the pilot's releases and all of England's even if councils were equal.
    compared = [
        # `gld_compared` without cohorts compares each cohort with the one before.
        (
            _CHANGE + name,
            "SELECT time_period, area_code, lower_end, upper_end, verdict, points, points_flag"
            f" FROM gld_compared({quote_text(name)}, {quote_text(name)}, true, NULL, NULL)",
        )
        for name in (EVERYONE, GAP)
    ]
    for cohort in cohorts:
        year = quote_text(cohort)
        compared += [
            (
                name,
                f"SELECT {year}, area_code, lower_end, upper_end, more_than_noise_and_chance AS verdict, points,"
                f" flag, more_than_noise FROM gld_differences_judged({quote_text(name)}, cohort := {year})",
            )
            for name in (_FROM_ALL, GAP, OUTCOMES)
        ]
        england = "SELECT area_code, [breakdown_topic, breakdown, sex], lower_end, upper_end, verdict, points, flag"
        for area, levels, *difference in query_rows(f"{england} FROM gld_against_england({year}) WHERE verdict <> ''"):
            found.beside_england[cohort, area, tuple(levels)] = Difference(*difference)
        extremes = f"SELECT area_code, of_what, list(item) FROM could_be_extreme({year})"
        for area, of_what, items in query_rows(f"{extremes} WHERE could_be GROUP BY ALL"):
            found.could_be[cohort, area, of_what] = items
        for area, *distance in query_rows(
            "SELECT area_code, target_percent, target_year, target, verdict,"
            " [points_to_go, points_lower_ci, points_upper_ci], [children_to_go, children_lower_ci, children_upper_ci],"
            " flag::VARCHAR"
            f" FROM gld_to_target({everyone}, cohort := {year}) WHERE verdict <> 'no figure'"
        ):
            found.targets.setdefault((cohort, area), []).append(Distance(*distance))
    for name, differences in compared:
        # The verdict is NULL across a break in the series, where nothing may be concluded.
        for cohort, area, *difference in query_rows(f"{differences} WHERE verdict IS NOT NULL"):
            found.differences[name, cohort, area] = Difference(*difference)
    return found


Lines = tuple[PanelRow, ...]
Concludes = Iterator[Concluded]
Inference = Callable[[Lines, Conclusions, str], Iterable[Concluded]]
"""A function that returns the conclusions of a panel from its lines, for a cohort."""


def conclude_councils(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude which councils are ahead of or behind all councils together (the first line)."""
    together, *others = lines
    differences = {
        line.label: each
        for line in others
        if line.area.level == LOCAL_AUTHORITY and (each := found.differences.get((_FROM_ALL, cohort, line.area.code)))
    }
    return _conclude_apart(differences, ("councils", "is"), _format_inline(together.label))


def conclude_beside_england(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude which groups are ahead of or behind England's official figure."""
    differences = {
        line.label: each for line in lines if (each := found.beside_england.get((cohort, line.area.code, line.levels)))
    }
    return _conclude_apart(differences, ("groups", "are"), "England’s official figure")


def _conclude_apart(differences: Mapping[str, Difference], named_as: tuple[str, str], from_what: str) -> Concludes:
    """Conclude which labels are ahead of or behind `from_what`, given the differences by label.

    `named_as` is what the labels are, and the verb that follows one of them.
    """
    kind, verb = named_as

    def name(labels: list[str], where: str) -> str:
        """Return a heading: `Halton is 2.1 points behind`, `5 of 8 councils are behind`."""
        if len(labels) > _MOST_NAMED_IN_A_HEADING:
            return f"{len(labels)} of {len(differences)} {kind} are {where} {from_what}"
        first, *others = ((label, differences[label].in_heading) for label in labels)
        named = [f"{first[0]} {verb} {first[1]}", *(f"{label} {size}" for label, size in others)]
        return f"{' and '.join(each.rstrip() for each in named)} {where} {from_what}"

    apart = {
        where: labels
        for verdict, where in (("ahead", "ahead of"), ("behind", "behind"))
        if (labels := [label for label, each in differences.items() if each.verdict == verdict])
    }
    if apart:
        sentences = [
            f"{_LIKE_THESE}, clearly {where} {from_what}: {_format_labels(labels, kind)}."
            for where, labels in apart.items()
        ]
        if not all(each.is_certain for each in differences.values()):
            sentences.append("The others are too close to call.")
        yield Concluded(" ".join(sentences), "; ".join(name(labels, where) for where, labels in apart.items()))
    elif differences:
        yield Concluded(f"{_LIKE_THESE}, none of the {kind} is clearly ahead of or behind {from_what}.")


def conclude_council(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude how the first line differs from the second, all councils together."""
    line, together = lines[0].label, _format_inline(lines[1].label)
    difference = found.differences.get((_FROM_ALL, cohort, lines[0].area.code))
    return _conclude_difference(line, together, difference, (f"{line} is", together))


def conclude_outcomes(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude how the children of the first line differ from those of the third."""
    heading = "Children at or above the cut-off in all five areas are", "those below it in two or more"
    difference = found.differences.get((OUTCOMES, cohort, lines[0].area.code))
    return _conclude_difference(f"“{lines[0].label}”", f"“{lines[2].label}”", difference, heading)


def _conclude_difference(one: str, other: str, found: Difference | None, heading: tuple[str, str]) -> Concludes:
    """Conclude whether one is ahead of the other; `heading` names both, the first with its verb."""
    if found:
        where = _WHERE.get(found.verdict)
        yield Concluded(
            describe_difference(one, other, found),
            f"{heading[0]} {found.in_heading}{where} {heading[1]}" if where else "",
        )


def describe_difference(one: str, other: str, found: Difference) -> str:
    """Return the sentence on whether one is ahead of the other."""
    if found.is_certain:
        return f"{_LIKE_THESE}, {one} would be {found.between} {_WHERE[found.verdict]} {other}."
    between = found.describe_range("behind", "ahead")
    return f"{_LIKE_THESE}, {one} and {other} are too close to call: {one} could be {between}."


def conclude_gap(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude whether there would be a gap by free school meals in the area of the first line."""
    each = found.differences.get((GAP, cohort, lines[0].area.code))
    # The difference is not eligible less eligible, but sentences begin with eligible children.
    if each and each.is_certain:
        where = "behind" if each.verdict == "ahead" else "ahead of"
        sentence = f"{_LIKE_THESE}, {_ELIGIBLE} would be {each.between} {where} the others."
        yield Concluded(sentence, f"{capitalise(_ELIGIBLE)} are {each.in_heading}{where} the others")
    elif each:
        is_more = each.more_than_noise not in (None, "cannot say")
        was = "there was a gap" if is_more else "there may have been none"
        between = each.describe_range("ahead of the others", "behind")
        yield Concluded(
            f"{_LIKE_THESE}, the gap is too close to call: {_ELIGIBLE} could be {between}. Among the children in this"
            f" year’s data {was}."
        )


def _conclude_changes(
    lines: Lines, found: Conclusions, _: str, name: str, what: str, verbs: Mapping[str, str]
) -> Concludes:
    """Conclude how a figure changed from each cohort to the next, unless there is a break between them."""
    for before, now in pairwise(lines):
        change = found.differences.get((_CHANGE + name, now.cohort, now.area.code))
        if change and not now.broken:
            moved = f"{what} {verbs[change.verdict]}" if change.is_certain else ""
            size = f" by {change.in_heading.strip()}" if change.in_heading else ""
            heading = f"{capitalise(moved)}{size} from {before.label} to {now.label}" if moved else ""
            yield Concluded(describe_change(now.label, before.label, change, what, moved), heading)


def describe_change(now: str, before: str, change: Difference, what: str, moved: str) -> str:
    """Return the sentence on whether a figure changed from one cohort to another; `moved` says how, if it did."""
    if moved:
        return f"{_LIKE_THESE}, {moved} by {change.between} from {before} to {now}."
    between = change.describe_range("lower", "higher")
    return f"{_LIKE_THESE}, whether {what} changed is too close to call: {now} could be {between} than {before}."


ROSE_OR_FELL = {"ahead": "rose", "behind": "fell"}
conclude_changes = partial(_conclude_changes, name=EVERYONE, what="the figure", verbs=ROSE_OR_FELL)
conclude_gap_changes = partial(
    _conclude_changes, name=GAP, what="the gap", verbs={"ahead": "widened", "behind": "narrowed"}
)


def conclude_lowest(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude which goals could be the lowest, for the group of children that the last level names."""
    group = lines[0].levels[-1]
    whom = "children" if group == EVERYONE else f"children {group[0].lower()}{group[1:]}"
    told = "is the lowest goal: {} of " + whom + " were at the expected level"
    return _conclude_possible(lines, found, (cohort, group), _LIKE_THESE, "lowest", told)


def conclude_most_often(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude which answers could be given most often to the question that the first level names."""
    key = cohort, lines[0].levels[0]
    told = "is the answer given most often: {} of responses"
    return _conclude_possible(lines, found, key, "For responses like these", "given most often", told)


def _conclude_possible(
    lines: Lines, found: Conclusions, key: tuple[str, str], like_these: str, what: str, told: str
) -> Concludes:
    """Conclude which lines could be `what`; `told` is the wording of a heading, with the figure to put in."""
    cohort, of_what = key
    could_be = found.could_be.get((cohort, lines[0].area.code, of_what), ())
    possible = [line for line in lines if line.label in could_be]
    if len(possible) == 1:
        [only] = possible
        # A figure with a symbol is not for a heading, where nothing explains it.
        heading = "" if only.figures[0].flag else f"“{only.label}” {told.format(only.figures[0].text)}"
        yield Concluded(f"{like_these}, “{only.label}” would clearly be {what}.", heading)
    elif possible:
        labels = _format_labels([line.label for line in possible], "of them")
        yield Concluded(f"{like_these}, any of these could be {what}: {labels}.")


def conclude_targets(lines: Lines, found: Conclusions, cohort: str) -> Concludes:
    """Conclude how far the area of the first line is from targets for all areas or for this one."""
    for target in found.targets.get((cohort, lines[0].area.code), ()):
        yield Concluded(describe_target(target))


def describe_target(target: Distance) -> str:
    """Return the sentence on whether a target is reached, and how far away it is if not."""
    aim = f"{target.percent:g}% by {target.year} ({target.name})"
    if target.verdict == "met":
        return f"{aim} is reached."
    if target.verdict != "not met":
        return f"Whether {aim} is reached is too close to call."
    decimals = count_unit_decimals("pp", target.flag, 1)
    near, least, most = (format_decimal(each, decimals) for each in target.points)
    children, fewest, greatest = (f"{round(each):,}" for each in target.children)
    return (
        f"{aim} is {near} points away (95% interval {least} to {most}): {children} more children in a year"
        f" group of this size ({fewest} to {greatest})."
    )


def _format_labels(labels: list[str], kind: str) -> str:
    return "; ".join(labels) if len(labels) <= _MOST_NAMED else f"{len(labels)} {kind}"


def _format_inline(label: str) -> str:
    """Return a label as written within a sentence: areas keep their capital, `All ...` loses it."""
    return label[0].lower() + label[1:] if label.startswith("All ") else label

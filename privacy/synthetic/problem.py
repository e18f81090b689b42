"""What synthetic rows are made from: measured marginals, and the combinations of categories that no row can have.

Rows are to agree with what is published. So to a marginal is added what publication corrects its figures by, and where
the totals over all places were not measured themselves, they join it as they are published: a noisy count may be
negative and a number of rows may not, so that without them many small cells would add up to too much.

Categories are impossible together where an identity of the plan says so: its two sides are equal for every table there
could be, so for a table of one row too, and a row that counts on one side counts on the other. `Tally` states
attributes that follow from how many of others hold: a good level of development, and the number of goals in bands. To
say that of few attributes at a time, a problem has hidden ones, which count how many of the first two parts, of the
first four, and so on do not hold: each follows from the one before and the parts between. They are drawn and then left
out.

With a nesting each group is a problem of its own, as in `privacy.release.estimates`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.release.estimates import Estimates, estimates_of
from privacy.release.intervals import Moments
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Array, Attribute, Cube, Family, Identity, Selector

_RUNNING = "how many do not hold of the first "
"""What the names of hidden attributes begin with."""
_AT_ONCE = 2
"""Parts between two hidden attributes: with one, there are more of them; with three, each table is twice as large."""

Names = tuple[str, ...]
Codes = Mapping[str, NDArray[np.int64]]
"""Synthetic rows: attribute -> place of its category in the domain, one a row."""


@dataclass(frozen=True)
class Follows:
    """The attribute `name`, each category of which stands for some numbers of the first `of_first` parts that hold."""

    name: str
    of_first: int
    numbers: tuple[Collection[int], ...]

    @property
    def possible(self) -> NDArray[np.bool_]:
        """(categories, number of parts that do not hold)."""
        return np.array(
            [[self.of_first - missed in own for missed in range(self.of_first + 1)] for own in self.numbers]
        )

    @property
    def tells_apart(self) -> int:
        """The number of parts that do not hold from which on there is nothing to tell apart."""
        return int(np.flatnonzero((np.diff(self.possible, axis=1) != 0).any(axis=0)).max(initial=-1)) + 1


@dataclass(frozen=True)
class Tally:
    """Attributes that follow from how many of `parts` have the category `holds`."""

    parts: Names
    holds: str
    follow: tuple[Follows, ...]

    @property
    def most(self) -> int:
        """The largest number that hidden attributes tell apart; it stands for larger ones too."""
        return max(each.tells_apart for each in self.follow)

    @property
    def places(self) -> list[int]:
        """How many of the first parts the hidden attributes count, in order."""
        all_parts = len(self.parts)
        return sorted({*range(0, all_parts, _AT_ONCE), *(each.of_first for each in self.follow), all_parts})


@dataclass(frozen=True, eq=False)
class Noisy:
    """A marginal: attributes, counts with noise over their domains, scale of the noise, and of totals the measured
    marginal that they are the totals of."""

    attributes: Names
    counts: Array
    sigma: float
    of: Names = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to be drawn: their number, attributes, noisy marginals, and by set of attributes what is impossible (True),
    over their domains."""

    rows: int
    attributes: tuple[Attribute, ...]
    marginals: tuple[Noisy, ...]
    impossible: Mapping[Names, NDArray[np.bool_]]

    def attribute(self, name: str) -> Attribute:
        return next(each for each in self.attributes if each.name == name)

    def without(self, held_out: Collection[Names]) -> Problem:
        """The same rows to be drawn from all other marginals, and without totals of these."""
        return replace(
            self,
            marginals=tuple(each for each in self.marginals if not {each.attributes, each.of} & set(held_out)),
        )


def problems(
    plan: Plan, measurement: Measurement, published: Moments, place: str, left_out: Collection[str], tally: Tally
) -> Iterator[Problem]:
    """The problems of a measurement, one for each group of a nesting, else one.

    `published` are the moments of the figures that rows are to agree with, `place` is the attribute over which there
    are totals. Marginals with an attribute that is `left_out` are not among their marginals. There are as many rows as
    the release estimates.
    """
    estimates, nesting = estimates_of(plan, measurement), plan.family.nesting
    told = [names for names in plan.sigmas if not set(names) & set(left_out)]
    noisy = {names: measurement.noisy[names] + _correction(plan.family, names, estimates, published) for names in told}
    if nesting is None:
        sigmas = {names: plan.sigmas[names] for names in told}
        found = _problem(plan.family, _number(estimates, Cube({})), sigmas, noisy, place, tally)
        yield replace(found, marginals=(*found.marginals, *_totals(plan.family, told, place, published)))
        return
    inner, outer = plan.family.attribute(nesting.inner), plan.family.attribute(nesting.outer)
    for group, part in plan.parts.items():
        taken = {
            inner.name: [inner.categories.index(member) for member in nesting.members[group]],
            outer.name: [outer.categories.index(group)],
        }
        inside = {}
        for names, counts in noisy.items():
            for axis, name in enumerate(names):
                counts = counts.take(taken[name], axis) if name in taken else counts
            seen = tuple(name for name in names if name != outer.name)
            inside[seen] = counts.reshape(part.family.shape(seen))
        rows = _number(estimates, Cube({}, where={inner.name: Selector.only(inner, *nesting.members[group])}))
        yield _problem(part.family, rows, {names: part.sigmas[names] for names in inside}, inside, place, tally)


def _correction(family: Family, names: Names, estimates: Estimates, published: Moments) -> Array:
    """What the published figures of the cells of a marginal are corrected by."""
    selectors, nesting = {}, family.nesting
    for name in names:
        attribute = family.attribute(name)
        if nesting is not None and name == nesting.outer:
            attribute = family.attribute(nesting.inner)
            groups = {group: nesting.members[group] for group in family.attribute(name).categories}
            selectors[attribute.name] = Selector.of(attribute, groups)
        else:
            selectors[name] = Selector.each(attribute)
    cells = Cube(selectors)
    return published.values(cells) - estimates.values(cells)


def _totals(family: Family, measured: Sequence[Names], place: str, published: Moments) -> Iterator[Noisy]:
    """Over all places, what marginals with other attributes beside it come to, unless that was measured."""
    for names in measured:
        others = tuple(name for name in names if name != place)
        if len(others) < len(names) and len(others) > 1 and others not in measured:
            cells = Cube({name: Selector.each(family.attribute(name)) for name in others})
            yield Noisy(others, published.values(cells), float(np.sqrt(published.variance(cells).mean())), names)


def _number(estimates: Estimates, rows: Cube) -> int:
    """What the release estimates, as a number of rows."""
    return max(0, round(float(estimates.values(rows).item())))


def _problem(
    family: Family, rows: int, sigmas: Mapping[Names, float], noisy: Mapping[Names, Array], place: str, tally: Tally
) -> Problem:
    with_place = {tuple(name for name in names if name != place): names for names in sigmas if place in names}
    marginals = tuple(
        Noisy(names, noisy[names], sigma, with_place.get(names, ())) for names, sigma in sigmas.items() if names
    )
    measured = {name for marginal in marginals for name in marginal.attributes}
    attributes = [each for each in family.attributes if each.name in measured]
    impossible: dict[Names, NDArray[np.bool_]] = {}
    for identity in family.identities:
        if (found := _impossible(family, identity)) and set(found[0]) <= measured:
            impossible[found[0]] = impossible.get(found[0], False) | found[1]
    if {*tally.parts, *(each.name for each in tally.follow)} <= measured:
        attributes += [Attribute(_running(n), tuple(map(str, range(min(n, tally.most) + 1)))) for n in tally.places]
        impossible |= _counted(family, tally)
    return Problem(rows, tuple(attributes), marginals, impossible)


def _impossible(family: Family, identity: Identity) -> tuple[tuple[str, str], NDArray[np.bool_]] | None:
    """The pairs of categories that count differently on the two sides; None unless each side weighs one attribute."""
    sides: dict[str, Any] = {}
    for side in (identity.left, identity.right):
        if len(side.terms) != 1 or len(side.terms[0].vectors) != 1:
            return None
        (term,) = side.terms
        ((name, vector),) = term.vectors.items()
        sides[name] = term.coefficient * np.array(family.attribute(name).weights(vector))
    if len(sides) != 2:
        return None
    first, second = family.ordered(sides)
    return (first, second), sides[first][:, None] != sides[second][None, :]


def _counted(family: Family, tally: Tally) -> dict[Names, NDArray[np.bool_]]:
    """What is impossible with a hidden attribute: of parts with the numbers before and after them, and of what follows
    with its number."""
    found: dict[Names, NDArray[np.bool_]] = {}
    for first, after in pairwise(tally.places):
        parts = tally.parts[first:after]
        missed = np.arange(min(first, tally.most) + 1)
        for part in reversed(parts):
            fails = np.array([category != tally.holds for category in family.attribute(part).categories])
            missed = np.add.outer(fails, missed)
        numbers = np.arange(min(after, tally.most) + 1)
        found[*parts, _running(first), _running(after)] = np.minimum(missed, tally.most)[..., None] != numbers
    for each in tally.follow:
        found[each.name, _running(each.of_first)] = ~each.possible[:, : min(each.of_first, tally.most) + 1]
    return found


def _running(number: int) -> str:
    return f"{_RUNNING}{number}"


def is_hidden(name: str) -> bool:
    """Whether an attribute of a problem is left out of the rows."""
    return name.startswith(_RUNNING)


def contradictions(problem: Problem, rows: Codes, tally: Tally) -> int:
    """Rows with categories that are impossible together, or that break the tally. They are rows of the problem, or of
    all groups, whose attributes but that of place have the same domains."""
    wrong = np.zeros(len(next(iter(rows.values()))), dtype=np.bool_)
    for names, impossible in problem.impossible.items():
        if not any(map(is_hidden, names)):
            wrong |= impossible[tuple(rows[name] for name in names)]
    if any(is_hidden(each.name) for each in problem.attributes):
        fails = [rows[part] != problem.attribute(part).categories.index(tally.holds) for part in tally.parts]
        for each in tally.follow:
            wrong |= ~each.possible[rows[each.name], np.sum(fails[: each.of_first], axis=0)]
    return int(wrong.sum())


def widest(problem: Problem, having: str) -> Sequence[Names]:
    """Every second of the marginals with the most attributes of those that have this one, in order of the plan."""
    own = [each.attributes for each in problem.marginals if having in each.attributes]
    return [names for names in own if len(names) == max(map(len, own))][::2]

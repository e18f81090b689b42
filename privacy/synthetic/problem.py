"""What synthetic rows are made from: measured marginals, and the combinations of categories that no row can have.

A pair of categories is impossible where an identity of the plan says so: its two sides are equal for every table there
could be, so for a table of one row too, and a row that counts on one side counts on the other. `AllOf` states an
attribute that follows from others. To say that in pairs, a problem has a further attribute, which of the parts is the
first that does not hold: it decides the whole, and each part up to that one. It is drawn and then left out.

With a nesting each group is a problem of its own, as in `privacy.release.estimates`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privacy.release.estimates import Estimates, estimates_of
from privacy.release.mechanism import Counts, Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Array, Attribute, Cube, Family, Identity, Selector

FIRST = "first that does not hold"
_NONE = "every one holds"

Names = tuple[str, ...]
Codes = Mapping[str, NDArray[np.int64]]
"""Synthetic rows: attribute -> place of its category in the domain, one a row."""


@dataclass(frozen=True)
class AllOf:
    """The attribute `whole` is `yes` in the rows in which every one of `parts` is `holds`, and in no other."""

    whole: str
    yes: str
    parts: Names
    holds: str


@dataclass(frozen=True, eq=False)
class Noisy:
    """A measured marginal: attributes, counts with noise over their domains, scale of the noise."""

    attributes: Names
    counts: Array
    sigma: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows to be drawn: their number, attributes, noisy marginals, and by pair of attributes what is impossible (True),
    over the domains of both."""

    rows: int
    attributes: tuple[Attribute, ...]
    marginals: tuple[Noisy, ...]
    impossible: Mapping[tuple[str, str], NDArray[np.bool_]]

    def attribute(self, name: str) -> Attribute:
        return next(each for each in self.attributes if each.name == name)

    def without(self, held_out: Collection[Names]) -> Problem:
        """The same rows to be drawn from all other marginals."""
        return replace(self, marginals=tuple(each for each in self.marginals if each.attributes not in held_out))


def problems(plan: Plan, measurement: Measurement, left_out: Collection[str], all_of: AllOf) -> Iterator[Problem]:
    """The problems of a measurement, one for each group of a nesting, else one.

    Marginals with an attribute that is `left_out` are not among their marginals. There are as many rows as the release
    estimates.
    """
    estimates, nesting = estimates_of(plan, measurement), plan.family.nesting
    if nesting is None:
        rows = _number(estimates, Cube({}))
        yield _problem(plan.family, rows, plan.sigmas, measurement.noisy, left_out, all_of)
        return
    inner, outer = plan.family.attribute(nesting.inner), plan.family.attribute(nesting.outer)
    for group, part in plan.parts.items():
        taken = {
            inner.name: [inner.categories.index(member) for member in nesting.members[group]],
            outer.name: [outer.categories.index(group)],
        }
        noisy = {}
        for names, counts in measurement.noisy.items():
            for axis, name in enumerate(names):
                counts = counts.take(taken[name], axis) if name in taken else counts
            seen = tuple(name for name in names if name != outer.name)
            noisy[seen] = counts.reshape(part.family.shape(seen))
        rows = _number(estimates, Cube({}, where={inner.name: Selector.only(inner, *nesting.members[group])}))
        yield _problem(part.family, rows, part.sigmas, noisy, left_out, all_of)


def _number(estimates: Estimates, rows: Cube) -> int:
    """What the release estimates, as a number of rows."""
    return max(0, round(float(estimates.values(rows).item())))


def _problem(
    family: Family, rows: int, sigmas: Mapping[Names, float], noisy: Counts, left_out: Collection[str], all_of: AllOf
) -> Problem:
    marginals = tuple(
        Noisy(names, noisy[names].astype(np.float64), sigma)
        for names, sigma in sigmas.items()
        if names and not set(names) & set(left_out)
    )
    measured = {name for marginal in marginals for name in marginal.attributes}
    attributes = [each for each in family.attributes if each.name in measured]
    impossible: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for identity in family.identities:
        if (found := _impossible(family, identity)) and set(found[0]) <= measured:
            impossible[found[0]] = impossible.get(found[0], False) | found[1]
    if {all_of.whole, *all_of.parts} <= measured:
        attributes.append(Attribute(FIRST, (_NONE, *all_of.parts)))
        impossible |= _all_of(family, all_of)
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


def _all_of(family: Family, all_of: AllOf) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Impossible pairs with `FIRST`: of the whole, and of each part."""
    first = np.arange(len(all_of.parts) + 1)  # 0 where every one holds, else the place of the part from 1
    yes = np.array([category == all_of.yes for category in family.attribute(all_of.whole).categories])
    found = {(all_of.whole, FIRST): yes[:, None] != (first == 0)[None, :]}
    for place, part in enumerate(all_of.parts, start=1):
        holds = np.array([category == all_of.holds for category in family.attribute(part).categories])
        must, must_not = (first == 0) | (first > place), first == place
        found[part, FIRST] = (~holds[:, None] & must[None, :]) | (holds[:, None] & must_not[None, :])
    return found


def contradictions(problem: Problem, rows: Codes, all_of: AllOf) -> int:
    """Rows with a pair of categories that is impossible, or that break `all_of`."""
    wrong = np.zeros(problem.rows, dtype=np.bool_)
    for (one, other), impossible in problem.impossible.items():
        if FIRST not in (one, other):
            wrong |= impossible[rows[one], rows[other]]
    if any(each.name == FIRST for each in problem.attributes):

        def holds(name: str, category: str) -> NDArray[np.bool_]:
            return np.asarray(rows[name] == problem.attribute(name).categories.index(category))

        every = np.all([holds(part, all_of.holds) for part in all_of.parts], axis=0)
        wrong |= holds(all_of.whole, all_of.yes) != every
    return int(wrong.sum())


def widest(problem: Problem, having: str) -> Sequence[Names]:
    """Every second of the marginals with the most attributes of those that have this one, in order of the plan."""
    own = [each.attributes for each in problem.marginals if having in each.attributes]
    return [names for names in own if len(names) == max(map(len, own))][::2]

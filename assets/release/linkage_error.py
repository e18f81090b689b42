"""From the noisy counts of how well linked records agree to figures corrected for linkage error.

Which categories a missed or false link exchanges is said here; how often links are missed is `privacy.linkage.missed`,
and how figures and their intervals follow is `privacy.release.corrected`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ndl_export.tables import pupil
from ndl_export.tables.model import COUNCIL
from ndl_export.tables.pupil import BOTH, CONCERN_GIVEN_SEEN, HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from privacy.linkage.in_councils import SERVICE_OF_RATE, factors
from privacy.linkage.missed import missed
from privacy.linkage.review_rates import update_rates
from privacy.release.corrected import Corrected, Local
from privacy.release.estimates import Estimates
from privacy.release.intervals import Moments
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.workload import Attribute, Cube, Family, Selector

Array = NDArray[np.float64]

FALSE_LINK, FALSE_LINK_SD = 0.0008, 0.0005
"""Chance that a child whom a service has not seen is linked to a record there, and its deviation: fixed beforehand,
from populations of which the truth is known (`python -m bench.missed_links`)."""
_MISSED: Final = {
    (BOTH, NEITHER): 0,
    (BOTH, SETTING_ONLY): 1,
    (BOTH, HV_ONLY): 2,
    (HV_ONLY, NEITHER): 3,
    (SETTING_ONLY, NEITHER): 4,
}
"""Places in `privacy.linkage.missed.RATES`, by who had seen the child, and who is found to have."""
_FALSE: Final = ((NEITHER, HV_ONLY), (NEITHER, SETTING_ONLY), (HV_ONLY, BOTH), (SETTING_ONLY, BOTH))


def corrected(family: Family, estimates: Estimates, review: tuple[Plan, Measurement] | None = None) -> Moments:
    """Moments of the family's figures, corrected where the family tells how well linked records agree; with what a
    clerical `review` of the cohort says of the rates, where one was measured."""
    if pupil.AGREEMENT.name not in family.columns:
        return estimates
    council, agreement = family.attribute(COUNCIL), family.attribute(pupil.AGREEMENT.name)
    everywhere = {COUNCIL: Selector.total(council)}
    cells = Cube({**everywhere, agreement.name: Selector.each(agreement)})
    counted = estimates.values(cells)[0], estimates.variance(cells)[0]
    found = missed(*counted)
    seen = Cube({**everywhere, "dots": _by_who_had_seen(family.attribute("dots"))})
    children = dict(zip(CONCERN_GIVEN_SEEN, estimates.values(seen)[0], strict=True))
    transitions = _Transitions(family, children)
    rates = np.append(found.rates, FALSE_LINK)
    covariance = np.zeros((len(rates), len(rates)))
    covariance[:-1, :-1] = found.covariance
    covariance[-1, -1] = FALSE_LINK_SD**2
    if review is not None:
        seen_by = [children[seen] for seen in (BOTH, HV_ONLY, SETTING_ONLY, NEITHER)]
        rates, covariance = update_rates(rates, covariance, seen_by, *review)
    return Corrected(estimates, transitions, rates, covariance, _by_council(family, estimates, counted, children))


def _by_council(
    family: Family, estimates: Estimates, counted: tuple[Array, Array], children: Mapping[str, float]
) -> Local | None:
    """In which councils more links are missed; None of a plan that does not tell. `counted` are the cells of all
    councils together, and the variances of their noise."""
    if pupil.DIFFERENCES.name not in family.columns:
        return None
    council, differences = family.attribute(COUNCIL), family.attribute(pupil.DIFFERENCES.name)
    kinds = Cube({COUNCIL: Selector.each(council), differences.name: Selector.each(differences)})
    found, noise = estimates.values(kinds), estimates.variance(kinds)
    seen_by = np.array([children[seen] for seen in (BOTH, HV_ONLY, SETTING_ONLY)])
    more = factors(*counted, found, noise, seen_by)
    linked = np.maximum(found[:, 1:].sum(axis=1), 0.0)
    groups = np.append(SERVICE_OF_RATE, -1)  # a false link is as likely everywhere
    return Local(COUNCIL, more.values, more.covariances, groups, linked, family.covers)


def _by_who_had_seen(dots: Attribute) -> Selector:
    return Selector.of(
        dots,
        {seen: tuple(pupil.dots_category(seen, c) for c in concerns) for seen, concerns in CONCERN_GIVEN_SEEN.items()},
    )


class _Transitions:
    """From the rates to the chance that a child of one category is found in another, for the attributes of linkage.

    Of who had seen a child and had a concern: a concern of a service that is missed goes with it, and of a service that
    is found falsely there is none. Of one service alone, the chance is that over all children it had seen: of how many
    the other service had seen too, the linkage says enough (`children`, found, by who had seen them).
    """

    def __init__(self, family: Family, children: Mapping[str, float]) -> None:
        self._domains = {name: family.attribute(name).categories for name in ("dots", "asq3", "entitlement")}
        self._children = {seen: round(max(each, 0.0), 3) for seen, each in children.items()}

    def __call__(self, rates: Array) -> Mapping[str, Array]:
        return {
            "dots": self._of_dots(rates),
            "asq3": self._of_service(rates, "asq3", HV_ONLY, pupil.NO_REVIEW),
            "entitlement": self._of_service(rates, "entitlement", SETTING_ONLY, pupil.NOT_LINKED_TO_SETTING),
        }

    def _of_dots(self, rates: Array) -> Array:
        categories = self._domains["dots"]
        chances = np.zeros((len(categories), len(categories)))
        moves = {**{pair: rates[place] for pair, place in _MISSED.items()}, **dict.fromkeys(_FALSE, rates[-1])}
        for true_seen, concerns in CONCERN_GIVEN_SEEN.items():
            for concern in concerns:
                true = categories.index(pupil.dots_category(true_seen, concern))
                for (of, seen), chance in moves.items():
                    if of == true_seen:
                        found = categories.index(pupil.dots_category(seen, _concern_found(concern, seen)))
                        chances[found, true] += chance
        return _with_those_found(chances)

    def _of_service(self, rates: Array, name: str, alone: str, nothing: str) -> Array:
        categories = self._domains[name]
        both, only = self._children[BOTH], self._children[alone]
        share = both / (both + only) if both + only > 0 else 0.0
        other = SETTING_ONLY if alone == HV_ONLY else HV_ONLY
        of_both = rates[_MISSED[BOTH, NEITHER]] + rates[_MISSED[BOTH, other]]
        lost = share * of_both + (1 - share) * rates[_MISSED[alone, NEITHER]]
        at = categories.index(nothing)
        linked = [i for i, category in enumerate(categories) if category not in (nothing, UNSEARCHABLE)]
        chances = np.zeros((len(categories), len(categories)))
        chances[at, linked] = lost
        chances[linked, at] = rates[-1] / len(linked)
        return _with_those_found(chances)


def _concern_found(concern: str, seen: str) -> str:
    """The concern of a child once it is found as seen by these: of theirs alone."""
    if seen == BOTH or concern == NONE:
        return concern
    if seen == NEITHER:
        return NONE
    return seen if concern in (BOTH, seen) else NONE


def _with_those_found(chances: Array) -> Array:
    """With the chance on the diagonal that a child is found where it belongs."""
    size = len(chances)
    for true in range(size):
        chances[true, true] = 1.0 - sum(chances[found, true] for found in range(size) if found != true)
    return chances

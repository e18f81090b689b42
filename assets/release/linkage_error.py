"""Corrects figures for linkage error, using noisy counts of how well linked records agree.

This module says between which categories a missed or false link moves a child. `privacy.linkage.missed` estimates how
often links are missed and how many school census rows were not found; `privacy.estimation.corrected` corrects figures
and intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ndl_export.tables import pupil
from ndl_export.tables.model import COUNCIL, UNKNOWN
from ndl_export.tables.pupil import BOTH, CONCERN_GIVEN_SEEN, HV_ONLY, NEITHER, NONE, SETTING_ONLY, UNSEARCHABLE
from privacy.estimation.corrected import Corrected, Joined, Local
from privacy.estimation.estimates import Estimates
from privacy.estimation.intervals import Moments
from privacy.linkage import missed
from privacy.linkage.cells import REVIEW
from privacy.linkage.review import count_missed
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan
from privacy.release.statement import MeasuredCohort
from privacy.release.workload import Cube, MeasuredFamily, Selector

Array = NDArray[np.float64]

FALSE_LINK, FALSE_LINK_SD = 0.0008, 0.0005
"""Chance that a child whom a service has not seen is linked to a record there, and its standard deviation.

Fixed in advance, from populations whose true links are known (`python -m bench.missed_links`).
"""
_MISSED: Final = {
    (BOTH, NEITHER): 0,
    (BOTH, SETTING_ONLY): 1,
    (BOTH, HV_ONLY): 2,
    (HV_ONLY, NEITHER): 3,
    (SETTING_ONLY, NEITHER): 4,
}
"""Index in `privacy.linkage.missed.RATES`, by the services that saw the child and those found to have seen it."""
_FALSE: Final = ((NEITHER, HV_ONLY), (NEITHER, SETTING_ONLY), (HV_ONLY, BOTH), (SETTING_ONLY, BOTH))


DOUBTFUL = 0.01
"""Share of a group's links to a service that must be missed for the group's linked figures to be flagged."""
_SURE = 2.0
"""Standard deviations of noise by which a flagged group's share must at least exceed that of all children."""


Review = tuple[Plan, Measurement]


def find_review(measured: MeasuredCohort) -> Review | None:
    """Return the newest measured review of a cohort, or None."""
    reviews = [each for each in measured.on_request if each.plan.family.name == REVIEW]
    return (reviews[-1].plan, reviews[-1].measurement) if reviews else None


def correct_estimates(family: MeasuredFamily, estimates: Estimates, review: Review | None = None) -> Moments:
    """Return moments of figures, corrected if the family measures how well linked records agree."""
    if pupil.AGREEMENT.name not in family.columns:
        return estimates
    linked = Linked(family, estimates)
    found = linked.estimate_rates(review)
    places = ((COUNCIL, missed.FACTOR_SD), (pupil.ETHNIC.name, missed.GROUP_SD))
    local = tuple(linked.estimate_places(by, factor_sd) for by, factor_sd in places)
    # census rows that were not found are corrected first: the correction of links applies to the result
    odds = linked.unjoined.share / (1 - linked.unjoined.share)
    joined = Joined(estimates, dict.fromkeys(pupil.FROM_CENSUS, UNKNOWN), odds, linked.unjoined.deviation**2)
    return Corrected(joined, _Transitions(family, linked.children), found.rates, found.covariance, local)


def select_by_services(family: MeasuredFamily) -> Cube:
    """Return the children of all councils by the services that saw them, as `CONCERN_GIVEN_SEEN`: (1, categories)."""
    by_seen = {
        seen: tuple(pupil.format_dots_category(seen, concern) for concern in concerns)
        for seen, concerns in CONCERN_GIVEN_SEEN.items()
    }
    dots = Selector.for_groups(family.get_attribute("dots"), by_seen)
    return Cube({COUNCIL: Selector.for_total(family.get_attribute(COUNCIL)), "dots": dots})


def are_links_withheld(family: MeasuredFamily, estimates: Estimates, limit: float) -> bool:
    """Return whether so many links to a service are missed that linked figures are not shown."""
    return pupil.AGREEMENT.name in family.columns and Linked(family, estimates).share_missed >= limit


def find_doubtful_groups(family: MeasuredFamily, estimates: Estimates) -> frozenset[str]:
    """Return the ethnic groups with so many missed links that their figures depend on the correction.

    If `missed.TOO_MANY` links of all children are missed, that is every group.
    """
    if pupil.AGREEMENT.name not in family.columns:
        return frozenset()
    linked = Linked(family, estimates)
    categories = family.get_attribute(pupil.ETHNIC.name).categories
    if linked.share_missed >= missed.TOO_MANY:
        return frozenset(categories)
    rates, found = linked.estimate_rates(None).rates, linked.estimate_factors(pupil.ETHNIC.name, 0.0)
    shares = found.values[1:] * rates[1:3, None] + found.values[0] * rates[0]
    noise = np.sqrt(np.diagonal(found.covariances, axis1=1, axis2=2)[:, 1:].T) * rates[1:3, None]
    over_all = (rates[1:3] + rates[0])[:, None]
    # at least twice the share of all children: in 30 releases of a population with transliterated names this flags
    # Asian children in 26, and in 60 releases of other populations it flags nobody
    more = np.maximum(over_all, _SURE * noise)
    doubtful = ((shares >= DOUBTFUL) & (shares - over_all >= more)).any(axis=0)
    return frozenset(group for group, is_doubtful in zip(categories, doubtful, strict=True) if is_doubtful)


class Linked:
    """Linkage error rates of a family, estimated from its noisy counts of how well linked records agree."""

    def __init__(self, family: MeasuredFamily, estimates: Estimates) -> None:
        self._family, self._estimates = family, estimates

    @cached_property
    def unjoined(self) -> missed.Unjoined:
        """School census rows that were not found."""
        return missed.estimate_unjoined(*self._count(pupil.CENSUS_JOIN.name))

    @cached_property
    def _found(self) -> missed.Missed:
        return self._estimate_missed(None)

    def _estimate_missed(self, reviewed: missed.Reviewed | None) -> missed.Missed:
        measured = (pupil.AGREEMENT, pupil.CENSUS_JOIN, pupil.SHARED_NUMBER)
        evidence = missed.Evidence(*(missed.Counted(*self._count(each.name)) for each in measured))
        return missed.estimate_rates(evidence, self._seen_by, reviewed)[0]

    @cached_property
    def children(self) -> Mapping[str, float]:
        """Number of children by the services found to have seen them, all councils together."""
        seen = select_by_services(self._family)
        return dict(zip(CONCERN_GIVEN_SEEN, self._estimates.compute_values(seen)[0], strict=True))

    @property
    def share_missed(self) -> float:
        """The greater share of the links to a service that are missed."""
        return max(self._found.compute_shares())

    @property
    def _seen_by(self) -> Array:
        return np.array([self.children[seen] for seen in (BOTH, HV_ONLY, SETTING_ONLY, NEITHER)])

    def estimate_rates(self, review: Review | None) -> missed.Missed:
        """Return rates of missed links (as `missed.RATES`), then of false links, and their covariance."""
        found = self._estimate_missed(count_missed(*review)) if review else self._found
        covariance = np.diag([*np.zeros(len(found.rates)), FALSE_LINK_SD**2])
        covariance[:-1, :-1] = found.covariance
        return missed.Missed(np.append(found.rates, FALSE_LINK), covariance)

    def estimate_factors(self, by: str, factor_sd: float) -> missed.Factors:
        """Return the rates of each category of `by` relative to the overall rates."""
        kinds = self._count(pupil.DIFFERENCES.name, by)
        return missed.estimate_factors(*self._count(pupil.AGREEMENT.name), *kinds, self._seen_by[:3], factor_sd)

    def estimate_places(self, by: str, factor_sd: float) -> Local:
        """Return the factors by which rates of missed links differ between councils, or between ethnic groups."""
        more = self.estimate_factors(by, factor_sd)
        linked = np.maximum(self._count(pupil.DIFFERENCES.name, by)[0][:, 1:].sum(axis=1), 0.0)
        groups = np.append(missed.SERVICE_OF_RATE, -1)  # a false link is equally likely everywhere
        local = Local(
            by, more.values, more.covariances, groups, linked, self._family.has_marginal_over, added_up=by == COUNCIL
        )
        if local.added_up:
            return local
        # scaled to a mean of 1, because the rates already include what is missed in all groups together
        scale = 1 / np.where(local.mean > 0, local.mean, 1.0)
        return replace(
            local, factors=more.values * scale[:, None], covariances=more.covariances * np.outer(scale, scale)
        )

    def _count(self, name: str, by: str | None = None) -> tuple[Array, Array]:
        """Return numbers of children by category of an attribute, over all or `by` another, with the noise variance."""
        family, council = self._family, self._family.get_attribute(COUNCIL)
        axes = {COUNCIL: Selector.for_each(council) if by == COUNCIL else Selector.for_total(council)}
        axes |= {each: Selector.for_each(family.get_attribute(each)) for each in (by, name) if each and each != COUNCIL}
        cube = Cube(axes)
        shape = (-1, family.get_attribute(name).size) if by else -1
        return self._estimates.compute_values(cube).reshape(shape), self._estimates.compute_variance(cube).reshape(
            shape
        )


_Moves = Iterator[tuple[str, str, float]]
"""Moves of children by error: (category found, true category, chance)."""


class _Transitions:
    """Turns rates into the chance that a child of one category is found in another, for the linked attributes.

    If a service's link is missed, its concern is lost too; a falsely linked service adds no concern. For attributes
    of one service, the chance is an average over all children it saw; the share of them also seen by the other service
    is taken from the linkage (`children`, as found, by the services that saw them), which is accurate enough.
    """

    def __init__(self, family: MeasuredFamily, children: Mapping[str, float]) -> None:
        self._domains = {name: family.get_attribute(name).categories for name in pupil.FAMILY.found_by_linkage}
        # a noisy count may be negative
        self._children = {seen: round(max(each, 0.0), 3) for seen, each in children.items()}

    def __call__(self, rates: Array) -> Mapping[str, Array]:
        moves = {
            "dots": _iter_dots_moves(rates),
            "asq3": self._iter_service_moves(rates, "asq3", HV_ONLY, pupil.NO_REVIEW),
            "entitlement": self._iter_service_moves(rates, "entitlement", SETTING_ONLY, pupil.NOT_LINKED_TO_SETTING),
            "first_concern": _iter_first_concern_moves(rates, self._average_lost(rates, SETTING_ONLY)),
            **{
                review.name: self._iter_service_moves(rates, review.name, HV_ONLY, pupil.NO_REVIEW)
                for review in pupil.REVIEWS.values()
            },
        }
        return {name: _build_matrix(self._domains[name], own) for name, own in moves.items()}

    def _iter_service_moves(self, rates: Array, name: str, alone: str, nothing: str) -> _Moves:
        lost = self._average_lost(rates, alone)
        linked = [category for category in self._domains[name] if category not in (nothing, UNSEARCHABLE)]
        for category in linked:
            yield nothing, category, lost
            # a false link says nothing about the child, so every category is taken to be equally likely
            yield category, nothing, rates[-1] / len(linked)

    def _average_lost(self, rates: Array, alone: str) -> np.float64:
        """Return the chance that the record of a child whom a service saw is missed; `alone` is that service only."""
        both, only = self._children[BOTH], self._children[alone]
        share = both / (both + only) if both + only > 0 else 0.0
        other = SETTING_ONLY if alone == HV_ONLY else HV_ONLY
        of_both = rates[_MISSED[BOTH, NEITHER]] + rates[_MISSED[BOTH, other]]
        return np.float64(share * of_both + (1 - share) * rates[_MISSED[alone, NEITHER]])


def _iter_dots_moves(rates: Array) -> _Moves:
    moves = {**{pair: rates[place] for pair, place in _MISSED.items()}, **dict.fromkeys(_FALSE, rates[-1])}
    for (true_seen, seen), chance in moves.items():
        for concern in CONCERN_GIVEN_SEEN[true_seen]:
            found = pupil.format_dots_category(seen, _derive_concern(concern, seen))
            yield found, pupil.format_dots_category(true_seen, concern), chance


def _iter_first_concern_moves(rates: Array, undated: np.float64) -> _Moves:
    """Yield the moves of `first_concern`; `undated` is the chance that an undated concern is lost.

    If the record with the concern is missed, no concern is found: a later concern of the other service is ignored. If
    the other service's record is missed, that service appears never to have seen the child. Undated concerns are taken
    to be those of settings, whose special educational needs have no date.
    """
    yield pupil.NO_CONCERN, pupil.UNDATED, undated
    services = ((pupil.BY_HV, HV_ONLY, SETTING_ONLY), (pupil.BY_SETTING, SETTING_ONLY, HV_ONLY))
    for (by, alone, other), when in product(services, pupil.YEARS_BEFORE):
        by_then, later, never = (
            pupil.format_concern_category(by, when, knew) for knew in (pupil.BY_THEN, pupil.LATER, pupil.NEVER)
        )
        for known in (by_then, later):
            # if both saw the child and the record with the concern is missed, the child is found as seen by the other
            # service or by neither
            yield pupil.NO_CONCERN, known, rates[_MISSED[BOTH, NEITHER]] + rates[_MISSED[BOTH, other]]
            yield never, known, rates[_MISSED[BOTH, alone]]
        yield pupil.NO_CONCERN, never, rates[_MISSED[alone, NEITHER]]
        # a false link does not say when the other service saw the child
        yield later, never, rates[-1]


def _derive_concern(concern: str, seen: str) -> str:
    """Return the concern found for a child who is found as `seen`: only the concerns of these services."""
    if seen == BOTH or concern == NONE:
        return concern
    if seen == NEITHER:
        return NONE
    return seen if concern in (BOTH, seen) else NONE


def _build_matrix(categories: Sequence[str], moves: _Moves) -> Array:
    """Return the chance of being found in each category, by true category: (categories found, true categories)."""
    size, chances = len(categories), np.zeros((len(categories), len(categories)))
    for found, true, chance in moves:
        chances[categories.index(found), categories.index(true)] += chance
    for place in range(size):
        chances[place, place] = 1.0 - sum(chances[found, place] for found in range(size) if found != place)
    return chances

"""Estimates how often links are missed: overall, for pupils whose census row was not found, and by council or group.

Several sources are combined. `estimate_missed` is a prior that knows only how the linked records differ, and may be
several times too high or too low. `add_near` counts the missed links themselves: records without a pupil that are near
a pupil without such a record. `cells.NEAR_BY_CHANCE` shows how many are near by chance, and `VISIBLE` how many missed
links are too far apart to be near. Records that share an NHS number belong to the same child even if their names differ
(`cells.NUMBERED`). Nothing is assumed about which errors go together.

The prior. Each field of a child's three records (pupil, health visitor, setting) is assumed to differ or not, in any
record, independently of the other fields. How often each differs, and in whose record, follows from the children in
whom only that field differs (`agreement`). A pair weighs what it would if everything agreed, less the cost of each
difference, and is found as the linkage would find it; summing over all combinations gives the `RATES`
(`docs/linkage-error.md`).

The counts may be noisy. A rate is linear in the share of each field, and the noise of different cells is independent,
so rates of noisy counts are unbiased except for the noise of the denominators, which are large. Rates may be negative.

The count. Let M be the links missed, in the order of `RATES`, and y the pupils in `cells.NEAR` less those expected by
chance: the share of pupils linked to both services for whom a further record is near, of the pupils not linked. With
v the share of a service's missed links that are near, and w that of pupils missed by both for whom records of both are,

    E y0 = w M0,  E y1 = v1 M1,  E y2 = v2 M2,  E y3 = v1 M3 + (v1 - w)+ M0,  E y4 = v2 M4 + (v2 - w)+ M0.

v falls as more is missed (`VISIBLE`). All sources are combined by `privacy.estimation.update`, which trusts the prior
less if they disagree. The prior is off by a factor, so it is also trusted less the more links are missed (`EXCESS_SD`).

Numbers. Of the children whose records share a number, let U be those that would not be linked without it, and A the
others. Of L links without a number, U / A times as many are missed. Where the pupil's number is that of the review, of
the setting's record, or of both, and where the review shares the setting's number alone,

    E L1 U1 / A1 = M0 + M1 + M3,  E L2 U2 / A2 = M0 + M2 + M4,  E L3 U3 / A3 = M0 + M1 + M2,  E L4 U4 / A4 = M1.

The last says nothing of settings, because a review that shares the number of a missed record is lost with it.

The review. A clerical review (`privacy.linkage.review`) draws pupils near a record (at a lower weight) and others. With
k the share of the links missed that are not near but near at the lower weight, and f the share that reviewers find,

    E found, near a record = f (v + k (1 - v)) M,   E found, others = f (1 - k) (1 - v) M.

Their sum does not depend on v or k, whose deviations have opposite signs in the two.

The constants were fixed on populations whose truth is known (`python -m bench.missed_links`), never on the cohort.
"""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

from privacy.estimation.update import update_estimate
from privacy.linkage import cells
from privacy.linkage.blocks import FREE_BITS

Array = NDArray[np.float64]

RATES = (
    "both missed, of children seen by both",
    "review missed, of children seen by both",
    "setting missed, of children seen by both",
    "review missed, of children seen by the health visitor only",
    "setting missed, of children seen in a setting only",
)
_MOVED = np.array([[1, 1, 1, 0, 0], [0, 0, -1, 1, 0], [0, -1, 0, 0, 1], [-1, 0, 0, -1, -1]])
"""What a missed link of each of `RATES` adds to the children truly seen by both services, the health visitor only, a
setting only and neither, compared with those found to be."""
COST_BITS = {
    ("date_of_birth", "near"): 7.6,
    ("date_of_birth", "far"): 11.6,
    ("postcode", ""): 15.4,
    ("surname", "near"): 4.0,
    ("surname", "far"): 13.9,
    ("forename", "near"): 5.2,
    ("forename", "far"): 15.8,
    ("names", "near"): 6.9,
    ("names", "middle"): 14.0,
    ("names", "far"): 23.0,
}
_MEAN_BITS = 25.3
"""Average weight of pairs in which everything agrees. It is used when both names differ, because the remaining
weight then does not depend on how common the names are."""
_AT_HOME = ("date_of_birth", "postcode", "surname", cells.NAMES)
"""A pair is found if none of these differs."""
CUT_OFF, CUT_OFF_SD = 0.6, 0.25
"""Share of children not found because the names in a service's record are far from those in the other records,
relative to those found with that difference alone, and its standard deviation. This is the only case in which a cell
misses some of its children. Pupils' records are left out: too few are known, and the noise would be multiplied."""
_OF_SERVICES = ("the health visitor's record", "the setting's record")
_LOST_BITS = 33.0
"""Cost of names so far from each other that their pair is not found."""
SHORTFALL, RELATIVE_SD = 1.5, 1.5
"""Links missed relative to the prior's, and its standard deviation: it is unknown how far errors of one child go
together. In the populations of the bench, 0.2 to 8 times as many were missed."""
PILED_UP, PILED_UP_SD = 0.1, 0.15
"""Links of both services missed at once, as a share of those of one missed alone, in addition to what fields that
differ independently give; and its standard deviation."""
_UNSEEN = np.array([[1, 0, 0, 1, 1], [0, 1, 0, 1, 0], [0, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]]).T
_UNSEEN_SD = np.array([0.001, 0.003, 0.003, 0.004, 0.004])
"""Errors that the prior cannot see at all, by the rates that they raise, and their standard deviation: in the pupil's
records, in reviews, in settings' records, and in those of children seen by one service."""
FAR_SD = 0.3
"""Standard deviation of links missed because the names in a service's record are far from the others, relative to the
prior's. They are kept apart, because few such records share a token with the pupil's: only `_FAR_VISIBLE` times as many
are near as of other missed links."""
_FAR_VISIBLE = 0.2
VISIBLE = (1.41, 0.15)
"""a and b: the share of a service's missed links that are near is exp(-a) / u ** b, u being the near per child. b is
fixed: fitted without one hand's populations it is 0.05 to 0.22, and says less of that hand's (`bench.missed_links`)."""
VISIBLE_BOTH, VISIBLE_BOTH_SD = 1.3, 0.2
"""Share of the children missed by both services whose two records are near, relative to the smaller share of one
service's missed links, and its standard deviation. It is 1.2 to 1.6 in populations with at least 20 such children. The
two records are linked to each other, so if one is near, so is the other."""
_MOST_VISIBLE = 0.95
VISIBLE_SD = 0.3
"""Standard deviation of these shares in other populations, relative to them: 0.2 in those of the bench, but 0.4 where
errors of one child go together."""
UNLIKE, UNLIKE_SD = 1.0, 0.35
"""Links that would be missed without a number, relative to those missed of as many without one, and its standard
deviation: services and councils that hold numbers may be more or less careful than others."""
_MISSED_OF_NUMBERED = np.array([[1, 1, 0, 1, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0], [0, 1, 0, 0, 0]])
"""The links missed, by rate, that records known by number tell of, in the order of `cells.NUMBERED_BY`."""
_ENOUGH = 5.0
"""A number of children counts as known from this many standard deviations of its noise on."""
WIDER, WIDER_SD = 0.35, 0.2
"""Of missed links that are not near, the share near at the review's lower weight, and its standard deviation."""
SEARCHED, SEARCHED_SD = 0.94, 0.05
"""Share of the children known to a service whom its reviewers find, and its standard deviation: in the populations of
the bench, 1 to 10% of the reviews missed are held by another council. Reviewers overlook few children, because they
search their own records by name (`docs/clerical-review.md`)."""
REVIEWED_PRIOR = 4.0
"""How many times as large the prior's variance counts with a review, which limits the noise in its place."""
EXCESS_SD = 2.0
"""Additional standard deviation of the prior, relative to the links missed beyond those it says."""
_VISIBLE_RANGE = (0.25, 0.9)
_LEAST_NEAR = 12.0
"""Fewer near records are little but noise."""
_PASSES = 3
_MOST_MISSED = 0.3
TOO_MANY = 0.05
"""Share of the links to a service that must be missed for all linked figures to be flagged."""
USUAL = np.array([0.0003, 0.003, 0.003, 0.003, 0.004])
"""Average rates of the populations that `SHORTFALL` was measured on."""
_DECIMALS = 9
"""Rates are rounded so that they are the same on every machine, in whatever order it adds."""
_POINTS = 4
"""Number of weights that represent one step of `ALL_AGREE`."""


@dataclass(frozen=True, eq=False)
class Missed:
    """Estimated rates and their uncertainty.

    `rates` (5,) are in the order of `RATES`. `covariance` (5, 5) covers the noise, the number of children counted, and
    how far off the model was in other populations. `far` (5,) is the part of the rates that hardly any near record
    shows, because the names are far apart, and `far_covariance` the part of the covariance.
    """

    rates: Array
    covariance: Array
    far: Array = field(default_factory=lambda: np.zeros(len(RATES)))
    far_covariance: Array = field(default_factory=lambda: np.zeros((len(RATES), len(RATES))))

    def compute_shares(self) -> tuple[float, float]:
        """Return the share of links missed, of children seen by both services: reviews, and settings' records."""
        return float(self.rates[[0, 1]].sum()), float(self.rates[[0, 2]].sum())

    def compute_share_deviations(self) -> tuple[float, float]:
        """Return the standard deviations of these shares."""
        review, setting = (float(np.sqrt(self.covariance[np.ix_(of, of)].sum())) for of in ([0, 1], [0, 2]))
        return review, setting

    def compute_deviations(self, found: Array) -> Array:
        """Return the standard deviation that these rates give the children truly seen by each service: (4,).

        `found` (4,) are the children found to be seen by both, the health visitor only, a setting only, and neither.
        """
        moved = _MOVED * _compute_true(found, self.rates)
        deviations: Array = np.sqrt(np.diag(moved @ self.covariance @ moved.T))
        return deviations


def estimate_missed(counts: Array, variances: Array) -> Missed:
    """Estimate the rates from the number of children in each of `CELLS` and the variance of the noise in each.

    If hardly any children were linked to both services, the rates are `USUAL`, with a deviation just as large.
    """
    if not has_enough_links(counts, variances):
        return Missed(USUAL, np.diag(USUAL**2))
    weights, shares = counts[_ALL_AGREE].sum(), _compute_shares(counts)
    of_weights = shares.pop()
    found, of_cut_off = (np.tensordot(of_weights, tensor, axes=1) for tensor in _build_tensors())
    rates = _contract_tensor(found, shares)
    # The noise, and the chance (Poisson) of how many children were counted. Noisy counts can be negative.
    spread = variances + np.maximum(counts, 0.0)
    covariance = np.zeros((len(RATES), len(RATES)))
    for number, name in enumerate(cells.FIELDS):
        without = _contract_tensor(found, shares, left_out=number)
        # A rate is linear in the shares of one field: its slope is the rate with a difference less the rate without.
        slope = (without[1:] - without[:1]) / (weights + counts[_list_cells(name)].sum())
        of_cells = spread[_list_cells(name)][:, None] * slope
        covariance += slope.T @ of_cells
    # The last field is both names.
    far = counts[_list_cells(cells.NAMES)][_FAR] @ slope[_FAR]
    cut_off = _contract_tensor(of_cut_off, shares)
    # The cut-off is one number, so all of its variance is common.
    far_covariance = np.outer(CUT_OFF_SD * cut_off, CUT_OFF_SD * cut_off) + _share_half(FAR_SD * far)
    far_covariance += slope[_FAR].T @ of_cells[_FAR]
    others = SHORTFALL * (rates - far)
    near = SHORTFALL**2 * (covariance - slope[_FAR].T @ of_cells[_FAR]) + _share_half(RELATIVE_SD * others)
    piled = np.eye(len(RATES))
    piled[0, 1:3] = PILED_UP
    off = [PILED_UP_SD * others[1:3].sum(), *np.zeros(len(RATES) - 1)]
    near = piled @ near @ piled.T + np.diag(np.square(off)) + (_UNSEEN * _UNSEEN_SD**2) @ _UNSEEN.T
    return Missed(
        np.round(piled @ others + far, _DECIMALS),
        np.round(near + far_covariance, 2 * _DECIMALS),
        np.round(far, _DECIMALS),
        np.round(far_covariance, 2 * _DECIMALS),
    )


def _share_half(deviations: Array, of: NDArray[np.int64] | None = None) -> Array:
    """Return a covariance of which half is common to all and half is separate, or common to those with one number."""
    own = np.arange(len(deviations)) if of is None else of
    return np.outer(deviations, deviations) * (1 + (own[:, None] == own)) / 2


class Reviewed(NamedTuple):
    """Missed links that a clerical review found, in the order of `RATES`, each scaled up from the sample to all pupils.

    Pupils missed by both services count at the first rate alone. Each array is (2, rates): pupils near a record, and
    others. `variances` are of the noise and of pairs that nobody could decide; `chances` of being in the sample.
    """

    found: Array
    variances: Array
    chances: Array


class Counted(NamedTuple):
    """Noisy numbers of children, and the variance of the noise in each."""

    counts: Array
    variances: Array


class Evidence(NamedTuple):
    """The measured numbers of children from which rates are estimated, by `CELLS`, `JOINS` and `NUMBERED`."""

    agreement: Counted
    joins: Counted
    numbered: Counted


def add_near(prior: Missed, evidence: Evidence, seen_by: Array, reviewed: Reviewed | None = None) -> Missed:
    """Return the rates after the pupils in `cells.NEAR` are counted, after records known by number, and after a
    clerical review.

    `seen_by` (4,) are the children found to be seen by both services, the health visitor only, a setting only, and
    neither.
    """
    found = np.maximum(seen_by, 1.0)
    counted, noise, with_review = count_net(*evidence.agreement, found)
    visible = _compute_visible(counted, found.sum())
    drawn = np.zeros(len(counted))
    if reviewed:
        cells_noise, counted = noise, np.concatenate([counted, *reviewed.found])
        noise = np.diag(np.concatenate([drawn, *reviewed.variances]))
        noise[: len(drawn), : len(drawn)] = cells_noise
        drawn = np.concatenate([drawn, *(1 / reviewed.chances)])
        prior = replace(
            prior,
            covariance=REVIEWED_PRIOR * prior.covariance,
            far_covariance=REVIEWED_PRIOR * prior.far_covariance,
        )
    # Links of names that are far apart are rates of their own, followed by the sum of both.
    of_both = np.hstack([np.eye(len(RATES)), np.eye(len(RATES))])
    shown = np.concatenate([_show(visible), _show(_FAR_VISIBLE * visible)], axis=2)[:, : len(counted)]
    shown[:, :, [0, 1, 3, 5, 6, 8]] /= with_review
    of_service = np.arange(len(counted)) % len(RATES)
    numbered, of_numbered, per_child = _count_unlike(evidence.numbered, found)
    shown = _show_numbered(shown)
    counted, drawn = np.concatenate([counted, numbered]), np.concatenate([drawn, per_child])
    noise = block_diag(noise, np.diag(of_numbered))
    of_service = np.concatenate([of_service, len(RATES) + np.arange(len(numbered))])
    before, none = np.concatenate([prior.rates - prior.far, prior.far]), np.zeros_like(prior.covariance)
    spread = np.block([[prior.covariance - prior.far_covariance, none], [none, prior.far_covariance]])
    rates, covariance = before, spread
    for _ in range(_PASSES):
        expected, *off = shown * np.tile(_compute_true(found, of_both @ rates), 2)
        likely = np.diag(drawn * np.maximum(expected @ rates, 0.0))
        for each in off:
            likely += _share_half(each @ np.maximum(rates, 0.0), of_service)
        wider = spread.copy()
        wider[: len(RATES), : len(RATES)] += _share_half(EXCESS_SD * np.maximum(of_both @ rates - prior.rates, 0.0))
        rates, covariance = update_estimate(before, wider, expected, counted, noise + likely)
    rates, covariance = of_both @ rates, of_both @ covariance @ of_both.T
    # A child with a missed link and no other was found to be seen by neither.
    from_neither = float((rates * _compute_true(found, rates))[[0, 3, 4]].sum())
    if from_neither > found[3]:
        rates[[0, 3, 4]] *= found[3] / from_neither
    return Missed(np.round(rates, _DECIMALS), np.round(covariance, 2 * _DECIMALS))


def _count_unlike(numbered: Counted, found: Array) -> tuple[Array, Array, Array]:
    """Return the links missed according to the records known by number, by `cells.NUMBERED_BY`, with the variance of
    the noise in each, and how many links one child stands for."""
    (alike, unlike), (of_alike, of_unlike) = (np.stack([each[1::2], each[2::2]]) for each in numbered)
    of_review, of_setting, of_both, of_services = np.maximum(alike + unlike, 0.0)
    both, visitor, setting, neither = found
    links = [
        both + visitor - of_review - of_both - of_services,
        both + setting - of_setting - of_both,
        both - of_both - of_services,
        both - of_both - of_services,
    ]
    alike = np.maximum(alike, 1.0 + _ENOUGH * np.sqrt(of_alike))
    per_child = np.maximum(links, 1.0) / alike
    # Where no child is unlike, one might be.
    noise = per_child**2 * (1.0 + of_unlike + (unlike / alike) ** 2 * of_alike)
    # No more links are missed than there are pupils without one.
    most = [setting + neither, visitor + neither, visitor + setting + neither, setting]
    return np.minimum(per_child * unlike, most), noise, per_child


def _show_numbered(shown: Array) -> Array:
    """Return `shown` (see `_show`) extended by the tallies of `_count_unlike` and their standard deviations."""
    sources, tallies, rates = shown.shape
    every = np.zeros((sources + 1, tallies + len(_MISSED_OF_NUMBERED), rates))
    every[:sources, :tallies] = shown
    every[[0, -1], tallies:] = np.multiply.outer([UNLIKE, UNLIKE_SD], np.tile(_MISSED_OF_NUMBERED, 2))
    return every


def _show(visible: Array) -> Array:
    """Return the share of the links missed, by rate, that count in each tally, and how far it may be off.

    (1 + sources of error, tallies, rates). The tallies are the cells, then those of a review: near, and others.
    """
    near, every, none = np.diag(visible.sum(axis=0)), np.eye(len(RATES)), np.zeros_like(visible)
    wider = near + WIDER * (every - near)
    both = VISIBLE_BOTH_SD / VISIBLE_BOTH * np.outer([1, 0, 0, 0, 0], visible[0])
    of_visible, of_wider = VISIBLE_SD * SEARCHED * (1 - WIDER) * near, WIDER_SD * SEARCHED * (every - near)
    return np.stack(
        [
            np.vstack([visible, SEARCHED * wider, SEARCHED * (every - wider)]),
            np.vstack([VISIBLE_SD * visible, of_visible, -of_visible]),
            np.vstack([both, none, none]),
            np.vstack([none, of_wider, -of_wider]),
            np.vstack([none, SEARCHED_SD * wider, SEARCHED_SD * (every - wider)]),
        ]
    )


def count_net(counts: Array, variances: Array, seen_by: Array) -> tuple[Array, Array, float]:
    """Return the pupils in `cells.NEAR` less those expected by chance, the covariance of its noise, and a share.

    Reviews of any age can be near, but the rates are those of children with a review at the age of two: the third
    value is the share of these among children linked to both services.
    """
    near, by_chance = counts[_NEAR], counts[_BY_CHANCE]
    linked_to_both = max(counts[_LINKED_TO_BOTH].sum(), 1.0)
    neither, setting, visitor = counts[_NOT_LINKED] + [near[[0, 3, 4]].sum(), near[1], near[2]]
    # Chance finds records of both, or of one, for a child not linked to either; for others only the missing one counts.
    chance = np.array([[neither, 0, 0], [setting, setting, 0], [visitor, 0, visitor], [0, neither, 0], [0, 0, neither]])
    chance = np.maximum(chance, 0.0) / linked_to_both
    noise = np.diag(variances[_NEAR] + np.maximum(near, 0.0))
    noise += chance @ np.diag(variances[_BY_CHANCE] + np.maximum(by_chance, 0.0)) @ chance.T
    return near - chance @ by_chance, noise, float(np.clip(seen_by[0] / linked_to_both, _STEP, 1.0))


def _compute_visible(net: Array, children: float) -> Array:
    """Return the share of the links missed, by rate, that count in each of `cells.NEAR`: (cells, rates)."""
    of_service = np.array([net[0] + net[1] + net[3], net[0] + net[2] + net[4]])
    per_child = np.maximum(of_service, _LEAST_NEAR) / children
    review, setting = np.clip(np.exp(-VISIBLE[0]) / per_child ** VISIBLE[1], *_VISIBLE_RANGE)
    both = min(VISIBLE_BOTH * min(review, setting), _MOST_VISIBLE)
    visible: Array = np.diag([both, review, setting, review, setting])
    visible[3:, 0] = max(review - both, 0.0), max(setting - both, 0.0)
    return visible


def _compute_true(found: Array, rates: Array) -> Array:
    """Return the children that each rate is a share of, from those found to be seen by each service."""
    r = np.clip(rates, 0.0, _MOST_MISSED)
    both = found[0] / (1 - r[:3].sum())
    visitor, setting = (found[1] - r[2] * both) / (1 - r[3]), (found[2] - r[1] * both) / (1 - r[4])
    return np.maximum([both, both, both, visitor, setting], 1.0)


def has_enough_links(counts: Array, variances: Array) -> bool:
    """Return whether enough children were linked to both services to show how often records differ."""
    # Five standard deviations of the noise.
    return bool(counts[_ALL_AGREE].sum() > 5 * np.sqrt(variances[_ALL_AGREE].sum()))


def compute_local_rates(counts: Array, times: Array) -> Array:
    """Return the rates (places, rates) where each of `CELLS` is `times` (places, cells) as common as overall."""
    found = np.tensordot(_compute_shares(counts)[-1], _build_tensors()[0], axes=1)
    return np.array([SHORTFALL * _contract_tensor(found, _compute_shares(counts * there)) for there in times])


def _compute_shares(counts: Array) -> list[Array]:
    """Return shares: the differences of each field in turn, then the weights of pairs."""
    agree = counts[_ALL_AGREE]
    shares = []
    for name in cells.FIELDS:
        differing = counts[_list_cells(name)]
        shares.append(np.concatenate([[agree.sum()], differing]) / (agree.sum() + differing.sum()))
    return [*shares, agree / agree.sum()]


def _contract_tensor(left: Array, shares: list[Array], left_out: int | None = None) -> Array:
    """Return the rates under these shares of differences in each field.

    If a field is `left_out`, its shares are not applied and the result is (differences, rates).
    """
    for place in range(len(cells.FIELDS)):
        left = np.moveaxis(left, 0, -1) if place == left_out else np.tensordot(shares[place], left, axes=1)
    return left.T


_OPTIONS: list[list[cells.Differs | None]] = [
    [None, *(each for each in cells.ONE_DIFFERS if each.field == f)] for f in cells.FIELDS
]
"""What can differ in each of `FIELDS`: nothing, or one of its cells."""


@cache
def _build_tensors() -> tuple[Array, Array]:
    """Return whether the links of each of `RATES` are missed, by step of `ALL_AGREE` and combination of differences.

    A value is a share if only some weights of the step are missed. The second array is how much more is missed if
    records whose names are far apart are never linked; the first includes `CUT_OFF` times that.
    """
    missed = _build_tensor_at(COST_BITS["names", "far"])
    cut_off = _build_tensor_at(_LOST_BITS) - missed
    return missed + CUT_OFF * cut_off, cut_off


def _build_tensor_at(far_names: float) -> Array:
    """Return what is missed, as in `_build_tensors`, if names far from those in other records cost this many bits."""
    pairs = range(len(cells.PAIRS))
    by_field = [np.array([[_compute_cost(each, pair, far_names) for pair in pairs] for each in of]) for of in _OPTIONS]
    shape = [len(options) for options in by_field]
    combinations = np.indices(shape).reshape(len(shape), -1)
    cost = np.stack([by_field[place][each] for place, each in enumerate(combinations)], axis=1)
    lost = cost.sum(axis=1)
    # Midpoints of the parts of each step.
    weights = (np.arange(len(cells.ALL_AGREE) * _POINTS) + 0.5) * cells.WEIGHT_STEP / _POINTS + cells.LEAST_WEIGHT
    names = cost[:, cells.FIELDS.index(cells.NAMES)].any(axis=1)
    points = np.where(names, _MEAN_BITS, weights[:, None])[:, :, None]
    at_home = (cost[:, [cells.FIELDS.index(field) for field in _AT_HOME]] == 0).all(axis=1)
    # The threshold of 0.5 is 0 bits.
    found = (points - lost + FREE_BITS >= 0) | at_home
    review, setting, bridged = (found[:, :, pair] for pair in range(len(cells.PAIRS)))
    fits_better = lost[:, 0] <= lost[:, 2]
    # If it is linked to the pupil, the setting's record is a second way to the review; if not, the two compete for it.
    seen = np.where(setting, review | bridged, review & (fits_better | ~bridged))
    missed_links = np.stack([~seen & ~setting, ~seen & setting, seen & ~setting, ~review, ~setting])
    by_step = missed_links.reshape(len(RATES), len(cells.ALL_AGREE), _POINTS, -1).mean(axis=2)
    return np.ascontiguousarray(np.moveaxis(by_step.reshape(len(RATES), len(cells.ALL_AGREE), *shape), 0, -1))


def _compute_cost(difference: cells.Differs | None, pair: int, far_names: float) -> float:
    if difference is None or not cells.DIFFERS[difference.record][pair]:
        return 0.0
    if (difference.field, difference.size) == (cells.NAMES, "far") and difference.record in _OF_SERVICES:
        return far_names
    return COST_BITS[difference.field, difference.size]


_ALL_AGREE, _NOT_LINKED, _NEAR, _BY_CHANCE = (
    np.array([cells.CELLS.index(cell) for cell in each])
    for each in (cells.ALL_AGREE, cells.NOT_LINKED, cells.NEAR, cells.NEAR_BY_CHANCE)
)
_ONE_DIFFERS = np.array([cells.CELLS.index(str(each)) for each in cells.ONE_DIFFERS])
_LINKED_TO_BOTH = np.setdiff1d(np.arange(1, len(cells.CELLS)), [*_NOT_LINKED, *_NEAR])


@cache
def _list_cells(name: str) -> NDArray[np.int64]:
    return np.array([cells.CELLS.index(str(each)) for each in cells.ONE_DIFFERS if each.field == name])


_FAR = np.array([each.size == "far" and each.record in _OF_SERVICES for each in _OPTIONS[-1][1:] if each])
"""Which cells of both names are those that `CUT_OFF` concerns."""


NOT_FOUND, NOT_FOUND_SD = 0.22, 0.1
"""Share of rows not joined, among children whose records differ and have no UPN in common, and its deviation."""
USUAL_UNJOINED = 0.0004
"""Average share of census rows not found in the populations that `NOT_FOUND` was measured on."""
SPLIT = np.array([0.4, 0.09, 0.09, 0.6, 0.25])
"""Chance, in the order of `RATES`, that a child whose census row was not found is missed."""
SPLIT_SD = 0.5
"""How much these chances vary from one population to another, as a share of them."""


@dataclass(frozen=True)
class Unjoined:
    """The share of pupils whose census row exists but was not found, and its standard deviation."""

    share: float
    deviation: float

    @property
    def rates(self) -> Array:
        """Rates, in the order of `RATES`, of links missed because the child has two records among the pupils."""
        return self.share * SPLIT

    @property
    def covariance(self) -> Array:
        variance = self.deviation**2 + (SPLIT_SD * self.share) ** 2
        return variance * np.outer(SPLIT, SPLIT)


def estimate_unjoined(counts: Array, variances: Array) -> Unjoined:
    """Estimate the share of school census rows that were not found, from how the other rows were joined.

    `counts` are the children in each of `JOINS`; `variances` are the variances of the noise in each.
    `docs/linkage-error.md`, item 4, has the method. A child whose row was not found has two records among the pupils,
    so links to the services are often missed too (`SPLIT`).

    If hardly any rows were joined by UPN, the share is `USUAL_UNJOINED`, with a deviation just as large.
    """
    _, same, differs, without = counts
    _, noise_of_same, _, noise_of_without = variances
    if same <= 5 * np.sqrt(noise_of_same):  # five standard deviations of the noise
        return Unjoined(USUAL_UNJOINED, USUAL_UNJOINED)
    ratio, rows = max(differs, 0.0) / same, float(counts[1:].sum())
    missed = NOT_FOUND * ratio * max(without, 0.0)
    off = NOT_FOUND_SD * ratio * max(without, 0.0)
    noise = (NOT_FOUND * ratio) ** 2 * noise_of_without
    return Unjoined(round(missed / rows, _DECIMALS), round(float(np.sqrt(off**2 + noise + missed)) / rows, _DECIMALS))


def estimate_rates(evidence: Evidence, seen_by: Array, reviewed: Reviewed | None = None) -> tuple[Missed, Unjoined]:
    """Estimate the rates from all there is; `seen_by` and `reviewed` are as in `add_near`."""
    prior, apart = estimate_missed(*evidence.agreement), estimate_unjoined(*evidence.joins)
    prior = replace(prior, rates=prior.rates + apart.rates, covariance=prior.covariance + apart.covariance)
    return add_near(prior, evidence, seen_by, reviewed), apart


SERVICES = ("both at once", "review", "setting")
"""The services whose links are missed."""
SERVICE_OF_RATE = (0, 1, 2, 1, 2)
"""Index into `SERVICES`, in the order of `RATES`."""
COUNCILS_SD = 0.5
"""Prior standard deviation of how much more or less often records differ in one council than overall, and of one
kind of record relative to the others there. The further a place differs beyond `_PLAINLY` standard deviations of
noise and chance, the more its own counts are trusted."""
_PLAINLY = 4.0
FACTOR_SD = 0.25
"""How far off the model was in one council, as a share of its factor."""
GROUP_SD = 0.5
"""The same for an ethnic group, whose names differ from others' in ways that a council's mistakes do not."""
_STEP = 1e-3
_LEAST_SHARE = np.array([0.3, 0.1, 0.1])
"""Least denominator of a factor, as a share of the usual rate: a rate below this is little but noise."""


@dataclass(frozen=True, eq=False)
class Factors:
    """How many times as many links are missed in each council as overall."""

    values: Array  # (services, councils)
    covariances: Array  # (councils, services, services)


def estimate_factors(
    counts: Array,
    variances: Array,
    kinds: Array,
    kind_variances: Array,
    seen_by: Array,
    factor_sd: float = FACTOR_SD,
) -> Factors:
    """Estimate in which councils, or ethnic groups, more links are missed, from how often linked records differ there.

    `counts` and `variances` are the cells of all councils together (see `estimate_missed`). `kinds` are the children of
    each council in each of `KINDS` (councils, kinds), with the variance of the noise in each. `seen_by` (3,) are the
    children seen by both services, by the health visitor only, and in a setting only; they weight the rates.

    The children of a council in whom one field differs, by whose record, are compared with the number expected if the
    council were like all others. Every difference of that kind is multiplied by this ratio, and the rates are summed
    again. With few children or much noise the ratio stays near 1: empirical Bayes in two steps, first for a difference
    in all records together, then for each record relative to that.

    If too few were linked to both services, every council gets a factor of 1.
    """
    councils, services = len(kinds), len(SERVICES)
    values, covariances = np.ones((services, councils)), np.zeros((councils, services, services))
    if not has_enough_links(counts, variances):
        return Factors(values, covariances)
    weights = np.zeros((services, len(RATES)))
    weights[SERVICE_OF_RATE, range(len(RATES))] = np.maximum(seen_by, 1.0)[[0, 0, 0, 1, 2]]
    over_all = weights @ compute_local_rates(counts, np.ones((1, len(cells.CELLS))))[0]
    against = np.maximum(over_all, _LEAST_SHARE * (weights @ USUAL))
    for council, (times, slopes, spread) in enumerate(zip(*_estimate_differences(kinds, kind_variances), strict=True)):
        # The estimate, then the same with one factor moved by a small step at a time, for numerical derivatives.
        there = weights @ compute_local_rates(counts, np.maximum([times, *(times + _STEP * slopes)], 0.0)).T
        times_missed = np.maximum(1.0 + (there[:, 0] - over_all) / against, 0.0)
        moved = (there[:, 1:] - there[:, :1]) / (_STEP * against[:, None])
        # Where hardly any record agrees in everything, the factor is all noise.
        noise = (moved * spread) @ moved.T
        trust = _compute_trust(times_missed, np.diag(noise), 1.0)
        values[:, council] = 1.0 + trust * (times_missed - 1.0)
        covariances[council] = np.sqrt(np.outer(trust, trust)) * noise
        covariances[council] += _share_half(factor_sd * values[:, council])
    return Factors(np.round(values, _DECIMALS), np.round(covariances, _DECIMALS))


def _estimate_differences(kinds: Array, variances: Array) -> tuple[Array, Array, Array]:
    """Return how many times as common each of `CELLS` is in each council, with derivatives and variances.

    The three arrays are (councils, cells), the derivative by each estimated factor (councils, numbers, cells), and the
    variances of those factors (councils, numbers).
    """
    counted, noise = (
        each[:, -len(cells.ONE_SORT) :].reshape(-1, len(cells.SORTS), len(cells.DIFFERS)) for each in (kinds, variances)
    )
    agree = np.maximum(kinds[:, cells.KINDS.index(cells.AGREE)], 0.0)
    over_all = np.maximum(counted.sum(axis=0), 0.0) / max(agree.sum(), 1.0)
    expected = np.maximum(agree[:, None, None] * over_all, _STEP)
    sort, of_sort = _shrink_to_one(counted.sum(axis=2), expected.sum(axis=2), noise.sum(axis=2))
    record, of_record = _shrink_to_one(counted, expected * np.maximum(sort, _STEP)[:, :, None], noise)
    by_sort, by_record = record[..., None] * _CELLS_OF, sort[:, :, None, None] * _CELLS_OF
    slopes = np.concatenate([by_sort.sum(axis=2), by_record.reshape(len(kinds), -1, len(cells.CELLS))], axis=1)
    # Cells in which no single field differs are as common as overall.
    times = np.where(_CELLS_OF.any(axis=(0, 1)), (sort[:, :, None, None] * by_sort).sum(axis=(1, 2)), 1.0)
    return times, slopes, np.concatenate([of_sort, of_record.reshape(len(kinds), -1)], axis=1)


def _shrink_to_one(counted: Array, expected: Array, noise: Array) -> tuple[Array, Array]:
    """Return the ratio of counted to expected, shrunk towards 1 to allow for noise and chance, and its variance."""
    error = (noise + expected) / expected**2
    trust = _compute_trust(counted / expected, error, COUNCILS_SD)
    return np.maximum(1.0 + trust * (counted / expected - 1.0), 0.0), trust * error


def _compute_trust(ratio: Array, error: Array, prior_sd: float) -> Array:
    """Return how much of a ratio's distance from 1 is believed, given the variance of its error."""
    beyond = np.maximum((ratio - 1.0) ** 2 - _PLAINLY**2 * error, prior_sd**2)
    trust: Array = beyond / (beyond + error)
    return trust


_CELLS_OF = np.array([[kind == each for each in cells.KIND_OF] for kind in cells.ONE_SORT]).reshape(
    len(cells.SORTS), len(cells.DIFFERS), -1
)
"""Whether each of `CELLS` belongs to a sort of difference (axis 0) in a certain record (axis 1)."""

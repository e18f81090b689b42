"""Updates the rates of linkage error with a clerical review: its noise plan, and how its results are used.

The measured table has one row per child of the children's table and, for each service, one category: the stratum of the
child's pair and the reviewers' decision, or that the pair is not in the review. Adding or removing a child moves one
cell of each marginal by 1.

The update. Let r be the rates of `missed` and of false links, with mean m and covariance C. For each stratum, let q be
the chance that a pair is in the sample, a the pairs that reviewers judged to be one child (for weak links: two
children), b the others, and u those that they could not decide, all noisy. Then the stratum has

    y = (a + p u) / q,   p = a / (a + b),   errors in total; its expected value is h . r.

h adds up, over the children seen by each service, which rate loses a child into this stratum, times `SHARE`, the share
of errors that the frame contains. The variance of y is the sum of n / q (which children are missed, and which pairs are
in the sample; n errors are expected), (`SHARE_SD` / `SHARE` * n)^2, (1 + p^2) sigma^2 / q^2 (noise) and max(u, 0)^2 /
(12 q^2) (anything from none to all of u). With R these variances, the rates after the review are the best linear
estimate from both. This is the Kalman filter update, which is Bayes' rule for normal errors:

    K = C h' (h C h' + R)^-1,   m + K (y - h m),   C - K h C.

n depends on the rates: it is max(y, h m) in a first pass, and h (m + K (y - h m)) in a second. If the review is further
from the rates than both allow (chi-square over its degrees of freedom above 1), C is first multiplied by that quotient,
as Birge's ratio widens measurements that disagree: the rates before the review were trusted too much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from privacy.estimation.corrected import invert_matrix
from privacy.linkage.cells import REVIEW
from privacy.linkage.missed import RATES
from privacy.linkage.review import NEITHER, ONE, WEAK, compute_chances
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Family, Marginal

Array = NDArray[np.float64]

COLUMNS: Final = {"health": "review_health", "settings": "review_settings"}
OUTSIDE = "not in the review"


class Decision(StrEnum):
    """A reviewer's decision about a pair."""

    MATCH = "match"
    OTHER = "not a match"
    UNKNOWN = "cannot tell"


SHARE: Final = {ONE: 0.65, NEITHER: 0.55, WEAK: 0.8}
"""Share of errors that the frame contains. In stress extracts of three seeds, with the usual errors and three times
as many: of missed links, 634 of 986 in the first stratum (0.53 to 0.82 by service) and 112 of 208 in the second
(0.33 to 0.71); of false links, 30 of 33."""
SHARE_SD: Final = {ONE: 0.2, NEITHER: 0.2, WEAK: 0.25}
"""Standard deviation of these shares in other populations. In the stress extracts it was 0.08 and 0.13 from one
population and service to another."""
_DECIMALS = 9
_PASSES = 2
_BOTH = RATES.index("both missed, of children seen by both")
_MISSED: Final = {
    "health": ("review missed, of children seen by both", "review missed, of children seen by the health visitor only"),
    "settings": ("setting missed, of children seen by both", "setting missed, of children seen in a setting only"),
}


def format_category(stratum: str, decision: Decision) -> str:
    """Return a category of the measured attributes."""
    return f"{stratum}: {decision}"


def plan_review(children: int, rho: float, delta: float, sample: int) -> Plan:
    """Return the noise plan of a review, from the published number of children and the sample's number, counted from
    1."""
    domain = (OUTSIDE, *(format_category(stratum, decision) for stratum in SHARE for decision in Decision))
    family = Family(
        name=REVIEW,
        unit="child",
        attributes=tuple(Attribute(column, domain) for column in COLUMNS.values()),
        marginals=tuple(Marginal((column,)) for column in COLUMNS.values()),
        identities=(),
        nesting=None,
    )
    detail = {"requests": [], "sample": sample, "chances": compute_chances(children)}
    return replace(make_plan(family, rho, delta=delta), detail=detail)


def update_rates(
    rates: Array, covariance: Array, seen_by: Sequence[float], plan: Plan, measurement: Measurement
) -> tuple[Array, Array]:
    """Return mean and covariance of the rates after a review: in the order of `RATES`, then the rate of false links.

    `seen_by` are the children seen by both services, the health visitor only, a setting only, and neither.
    """
    tallies = list(_iter_tallies(plan, measurement))
    expected = np.array([_compute_expected(each, seen_by) for each in tallies])
    errors = np.array([each.errors for each in tallies])
    noise, chance = (np.array([getattr(each, name) for each in tallies]) for name in ("noise", "chance"))
    off = np.array([SHARE_SD[each.stratum] / SHARE[each.stratum] for each in tallies])
    contrast = errors - expected @ rates
    likely = np.maximum(errors, expected @ rates)
    for _ in range(_PASSES):
        likely = np.maximum(likely, 0.0)
        spread = np.diag(noise + likely / chance + (off * likely) ** 2)
        before = expected @ covariance @ expected.T
        wider = max(1.0, float(contrast @ invert_matrix(before + spread) @ contrast) / len(tallies))
        gain = wider * covariance @ expected.T @ invert_matrix(wider * before + spread)
        mean = rates + gain @ contrast
        likely = expected @ mean
    after = wider * (covariance - gain @ expected @ covariance)
    # Rounding errors leave the product slightly asymmetric.
    return np.round(mean, _DECIMALS), np.round((after + after.T) / 2, 2 * _DECIMALS)


@dataclass(frozen=True)
class _Tally:
    """The result of a review for one stratum.

    `chance` is the chance that a pair is in the sample, `errors` the errors in the whole stratum, and `noise` their
    variance from noise and from undecided pairs.
    """

    service: str
    stratum: str
    chance: float
    errors: float
    noise: float


def _iter_tallies(plan: Plan, measurement: Measurement) -> Iterator[_Tally]:
    sampled: Mapping[str, float] = plan.detail["chances"]
    for service, column in COLUMNS.items():
        place = {name: number for number, name in enumerate(plan.family.get_attribute(column).categories)}
        noisy, noise = measurement.noisy[(column,)], plan.sigmas[(column,)] ** 2
        for stratum in SHARE:
            found = {each: float(noisy[place[format_category(stratum, each)]]) for each in Decision}
            a, b, unknown = (found[each] for each in (Decision.MATCH, Decision.OTHER, Decision.UNKNOWN))
            if stratum == WEAK:
                # The error of a weak link is a false link: two children.
                a, b = b, a
            decided = max(a, 0.0) + max(b, 0.0)
            # Without a decided pair either answer is as likely.
            p, q = max(a, 0.0) / decided if decided else 0.5, sampled[stratum]
            # u ** 2 / 12 is the variance of a uniform distribution from none to all of the undecided pairs.
            spread = ((1 + p**2) * noise + max(unknown, 0.0) ** 2 / 12) / q**2
            yield _Tally(service, stratum, q, (a + p * unknown) / q, spread)


def _compute_expected(tally: _Tally, seen_by: Sequence[float]) -> Array:
    """Return how many errors of a stratum each rate is expected to contribute: h in the module's derivation."""
    both, *alone, neither = (max(children, 0.0) for children in seen_by)
    own, other = alone if tally.service == "health" else alone[::-1]
    one_of_both, of_own = (RATES.index(rate) for rate in _MISSED[tally.service])
    found = np.zeros(len(RATES) + 1)
    if tally.stratum == ONE:
        found[one_of_both] = both
    elif tally.stratum == NEITHER:
        found[_BOTH], found[of_own] = both, own
    else:
        found[-1] = other + neither
    return SHARE[tally.stratum] * found

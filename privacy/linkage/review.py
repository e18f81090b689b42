"""Clerical review: the sample of pairs, its noise plan, and how its results update the rates of linkage error.

`docs/clerical-review.md` explains the review to its users.

The frame has at most one pair per pupil and service: the pupil's link or, if the pupil has none, either the record lost
to a better link or the unlinked record that shares most tokens with the pupil's. The linkage drops most of the last
kind before scoring: of 401 links missed in the stress extracts of one seed, 151 were among its scored pairs, and about
250 are near candidates in this frame.

Measured strata (`SAMPLED`) are drawn pair by pair, with chances that follow from public sizes. The other strata
(`CONTROLS`) have too few errors to show above the noise; reviewers see them so that they see easy pairs too, and only
the restricted report counts them. The measured table has one row per child and, for each service, one category: the
stratum of the child's pair and the reviewers' decision, or that the pair is not in the review.

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

n depends on the rates: it is max(y, h m) in a first pass, and h (m + K (y - h m)) in a second. If the review disagrees
with the rates, C is widened first (`privacy.estimation.update`): they were trusted too much.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from privacy.estimation.update import update_estimate
from privacy.linkage.cells import REVIEW
from privacy.linkage.link import STEPS, Scored
from privacy.linkage.missed import RATES
from privacy.linkage.rows import EVIDENCE
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Family, Marginal

SERVICES: Final = {STEPS[1][0]: "settings", STEPS[2][0]: "health"}
"""For each step of the linkage, the service whose records are compared with pupils'."""
ONE, NEITHER, WEAK = "unlinked, the other service is linked", "unlinked to both services", "weak link"
LOST, FAR, SURE = "lost to a better link", "unlinked, one token shared", "sure link"
SAMPLED: Final = {ONE: (250, 0.005), NEITHER: (250, 0.005), WEAK: (120, 0.008)}
"""Pairs wanted for both services together, and the usual number of such pairs as a share of all pupils. The sampler
treats the first two as one stratum, because a pair's stratum is known only when both services are linked."""
CONTROLS: Final = {LOST: 30, FAR: 30, SURE: 30}
"""Pairs reviewed for each service."""
WEAK_BITS = 6.0
"""Links with a posterior under 0.985 are weak: 1% of links in stress extracts, and 30 of 33 false ones."""
NEAR_TOKENS = 2
"""Least tokens shared by a near candidate. Four in five of these are the same child; with one token, one in five."""
SECOND_REVIEW_SHARE = 0.2
_DIGITS = "('0x' || substr(digest, {}, {}))::UBIGINT"


def compute_chances(children: int) -> dict[str, float]:
    """Return the chance that a pair of each measured stratum is sampled, given the published number of children."""
    return {stratum: round(min(1.0, pairs / (share * children)), 4) for stratum, (pairs, share) in SAMPLED.items()}


class ReviewPairs:
    """A watcher of `link` that keeps the frame; `sample` draws from it."""

    def __init__(self, key: bytes) -> None:
        """Create the watcher; `key` determines the order of the pairs."""
        self._key = key.hex()
        self._frames: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if (service := SERVICES.get(step.name)) is not None:
            self._frames.append(con.execute(_select_frame_sql(step.right), [self._key, service]).to_arrow_table())

    def sample(self, links: pa.Table, children: int) -> pa.Table:
        """Return the pairs of the sample, for the restricted zone.

        `links` must come from the linkage that was watched; `children` is the cohort's published number of children.

        One row per pair: pair (an id), service, stratum, child_id, council and row_key of the pupil's row,
        other_source, other_council and other_row_key, second_review, the number of pairs in its stratum (stratum_pairs)
        and the number of them that it represents (weight).
        """
        wanted = [
            {"stratum": stratum, "chance": chance, "most": 0} for stratum, chance in compute_chances(children).items()
        ]
        wanted += [{"stratum": stratum, "chance": 0.0, "most": most} for stratum, most in CONTROLS.items()]
        with open_in_memory() as con:
            con.register("drawn", pa.concat_tables(self._frames))
            con.register("links", links)
            con.register("wanted", pa.Table.from_pylist(wanted))
            return con.sql(_SAMPLE).to_arrow_table()


def _select_tokens_sql(condition: str) -> str:
    """Return SQL: the tokens (unit, kind, token) of the units for which a condition holds."""
    chosen = f"SELECT unit, {', '.join(EVIDENCE)} FROM patterns JOIN units USING (pattern) WHERE {condition}"
    return f"UNPIVOT ({chosen}) ON {', '.join(EVIDENCE)} INTO NAME kind VALUE token"


def _select_frame_sql(right: str) -> str:
    """Return SQL for the frame of a step whose right side is `right`, with parameters key and service."""
    # One pair for each pupil, then one for each other record: a child is in at most two pairs as the pupil.
    return f"""
    WITH own AS (SELECT unit_l, unit_r, odds FROM decided WHERE kept), pupils AS (
        SELECT unit, arg_min(council, row) AS council, arg_min(row_key, row) AS row_key
          FROM rows JOIN units USING (pattern) WHERE source = 'eyfsp' GROUP BY unit
    ), others AS (
        SELECT unit, arg_min(source, row) AS other_source, arg_min(council, row) AS other_council,
               arg_min(row_key, row) AS other_row_key
          FROM rows JOIN units USING (pattern) JOIN patterns USING (pattern) WHERE {right} GROUP BY unit
    ), free_l AS ({_select_tokens_sql("unit IN (SELECT unit FROM pupils) AND unit NOT IN (SELECT unit_l FROM own)")}
    ), free_r AS ({_select_tokens_sql(f"{right} AND unit NOT IN (SELECT unit_r FROM own)")}
    ), candidates AS (
        SELECT l.unit AS unit_l, r.unit AS unit_r, count(DISTINCT kind) AS strength,
               CASE WHEN strength >= {NEAR_TOKENS} THEN {quote_text(NEITHER)} ELSE {quote_text(FAR)} END AS stratum,
               CASE WHEN strength >= {NEAR_TOKENS} THEN 0 ELSE 2 END AS place
          FROM free_l l JOIN free_r r USING (kind, token) GROUP BY unit_l, unit_r
        UNION ALL
        SELECT unit_l, unit_r, alone, {quote_text(LOST)}, 1 FROM decided
         WHERE unit_l NOT IN (SELECT unit_l FROM own) AND unit_r IN (SELECT unit_r FROM own)
    ), of_pupil AS (
        SELECT * FROM candidates JOIN pupils ON unit_l = pupils.unit JOIN others ON unit_r = others.unit
       QUALIFY row_number() OVER (PARTITION BY unit_l ORDER BY place, strength DESC, other_row_key, other_council) = 1
    ), best AS (
        SELECT unit_l, unit_r, stratum FROM of_pupil
       QUALIFY row_number() OVER (PARTITION BY unit_r ORDER BY place, strength DESC, row_key, council) = 1
        UNION ALL
        SELECT unit_l, unit_r, CASE WHEN odds < {WEAK_BITS} THEN {quote_text(WEAK)} ELSE {quote_text(SURE)} END FROM own
    )
    SELECT stratum, service, council, row_key, other_source, other_council, other_row_key,
           sha256(concat_ws('/', key, service, council, row_key)) AS digest
      FROM best JOIN pupils ON unit_l = pupils.unit JOIN others ON unit_r = others.unit
      CROSS JOIN (SELECT ?::VARCHAR AS key, ?::VARCHAR AS service)
    """


# Each use takes other digits of the keyed hash, so the draw, the second review and a pair's id are independent.
_SAMPLE = f"""
WITH known AS (
    SELECT child_id, bool_or(source = 'early_years_census') AS settings, bool_or(source = 'hv_reviews') AS health
      FROM links GROUP BY child_id HAVING bool_or(source = 'eyfsp')
), named AS (
    SELECT drawn.*, own.child_id, theirs.child_id AS other_child_id, {_DIGITS.format(1, 12)} / 2 ** 48 AS place,
           CASE service WHEN 'health' THEN health ELSE settings END AS is_linked,
           CASE service WHEN 'health' THEN settings ELSE health END AS other_is_linked
      FROM drawn
      JOIN links own ON (own.source, own.council, own.row_key) = ('eyfsp', drawn.council, drawn.row_key)
      JOIN links theirs ON (theirs.source, theirs.council, theirs.row_key)
                         = (other_source, other_council, other_row_key)
      JOIN known ON known.child_id = own.child_id
), frame AS (
    SELECT * REPLACE (if(stratum = {quote_text(NEITHER)} AND other_is_linked, {quote_text(ONE)}, stratum) AS stratum)
      FROM named
     WHERE stratum IN ({quote_text(WEAK)}, {quote_text(SURE)}) AND child_id = other_child_id
        OR NOT is_linked AND (stratum = {quote_text(LOST)} OR other_child_id NOT IN (SELECT child_id FROM known))
), counted AS (
    SELECT *, count(*) OVER (PARTITION BY service, stratum) AS stratum_pairs,
           row_number() OVER (PARTITION BY service, stratum ORDER BY place) AS turn FROM frame
)
SELECT digest[33:44] AS pair, service, stratum, child_id, council, row_key, other_source, other_council, other_row_key,
       {_DIGITS.format(13, 4)} / 65536 < {SECOND_REVIEW_SHARE} AS second_review, stratum_pairs,
       if(most = 0, 1 / chance, stratum_pairs / least(most, stratum_pairs)) AS weight
  FROM counted JOIN wanted USING (stratum) WHERE place < chance OR turn <= most ORDER BY pair
"""
"""SQL of the sample after all steps, without pairs whose record was linked to a child in another way."""


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
    """Return the noise plan of a review, from the published number of children and the sample's number (from 1)."""
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
    tallies = zip(*_iter_tallies(plan, measurement, seen_by), strict=True)
    expected, off, chance, errors, noise = (np.array(column) for column in tallies)
    likely, mean, after = np.maximum(errors, expected @ rates), rates, covariance
    for _ in range(_PASSES):
        likely = np.maximum(likely, 0.0)
        spread = np.diag(noise + likely / chance + (off * likely) ** 2)
        mean, after = update_estimate(rates, covariance, expected, errors, spread)
        likely = expected @ mean
    return np.round(mean, _DECIMALS), np.round(after, 2 * _DECIMALS)


def _iter_tallies(
    plan: Plan, measurement: Measurement, seen_by: Sequence[float]
) -> Iterator[tuple[Array, float, float, float, float]]:
    """Yield the result of a review for each service and stratum.

    That is: h; `SHARE_SD` / `SHARE`; the chance that a pair is in the sample; the errors in the whole stratum; and
    their variance from noise and from undecided pairs.
    """
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
            # If no pair was decided, both answers are equally likely.
            p, q = max(a, 0.0) / decided if decided else 0.5, sampled[stratum]
            # u ** 2 / 12 is the variance of a uniform distribution from none to all of the undecided pairs.
            spread = ((1 + p**2) * noise + max(unknown, 0.0) ** 2 / 12) / q**2
            expected = _compute_expected(service, stratum, seen_by)
            yield expected, SHARE_SD[stratum] / SHARE[stratum], q, (a + p * unknown) / q, spread


def _compute_expected(service: str, stratum: str, seen_by: Sequence[float]) -> Array:
    """Return how many errors of a stratum each rate is expected to contribute: h in the module's derivation."""
    both, *alone, neither = (max(children, 0.0) for children in seen_by)
    own, other = alone if service == "health" else alone[::-1]
    one_of_both, of_own = (RATES.index(rate) for rate in _MISSED[service])
    found = np.zeros(len(RATES) + 1)
    if stratum == ONE:
        found[one_of_both] = both
    elif stratum == NEITHER:
        found[_BOTH], found[of_own] = both, own
    else:
        found[-1] = other + neither
    return SHARE[stratum] * found

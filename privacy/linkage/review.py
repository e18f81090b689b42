"""Clerical review: the sample of pupils, its noise plan, and what its answers say about linkage error.

`docs/clerical-review.md` explains the review to its users.

Pupils without a link to a service are drawn, and links of low weight. For each, people of that service say whether it
knows the child. If the linkage found no record near the pupil, they search all of theirs: only a search shows the links
that are missed because the records share too little, which are most of those missed where errors are many. A pupil
linked to neither service is searched for by both.

A pupil's stratum is what it is linked to and whether a record is near (`NEAR_WEIGHT`). The chance to be drawn is fixed
for each stratum, from public sizes. Pupils linked to neither service have a high one: the number of children seen by
neither depends on them most, and they are few. `CONTROLS` are sure links, so that reviewers see easy pairs too; only
the restricted report counts them. The measured table has one row per child and one category: its stratum and the
answer, or that it was not drawn.

The results. For each stratum, let q be the chance to be drawn, a the children whom a service turned out to know, d the
children with an answer and u those without, all noisy. Then (a + a / d u) / q links were missed there, with a variance
of (1 + (a / d)^2) sigma^2 / q^2 (noise) and max(u, 0)^2 / (12 q^2) (anything from none to all of u). `missed.add_near`
combines them with what is known otherwise. Likewise, weak links to children whom the service does not know are false;
the rate of false links after the review is the best linear estimate from both.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from privacy.doors.database import open_in_memory
from privacy.doors.sql import quote_text
from privacy.linkage.agreement import build_weighed_sql
from privacy.linkage.cells import REVIEW
from privacy.linkage.link import STEPS, Scored
from privacy.linkage.missed import Reviewed
from privacy.release.mechanism import Measurement
from privacy.release.plan import Plan, make_plan
from privacy.release.workload import Attribute, Marginal, MeasuredFamily
from privacy.services import SERVICES

_STEP_OF: Final = {STEPS[1][0]: "settings", STEPS[2][0]: "health"}
"""For each step of the linkage, the service whose records are compared with pupils'."""
_LAST: Final = STEPS[2][0]
NO_REVIEW, NO_SETTING, NEITHER = "no review linked", "no setting linked", "linked to neither"
NEAR, OTHER = "a record is near", "no record is near"
WEAK, SURE = "weak link", "sure link"
SAMPLED: Final = {
    (NO_REVIEW, NEAR): (90, 0.007),
    (NO_SETTING, NEAR): (90, 0.007),
    (NEITHER, NEAR): (60, 0.0023),
    (NO_REVIEW, OTHER): (70, 0.085),
    (NO_SETTING, OTHER): (70, 0.085),
    (NEITHER, OTHER): (80, 0.0096),
}
"""Children wanted of each stratum, and the usual number in it as a share of all pupils, where errors are many."""
CONTROLS: Final = {WEAK: 30, SURE: 30}
"""Pairs reviewed for each service. They are not measured: false links are too few to show above the noise."""
NEAR_WEIGHT = -12.0
"""Least weight in bits of a pair whose records are near: lower than `agreement.NEAR_WEIGHT`, because a reviewer can
tell children apart whom a count cannot. From -12 to -9 bits, 12 to 71% are one child in hard populations."""
WEAK_BITS = 6.0
"""Links with a posterior under 0.985 are weak."""
SECOND_REVIEW_SHARE = 0.2
_DIGITS = "('0x' || substr({}, {}, {}))::UBIGINT"


def compute_chances(children: int) -> dict[str, float]:
    """Return the chance that a child of each measured stratum is drawn, given the published number of children."""
    return {
        name_stratum(*stratum): round(min(1.0, wanted / (share * children)), 4)
        for stratum, (wanted, share) in SAMPLED.items()
    }


def name_stratum(linked: str, near: str) -> str:
    """Return the name of a stratum, as in the measured categories."""
    return f"{linked}, {near}"


class ReviewPairs:
    """A watcher of `link` that keeps every link and every pupil without one; `sample` draws from them."""

    def __init__(self) -> None:
        self._frames: list[pa.Table] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        if (service := _STEP_OF.get(step.name)) is not None:
            self._frames.append(con.execute(_select_links_sql(step.right), [service]).to_arrow_table())
        if step.name == _LAST:
            self._frames.append(con.sql(_select_unlinked_sql(step.children)).to_arrow_table())

    def sample(self, links: pa.Table, children: int, key: bytes) -> pa.Table:
        """Return the sample, for the restricted zone.

        `links` must come from the linkage that was watched; `children` is the cohort's published number of children;
        `key` determines who is drawn.

        One row per child and service: pair (an id), service, stratum, child_id, council and row_key of the pupil's row,
        other_source, other_council and other_row_key (missing if no record is near), second_review, the number of rows
        in its stratum (stratum_pairs) and the number of them that it represents (weight).
        """
        wanted = [
            {"stratum": stratum, "chance": chance, "most": 0} for stratum, chance in compute_chances(children).items()
        ]
        wanted += [{"stratum": stratum, "chance": 0.0, "most": most} for stratum, most in CONTROLS.items()]
        with open_in_memory() as con:
            con.register("frame", pa.concat_tables(self._frames))
            con.register("links", links)
            con.register("wanted", pa.Table.from_pylist(wanted))
            return con.execute(_SAMPLE, [key.hex()]).to_arrow_table()


def _select_links_sql(right: str) -> str:
    """Return SQL: the links of a step whose right side is `right` to pupils, with the parameter service."""
    return f"""
    WITH pupils AS (
        SELECT unit, arg_min(council, row) AS council, arg_min(row_key, row) AS row_key
          FROM rows JOIN units USING (pattern) WHERE source = 'eyfsp' GROUP BY unit
    ), others AS (
        SELECT unit, arg_min(source, row) AS other_source, arg_min(council, row) AS other_council,
               arg_min(row_key, row) AS other_row_key
          FROM rows JOIN units USING (pattern) JOIN patterns USING (pattern) WHERE {right} GROUP BY unit
    )
    SELECT ?::VARCHAR AS service, council, row_key, other_source, other_council, other_row_key,
           odds::DOUBLE AS bits, true AS is_link
      FROM decided JOIN pupils ON unit_l = pupils.unit JOIN others ON unit_r = others.unit WHERE kept
    """


def _select_unlinked_sql(children: int) -> str:
    """Return SQL: each pupil and service that are not linked, with the record that weighs most, if any is near."""
    services = ", ".join(
        f"({quote_text(service)}, {quote_text(source)})"
        for source, service in SERVICES.items()
        if service != "education"
    )
    return f"""
    WITH {build_weighed_sql(children)}, services (service, source) AS (VALUES {services}), firsts AS (
        SELECT unit, source, arg_min(council, row) AS council, arg_min(row_key, row) AS row_key
          FROM rows JOIN merged USING (pattern) GROUP BY unit, source
    ), near AS (
        SELECT unit_l, source, council, row_key, weight FROM weighed JOIN firsts ON unit = unit_r
         WHERE weight >= {NEAR_WEIGHT}
       QUALIFY row_number() OVER (PARTITION BY unit_l, source ORDER BY weight DESC, council, row_key) = 1
    )
    SELECT service, own.council, own.row_key, near.source AS other_source, near.council AS other_council,
           near.row_key AS other_row_key, weight::DOUBLE AS bits, false AS is_link
      FROM known JOIN firsts AS own USING (unit) CROSS JOIN services
      LEFT JOIN near ON near.unit_l = known.unit AND near.source = services.source
     WHERE own.source = 'eyfsp' AND NOT CASE service WHEN 'health' THEN review ELSE setting END
    """


_LINKED = f"""
CASE WHEN settings THEN {quote_text(NO_REVIEW)} WHEN health THEN {quote_text(NO_SETTING)} ELSE {quote_text(NEITHER)} END
"""
# Each use takes other digits of a keyed hash, so the draw, the second review and a pair's id are independent. The draw
# depends on the pupil alone: one drawn for one service is drawn for the other.
_SAMPLE = f"""
WITH known AS (
    SELECT child_id, min({{'council': council, 'row_key': row_key}}) FILTER (source = 'eyfsp') AS first,
           bool_or(source = 'early_years_census') AS settings, bool_or(source = 'hv_reviews') AS health
      FROM links GROUP BY child_id HAVING bool_or(source = 'eyfsp')
), sent AS (
    SELECT DISTINCT CASE source WHEN 'hv_reviews' THEN 'health' ELSE 'settings' END AS service, council FROM links
     WHERE source IN ('hv_reviews', 'early_years_census')
), named AS (
    SELECT frame.*, known.*, CASE service WHEN 'health' THEN health ELSE settings END AS is_linked,
           theirs.child_id AS other_child_id, other_row_key IS NOT NULL AND other_child_id NOT IN (
               SELECT child_id FROM known) AS is_near
      FROM frame
      JOIN links AS own ON (own.source, own.council, own.row_key) = ('eyfsp', frame.council, frame.row_key)
      JOIN known ON known.child_id = own.child_id
      LEFT JOIN links AS theirs ON (theirs.source, theirs.council, theirs.row_key)
                                 = (other_source, other_council, other_row_key)
), chosen AS (
    SELECT child_id, first, service, is_link, bits, settings, health, other_source,
           if(is_link OR is_near, other_council, NULL) AS other_council,
           if(is_link OR is_near, other_row_key, NULL) AS other_row_key, is_near
      FROM named WHERE CASE WHEN is_link THEN child_id = other_child_id
                       ELSE NOT is_linked AND (service, council) IN (FROM sent) END
   QUALIFY row_number() OVER (PARTITION BY child_id, service ORDER BY is_near DESC, bits, other_row_key) = 1
), of_child AS (
    SELECT *, bool_or(is_near) OVER (PARTITION BY child_id) AS near_any,
           sha256(concat_ws('/', $1, first.council, first.row_key)) AS digest,
           sha256(concat_ws('/', $1, service, first.council, first.row_key)) AS own_digest
      FROM chosen
), strata AS (
    SELECT *, CASE WHEN is_link AND bits >= {WEAK_BITS} THEN {quote_text(SURE)}
                   WHEN is_link THEN {quote_text(WEAK)}
                   ELSE {_LINKED} || ', ' || if(near_any, {quote_text(NEAR)}, {quote_text(OTHER)}) END AS stratum
      FROM of_child WHERE NOT is_link OR settings AND health
), counted AS (
    SELECT *, {_DIGITS.format("digest", 1, 12)} / 2 ** 48 AS place,
           count(*) OVER (PARTITION BY service, stratum) AS stratum_pairs,
           row_number() OVER (PARTITION BY service, stratum ORDER BY own_digest) AS turn FROM strata
)
SELECT own_digest[33:44] AS pair, service, stratum, child_id, first.council AS council, first.row_key AS row_key,
       CASE service WHEN 'health' THEN 'hv_reviews' ELSE 'early_years_census' END AS other_source,
       coalesce(other_council, first.council) AS other_council, other_row_key,
       {_DIGITS.format("own_digest", 13, 4)} / 65536 < {SECOND_REVIEW_SHARE} AS second_review, stratum_pairs,
       if(most = 0, 1 / chance, stratum_pairs / least(most, stratum_pairs)) AS weight
  FROM counted JOIN wanted USING (stratum) WHERE place < chance OR turn <= most ORDER BY pair
"""
"""SQL of the sample after all steps, with the parameter key."""


Array = NDArray[np.float64]

OUTSIDE = "not in the review"


class Decision(StrEnum):
    """A reviewer's answer to the question whether the service knows the child."""

    MATCH = "match"
    OTHER = "not a match"
    UNKNOWN = "cannot tell"


KNOWN, NOT_KNOWN, NO_ANSWER = "known", "not known", "cannot tell"
TO_BOTH, TO_HEALTH, TO_SETTING = "known to both", "known to a health visitor", "known to a setting"
OUTCOMES: Final = {NEITHER: (TO_BOTH, TO_HEALTH, TO_SETTING, NOT_KNOWN, NO_ANSWER)}
"""Answers for a child searched for by both services; for all others they are `_OF_ONE`."""
_OF_ONE: Final = (KNOWN, NOT_KNOWN, NO_ANSWER)
_ANSWERS: Final = (
    (NEITHER, TO_BOTH),
    (NO_REVIEW, KNOWN),
    (NO_SETTING, KNOWN),
    (NEITHER, TO_HEALTH),
    (NEITHER, TO_SETTING),
)
"""The answer that shows a missed link of each of `RATES`."""
ATTRIBUTE: Final = "review"


def build_reviewed_sql() -> str:
    """Return SQL for the measured table, from tables pairs, decided (pair, decision) and children (child_id).

    A pair that nobody decided counts as undecidable. Of two weak links of a child, the first counts.
    """
    measured = ", ".join(quote_text(stratum) for stratum in _list_strata())
    match, unknown = quote_text(Decision.MATCH), quote_text(Decision.UNKNOWN)
    return f"""
    WITH answers AS (
        SELECT child_id, arg_min(stratum, pair) AS stratum, arg_min(answer, pair) AS answer,
               count(*) FILTER (answer = {unknown}) > 0 AS is_open,
               bool_or(answer = {match} AND service = 'health') AS health,
               bool_or(answer = {match} AND service = 'settings') AS setting
          FROM (SELECT *, coalesce(decision, {unknown}) AS answer FROM pairs LEFT JOIN decided USING (pair))
         WHERE stratum IN ({measured}) GROUP BY child_id
    ), named AS (
        SELECT child_id, stratum, CASE
               WHEN starts_with(stratum, {quote_text(NEITHER)}) AND is_open OR answer = {unknown}
               THEN {quote_text(NO_ANSWER)}
               WHEN starts_with(stratum, {quote_text(NEITHER)}) THEN CASE
                    WHEN health AND setting THEN {quote_text(TO_BOTH)} WHEN health THEN {quote_text(TO_HEALTH)}
                    WHEN setting THEN {quote_text(TO_SETTING)} ELSE {quote_text(NOT_KNOWN)} END
               WHEN answer = {match} THEN {quote_text(KNOWN)} ELSE {quote_text(NOT_KNOWN)} END AS outcome
          FROM answers
    )
    SELECT child_id, coalesce(stratum || ': ' || outcome, {quote_text(OUTSIDE)}) AS {ATTRIBUTE}
      FROM children LEFT JOIN named USING (child_id) ORDER BY child_id
    """


def _list_strata() -> list[str]:
    return [name_stratum(*stratum) for stratum in SAMPLED]


def format_category(linked: str, near: str, outcome: str) -> str:
    """Return a category of the measured attribute."""
    return f"{name_stratum(linked, near)}: {outcome}"


def plan_review(children: int, rho: float, delta: float, sample: int) -> Plan:
    """Return the noise plan of a review, from the published number of children and the sample's number (from 1)."""
    categories = (
        format_category(linked, near, outcome) for linked, near in SAMPLED for outcome in OUTCOMES.get(linked, _OF_ONE)
    )
    family = MeasuredFamily(
        name=REVIEW,
        unit="child",
        attributes=(Attribute(ATTRIBUTE, (OUTSIDE, *categories)),),
        marginals=(Marginal((ATTRIBUTE,)),),
        identities=(),
        nesting=None,
    )
    detail = {"requests": [], "sample": sample, "chances": compute_chances(children)}
    return replace(make_plan(family, rho, delta=delta), detail=detail)


def count_missed(plan: Plan, measurement: Measurement) -> Reviewed:
    """Return the missed links that a review found."""
    tallies = [
        [_scale_up(plan, measurement, linked, near, said) for linked, said in _ANSWERS] for near in (NEAR, OTHER)
    ]
    found, variances, chances = np.moveaxis(np.array(tallies), 2, 0)
    return Reviewed(found, variances, chances)


def _scale_up(plan: Plan, measurement: Measurement, linked: str, near: str, said: str) -> tuple[float, float, float]:
    """Return the children of a whole stratum with an answer, the variance from noise and open pairs, and the chance."""
    place = {name: number for number, name in enumerate(plan.family.get_attribute(ATTRIBUTE).categories)}
    noisy, noise = measurement.noisy[(ATTRIBUTE,)], plan.sigmas[(ATTRIBUTE,)] ** 2
    *answers, unknown = (
        float(noisy[place[format_category(linked, near, each)]]) for each in OUTCOMES.get(linked, _OF_ONE)
    )
    here = answers[OUTCOMES.get(linked, _OF_ONE).index(said)]
    decided = sum(max(each, 0.0) for each in answers)
    # If no pair was decided, all answers are equally likely.
    p = max(here, 0.0) / decided if decided else 1 / len(answers)
    q = plan.detail["chances"][name_stratum(linked, near)]
    # u ** 2 / 12 is the variance of a uniform distribution from none to all of the undecided pairs.
    variance = ((1 + p**2) * noise + max(unknown, 0.0) ** 2 / 12) / q**2
    return (here + p * unknown) / q, variance, q

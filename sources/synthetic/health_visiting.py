"""Health-visitor reviews from birth to two and a half years, by council of residence at the time.

Providers have every review at two years but send only some earlier ones (other systems, other providers), so a child
has two rows on average.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import expit, ndtri

from sources.reference.asq3 import DOMAINS, cut_offs
from sources.synthetic.drawing import Bools, Floats, Ints
from sources.synthetic.margins import FSM
from sources.synthetic.people import Dates
from sources.synthetic.recording import HEALTH, Identity, Rows, coded, dates, decimals, filed, text, uppercase
from sources.synthetic.world import World

REVIEWS = ("NBV", "6-8W", "12M", "2-2.5Y")
TWO_YEAR = REVIEWS.index("2-2.5Y")
_EARLIER_SENT = (0.25, 0.30, 0.55)
"""Share of children whose new-birth, six-to-eight-week and twelve-month review is in the extract."""
_REVIEW_DAYS = ((10, 15), (42, 57), (320, 400))
_COVERAGE = (0.80, 0.90)
"""Share of resident children with a review at two years, by council."""
_REVIEWED_AFTER_MOVE = 0.3
_SECOND_TWO_YEAR_REVIEW = 0.01
_SENT_TWICE = 0.003
_NHS_NUMBER_MISSING = 0.04
_UNNAMED = (0.12, 0.02, 0.0, 0.0)
"""Share of reviews in which the child is recorded without a real forename, by review."""
_UNNAMED_FORMS = np.array(["Baby", "Baby Girl", "Baby Boy", "Twin 1", "Twin 2"])

MONTHS = (24, 27, 30)
_NEXT_QUESTIONNAIRE_FROM = (25.5, 28.5)
"""Age in months from which the 27-month and then the 30-month questionnaire is used."""
_WITHOUT_ASQ3 = 0.07
_BELOW_SHARE = {
    "asq3_communication": 0.125,
    "asq3_gross_motor": 0.065,
    "asq3_fine_motor": 0.07,
    "asq3_problem_solving": 0.08,
    "asq3_personal_social": 0.085,
}
"""Plausible shares below the cut-off, near those published by the Office for Health Improvement and Disparities."""
_ABILITY_WEIGHT, _COMMON_WEIGHT = 0.5, 0.62
_DECIMAL_SCORES = 0.03
"""Share of questionnaires with a missing answer, whose score is scaled up and so has decimals."""


class _Reviews(NamedTuple):
    """Reviews, one entry each; `enrolment` indexes the provider's registrations."""

    enrolment: Ints
    kind: Ints
    date: Dates


def hv_reviews(world: World) -> Rows:
    """Return the rows of every council's file."""
    rng, people = world.streams("hv reviews"), world.people
    known = np.flatnonzero(~world.joined_late)
    moved = people.early_council[known] != people.council[known]
    later = known[moved & (rng.random(len(known)) < _REVIEWED_AFTER_MOVE)]
    person = np.concatenate([known, later])
    council = np.concatenate([people.early_council[known], people.council[later]])
    home = np.concatenate([people.early_postcode[known], people.postcode[later]])
    identity = world.on_file(rng, "hv_reviews", council, person, home, HEALTH)
    reviews = _reviews(rng, world, person, len(known), np.isin(known, later))

    again = np.flatnonzero(rng.random(len(reviews.date)) < _SENT_TWICE)
    who, where = person[reviews.enrolment], council[reviews.enrolment]
    outcome = _outcomes(rng, world, who, reviews)
    on_file = _unnamed(rng, world, identity[reviews.enrolment], who, reviews.kind)
    capitals = world.by_council("capitals", 0, 1)[where] < 0.3
    on_file = replace(on_file, surname=uppercase(on_file.surname, capitals))
    missing = (rng.random(len(person)) < _NHS_NUMBER_MISSING)[reviews.enrolment]
    table = pa.table(
        {
            "local_patient_id": text((1_000_000 + rng.permutation(len(person)))[reviews.enrolment].astype("U8")),
            "nhs_number": text(np.where(missing, "", people.nhs_number[who])),
            "nhs_number_status": coded(np.where(missing, 1, 0), ("01", "07")),
            **on_file.columns(),
            "review": coded(reviews.kind, REVIEWS),
            "review_date": dates(reviews.date),
            **outcome,
        }
    )
    return filed(where, who, table, reviews.date.astype(np.int64), again)


def _reviews(rng: np.random.Generator, world: World, person: Ints, known: int, seen_later: Bools) -> _Reviews:
    """Draw the reviews of each registration. The first `known` registrations are where the child was born; a child
    `seen_later` has its review at two years at its later registration, which follows them."""
    born = world.people.born[person]
    parts = []
    for kind, (share, days) in enumerate(zip(_EARLIER_SENT, _REVIEW_DAYS, strict=True)):
        enrolment = np.flatnonzero(rng.random(known) < share)
        parts.append(_Reviews(enrolment, np.full(len(enrolment), kind), _after(rng, born[enrolment], *days)))
    coverage = world.by_council("two-year review", *_COVERAGE)[world.people.council[person[:known]]]
    coverage = coverage / (1 - 0.05 * world.people.pupil[person[:known]])
    coverage = coverage + np.array([-0.04, -0.03, 0.008])[world.people.categories[FSM][person[:known]]]
    at_birthplace = np.flatnonzero((rng.random(known) < coverage) & ~seen_later)
    enrolment = np.concatenate([at_birthplace, np.arange(known, len(person))])
    parts.append(_Reviews(enrolment, np.full(len(enrolment), TWO_YEAR), _after(rng, born[enrolment], 705, 930)))
    again = np.flatnonzero(rng.random(len(enrolment)) < _SECOND_TWO_YEAR_REVIEW)
    date = _after(rng, parts[-1].date[again], 60, 120)
    parts.append(_Reviews(enrolment[again], np.full(len(again), TWO_YEAR), date))
    return _Reviews(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _after(rng: np.random.Generator, start: Dates, low: int, high: int) -> Dates:
    return start + rng.integers(low, high, len(start)).astype("timedelta64[D]")


def _unnamed(rng: np.random.Generator, world: World, identity: Identity, person: Ints, kind: Ints) -> Identity:
    """Return identities in which some children, soon after birth, are recorded as Baby."""
    unnamed = rng.random(len(kind)) < np.array(_UNNAMED)[kind]
    form = np.where(rng.random(len(kind)) < 0.5, 0, 1 + identity.sex)
    form = np.where(world.people.twin[person] & (form > 0), 3 + person % 2, form)
    return replace(identity, forename=np.where(unnamed, _UNNAMED_FORMS[form], identity.forename))


def _outcomes(rng: np.random.Generator, world: World, person: Ints, reviews: _Reviews) -> dict[str, pa.Array]:
    """Draw ASQ-3 and ASQ:SE-2 scores of two-year reviews, and concern and referral of all reviews."""
    size, two_year = len(person), reviews.kind == TWO_YEAR
    ability = world.attainment.ability[person]
    age = (reviews.date - world.people.born[person]).astype(np.int64) / 30.4
    months = np.searchsorted(_NEXT_QUESTIONNAIRE_FROM, age)
    with_asq3 = two_year & (rng.random(size) >= _WITHOUT_ASQ3)
    scores, below = _scores(rng, ability, months, with_asq3)
    concern = rng.random(size) < expit(np.array([-2.4, -0.3, 1.3])[np.clip(below, 0, 2)] - 0.35 * ability)
    referral = np.where(concern, rng.random(size) < 0.55, rng.random(size) < 0.01)
    asq_se2 = np.where(
        with_asq3 & (rng.random(size) < 0.6),
        5 * np.round(rng.gamma(2.0, np.exp(1.7 - 0.25 * ability)) / 2),
        np.nan,
    )
    return {
        "asq3_months": coded(np.where(with_asq3, months, 3), (*map(str, MONTHS), "")),
        **{domain: decimals(score) for domain, score in scores.items()},
        "asq_se2_score": decimals(asq_se2),
        "concern": coded(np.where(rng.random(size) < 0.01, 2, concern), ("N", "Y", "")),
        "referral": coded(np.where(rng.random(size) < 0.01, 2, referral), ("N", "Y", "")),
    }


def _scores(
    rng: np.random.Generator, ability: Floats, months: Ints, with_asq3: Bools
) -> tuple[dict[str, Floats], Ints]:
    """Draw scores by domain, NaN without a questionnaire, and the number of domains below the cut-off."""
    common = _ABILITY_WEIGHT * ability + _COMMON_WEIGHT * rng.standard_normal(len(ability))
    own = np.sqrt(1 - _ABILITY_WEIGHT**2 - _COMMON_WEIGHT**2)
    scaled_up = rng.random(len(ability)) < _DECIMAL_SCORES
    scores, below = {}, np.zeros(len(ability), dtype=np.int64)
    for domain in DOMAINS:
        cut_off = np.array([cut_offs()[domain, str(age)] for age in MONTHS])[months]
        distance = common + own * rng.standard_normal(len(ability)) - ndtri(_BELOW_SHARE[domain])
        score = np.where(with_asq3, _on_scale(distance, cut_off, scaled_up), np.nan)
        scores[domain] = score
        below += score < cut_off
    return scores, below


def _on_scale(distance: Floats, cut_off: Floats, scaled_up: Bools) -> Floats:
    """Return scores from 0 to 60, in steps of five unless scaled up; below the cut-off exactly if `distance` < 0."""
    raw = np.clip(cut_off + distance * np.where(distance < 0, 18.0, (60 - cut_off) / 2.2), 0, 60)
    step = 5 * np.floor(cut_off / 5)
    stepped = np.where(
        distance < 0, step - 5 * np.floor((cut_off - raw) / 5), step + 5 + 5 * np.floor((raw - cut_off) / 5)
    )
    above = np.maximum(np.round(raw, 2), cut_off)
    return np.clip(np.where(scaled_up, np.where(distance < 0, np.floor(raw * 100 - 1) / 100, above), stepped), 0, 60)

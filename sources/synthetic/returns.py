"""The five returns: EYFS Profile, school census, early years census, health-visitor reviews and survey of parents.

Reviews are from birth to two and a half years, by council of residence at the time. Providers have every review at two
years but send only some earlier ones (other systems, other providers), so a child has two rows on average. The survey
has about one response for every ten children, linked to none of them. Its answers are correlated: parents of children
with special needs, and those on low incomes, find access harder, wait longer and repeat their story more often; ease of
access affects every later answer. `returns.yaml` has the shares.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import expit, ndtri

from privacy.doors.shipped import read_yaml
from sources.contracts.people import SEN_CODES
from sources.contracts.sources import ENTITLEMENT_CODES, PROGRESS_CHECK_CODES
from sources.reference.code_lists import DOMAINS, GOALS, SERVICES, load_cut_offs
from sources.synthetic.attainment import EXPECTED, GOAL_CODES, NOT_ASSESSED
from sources.synthetic.drawing import AnyArray, Bools, Floats, Ints, Texts, pick
from sources.synthetic.margins import FSM, SEN
from sources.synthetic.people import CODES, LANGUAGE_CODES, Dates
from sources.synthetic.recording import (
    RecordedIdentity,
    Rows,
    World,
    build_codes,
    build_dates,
    build_decimals,
    build_rows,
    build_text,
    order_rows,
)

_LIKELY: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_suffix(".yaml"))
_PROFILE, _CENSUS, SETTINGS, VISITS, _SURVEY = (
    _LIKELY[name] for name in ("profile", "school_census", "early_years_census", "hv_reviews", "survey")
)


def draw_eyfsp(world: World) -> Rows:
    """Return the rows of the Profile: every pupil, a few in two councils, a few twice or corrected by a later row."""
    rng, people = world.streams("eyfsp"), world.people
    pupils = np.flatnonzero(people.pupil)
    moved = people.early_council[pupils] != people.council[pupils]
    both = pupils[moved & (rng.random(len(pupils)) < _PROFILE["in_both_councils"])]
    person = np.concatenate([pupils, both])
    council = np.concatenate([people.council[pupils], people.early_council[both]])
    home = np.concatenate([people.postcode[pupils], people.early_postcode[both]])
    school = np.concatenate([pupils, np.searchsorted(people.council[pupils], people.early_council[both])])
    # A child in two councils is recorded twice, with different errors; a row sent twice has the same ones.
    identity = world.record_children(rng, "eyfsp", council, world.identify(person, home))

    lot = rng.random(len(person))
    again = lot < _PROFILE["sent_twice"] + _PROFILE["corrected"]
    corrected = again & (lot >= _PROFILE["sent_twice"])
    earlier_upn = (people.census_upn != people.upn)[person] & (rng.random(len(person)) < _PROFILE["under_both_upns"])
    sent, late = order_rows(council, people.estab[school], np.flatnonzero(again | earlier_upn))
    who, where = person[sent], council[sent]

    upn = np.where(late & earlier_upn[sent], people.census_upn[who], people.upn[who])
    nhs_number = np.where(rng.random(len(who)) < _PROFILE["nhs_number"], people.nhs_number[who], "")
    goals = _draw_provisional_goals(rng, world.attainment.goals[who], corrected[sent] & ~late)
    table = pa.table(
        {
            "la_code": build_codes(where, [place.old_la_code for place in world.margins.councils]),
            "estab": build_codes(people.estab[school[sent]] - 2000, [str(number) for number in range(2000, 4000)]),
            "urn": build_text(people.urn[school[sent]].astype("U6")),
            "academic_year": build_codes(np.zeros(len(who)), [world.cohort.code]),
            "upn": build_text(upn),
            "nhs_number": build_text(nhs_number),
            **identity[sent].build_columns(),
            **{goal: build_codes(goals[:, index], GOAL_CODES) for index, goal in enumerate(GOALS)},
        }
    )
    return Rows(where, who, table)


def _draw_provisional_goals(rng: np.random.Generator, goals: AnyArray, provisional: AnyArray) -> AnyArray:
    """Return goals with one wrong outcome in each row that is corrected later."""
    goals = goals.copy()
    row: Ints = np.flatnonzero(provisional & (goals[:, 0] != NOT_ASSESSED))
    goal = rng.integers(0, len(GOALS), len(row))
    goals[row, goal] = EXPECTED - goals[row, goal]
    return goals


def draw_school_census(world: World, leavers: bool = True) -> Rows:
    """Return rows of the spring census: pupils in Reception and, if `leavers`, some who leave before the Profile."""
    rng, people = world.streams("school census"), world.people
    still_here = rng.random(len(people)) < (_CENSUS["leavers_on_roll"] if leavers else 0)
    on_roll = people.in_census & (people.pupil | still_here)
    person = np.flatnonzero(on_roll)
    council = people.council[person]
    true = world.identify(person, people.postcode[person])
    identity = world.record_children(rng, "school_census", council, true)
    ethnicity = people.ethnicity[person]
    unknown = np.isin(ethnicity, [CODES.index("REFU"), CODES.index("NOBT")])
    ethnicity = np.where(
        unknown & (rng.random(len(person)) < _CENSUS["ethnicity_blank_if_unknown"]), len(CODES), ethnicity
    )
    nhs_number = np.where(rng.random(len(person)) < _PROFILE["nhs_number"], people.nhs_number[person], "")
    table = pa.table(
        {
            "upn": build_text(people.census_upn[person]),
            "nhs_number": build_text(nhs_number),
            **identity.build_columns(),
            "ethnicity": build_codes(ethnicity, (*CODES, "")),
            "fsm_eligible": build_codes(people.categories[FSM][person], ("", "Y", "N")),
            "sen_provision": build_codes(people.categories[SEN][person], ("", "E", "K", "N")),
            "first_language": build_codes(people.language[person], LANGUAGE_CODES),
        }
    )
    again = np.flatnonzero(rng.random(len(person)) < _CENSUS["sent_twice"])
    return build_rows(council, person, table, people.estab[person], again)


def draw_early_years_census(world: World) -> Rows:
    """Return the rows of nurseries and childminders about two years before the Profile, one per child and setting."""
    rng, people = world.streams("early years census"), world.people
    coverage = world.vary_by_council("early years census", *SETTINGS["coverage"])[people.council]
    # Pupils who joined late (5%) cannot attend, so the others attend more often: coverage is a share of all pupils.
    attends = ~world.joined_late & (rng.random(len(people)) < coverage / (1 - 0.05 * people.pupil))
    child = np.flatnonzero(attends)
    second = child[rng.random(len(child)) < SETTINGS["two_settings"]]
    at_early_home = rng.random(len(people)) < SETTINGS["still_at_early_home"]
    person = np.concatenate([child, second])
    council = np.where(at_early_home, people.early_council, people.council)[person]
    home = np.where(at_early_home, people.early_postcode, people.postcode)[person]
    true = world.identify(person, home)
    identity = world.record_children(rng, "early_years_census", council, true)
    places = draw_places(rng, world, person, council)
    numbers = build_text(np.where(places.has_number, people.nhs_number[person], ""))
    table = pa.table({"nhs_number": numbers, **places.payload, **identity.build_columns()})
    again = np.flatnonzero(rng.random(len(person)) < _CENSUS["sent_twice"])
    return build_rows(council, person, table, places.setting, again)


class Places(NamedTuple):
    """Children's places at settings, one entry each; `payload` are their columns apart from NHS numbers."""

    setting: Ints
    has_number: Bools
    payload: dict[str, pa.Array]


def draw_places(rng: np.random.Generator, world: World, person: Ints, council: Ints) -> Places:
    """Draw a place at a nursery or childminder in these councils for each child."""
    people = world.people
    entitlement = pick(rng, np.array(SETTINGS["entitlement_by_fsm"])[people.categories[FSM][person]])
    hours, sen = np.array(SETTINGS["hours"]), np.array(SETTINGS["sen"])
    has_number = rng.random(len(person)) < SETTINGS["nhs_number"]
    settings = np.maximum(3, np.round(world.margins.children / SETTINGS["children_a_setting"])).astype(np.int64)
    setting = (np.cumsum(settings) - settings)[council]
    setting += np.floor(rng.random(len(council)) * settings[council]).astype(np.int64)
    ethnicity = np.where(rng.random(len(person)) < SETTINGS["ethnicity_blank"], len(CODES), people.ethnicity[person])
    return Places(
        setting,
        has_number,
        {
            "setting_urn": build_codes(setting, [f"EY{300000 + number}" for number in range(int(settings.sum()))]),
            "ethnicity": build_codes(ethnicity, (*CODES, "")),
            "entitlement": build_codes(entitlement, tuple(ENTITLEMENT_CODES)),
            "funded_hours": build_decimals(hours[entitlement, rng.integers(0, hours.shape[1], len(person))]),
            "eypp": build_codes((people.categories[FSM][person] == 1) & (rng.random(len(person)) < 0.7), ("N", "Y")),
            "sen_provision": build_codes(pick(rng, sen[people.categories[SEN][person]]), tuple(SEN_CODES)),
            **_draw_progress_checks(rng, world, person),
        },
    )


def _draw_progress_checks(rng: np.random.Generator, world: World, person: Ints) -> dict[str, pa.Array]:
    """Draw date and outcome of the progress check at age two; lower ability makes a concern more likely."""
    concern: Floats = expit(-2.2 - 1.1 * world.attainment.ability[person])
    outcome = (rng.random(len(person)) < concern).astype(np.int64)
    outcome[rng.random(len(person)) < SETTINGS["not_checked"]] = 2
    done = draw_dates_after(rng, world.people.born[person], *SETTINGS["check_days"])
    return {
        "progress_check_date": build_dates(np.where(outcome == 2, np.datetime64("NaT"), done)),
        "progress_check_outcome": build_codes(outcome, tuple(PROGRESS_CHECK_CODES)),
    }


REVIEWS = ("NBV", "6-8W", "12M", "2-2.5Y")
TWO_YEAR = REVIEWS.index("2-2.5Y")
_UNNAMED_FORMS = np.array(["Baby", "Baby Girl", "Baby Boy", "Twin 1", "Twin 2"])
MONTHS = (24, 27, 30)
_NEXT_QUESTIONNAIRE_FROM = (25.5, 28.5)
"""Age in months from which the 27-month and then the 30-month questionnaire is used."""
_ABILITY_WEIGHT, _COMMON_WEIGHT = 0.5, 0.62


class Reviews(NamedTuple):
    """Reviews, one entry each; `enrolment` indexes the provider's registrations."""

    enrolment: Ints
    kind: Ints
    date: Dates


def draw_hv_reviews(world: World) -> Rows:
    """Return the rows of health-visitor reviews of every council."""
    rng, people = world.streams("hv reviews"), world.people
    known = np.flatnonzero(~world.joined_late)
    moved = people.early_council[known] != people.council[known]
    later = known[moved & (rng.random(len(known)) < VISITS["after_move"])]
    person = np.concatenate([known, later])
    council = np.concatenate([people.early_council[known], people.council[later]])
    home = np.concatenate([people.early_postcode[known], people.postcode[later]])
    identity = world.record_children(rng, "hv_reviews", council, world.identify(person, home))
    reviews = _draw_reviews(rng, world, person, len(known), np.isin(known, later))

    again = np.flatnonzero(rng.random(len(reviews.date)) < VISITS["sent_twice"])
    who, where = person[reviews.enrolment], council[reviews.enrolment]
    columns = draw_review_columns(rng, world, who, where, identity[reviews.enrolment], reviews)
    # By registration: a provider that lacks a child's number lacks it in every review.
    missing = (rng.random(len(person)) < VISITS["nhs_number_missing"])[reviews.enrolment]
    table = pa.table(
        {
            "local_patient_id": build_text((1_000_000 + rng.permutation(len(person)))[reviews.enrolment].astype("U8")),
            **build_number_columns(people.nhs_number[who], missing),
            **columns,
        }
    )
    return build_rows(where, who, table, reviews.date.astype(np.int64), again)


def build_number_columns(nhs_number: Texts, missing: Bools) -> dict[str, pa.Array]:
    """Return the NHS numbers of reviews and their status."""
    return {
        "nhs_number": build_text(np.where(missing, "", nhs_number)),
        "nhs_number_status": build_codes(np.where(missing, 1, 0), ("01", "07")),
    }


def draw_review_columns(
    rng: np.random.Generator, world: World, who: Ints, where: Ints, on_file: RecordedIdentity, reviews: Reviews
) -> dict[str, pa.Array]:
    """Draw the columns of reviews of these children in these councils, apart from their numbers."""
    outcome = _draw_outcomes(rng, world, who, reviews)
    # Some children are recorded as Baby soon after birth.
    unnamed = rng.random(len(who)) < np.array(VISITS["unnamed"])[reviews.kind]
    form = np.where(rng.random(len(who)) < 0.5, 0, 1 + on_file.sex)
    form = np.where(world.people.twin[who] & (form > 0), 3 + who % 2, form)
    # Some systems export surnames in capitals.
    capitals = world.vary_by_council("capitals", 0, 1)[where] < 0.3
    on_file = replace(
        on_file,
        forename=np.where(unnamed, _UNNAMED_FORMS[form], on_file.forename),
        surname=np.where(capitals, np.strings.upper(on_file.surname), on_file.surname),
    )
    return {
        **on_file.build_columns(),
        "review": build_codes(reviews.kind, REVIEWS),
        "review_date": build_dates(reviews.date),
        **outcome,
    }


def _draw_reviews(rng: np.random.Generator, world: World, person: Ints, known: int, seen_later: Bools) -> Reviews:
    """Draw the reviews of each registration.

    The first `known` registrations are with the council where the child was born. A child `seen_later` has its review
    at two years at its later registration; later registrations follow the first ones.
    """
    born = world.people.born[person]
    parts = []
    for kind, (share, days) in enumerate(zip(VISITS["earlier_sent"], VISITS["earlier_days"], strict=True)):
        enrolment = np.flatnonzero(rng.random(known) < share)
        parts.append(Reviews(enrolment, np.full(len(enrolment), kind), draw_dates_after(rng, born[enrolment], *days)))
    coverage = world.vary_by_council("two-year review", *VISITS["coverage"])[world.people.council[person[:known]]]
    # As in the early years census: pupils who joined late (5%) have no review.
    coverage = coverage / (1 - 0.05 * world.people.pupil[person[:known]])
    coverage = coverage + np.array([-0.04, -0.03, 0.008])[world.people.categories[FSM][person[:known]]]
    at_birthplace = np.flatnonzero((rng.random(known) < coverage) & ~seen_later)
    enrolment = np.concatenate([at_birthplace, np.arange(known, len(person))])
    parts.append(
        Reviews(enrolment, np.full(len(enrolment), TWO_YEAR), draw_dates_after(rng, born[enrolment], 705, 930))
    )
    again = np.flatnonzero(rng.random(len(enrolment)) < VISITS["second_at_two"])
    date = draw_dates_after(rng, parts[-1].date[again], 60, 120)
    parts.append(Reviews(enrolment[again], np.full(len(again), TWO_YEAR), date))
    return Reviews(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def draw_dates_after(rng: np.random.Generator, start: Dates, low: int, high: int) -> Dates:
    return start + rng.integers(low, high, len(start)).astype("timedelta64[D]")


def _draw_outcomes(rng: np.random.Generator, world: World, person: Ints, reviews: Reviews) -> dict[str, pa.Array]:
    """Draw ASQ-3 and ASQ:SE-2 scores of two-year reviews, and concern and referral of all reviews."""
    size, two_year = len(person), reviews.kind == TWO_YEAR
    ability = world.attainment.ability[person]
    age = (reviews.date - world.people.born[person]).astype(np.int64) / 30.4
    months = np.searchsorted(_NEXT_QUESTIONNAIRE_FROM, age)
    with_asq3 = two_year & (rng.random(size) >= VISITS["without_asq3"])
    scores, below = _draw_scores(rng, ability, months, with_asq3)
    concern = rng.random(size) < expit(np.array([-2.4, -0.3, 1.3])[np.clip(below, 0, 2)] - 0.35 * ability)
    referral = np.where(concern, rng.random(size) < 0.55, rng.random(size) < 0.01)
    asq_se2 = np.where(
        with_asq3 & (rng.random(size) < 0.6), 5 * np.round(rng.gamma(2.0, np.exp(1.7 - 0.25 * ability)) / 2), np.nan
    )
    return {
        "asq3_months": build_codes(np.where(with_asq3, months, 3), (*map(str, MONTHS), "")),
        **{domain: build_decimals(score) for domain, score in scores.items()},
        "asq_se2_score": build_decimals(asq_se2),
        "concern": build_codes(np.where(rng.random(size) < 0.01, 2, concern), ("N", "Y", "")),
        "referral": build_codes(np.where(rng.random(size) < 0.01, 2, referral), ("N", "Y", "")),
    }


def _draw_scores(
    rng: np.random.Generator, ability: Floats, months: Ints, with_asq3: Bools
) -> tuple[dict[str, Floats], Ints]:
    """Draw scores by domain, NaN without a questionnaire, and the number of domains below the cut-off."""
    common = _ABILITY_WEIGHT * ability + _COMMON_WEIGHT * rng.standard_normal(len(ability))
    # Together the three parts of a score have a variance of 1, so that the shares below the cut-off are as stated.
    own = np.sqrt(1 - _ABILITY_WEIGHT**2 - _COMMON_WEIGHT**2)
    scaled_up = rng.random(len(ability)) < VISITS["decimal_scores"]
    scores, below = {}, np.zeros(len(ability), dtype=np.int64)
    for domain in DOMAINS:
        cut_off = np.array([load_cut_offs()[domain, str(age)] for age in MONTHS])[months]
        distance = common + own * rng.standard_normal(len(ability)) - ndtri(VISITS["below_cut_off"][domain])
        score = np.where(with_asq3, _scale_scores(distance, cut_off, scaled_up), np.nan)
        scores[domain] = score
        below += score < cut_off
    return scores, below


def _scale_scores(distance: Floats, cut_off: Floats, scaled_up: Bools) -> Floats:
    """Return scores from 0 to 60, in steps of five unless scaled up; below the cut-off exactly if `distance` < 0."""
    raw = np.clip(cut_off + distance * np.where(distance < 0, 18.0, (60 - cut_off) / 2.2), 0, 60)
    step = 5 * np.floor(cut_off / 5)
    stepped = np.where(
        distance < 0, step - 5 * np.floor((cut_off - raw) / 5), step + 5 + 5 * np.floor((raw - cut_off) / 5)
    )
    above = np.maximum(np.round(raw, 2), cut_off)
    return np.clip(np.where(scaled_up, np.where(distance < 0, np.floor(raw * 100 - 1) / 100, above), stepped), 0, 60)


def draw_parent_experience(world: World) -> Rows:
    """Return the responses to the survey of parents of every council."""
    rng, figures = world.streams("parent experience"), world.margins
    responses = np.round(figures.children * world.vary_by_council("responses", *_SURVEY["responses_a_child"])).astype(
        np.int64
    )
    council = np.repeat(np.arange(len(responses)), responses)
    fsm_share = (figures.counts[FSM][:, 1] / figures.children)[council]
    low_income = rng.random(len(council)) < fsm_share
    send = _draw(rng, _SURVEY["send"], len(council))
    # Codes 1 (yes) and 3 (being assessed).
    needs = np.isin(send, [0, 2])
    sought = pick(rng, np.array(list(_SURVEY["sought"].values())).T[needs.astype(np.int64)])
    ease = (
        rng.standard_normal(len(council)) + np.array([0.5, -0.7, -1.1, 0.2])[sought] - 0.35 * needs - 0.2 * low_income
    )
    number = np.arange(len(council)) - (np.cumsum(responses) - responses)[council] + 1
    table = pa.table(
        {
            "response_id": build_text(np.strings.add("R", np.strings.zfill(number.astype("U6"), 6))),
            "wave": build_codes(np.zeros(len(council)), [f"{world.cohort.first_year + 1}-spring"]),
            "respondent_role": build_codes(_draw(rng, _SURVEY["roles"], len(council)), tuple(_SURVEY["roles"])),
            "child_age_band": build_codes(_draw(rng, _SURVEY["age_bands"], len(council)), tuple(_SURVEY["age_bands"])),
            "fsm_or_funded": build_codes(_draw_fsm_answers(rng, low_income), ("1", "2", "8", "9")),
            "child_send": build_codes(send, tuple(_SURVEY["send"])),
            **_draw_services(rng, needs),
            "sought_support": build_codes(sought, tuple(_SURVEY["sought"])),
            **_draw_experience(rng, sought, needs, ease),
        }
    )
    return Rows(council, None, table)


def _draw(rng: np.random.Generator, shares: dict[str, float], size: int) -> Ints:
    return pick(rng, np.tile(list(shares.values()), (size, 1)))


def _draw_fsm_answers(rng: np.random.Generator, low_income: Bools) -> Ints:
    lot = rng.random(len(low_income))
    return np.select(
        [lot < _SURVEY["fsm_unsure"][0], lot < sum(_SURVEY["fsm_unsure"])], [2, 3], np.where(low_income, 0, 1)
    )


def _draw_services(rng: np.random.Generator, needs: Bools) -> dict[str, pa.Array]:
    shares = np.array(_SURVEY["services"])[needs.astype(np.int64)]
    used = rng.random(shares.shape) < shares
    return {service: build_codes(used[:, index], ("N", "Y")) for index, service in enumerate(SERVICES)}


def _draw_experience(rng: np.random.Generator, sought: Ints, needs: Bools, ease: Floats) -> dict[str, pa.Array]:
    """Draw the answers that depend on whether support was sought and on ease of access (higher is easier)."""

    def build_scale(value: Floats, edges: tuple[float, ...], codes: str) -> pa.Array:
        """Return codes from best to worst as `value` falls; the last code is don't know."""
        answer = np.searchsorted(edges, -value)
        return build_codes(
            np.where(rng.random(len(value)) < _SURVEY["do_not_know"], len(edges) + 1, answer), tuple(codes)
        )

    def draw_near(weight: float) -> Floats:
        return weight * ease + np.sqrt(1 - weight**2) * rng.standard_normal(len(ease))

    story = draw_near(0.6) - 0.5 * needs
    # Yes, no or don't know; yes is more likely the more often the story was repeated.
    yes = 1 / (1 + np.exp(-(0.9 - 0.8 * story)))
    sharing = np.stack([yes, (1 - yes) * 0.7, (1 - yes) * 0.3], axis=1)
    # Parents who did not seek support (code 4) did not wait: code 5, not applicable.
    wait = np.where(sought == 3, 4, np.searchsorted((-0.2, 0.6, 1.3), -draw_near(0.8)))
    hard = (draw_near(0.7) < 0).astype(np.int64)
    barrier = pick(rng, np.array(_SURVEY["barriers"])[hard])
    return {
        "wait_band": build_codes(wait, tuple("12345")),
        "ease_of_access": build_scale(ease, (-1.0, -0.1, 0.5, 1.3), "123458"),
        "repeat_story_count": build_scale(story, (-0.6, 0.1, 1.0), "12348"),
        "sharing_would_have_helped": build_codes(pick(rng, sharing), tuple("128")),
        "comfortable_with_sharing": build_scale(draw_near(0.15) + 0.3, (-0.3, 0.6, 1.1, 1.7), "123458"),
        "main_barrier": build_codes(barrier, [str(code) for code in range(1, 11)]),
        "overall_satisfaction": build_scale(draw_near(0.8), (-0.7, 0.2, 0.7, 1.4), "123458"),
    }


RETURNS: Mapping[str, Callable[[World], Rows]] = {
    "eyfsp": draw_eyfsp,
    "school_census": draw_school_census,
    "early_years_census": draw_early_years_census,
    "hv_reviews": draw_hv_reviews,
    "parent_experience": draw_parent_experience,
}

"""Returns of schools and nurseries: the EYFS Profile, the school census and the early years census."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import expit

from sources.contracts.early_years_census import PROGRESS_CHECK_CODES
from sources.reference.goals import GOALS
from sources.synthetic.attainment import EXPECTED, GOAL_CODES, NOT_ASSESSED
from sources.synthetic.drawing import AnyArray, Floats, Ints, pick
from sources.synthetic.margins import FSM, SEN
from sources.synthetic.people import CODES, LANGUAGE_CODES
from sources.synthetic.recording import EDUCATION, NURSERY, Rows, coded, dates, decimals, filed, in_file_order, text
from sources.synthetic.world import World

_IN_BOTH_COUNCILS = 0.06
"""Share of pupils who moved from another council and were also assessed there."""
_SENT_TWICE, _CORRECTED = 0.004, 0.003
_SENT_TWICE_IN_CENSUS = 0.002
_UNDER_BOTH_UPNS = 0.05
"""Share of pupils with an earlier UPN who have a second row under it."""
_PUPIL_WITH_NHS_NUMBER, _NURSERY_WITH_NHS_NUMBER = 0.75, 0.6
_LEAVERS_ON_ROLL = 0.15
_ETHNICITY_BLANK_IF_UNKNOWN = 0.4
_COVERAGE = (0.88, 0.93)
_TWO_SETTINGS = 0.04
_STILL_AT_EARLY_HOME = 0.6
"""Share of children with an earlier home who still lived there at the time of the census."""
_SETTINGS_A_CHILD = 1 / 22
_ETHNICITY_BLANK = 0.04
"""Share of early years rows without ethnicity; settings ask for it less often than schools."""
_ENTITLEMENTS = ("2YO", "UNI", "WP")
_ENTITLEMENT_BY_FSM = np.array([[0.12, 0.55, 0.33], [0.62, 0.30, 0.08], [0.06, 0.38, 0.56]])
"""Share of children of FSM unknown, eligible, not eligible with each entitlement."""
_HOURS = np.array([[15.0, 15.0, 10.0, 12.5], [15.0, 15.0, 15.0, 12.0], [30.0, 30.0, 24.0, 22.5]])
_SEN_CODES = ("N", "K", "E")
_EARLY_SEN = np.array([[0.94, 0.06, 0.0], [0.15, 0.5, 0.35], [0.58, 0.41, 0.01], [0.965, 0.034, 0.001]])
"""Share of children of later SEN unknown, plan, support, none with each early provision."""
_NOT_CHECKED = 0.15
_CHECK_DAYS = (731, 1095)
"""Age at the progress check: two years to three."""


def eyfsp(world: World) -> Rows:
    """Return the rows of the Profile: every pupil, a few in two councils, a few sent twice or corrected.

    The later row of a corrected pair has the true goals.
    """
    rng, people = world.streams("eyfsp"), world.people
    pupils = np.flatnonzero(people.pupil)
    moved = people.early_council[pupils] != people.council[pupils]
    both = pupils[moved & (rng.random(len(pupils)) < _IN_BOTH_COUNCILS)]
    person = np.concatenate([pupils, both])
    council = np.concatenate([people.council[pupils], people.early_council[both]])
    home = np.concatenate([people.postcode[pupils], people.early_postcode[both]])
    school = np.concatenate([pupils, np.searchsorted(people.council[pupils], people.early_council[both])])
    identity = world.on_file(rng, "eyfsp", council, person, home, EDUCATION)

    lot = rng.random(len(person))
    again, corrected = lot < _SENT_TWICE, (lot >= _SENT_TWICE) & (lot < _SENT_TWICE + _CORRECTED)
    earlier_upn = (people.census_upn != people.upn)[person] & (rng.random(len(person)) < _UNDER_BOTH_UPNS)
    sent = np.concatenate([np.arange(len(person)), np.flatnonzero(again | corrected | earlier_upn)])
    late = np.arange(len(sent)) >= len(person)
    order = in_file_order(council[sent], people.estab[school[sent]], late)
    sent, late = sent[order], late[order]
    who, where = person[sent], council[sent]

    upn = np.where(late & earlier_upn[sent], people.census_upn[who], people.upn[who])
    nhs_number = np.where(rng.random(len(who)) < _PUPIL_WITH_NHS_NUMBER, people.nhs_number[who], "")
    goals = _provisional(rng, world.attainment.goals[who], corrected[sent] & ~late)
    table = pa.table(
        {
            "la_code": coded(where, [place.old_la_code for place in world.margins.councils]),
            "estab": coded(people.estab[school[sent]] - 2000, [str(number) for number in range(2000, 4000)]),
            "urn": text(people.urn[school[sent]].astype("U6")),
            "academic_year": coded(np.zeros(len(who)), [world.cohort.code]),
            "upn": text(upn),
            "nhs_number": text(nhs_number),
            **identity[sent].columns(),
            **{goal: coded(goals[:, index], GOAL_CODES) for index, goal in enumerate(GOALS)},
        }
    )
    return Rows(where, who, table)


def _provisional(rng: np.random.Generator, goals: AnyArray, provisional: AnyArray) -> AnyArray:
    """Return goals with one wrong outcome in each row that is corrected later."""
    goals = goals.copy()
    row: Ints = np.flatnonzero(provisional & (goals[:, 0] != NOT_ASSESSED))
    goal = rng.integers(0, len(GOALS), len(row))
    goals[row, goal] = EXPECTED - goals[row, goal]
    return goals


def school_census(world: World) -> Rows:
    """Return the rows of the spring school census: pupils in Reception, and some who left before the Profile."""
    rng, people = world.streams("school census"), world.people
    on_roll = people.in_census & (people.pupil | (rng.random(len(people)) < _LEAVERS_ON_ROLL))
    person = np.flatnonzero(on_roll)
    council = people.council[person]
    identity = world.on_file(rng, "school_census", council, person, people.postcode[person], EDUCATION)
    ethnicity = people.ethnicity[person]
    unknown = np.isin(ethnicity, [CODES.index("REFU"), CODES.index("NOBT")])
    ethnicity = np.where(unknown & (rng.random(len(person)) < _ETHNICITY_BLANK_IF_UNKNOWN), len(CODES), ethnicity)
    nhs_number = np.where(rng.random(len(person)) < _PUPIL_WITH_NHS_NUMBER, people.nhs_number[person], "")
    table = pa.table(
        {
            "upn": text(people.census_upn[person]),
            "nhs_number": text(nhs_number),
            **identity.columns(),
            "ethnicity": coded(ethnicity, (*CODES, "")),
            "fsm_eligible": coded(people.categories[FSM][person], ("", "Y", "N")),
            "sen_provision": coded(people.categories[SEN][person], ("", "E", "K", "N")),
            "first_language": coded(people.language[person], LANGUAGE_CODES),
        }
    )
    again = np.flatnonzero(rng.random(len(person)) < _SENT_TWICE_IN_CENSUS)
    return filed(council, person, table, people.estab[person], again)


def early_years_census(world: World) -> Rows:
    """Return the rows of nurseries and childminders about two years before the Profile, one per child and setting."""
    rng, people = world.streams("early years census"), world.people
    coverage = world.by_council("early years census", *_COVERAGE)[people.council]
    attends = ~world.joined_late & (rng.random(len(people)) < coverage / (1 - 0.05 * people.pupil))
    child = np.flatnonzero(attends)
    second = child[rng.random(len(child)) < _TWO_SETTINGS]
    at_early_home = rng.random(len(people)) < _STILL_AT_EARLY_HOME
    person = np.concatenate([child, second])
    council = np.where(at_early_home, people.early_council, people.council)[person]
    home = np.where(at_early_home, people.early_postcode, people.postcode)[person]
    identity = world.on_file(rng, "early_years_census", council, person, home, NURSERY)
    entitlement = pick(rng, _ENTITLEMENT_BY_FSM[people.categories[FSM][person]])
    nhs_number = np.where(rng.random(len(person)) < _NURSERY_WITH_NHS_NUMBER, people.nhs_number[person], "")
    setting = _settings(rng, world.margins.children, council)
    ethnicity = np.where(rng.random(len(person)) < _ETHNICITY_BLANK, len(CODES), people.ethnicity[person])
    table = pa.table(
        {
            "setting_urn": setting,
            "nhs_number": text(nhs_number),
            **identity.columns(),
            "ethnicity": coded(ethnicity, (*CODES, "")),
            "entitlement": coded(entitlement, _ENTITLEMENTS),
            "funded_hours": decimals(_HOURS[entitlement, rng.integers(0, _HOURS.shape[1], len(person))]),
            "eypp": coded((people.categories[FSM][person] == 1) & (rng.random(len(person)) < 0.7), ("N", "Y")),
            "sen_provision": coded(pick(rng, _EARLY_SEN[people.categories[SEN][person]]), _SEN_CODES),
            **_progress_check(rng, world, person),
        }
    )
    again = np.flatnonzero(rng.random(len(person)) < _SENT_TWICE_IN_CENSUS)
    return filed(council, person, table, setting.indices.to_numpy(), again)


def _settings(rng: np.random.Generator, children: Ints, council: Ints) -> pa.DictionaryArray:
    """Draw the reference number of a setting in each child's council."""
    settings = np.maximum(3, np.round(children * _SETTINGS_A_CHILD)).astype(np.int64)
    first = np.cumsum(settings) - settings
    index = first[council] + np.floor(rng.random(len(council)) * settings[council]).astype(np.int64)
    return coded(index, [f"EY{300000 + number}" for number in range(int(settings.sum()))])


def _progress_check(rng: np.random.Generator, world: World, person: Ints) -> dict[str, pa.Array]:
    """Draw date and outcome of the progress check at age two; lower ability makes a concern more likely."""
    concern: Floats = expit(-2.2 - 1.1 * world.attainment.ability[person])
    outcome = (rng.random(len(person)) < concern).astype(np.int64)
    outcome[rng.random(len(person)) < _NOT_CHECKED] = 2
    days = rng.integers(*_CHECK_DAYS, len(person)).astype("timedelta64[D]")
    done = world.people.born[person] + days
    return {
        "progress_check_date": dates(np.where(outcome == 2, np.datetime64("NaT"), done)),
        "progress_check_outcome": coded(outcome, tuple(PROGRESS_CHECK_CODES)),
    }

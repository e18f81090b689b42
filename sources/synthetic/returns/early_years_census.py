"""Rows of the early years census: children at nurseries and childminders about two years before the Profile."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import expit

from sources.contracts.early_years_census import PROGRESS_CHECK_CODES
from sources.synthetic.columns import Rows, coded, dates, decimals, filed, text
from sources.synthetic.drawing import Floats, Ints, pick
from sources.synthetic.margins import FSM, SEN
from sources.synthetic.people import CODES
from sources.synthetic.recording import NURSERY
from sources.synthetic.world import World

_COVERAGE = (0.88, 0.93)
_TWO_SETTINGS = 0.04
_SENT_TWICE = 0.002
_STILL_AT_EARLY_HOME = 0.6
"""Of children who moved: not yet moved at the time of the census."""
_SETTINGS_A_CHILD = 1 / 22
_WITH_NHS_NUMBER = 0.6
_ETHNICITY_BLANK = 0.04

ENTITLEMENTS = ("2YO", "UNI", "WP")
_ENTITLEMENT_BY_FSM = np.array([[0.12, 0.55, 0.33], [0.62, 0.30, 0.08], [0.06, 0.38, 0.56]])
"""Share of children of FSM unknown, eligible, not eligible with each entitlement."""
_HOURS = np.array([[15.0, 15.0, 10.0, 12.5], [15.0, 15.0, 15.0, 12.0], [30.0, 30.0, 24.0, 22.5]])
_SEN_CODES = ("N", "K", "E")
_EARLY_SEN = np.array([[0.94, 0.06, 0.0], [0.15, 0.5, 0.35], [0.58, 0.41, 0.01], [0.965, 0.034, 0.001]])
"""Share of children of later SEN unknown, plan, support, none with each early provision."""
_NOT_CHECKED = 0.15
_CHECK_DAYS = (731, 1095)
"""Age at the progress check: two years to three."""


def rows(world: World) -> Rows:
    """The rows of every council's file, one per child and setting."""
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
    nhs_number = np.where(rng.random(len(person)) < _WITH_NHS_NUMBER, people.nhs_number[person], "")
    table = pa.table(
        {
            "setting_urn": _settings(rng, world.margins.children, council),
            "nhs_number": text(nhs_number),
            **identity.columns(),
            "ethnicity": _ethnicity(rng, people.ethnicity[person]),
            "entitlement": coded(entitlement, ENTITLEMENTS),
            "funded_hours": decimals(_HOURS[entitlement, rng.integers(0, _HOURS.shape[1], len(person))]),
            "eypp": coded((people.categories[FSM][person] == 1) & (rng.random(len(person)) < 0.7), ("N", "Y")),
            "sen_provision": coded(pick(rng, _EARLY_SEN[people.categories[SEN][person]]), _SEN_CODES),
            **_progress_check(rng, world, person),
        }
    )
    again = np.flatnonzero(rng.random(len(person)) < _SENT_TWICE)
    return filed(council, person, table, table["setting_urn"].combine_chunks().indices.to_numpy(), again)


def _settings(rng: np.random.Generator, children: Ints, council: Ints) -> pa.DictionaryArray:
    """Reference number of a setting of each child's council."""
    settings = np.maximum(3, np.round(children * _SETTINGS_A_CHILD)).astype(np.int64)
    first = np.cumsum(settings) - settings
    index = first[council] + np.floor(rng.random(len(council)) * settings[council]).astype(np.int64)
    return coded(index, [f"EY{300000 + number}" for number in range(int(settings.sum()))])


def _ethnicity(rng: np.random.Generator, ethnicity: Ints) -> pa.DictionaryArray:
    """As the school has it later, less often asked."""
    return coded(np.where(rng.random(len(ethnicity)) < _ETHNICITY_BLANK, len(CODES), ethnicity), (*CODES, ""))


def _progress_check(rng: np.random.Generator, world: World, person: Ints) -> dict[str, pa.Array]:
    """Date and outcome of the check at age two; the lower a child's ability, the likelier a concern."""
    concern: Floats = expit(-2.2 - 1.1 * world.attainment.ability[person])
    outcome = (rng.random(len(person)) < concern).astype(np.int64)
    outcome[rng.random(len(person)) < _NOT_CHECKED] = 2
    days = rng.integers(*_CHECK_DAYS, len(person)).astype("timedelta64[D]")
    done = world.people.born[person] + days
    return {
        "progress_check_date": dates(np.where(outcome == 2, np.datetime64("NaT"), done)),
        "progress_check_outcome": coded(outcome, tuple(PROGRESS_CHECK_CODES)),
    }

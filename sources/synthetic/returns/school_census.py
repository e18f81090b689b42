"""Rows of the spring school census: pupils in Reception, and some who left before the Profile."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sources.synthetic.columns import Rows, coded, filed, text
from sources.synthetic.margins import FSM, SEN
from sources.synthetic.people import CODES, LANGUAGE_CODES
from sources.synthetic.recording import EDUCATION
from sources.synthetic.world import World

_LEAVERS_ON_ROLL = 0.15
_SENT_TWICE = 0.002
_ETHNICITY_BLANK_IF_UNKNOWN = 0.4
_WITH_NHS_NUMBER = 0.75


def rows(world: World) -> Rows:
    """The rows of every council's file."""
    rng, people = world.streams("school census"), world.people
    on_roll = people.in_census & (people.pupil | (rng.random(len(people)) < _LEAVERS_ON_ROLL))
    person = np.flatnonzero(on_roll)
    council = people.council[person]
    identity = world.on_file(rng, "school_census", council, person, people.postcode[person], EDUCATION)
    ethnicity = people.ethnicity[person]
    unknown = np.isin(ethnicity, [CODES.index("REFU"), CODES.index("NOBT")])
    ethnicity = np.where(unknown & (rng.random(len(person)) < _ETHNICITY_BLANK_IF_UNKNOWN), len(CODES), ethnicity)
    nhs_number = np.where(rng.random(len(person)) < _WITH_NHS_NUMBER, people.nhs_number[person], "")
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
    again = np.flatnonzero(rng.random(len(person)) < _SENT_TWICE)
    return filed(council, person, table, people.estab[person], again)

"""Rows of the EYFS Profile return: every pupil, a few in two councils, a few sent twice or corrected."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sources.reference.goals import GOALS
from sources.synthetic.attainment import EXPECTED, GOAL_CODES, NOT_ASSESSED
from sources.synthetic.columns import Rows, coded, in_file_order, text
from sources.synthetic.drawing import AnyArray, Ints
from sources.synthetic.recording import EDUCATION
from sources.synthetic.world import World

_IN_BOTH_COUNCILS = 0.06
"""Of pupils who lived in another council before: also assessed there."""
_SENT_TWICE, _CORRECTED = 0.004, 0.003
_UNDER_BOTH_UPNS = 0.05
"""Of pupils with an earlier UPN: a second row under it."""
_WITH_NHS_NUMBER = 0.75


def rows(world: World) -> Rows:
    """The rows of every council's file; of a corrected pair the later row holds the true goals."""
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
    nhs_number = np.where(rng.random(len(who)) < _WITH_NHS_NUMBER, people.nhs_number[who], "")
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
    """Goals with one outcome other than the final one in rows that are corrected later."""
    goals = goals.copy()
    row: Ints = np.flatnonzero(provisional & (goals[:, 0] != NOT_ASSESSED))
    goal = rng.integers(0, len(GOALS), len(row))
    goals[row, goal] = EXPECTED - goals[row, goal]
    return goals

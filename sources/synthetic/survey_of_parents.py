"""Survey of parents: about one response for every ten children of the cohort, linked to none of them.

Answers are correlated: parents of children with special needs, and those on low incomes, find access harder, wait
longer and repeat their story more often; ease of access affects every later answer.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from sources.reference.survey import SERVICES
from sources.synthetic.drawing import Bools, Floats, Ints, pick
from sources.synthetic.margins import FSM
from sources.synthetic.recording import Rows, coded, text
from sources.synthetic.world import World

_RESPONSES_A_CHILD = (0.08, 0.12)
_ROLES = {"1": 0.78, "2": 0.13, "3": 0.04, "4": 0.015, "5": 0.015, "9": 0.02}
_AGE_BANDS = {"1": 0.12, "2": 0.15, "3": 0.22, "4": 0.21, "5": 0.22, "6": 0.08}
_FSM_UNSURE = (0.05, 0.04)
_SEND = {"1": 0.13, "2": 0.73, "3": 0.08, "8": 0.04, "9": 0.02}
_SOUGHT = {"1": (0.24, 0.48), "2": (0.10, 0.30), "3": (0.05, 0.10), "4": (0.61, 0.12)}
"""Shares of parents who got support, are waiting, were refused or did not seek it, of children without and with special
needs."""
_SERVICES_USED = (0.68, 0.34, 0.61, 0.13, 0.11, 0.09)
"""In the order of `SERVICES`."""
_SERVICES_WITH_NEEDS = (0.74, 0.41, 0.66, 0.48, 0.52, 0.16)
_BARRIERS = ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
_BARRIERS_IF_HARD = np.array([0.34, 0.17, 0.1, 0.07, 0.06, 0.04, 0.06, 0.08, 0.03, 0.05])
_BARRIERS_IF_EASY = np.array([0.12, 0.12, 0.05, 0.05, 0.05, 0.03, 0.07, 0.04, 0.42, 0.05])
_DONT_KNOW = 0.04


def parent_experience(world: World) -> Rows:
    """Return the responses of every council's file."""
    rng, figures = world.streams("parent experience"), world.margins
    responses = np.round(figures.children * world.by_council("responses", *_RESPONSES_A_CHILD)).astype(np.int64)
    council = np.repeat(np.arange(len(responses)), responses)
    fsm_share = (figures.counts[FSM][:, 1] / figures.children)[council]
    low_income = rng.random(len(council)) < fsm_share
    send = _draw(rng, _SEND, len(council))
    needs = np.isin(send, [0, 2])
    sought = pick(rng, np.array(list(_SOUGHT.values())).T[needs.astype(np.int64)])
    ease = (
        rng.standard_normal(len(council)) + np.array([0.5, -0.7, -1.1, 0.2])[sought] - 0.35 * needs - 0.2 * low_income
    )
    number = np.arange(len(council)) - (np.cumsum(responses) - responses)[council] + 1
    table = pa.table(
        {
            "response_id": text(np.strings.add("R", np.strings.zfill(number.astype("U6"), 6))),
            "wave": coded(np.zeros(len(council)), [f"{world.cohort.first_year + 1}-spring"]),
            "respondent_role": coded(_draw(rng, _ROLES, len(council)), tuple(_ROLES)),
            "child_age_band": coded(_draw(rng, _AGE_BANDS, len(council)), tuple(_AGE_BANDS)),
            "fsm_or_funded": coded(_fsm_answer(rng, low_income), ("1", "2", "8", "9")),
            "child_send": coded(send, tuple(_SEND)),
            **_services(rng, needs),
            "sought_support": coded(sought, tuple(_SOUGHT)),
            **_experience(rng, sought, needs, ease),
        }
    )
    return Rows(council, None, table)


def _draw(rng: np.random.Generator, shares: dict[str, float], size: int) -> Ints:
    return pick(rng, np.tile(list(shares.values()), (size, 1)))


def _fsm_answer(rng: np.random.Generator, low_income: Bools) -> Ints:
    lot = rng.random(len(low_income))
    return np.select([lot < _FSM_UNSURE[0], lot < sum(_FSM_UNSURE)], [2, 3], np.where(low_income, 0, 1))


def _services(rng: np.random.Generator, needs: Bools) -> dict[str, pa.Array]:
    shares = np.array([_SERVICES_USED, _SERVICES_WITH_NEEDS])[needs.astype(np.int64)]
    used = rng.random(shares.shape) < shares
    return {service: coded(used[:, index], ("N", "Y")) for index, service in enumerate(SERVICES)}


def _experience(rng: np.random.Generator, sought: Ints, needs: Bools, ease: Floats) -> dict[str, pa.Array]:
    """Draw the answers that depend on whether support was sought and on ease of access (higher is easier)."""

    def scale(value: Floats, edges: tuple[float, ...], codes: str) -> pa.Array:
        """Return codes from best to worst as `value` falls; the last code is don't know."""
        answer = np.searchsorted(edges, -value)
        return coded(np.where(rng.random(len(value)) < _DONT_KNOW, len(edges) + 1, answer), tuple(codes))

    def near(weight: float) -> Floats:
        return weight * ease + np.sqrt(1 - weight**2) * rng.standard_normal(len(ease))

    story = near(0.6) - 0.5 * needs
    wait = np.where(sought == 3, 4, np.searchsorted((-0.2, 0.6, 1.3), -near(0.8)))
    hard = (near(0.7) < 0).astype(np.int64)
    barrier = pick(rng, np.stack([_BARRIERS_IF_EASY, _BARRIERS_IF_HARD])[hard])
    return {
        "wait_band": coded(wait, tuple("12345")),
        "ease_of_access": scale(ease, (-1.0, -0.1, 0.5, 1.3), "123458"),
        "repeat_story_count": scale(story, (-0.6, 0.1, 1.0), "12348"),
        "sharing_would_have_helped": coded(_sharing_answer(rng, story), tuple("128")),
        "comfortable_with_sharing": scale(near(0.15) + 0.3, (-0.3, 0.6, 1.1, 1.7), "123458"),
        "main_barrier": coded(barrier, _BARRIERS),
        "overall_satisfaction": scale(near(0.8), (-0.7, 0.2, 0.7, 1.4), "123458"),
    }


def _sharing_answer(rng: np.random.Generator, story: Floats) -> Ints:
    """Draw yes, no or don't know; yes is more likely the more often the story was repeated."""
    yes = 1 / (1 + np.exp(-(0.9 - 0.8 * story)))
    return pick(rng, np.stack([yes, (1 - yes) * 0.7, (1 - yes) * 0.3], axis=1))

"""Model of the good level of development (GLD) and of each early learning goal.

The probability of GLD is logistic in council, sex, free school meals, ethnic group, SEN, first language, term of birth
and deprivation, with effects fitted so that the expected numbers at GLD equal the published ones. A child's ability is
a latent normal deviate, above or below the threshold set by that probability. GLD means the expected level in the first
twelve goals. For other children, each goal depends on ability, the goal's difficulty, the area of learning and the
council, fitted so that the average number of goals equals the published one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtri

from sources.reference import read_rows
from sources.reference.code_lists import GLD_GOALS, GOALS
from sources.synthetic.drawing import Bools, Floats, Ints, Streams, rank_within
from sources.synthetic.margins import SEN, TOPICS, Margins
from sources.synthetic.people import People

EMERGING, EXPECTED, NOT_ASSESSED = 0, 1, 2
GOAL_CODES = ("1", "2", "A")

_GOAL_ROWS = read_rows(Path(__file__).with_name("goals.csv"))
_NATIONAL_SHARE = np.array([float(row["expected_level_share"]) for row in _GOAL_ROWS])
"""Shares at the expected level in England, in the order of `GOALS`.

They agree with the published shares by area of learning (DfE, 2024/25: communication and language 79.5%, personal
83.1%, physical 84.7%, literacy 70.5%, mathematics 77.6%, understanding the world 80.4%, arts 85.1%) and with the
published average of 14.1 goals; those of single goals are only plausible.
"""
_NATIONAL_GLD = 0.683
_OTHER_GOALS_IF_GLD = 0.994
_ABILITY_SLOPE, _AREA_SPREAD = 1.1, 1.0
_NOT_ASSESSED_SHARE = {"Education, health and care plan": 0.16}
_NOT_ASSESSED_OTHERS = 0.018
"""Shares of children without GLD who are not assessed (A) in any goal: about 1% of all children."""
_DEPRIVATION = np.array([-0.08, -0.24, -0.12, 0.0, 0.12, 0.24])
"""Effect (log odds) of IMD quintile unknown, 1 to 5."""
_SMALLEST_FITTED = 25
_CHILDREN_A_SCORE = 20

_Target = tuple[Ints, Floats]
"""The group of each child, and the expected number of children at GLD in each group; NaN means no target."""


@dataclass(frozen=True)
class Attainment:
    """Attainment of all children: `ability` is standard normal; `goals` (pupil x 17) indexes `GOAL_CODES`."""

    ability: Floats
    gld: Bools
    goals: npt.NDArray[np.uint8]


def draw_attainment(streams: Streams, people: People, margins: Margins, quintile: Ints) -> Attainment:
    """Draw GLD and ability for every child, and goals for pupils."""
    chance = expit(_fit(_DEPRIVATION[quintile], people.pupil, list(_iter_targets(people, margins))))
    above_threshold = _draw_deviates(streams("ability"), people, chance) + ndtri(np.clip(chance, 1e-6, 1 - 1e-6))
    gld = above_threshold > 0
    pupils = int(people.pupil.sum())
    # Pupils come first among the people, so the first values are theirs.
    goals = _draw_goals(streams("goals"), people, above_threshold[:pupils], gld[:pupils], margins)
    ability = (above_threshold - above_threshold.mean()) / above_threshold.std()
    return Attainment(ability, gld, goals)


def _draw_deviates(rng: np.random.Generator, people: People, chance: Floats) -> Floats:
    """Draw standard normal deviates, spread evenly within groups of 20 children of one council with similar chances.

    This keeps a council's number at GLD within a few children of the expected one.
    """
    score = people.council * len(people) + rank_within(people.council, chance) // _CHILDREN_A_SCORE
    place = rank_within(score, rng.random(len(people)))
    _, group, sizes = np.unique(score, return_inverse=True, return_counts=True)
    return np.asarray(ndtri(np.clip((place + rng.random(len(people))) / sizes[group], 1e-9, 1 - 1e-9)))


def _iter_targets(people: People, margins: Margins) -> Iterator[_Target]:
    """Yield the targets that the model is fitted to, from least to most important."""
    pupils = people.pupil
    for topic, rates in margins.pooled_rates.items():
        group = people.categories[topic]
        yield group, rates * np.bincount(group[pupils], minlength=len(rates))
    for topic, by_council in margins.rates.items():
        width = by_council.shape[1]
        group = people.council * width + people.categories[topic]
        size = np.bincount(group[pupils], minlength=by_council.size)
        expected = np.clip(by_council.ravel(), 0.003, 0.997) * size
        yield group, np.where(size < _SMALLEST_FITTED, np.nan, expected)
    # Just below all children: a logistic model reaches 100% only at infinity.
    yield people.council, np.clip(margins.gld, None, margins.children - 1e-3)


def _fit(linear: Floats, weights: Bools, targets: list[_Target]) -> Floats:
    """Fit the linear predictor: each group takes a Newton step for each target in turn, until all are met."""
    linear = linear.copy()
    for _ in range(80):
        furthest = 0.0
        for group, expected in targets:
            chance = expit(linear)
            now = np.bincount(group, chance * weights, len(expected))
            slope = np.bincount(group, chance * (1 - chance) * weights, len(expected))
            # A group without a target (NaN) is left as it is.
            gap = np.nan_to_num(expected - now)
            # At most 1 at a time: where nearly all or no children are at GLD, the slope is near 0 and a full step
            # overshoots.
            linear += np.clip(gap / np.maximum(slope, 1e-3), -1, 1)[group]
            furthest = max(furthest, float(np.abs(gap).max()))
        if furthest < 0.02 * np.sqrt(weights.sum()):
            break
    return linear


def _draw_goals(
    rng: np.random.Generator, people: People, above_threshold: Floats, gld: Bools, margins: Margins
) -> npt.NDArray[np.uint8]:
    """Draw each pupil's outcomes in the 17 goals."""
    goals = np.empty((len(gld), len(GOALS)), dtype=np.uint8)
    goals[gld, : len(GLD_GOALS)] = EXPECTED
    others = len(GOALS) - len(GLD_GOALS)
    goals[gld, len(GLD_GOALS) :] = rng.random((int(gld.sum()), others), dtype=np.float32) < _OTHER_GOALS_IF_GLD
    # Children with GLD have all twelve goals by definition, so ability decides only the goals of the others.
    below = np.flatnonzero(~gld)
    not_assessed = np.array([_NOT_ASSESSED_SHARE.get(label, _NOT_ASSESSED_OTHERS) for label in TOPICS[SEN]])
    assessed = rng.random(len(below)) >= not_assessed[people.categories[SEN][below]]
    goals[below[~assessed]] = NOT_ASSESSED
    below = below[assessed]
    wanted = margins.average_elgs * margins.children - np.bincount(
        people.council[: len(gld)], (goals * gld[:, None]).sum(axis=1), len(margins.councils)
    )
    drawn = _draw_goals_below(rng, above_threshold[below], people.council[below], wanted)
    all_twelve = drawn[:, : len(GLD_GOALS)].all(axis=1)
    # All twelve would mean GLD, which these children do not have. Writing has the lowest national share of all goals.
    drawn[all_twelve, list(GOALS).index("lit_e10")] = EMERGING
    goals[below] = drawn
    return goals


def _draw_goals_below(rng: np.random.Generator, above_threshold: Floats, council: Ints, wanted: Floats) -> Bools:
    """Draw goals of assessed children without GLD (child x 17); `wanted` is the expected total of each council."""
    areas = np.array([list(dict.fromkeys(goal[:3] for goal in GOALS)).index(goal[:3]) for goal in GOALS])
    area_effect = rng.normal(0, _AREA_SPREAD, (len(council), areas.max() + 1)).astype(np.float32)
    linear = area_effect[:, areas] + (_ABILITY_SLOPE * above_threshold).astype(np.float32)[:, None]
    # National shares less what children with GLD contribute: all of them in twelve goals, nearly all in the other five.
    ceiling = np.where(np.arange(len(GOALS)) < len(GLD_GOALS), 1.0, _OTHER_GOALS_IF_GLD) * _NATIONAL_GLD
    share = np.clip((_NATIONAL_SHARE - ceiling) / (1 - _NATIONAL_GLD), 0.02, 0.98)
    children = np.bincount(council, minlength=len(wanted))
    for _ in range(12):
        chance = expit(linear)
        linear += ((share - chance.mean(axis=0)) / (chance * (1 - chance)).mean(axis=0)).astype(np.float32)
        chance = expit(linear)
        slope = np.bincount(council, (chance * (1 - chance)).sum(axis=1), len(wanted))
        gap = np.clip(wanted, 0, 16.9 * children) - np.bincount(council, chance.sum(axis=1), len(wanted))
        linear += np.clip(gap / np.maximum(slope, 1e-3), -1, 1).astype(np.float32)[council, None]
    return np.asarray(rng.random(linear.shape, dtype=np.float32) < expit(linear))

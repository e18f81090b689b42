"""A negative control: how often a record is linked to somebody else when its own partner is not there.

Tokens cannot be given another date of birth, so no strangers can be made up. But a partner can be taken away. The left
units of a step are dealt into `FOLDS` parts; each part in turn is left out, with all its pairs, and the step is decided
again by the linkage's own rules. A right unit that had been linked to a unit left out has no partner any more: whatever
it is linked to now is a false link, with real names, real twins and real rivals around it. With one part in `FOLDS`
left out there are fewer strangers to meet, so chances are divided by 1 - 1 / FOLDS.

Two limits follow, with upper limits of binomial chances by Clopper and Pearson (1934):

- the cautious one: chance of a false link without a partner, times all right units. A unit whose partner is there is
  linked falsely more rarely than without it: a pair that outdoes a partner would have been chosen without it too;
- the close one: a unit is linked falsely only if it is not linked to its partner. Where the partner is absent, or not
  recognised, the chance is that of the control, over the units not linked truly. Where a stranger outdid the partner,
  the stranger weighs more; the chance of that is that of a subject's stranger weighing as much as the partner of
  another subject, whichever. This assumes that how well strangers agree with a record does not depend on how
  well its own partner does. The two chances get a limit each at half the risk.

Both take it that records that were not linked resemble strangers no more than those that were. Where a link was false,
or a child has two units on the left, the control counts a true link as a false one: it errs upwards. Neither limit
covers the rules within a service (a number typed on another child's record), and neither says anything of missed links.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from scipy.special import betaincinv

from privacy.linkage import assignment
from privacy.linkage.link import FURTHER_THRESHOLD, Scored, decide, forename_agrees
from privacy.linkage.model import bits_of

FOLDS = 10
ENOUGH_SUBJECTS = 20_000
"""Subjects after which no further part is left out: more would not make the limits much lower."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Control:
    """Of `subjects` right units of a step whose partner was left out, `linked` were linked to somebody else, of whom
    `outdoing` weigh at least as much as the partner of another subject, on average over all subjects.

    The step has `right_units`, and `links` of them.
    """

    step: str
    subjects: int
    linked: int
    outdoing: int
    right_units: int
    links: int

    def report(self) -> dict[str, Any]:
        """The counts, and limits for the number and the share of false links."""
        cautious, close = (min(limit, self.links) for limit in (self.cautious_limit(), self.close_limit()))
        return {
            "step": self.step,
            "subjects": self.subjects,
            "linked_to_somebody_else": self.linked,
            "outdoing_a_partner": self.outdoing,
            "right_units": self.right_units,
            "links": self.links,
            "false_links_at_most": close,
            "share_of_links_at_most": close / self.links,
            "false_links_at_most_cautious": cautious,
            "share_of_links_at_most_cautious": cautious / self.links,
        }

    def cautious_limit(self) -> float:
        """False links at most, whatever the agreement with partners."""
        return _chance(self.linked, self.subjects, CONFIDENCE) * self.right_units

    def close_limit(self) -> float:
        """False links F at most: F = without x (right units - links + F) + outdone x links, so that F is on one"
        " side."""
        confidence = 1 - (1 - CONFIDENCE) / 2
        without = _chance(self.linked, self.subjects, confidence)
        outdone = _chance(self.outdoing, self.subjects, confidence)
        if without >= 1:
            return float(self.links)
        return (without * (self.right_units - self.links) + outdone * self.links) / (1 - without)


def upper_limit(events: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper limit of a binomial chance (Clopper and Pearson); 1 where nothing was tried."""
    return 1.0 if events >= trials else float(betaincinv(events + 1, trials - events, confidence))


def _chance(events: int, trials: int, confidence: float) -> float:
    return upper_limit(events, trials, confidence) / (1 - 1 / FOLDS)


class NegativeControl:
    """A watcher of `link`; `controls` has the outcome of each step with links."""

    def __init__(self) -> None:
        self.controls: list[Control] = []

    def __call__(self, con: duckdb.DuckDBPyConnection, step: Scored) -> None:
        linked = step.decision.kept if step.one_to_one else np.flatnonzero(_further(step.pairs))
        if not len(linked):
            return
        left, right, weight = _columns(step.pairs, "unit_l", "unit_r", "weight")
        part_of_pair, connected = _parts(step.pairs), assignment.connected(left, right)
        partners, strangers = [], []
        subjects = 0
        for part in range(FOLDS):
            mine = linked[part_of_pair[linked] == part]
            near = np.isin(connected, connected[mine])  # no other pair can touch a link of theirs
            remaining = step.pairs.filter(pa.array(near & (part_of_pair != part)))
            partners.append(weight[mine])
            strangers.append(_heaviest(right[mine], *_linked(remaining, step)))
            subjects += len(mine)
            if subjects >= ENOUGH_SUBJECTS:
                break
        found = np.concatenate(strangers)
        found = found[np.isfinite(found)]
        outdoing = _outdoing(found, np.concatenate(partners))
        self.controls.append(Control(step.name, subjects, len(found), outdoing, step.right_units, len(linked)))


def _parts(pairs: pa.Table) -> np.ndarray:
    """For each pair, which part its left unit is dealt into: by content, whatever the order of rows."""
    left, tie = _columns(pairs, "unit_l", "tie")
    order = np.lexsort((tie, left))
    first = np.flatnonzero(np.r_[True, np.diff(left[order]) != 0])
    parts = np.empty(len(left), np.int64)
    parts[order] = np.repeat(tie[order][first] % FOLDS, np.diff(np.r_[first, len(left)]))
    return parts


def _outdoing(strangers: np.ndarray, partners: np.ndarray) -> int:
    """How many strangers weigh at least as much as the partner of another subject: the mean over all ways to pair them,
    rounded up."""
    lighter = np.searchsorted(np.sort(partners), strangers, side="right")
    return math.ceil(lighter.sum() / len(partners))


def _linked(pairs: pa.Table, step: Scored) -> tuple[np.ndarray, np.ndarray]:
    """Right units that the step would link among these pairs, one to one or as a further record, and the weights."""
    decision = decide(pairs, step.one_to_one)
    decided = pairs.take(pa.array(decision.kept))
    further = pairs.filter(pa.array(_further(pairs)))
    both = (_columns(table, "unit_r", "weight") for table in (decided, further))
    unit, weight = (np.concatenate(column) for column in zip(*both, strict=True))
    return unit, weight


def _heaviest(units: np.ndarray, linked: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """For each of `units`, the greatest weight that it is linked with; minus infinity for none."""
    order = np.lexsort((weight, linked))
    linked, weight = linked[order], weight[order]
    at = np.searchsorted(linked, units, side="right") - 1
    found = (at >= 0) & (linked[at] == units) if len(linked) else np.zeros(len(units), bool)
    return np.where(found, weight[at] if len(linked) else 0, -np.inf)


def _further(pairs: pa.Table) -> np.ndarray:
    """Mask of the pairs that could add a further record to a child, contradictions between numbers left aside."""
    weight, forename = _columns(pairs, "weight", "forename")
    sure: np.ndarray = (weight >= bits_of(FURTHER_THRESHOLD)) & (forename >= forename_agrees())
    return sure


def _columns(table: pa.Table, *names: str) -> list[np.ndarray]:
    return [table.column(name).to_numpy() for name in names]

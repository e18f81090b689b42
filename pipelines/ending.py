"""How a run ends before its release is complete: why, in a sentence, and with which exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from assets.home.errors import Damaged, StepFailed, plainly
from assets.home.retention_policy import CohortExpired, InvalidRetention
from assets.release import anchors
from assets.release.begin import SeriesRefused
from assets.release.expected_accuracy import NotAccurateEnough
from ndl_export.facts.release_facts import InvalidVersion
from privacy.linkage import backends
from privacy.release.ledger import BudgetExceeded, BudgetNotApproved, LedgerCorrupt, ReleaseConflict
from privacy.release.ledger_storage import LedgerUnavailable
from privacy.release.policy import PolicyError
from privacy.release.store import StoreError as MeasurementLost
from sources.reference.cohorts import InvalidCohort


class Ending(IntEnum):
    """Why a run ended before its release was complete, as the command's exit status (2 is that of a wrong option)."""

    INPUT = 1
    BUDGET = 3
    HOLD = 4
    FAULT = 5


class RunStopped(Exception):
    """The run cannot go on; the message says why and what to do."""

    def __init__(self, message: str, ending: Ending = Ending.INPUT) -> None:
        super().__init__(message)
        self.ending = ending


_ENDINGS = {
    Ending.BUDGET: (BudgetExceeded, BudgetNotApproved, NotAccurateEnough),
    Ending.FAULT: (
        *(StepFailed, Damaged, LedgerCorrupt, LedgerUnavailable, MeasurementLost),
        *(anchors.SignedByAnother, anchors.UnreadableAnchor),
    ),
}
"""Errors by how a run ends with them; every other is about what was sent or asked."""


def ending_of(error: str) -> Ending:
    """How a run ends that was stopped by an error of the class of this name."""
    found = (ending for ending, kinds in _ENDINGS.items() if error in {kind.__name__ for kind in kinds})
    return next(found, Ending.INPUT)


_REFUSALS = (
    SeriesRefused,
    ReleaseConflict,
    InvalidVersion,
    InvalidCohort,
    PolicyError,
    *anchors.REFUSALS,
    CohortExpired,
    InvalidRetention,
    backends.BackendUnavailable,
    StepFailed,
)
"""Errors whose message is all that a person must know."""


@contextmanager
def stopping_plainly() -> Iterator[None]:
    """Raise `RunStopped` if a run cannot begin, or if the system stops it between steps."""
    try:
        with plainly():
            yield
    except _REFUSALS as error:
        raise RunStopped(str(error), ending_of(type(error).__name__)) from None

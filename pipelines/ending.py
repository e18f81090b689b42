"""How a command ends: with which exit status, and after which errors."""

from __future__ import annotations

from enum import IntEnum


class Ending(IntEnum):
    """Why a command ended before its work was done, as its exit status; 0 is that it was done."""

    INPUT = 1
    USAGE = 2
    BUDGET = 3
    HOLD = 4
    FAULT = 5


class RunStopped(Exception):
    """The run cannot go on; the message says why and what to do."""

    def __init__(self, message: str, ending: Ending = Ending.INPUT) -> None:
        super().__init__(message)
        self.ending = ending


ENDINGS = {
    Ending.BUDGET: ("BudgetExceeded", "BudgetNotApproved", "NotAccurateEnough", "AccuracyOutOfReach"),
    Ending.HOLD: (
        *("WaitsForApproval", "WaitsForAcceptance", "NotPublished", "NotAsSigned"),
        *("Busy", "InUse", "RemovalUnfinished", "BeingRestored", "PlaceInUse"),
    ),
    Ending.FAULT: (
        *("StepFailed", "NotEnoughMemory", "Damaged", "LogBroken", "StoreError"),
        *("UnreadableRegister", "UnreadableWithdrawals", "UnreadableAnchor"),
        *("LedgerError", "LedgerCorrupt", "LedgerUnavailable", "SignedByAnother"),
    ),
    Ending.USAGE: ("NoSuchCohort",),
    Ending.INPUT: ("ReleaseConflict", "UnusableAddress"),
}
"""Errors by how a command ends with them, by name, so that no command loads what it does not use. Any other of the
project's own is about what was sent or asked; any other at all is a fault."""


def ending_named(error: str) -> Ending:
    """How a run ends that was stopped by an error of the project's own, of the class of this name."""
    return next((ending for ending, names in ENDINGS.items() if error in names), Ending.INPUT)


def ending_of(error: Exception) -> Ending:
    """How a command ends with this error: as the nearest of its classes that has an ending."""
    from assets.home.errors import is_own

    if isinstance(error, RunStopped):
        return error.ending
    if not is_own(error):
        return Ending.FAULT
    named = {name: ending for ending, names in ENDINGS.items() for name in names}
    return next((named[each.__name__] for each in type(error).__mro__ if each.__name__ in named), Ending.INPUT)

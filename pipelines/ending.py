"""Exit statuses of commands, and the errors that lead to each."""

from enum import IntEnum


class Ending(IntEnum):
    """Exit status of a command that did not finish its work; 0 means that it did."""

    INPUT = 1
    USAGE = 2
    BUDGET = 3
    HOLD = 4
    FAULT = 5


class RunStopped(Exception):
    """Raised if a run cannot continue; the message says why and what to do."""

    def __init__(self, message: str, ending: Ending = Ending.INPUT) -> None:
        super().__init__(message)
        self.ending = ending


ENDINGS = {
    Ending.BUDGET: ("BudgetExceeded", "BudgetNotApproved", "NotAccurateEnough", "AccuracyOutOfReach"),
    Ending.HOLD: (
        *("WaitsForApproval", "WaitsForAcceptance", "NotPublished", "NotAsSigned"),
        *("InUse", "BeingRestored", "PlaceInUse"),
    ),
    Ending.FAULT: (
        *("StepFailed", "NotEnoughMemory", "Damaged", "LogBroken", "StoreError"),
        *("UnreadableRegister", "UnreadableWithdrawals", "UnreadableAnchor"),
        *("LedgerError", "LedgerCorrupt", "LedgerUnavailable"),
    ),
    Ending.USAGE: ("NoSuchCohort",),
    Ending.INPUT: ("ReleaseConflict", "UnusableAddress"),
}
"""Class names of errors by exit status. They are names so that no command imports what it does not use. Any other error
of the project is about the input; all other errors are faults."""


def find_ending_by_name(error: str) -> Ending:
    """Return the exit status of a run stopped by a project error with this class name."""
    return next((ending for ending, names in ENDINGS.items() if error in names), Ending.INPUT)


def find_ending(error: Exception) -> Ending:
    """Return the exit status of an error, by the nearest of its classes in `ENDINGS`."""
    from assets.home.errors import is_own

    if isinstance(error, RunStopped):
        return error.ending
    if not is_own(error):
        return Ending.FAULT
    named = {name: ending for ending, names in ENDINGS.items() for name in names}
    return next((named[each.__name__] for each in type(error).__mro__ if each.__name__ in named), Ending.INPUT)

"""Words that several reports need."""

from __future__ import annotations

from pipelines.reports.document import Section


def units_of_budget(delta: float) -> Section:
    """What rho and epsilon are, and whose they are, for a person who signs."""
    return Section(
        "How to read it",
        [
            "Rho is what the budget is counted in: the more of it is spent, the less noise the figures have, and the"
            f" less anybody in them is protected. Epsilon says the same in the more common unit, at delta {delta:g}. A"
            " child (all records of it) and a response (one parent's answers) have budgets of their own."
        ],
    )

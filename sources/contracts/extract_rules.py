"""Rules about an extract as a whole: how many rows there are, how many were rejected, how full columns are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sources.contracts.model import Column, Role, Severity, SourceContract


@dataclass(frozen=True)
class ExtractRule:
    """A rule that the number called `fact` keeps to `low`..`high`, where there is such a number.

    Facts: `rows_kept`; `rows_repeated`, those among them with the row number of another; `rejected_share`, of the rows
    read, where at least `MANY_ROWS` were rejected; `rows_of_last` and `rows_of_published`, rows read as a share of the
    last delivery's rows and of the published number of children; `<column>_complete`, share of kept rows with a usable
    value.
    """

    id: str
    severity: Severity
    sentence: str
    fact: str
    low: float | None = None
    high: float | None = None
    column: str | None = None


MANY_ROWS = 20
"""A handful of rows does not show that the file, not its rows, is wrong."""
MAX_REJECTED_SHARE = 0.2
MIN_SHARE_OF_LAST = 0.5
MIN_COMPLETE_SHARE = 0.9

NO_USABLE_ROW = ExtractRule("no-usable-row", Severity.STOP, "The extract has no usable row.", "rows_kept", low=1)
TOO_MANY_REJECTED = ExtractRule(
    "too-many-rejected",
    Severity.STOP,
    f"More than {MAX_REJECTED_SHARE:.0%} of the rows were rejected: the file, not its rows, is wrong.",
    "rejected_share",
    high=MAX_REJECTED_SHARE,
)
ROWS_ONCE = ExtractRule("rows-once", Severity.STOP, "A row of the file was taken twice.", "rows_repeated", high=0)
ROW_COUNT_RULES = (
    NO_USABLE_ROW,
    TOO_MANY_REJECTED,
    ExtractRule(
        "far-fewer-rows-than-last",
        Severity.STOP,
        f"The extract has fewer than {MIN_SHARE_OF_LAST:.0%} of the rows of the last delivery: it looks cut off. Send"
        " it whole or, if that is all, say so with --accept-fewer COUNCIL/SOURCE (accept_fewer of the intake).",
        "rows_of_last",
        low=MIN_SHARE_OF_LAST,
    ),
    ExtractRule(
        "rows-far-from-last",
        Severity.WARN,
        "The number of rows is more than 10% away from the last delivery's.",
        "rows_of_last",
        low=0.9,
        high=1.1,
    ),
    ExtractRule(
        "rows-far-from-published",
        Severity.WARN,
        "The number of rows is more than 15% away from the published number of children of the council.",
        "rows_of_published",
        low=0.85,
        high=1.15,
    ),
)


def extract_rules(contract: SourceContract) -> Iterator[ExtractRule]:
    """Every rule about an extract of this source as a whole."""
    yield ROWS_ONCE
    yield from ROW_COUNT_RULES
    for column in expected_complete(contract):
        yield ExtractRule(
            f"{column.name}-thin",
            Severity.WARN,
            f"{column.name} has a usable value in fewer than {MIN_COMPLETE_SHARE:.0%} of the rows.",
            f"{column.name}_complete",
            low=MIN_COMPLETE_SHARE,
            column=column.name,
        )


def expected_complete(contract: SourceContract) -> tuple[Column, ...]:
    """Payload columns that should be filled, though a blank does not reject the row."""
    payload = contract.with_role(Role.PAYLOAD)
    return tuple(column for column in payload if column.required and column.blank is not Severity.REJECT)

"""Rules about a whole extract: number of rows, share of rejected rows, completeness of columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from sources.contracts.model import Column, Role, Rule, Severity, SourceContract
from sources.contracts.people import OF_MANY


@dataclass(frozen=True)
class ExtractRule:
    """A rule that the fact named `fact` must be within `low`..`high`, if it is known.

    Facts about an extract:

    - `rows_kept`; `rows_repeated`, kept rows with the row number of another row;
    - `rejected_share`, of the rows read, if at least `MANY_ROWS` were rejected;
    - `rows_of_last` and `rows_of_expected`, rows kept as a share of the last delivery's and of the expected number, if
      that is at least `MANY_ROWS`;
    - `rows_of_many`, rows with an identifier shared by many children, as a share of the rows read, if there are at
      least `MANY_ROWS` such rows;
    - `<column>_complete`, share of kept rows with a usable value; `<rule>_rows`, kept rows that break a cross-column
      rule.
    """

    id: str
    sentence: str
    fact: str
    low: float | None = None
    high: float | None = None
    column: str | None = None
    severity: Severity = field(kw_only=True)


_stop = partial(ExtractRule, severity=Severity.STOP)
_hold = partial(ExtractRule, severity=Severity.HOLD)


MANY_ROWS = 20
"""Fewer rows cannot show that the file is wrong rather than the rows."""
MAX_REJECTED_SHARE = 0.2
HOLD_BELOW, HOLD_ABOVE = 0.8, 1.25
"""A release is held outside these shares of the last delivery or of the expected number of rows. Corrections change a
file by a few per cent; from 2021/22 to 2024/25 the pilot councils' published numbers fell by 7% to 10%."""
MIN_SHARED_CHILDREN = 0.8
"""Share of a delivery's children that must also be in its replacement. Corrections and movers change a few in a
hundred; the file of another school, council or year shares hardly any."""
SMALL_TRIAL = 0.2
"""If every council of a demonstration sends less than this share of the expected number, the extracts are synthetic
and small on purpose, and are not compared with published numbers."""
OTHER_COUNCILS = 3
"""Minimum number of councils to compare one with: with fewer, nobody can say which is the outlier."""
OF_OTHERS = {"hv_reviews": (0.65, 1.5), "early_years_census": (0.65, 1.5), "parent_experience": (0.33, 3.0)}
"""Bounds of rows per child, as a share of the median of the other councils, for sources without a published number of
rows. A release is held outside them. Set by judgement: coverage of reviews and places really differs between councils,
and survey response differs more."""
HARDLY_ANY, MANY_REVIEWS = 0.01, 100
"""A review counts as sent in a delivery with at least this share of the rows of the review it has most of. That one has
at least `MANY_REVIEWS` rows, or the delivery shows nothing: in England over 80% of children have each review that is
due after the birth, and providers that began to send one late have had a fifth or more of a cohort's."""
MIN_COMPLETE_SHARE = 0.9
MAX_SHARE_OF_MANY = 0.05
"""Share of rows whose UPN or other number belongs to many children. Every child has a unique number; a default that
somebody typed for a few children without one stays far below this."""

NO_USABLE_ROW = _stop("no-usable-row", "The extract has no usable row.", "rows_kept", low=1)
TOO_MANY_REJECTED = _stop(
    "too-many-rejected",
    f"More than {MAX_REJECTED_SHARE:.0%} of the rows were rejected: the file, not its rows, is wrong.",
    "rejected_share",
    high=MAX_REJECTED_SHARE,
)
ROWS_ONCE = _stop("rows-once", "A row of the file was taken twice.", "rows_repeated", high=0)
FAR_FROM_LAST = _hold(
    "rows-far-from-last",
    f"The extract has fewer than {HOLD_BELOW:.0%} or more than {HOLD_ABOVE:.0%} of the rows of the last delivery.",
    "rows_of_last",
    low=HOLD_BELOW,
    high=HOLD_ABOVE,
)
FAR_FROM_EXPECTED = _hold(
    "rows-far-from-expected",
    f"The extract has fewer than {HOLD_BELOW:.0%} or more than {HOLD_ABOVE:.0%} of the rows that are expected: the"
    " published number of children of the council or, where the operator gave one, the number in"
    " landing/reference/expected_rows.csv.",
    "rows_of_expected",
    low=HOLD_BELOW,
    high=HOLD_ABOVE,
)
NUMBER_OF_MANY = _hold(
    "number-of-many-children",
    f"More than {MAX_SHARE_OF_MANY:.0%} of the rows have a number that many children share: the file's own numbers are"
    " lost or were filled in.",
    "rows_of_many",
    high=MAX_SHARE_OF_MANY,
)
ROW_COUNT_RULES = (NO_USABLE_ROW, TOO_MANY_REJECTED, FAR_FROM_LAST, FAR_FROM_EXPECTED)


class ReleaseRule(StrEnum):
    """Other rules that can hold a release (docs/holds.md)."""

    FAR_FROM_CENSUS = "profile-far-from-census"
    """The EYFS Profile against the school census of the same children, for councils without an expected number."""
    ROWS_OF_OTHERS = "rows-far-from-other-councils"
    OTHER_REVIEWS = "other-reviews-than-stated"
    """The reviews in a delivery against those that the council file says are sent, which decide what is published."""
    # Not compared with the delivery before: a wrong file that is sent twice would be compared with itself, and several
    # small steps would each be within the bound.
    OTHER_CHILDREN = "other-children-than-before"
    """Compared with the delivery that a release was last measured from, or the first."""
    # What cannot be judged is held, here, by the next rule and by the last; otherwise deleting a file would remove one.
    NOT_COMPARED = "not-compared"
    NOT_JUDGED = "result-missing"
    LEFT_OUT = "no-longer-taking-part"
    STOPPED = "newer-delivery-stopped"
    MISSING = "due-and-missing"
    """Due from a council once its day is past, if the council sent it for the cohort before, has a folder for it in
    landing, or any other council has sent it for this cohort; and at once, if it was taken in before."""
    NOT_READ = "not-read"
    NOT_SEEN = "not-looked-at"


def list_extract_rules(contract: SourceContract) -> Iterator[ExtractRule]:
    """Yield every rule about a whole extract of this source."""
    yield ROWS_ONCE
    yield from ROW_COUNT_RULES
    if select_rules_of_many(contract):
        yield NUMBER_OF_MANY
    for column in select_complete_columns(contract):
        yield ExtractRule(
            f"{column.name}-thin",
            f"{column.name} has a usable value in fewer than {MIN_COMPLETE_SHARE:.0%} of the rows.",
            f"{column.name}_complete",
            low=MIN_COMPLETE_SHARE,
            column=column.name,
            severity=Severity.WARN,
        )
    for rule in select_payload_rules(contract):
        # Intake rejects such rows, so one among the kept rows is a fault of the intake.
        severity = Severity.STOP if rule.severity is Severity.REJECT else rule.severity
        yield ExtractRule(rule.id, rule.sentence, name_broken_rows(rule), high=0, severity=severity)


def select_payload_rules(contract: SourceContract) -> tuple[Rule, ...]:
    """Return the cross-column rules that can be checked again on kept rows, using only payload columns.

    The payload has only the month of a date, so a rule about days may find fewer rows than intake did.
    """
    payload = {column.name for column in contract.select_role(Role.PAYLOAD)}
    return tuple(rule for rule in contract.rules if set(rule.columns) <= payload and rule.columns)


def select_rules_of_many(contract: SourceContract) -> tuple[Rule, ...]:
    """Return the rules about identifiers that many children share."""
    return tuple(rule for rule in OF_MANY.values() if rule in contract.rules)


def name_broken_rows(rule: Rule) -> str:
    """Return the name of the fact that counts the kept rows which break a rule."""
    return f"{rule.id.replace('-', '_')}_rows"


def select_complete_columns(contract: SourceContract) -> tuple[Column, ...]:
    """Return the payload columns that should be complete, although a blank does not reject the row."""
    payload = contract.select_role(Role.PAYLOAD)
    return tuple(column for column in payload if column.required and column.blank is not Severity.REJECT)


def compute_share(rows: int, reference: int | None) -> float | None:
    """Return rows as a share of a reference number, or None if that is unknown or too small to compare with."""
    return rows / reference if reference and reference >= MANY_ROWS else None

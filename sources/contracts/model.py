"""Classes for declaring source contracts."""

import calendar
import datetime as dt
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property, partial

from sources.reference.cohorts import Cohort
from sources.reference.source_titles import SOURCE_TITLES


class Kind(StrEnum):
    """Type of the values of a column."""

    TEXT = "text"
    CODE = "code"
    DATE = "date"
    INTEGER = "integer"
    DECIMAL = "decimal"


class Role(StrEnum):
    """Treatment of a column at intake."""

    IDENTIFIER = "identifier"
    """Identifies a person: replaced by tokens within the intake pass and never written."""
    PAYLOAD = "payload"
    """Kept in the pseudonymised extract, with its type."""
    CHECK = "check"
    """Used by the rules of the intake pass, then dropped."""


class Severity(StrEnum):
    """Consequence of a broken rule."""

    STOP = "stop"
    """The extract is not accepted; the previous good one stays in place."""
    HOLD = "hold"
    """The extract is accepted, but a release with it is held until a named person accepts it as it is."""
    REJECT = "reject"
    """The row goes to quarantine."""
    WARN = "warn"
    """The row is kept and the finding is reported; a value that breaks its own column's rule counts as missing."""


@dataclass(frozen=True)
class Column:
    """One column of a source.

    `codes` maps each accepted value to its label. A file without a `required` column is stopped. `blank` is the
    severity of an empty value; `invalid` that of a value outside `codes`, `minimum`..`maximum`, `pattern` or the form
    of its kind.
    """

    name: str
    description: str
    kind: Kind
    codes: Mapping[str, str] | None = None
    role: Role = field(kw_only=True)
    required: bool = True
    blank: Severity | None = None
    invalid: Severity = Severity.REJECT
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    """Regular expression (RE2) that the whole text must match, in upper case."""
    note: str = ""
    """Added to the message about a wrong value."""
    also: Mapping[str, str] = field(default_factory=dict)
    """Other accepted values, each with its code; an empty code means that the value counts as blank."""
    other: str | None = None
    """Code for any other value that matches `pattern`, so that only the codes we use are kept from a long list."""

    def find_code(self, value: str) -> str | None:
        """Return the code of an upper-case value: empty if it counts as blank, None if it is not valid."""
        if value in (self.codes or {}):
            return value
        if value in self.also:
            return self.also[value]
        # An unknown value gets the code for others only if it has the form of a code, so that slips are still reported.
        return self.other if self.other and re.fullmatch(self.pattern or "", value) else None


identifier = partial(Column, role=Role.IDENTIFIER)
checked = partial(Column, kind=Kind.TEXT, role=Role.CHECK, required=False)
kept = partial(Column, role=Role.PAYLOAD, invalid=Severity.WARN)
"""A payload column; an invalid value counts as missing by default."""


@dataclass(frozen=True)
class DerivedColumn:
    """A kept column that the intake computes from identifiers, which it does not keep.

    `groups` are its possible values. `sql` computes it from the contract's typed columns, in which
    `birth_date(date_of_birth)` is the date without placeholders; None if it needs a directory.
    """

    name: str
    heading: str
    description: str
    kind: Kind
    groups: tuple[str, ...]
    made_of: tuple[str, ...]
    sql: str | None = None


@dataclass(frozen=True)
class Rule:
    """A rule about a row, in addition to the rules of its columns.

    `broken` is an SQL condition, true for a row that breaks the rule, over the contract's columns in their typed form
    (DATE, INTEGER, DOUBLE or VARCHAR) and the parameters `$cohort_start`, `$cohort_end` (DATE), `$cohort` (VARCHAR)
    and `$la_codes` (the council's two codes). Rules that are not about typed values keep the default, and readers
    check them. `stop_share` stops the extract if more than that share of its rows break the rule.
    """

    id: str
    sentence: str
    columns: tuple[str, ...] = ()
    broken: str = "false"
    severity: Severity = field(kw_only=True)
    stop_share: float | None = None


stop = partial(Rule, severity=Severity.STOP)
reject = partial(Rule, severity=Severity.REJECT)
warn = partial(Rule, severity=Severity.WARN)

REPEATED_ROW = warn("repeated-row", "The row repeats an earlier one in every column; it is kept.")


@dataclass(frozen=True)
class YearDay:
    """A day in the calendar year `years` after a cohort's first one."""

    years: int
    month: int
    day: int

    def find_date(self, cohort: Cohort) -> dt.date:
        return dt.date(cohort.first_year + self.years, self.month, self.day)


@dataclass(frozen=True)
class RecordOnDay:
    """A record of every child the service knows, all in one delivery, such as a census.

    `possible` is the first day on which a delivery can have it. `whole` means that every child of the cohort is old
    enough to be in it.
    """

    title: str
    due: YearDay
    possible: YearDay
    whole: bool = True

    def find_window(self, cohort: Cohort) -> tuple[dt.date, dt.date]:
        """Return the days on which the records of the cohort's oldest and youngest child are due."""
        return self.due.find_date(cohort), self.due.find_date(cohort)


@dataclass(frozen=True)
class RecordAtAge:
    """A record made by the age of `months` and `days` and hardly ever before `from_months`, such as a review.

    The source's column `kind` has the value `code`, and the column `dated` its date. Deliveries are monthly: a record
    is due `delivered_months` after that age. A record `with_mother` may be kept with the mother, so that an extract of
    children lacks it.
    """

    title: str
    kind: str
    code: str
    dated: str
    delivered_months: int
    from_months: int = 0
    months: int = 0
    days: int = 0
    with_mother: bool = False

    def find_due_day(self, born: dt.date) -> dt.date:
        """Return the day by which the record of a child born on a day should have been made."""
        return add_months(born, self.months) + dt.timedelta(self.days)

    def find_window(self, cohort: Cohort) -> tuple[dt.date, dt.date]:
        """Return the days on which the records of the cohort's oldest and youngest child are due."""
        first, last = (
            add_months(born, self.months + self.delivered_months) + dt.timedelta(self.days)
            for born in (cohort.born_from, cohort.born_to)
        )
        return first, last


def add_months(day: dt.date, months: int) -> dt.date:
    """Return the same day some months later or earlier, or the last of that month if it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return dt.date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


_NOT_IN_FILES = ("expected", "due_reason", "concern", "concern_month", "purposes")
"""Fields that do not affect what the intake writes, so that files stay current when they change."""


@dataclass(frozen=True)
class SourceContract:
    """The agreement with the senders of one source: columns, rules and deadlines.

    `expected` are the records that it should have of a cohort's children, from birth on. The extract of the whole
    cohort is due when the last of them is; `due_reason` says who set that day.
    """

    name: str
    row_per: str
    expected: tuple[RecordOnDay | RecordAtAge, ...]
    due_reason: str
    columns: tuple[Column, ...]
    record: tuple[tuple[str, ...], ...]
    """Key of a record: the first of these sets of columns that is complete in a row. Without one, rows can only be
    distinguished by all their values."""
    derived: tuple[DerivedColumn, ...] = ()
    rules: tuple[Rule, ...] = ()
    repeated: Rule = REPEATED_ROW
    """Rule for a row that repeats an earlier one in the rule's columns, or in every column if it names none."""
    refused_columns: Mapping[str, str] = field(default_factory=dict)
    """Column names that show a file to be of another kind, each with the reason given for stopping it."""
    concern: str | None = None
    """SQL condition for rows that record a concern about the child; None if the source does not record concerns."""
    concern_month: str | None = None
    """SQL for the month of a row's concern, as `2022-05`; None or NULL: that of the row's last contact."""
    purposes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Every use of each payload column: `linkage`, `timeline`, `returns.<fact>`, `<family>.<attribute>` of published
    tables, or the name of a table that is being built. A column without a use is not kept (docs/uses.md)."""

    @property
    def heading(self) -> str:
        """Its title, as it begins a heading or a sentence."""
        title = SOURCE_TITLES[self.name]
        return title[0].upper() + title[1:]

    def __getitem__(self, column: str) -> Column:
        return self._by_name[column]

    def __contains__(self, column: object) -> bool:
        return column in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def get_due_day(self, cohort: Cohort) -> dt.date:
        """Return the day by which the extract of a whole cohort is due."""
        return self.expected[-1].find_window(cohort)[1]

    def is_due(self, cohort: Cohort, on: dt.date) -> bool:
        """Return whether the extract of a whole cohort is late if it is not in: its due day is over."""
        return self.get_due_day(cohort) < on

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.required)

    def select_role(self, role: Role) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role is role)

    @cached_property
    def sha256(self) -> str:
        """Hash of the contract without `_NOT_IN_FILES`, stored in every file made under it."""
        content = {name: part for name, part in asdict(self).items() if name not in _NOT_IN_FILES}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode()).hexdigest()
